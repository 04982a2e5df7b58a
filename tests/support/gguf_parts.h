// SPDX-License-Identifier: Apache-2.0
// Takes a well-formed GGUF file apart, so that tests can put it together in another way.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/gguf_writer.h"

namespace headroom::test {

struct GgufParts {
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> shape;  ///< outermost first
    std::uint32_t type = 0;
    std::string data;  ///< with the padding behind it
  };
  std::string keys;  ///< all keys with their values
  std::uint64_t num_keys = 0;
  std::vector<Tensor> tensors;

  explicit GgufParts(std::string bytes) : bytes_(std::move(bytes)) {
    at_ = 8;  // behind magic and version
    const auto num_tensors = number<std::uint64_t>();
    num_keys = number<std::uint64_t>();
    const std::size_t first_key = at_;
    for (std::uint64_t i = 0; i < num_keys; ++i) {
      string();
      skip_value(number<std::uint32_t>());
    }
    keys = bytes_.substr(first_key, at_ - first_key);
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t i = 0; i < num_tensors; ++i) {
      Tensor& tensor = tensors.emplace_back();
      tensor.name = string();
      tensor.shape.resize(number<std::uint32_t>());
      for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) *size = number<std::uint64_t>();
      tensor.type = number<std::uint32_t>();
      offsets.push_back(number<std::uint64_t>());
    }
    const std::size_t data = (at_ + 31) / 32 * 32;  // the default alignment
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      std::uint64_t end = bytes_.size() - data;
      for (const std::uint64_t other : offsets)
        if (other > offsets[i]) end = std::min(end, other);
      tensors[i].data = bytes_.substr(data + offsets[i], end - offsets[i]);
    }
  }

  /// Gives a whole number of 32 bits another value.
  void set(const std::string& key, std::uint32_t value) {
    const std::string head = ByteWriter().string(key).number<std::uint32_t>(4).bytes();
    const std::size_t found = keys.find(head);
    if (found == std::string::npos) throw std::runtime_error("no key " + key);
    std::memcpy(keys.data() + found + head.size(), &value, sizeof value);
  }
  void add_to(GgufWriter& out, std::size_t first, std::size_t end) const {
    for (std::size_t i = first; i < end; ++i)
      out.add_tensor(tensors[i].name, tensors[i].shape, tensors[i].type, tensors[i].data);
  }

 private:
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string string() {
    const auto size = number<std::uint64_t>();
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  void skip_value(std::uint32_t type) {
    constexpr std::array<std::size_t, 13> sizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8) {
      string();
    } else if (type == 9) {
      const auto of = number<std::uint32_t>();
      for (auto count = number<std::uint64_t>(); count > 0; --count) skip_value(of);
    } else {
      at_ += sizes[type];
    }
  }

  std::string bytes_;
  std::size_t at_ = 0;
};

}  // namespace headroom::test
