// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace headroom::checkpoint {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t max_header_bytes = 64u << 20;
constexpr std::size_t max_rank = 8;

struct StoredType {
  std::string_view name;
  DType dtype;
  std::uint64_t bytes;
};
constexpr StoredType stored_types[] = {{"F32", DType::f32, 4}, {"F16", DType::f16, 2}, {"BF16", DType::bf16, 2}};

const StoredType* type_by_name(std::string_view name) {
  const auto found = std::ranges::find(stored_types, name, &StoredType::name);
  return found == std::end(stored_types) ? nullptr : found;
}
const StoredType* type_by_dtype(DType dtype) {
  const auto found = std::ranges::find(stored_types, dtype, &StoredType::dtype);
  return found == std::end(stored_types) ? nullptr : found;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0)
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(std::ldexp(static_cast<float>(mantissa), -24)));
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

/// Elements of a shape, or -1 where it is not a list of sizes whose product fits.
std::int64_t product(const nlohmann::json& shape, std::vector<std::int64_t>& sizes) {
  if (!shape.is_array() || shape.size() > max_rank) return -1;
  std::int64_t elements = 1;
  for (const auto& size : shape) {
    if (!size.is_number_unsigned()) return -1;
    const auto value = size.get<std::uint64_t>();
    if (value > (1ull << 40) || (value != 0 && static_cast<std::uint64_t>(elements) > (1ull << 40) / value)) return -1;
    elements *= static_cast<std::int64_t>(value);
    sizes.push_back(static_cast<std::int64_t>(value));
  }
  return elements;
}

}  // namespace

struct SafetensorsFile::Mapping {
  const std::uint8_t* data = nullptr;
  std::uint64_t size = 0;
  ~Mapping() {
    if (data) ::munmap(const_cast<std::uint8_t*>(data), size);
  }
};

SafetensorsFile::~SafetensorsFile() = default;

std::unique_ptr<SafetensorsFile> SafetensorsFile::open(const fs::path& file) {
  const std::string place = file.string();
  std::unique_ptr<SafetensorsFile> result(new SafetensorsFile);
  result->path_ = file;
  result->mapping_ = std::make_unique<Mapping>();
  const int descriptor = ::open(place.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw input_error(place, "cannot be opened", "a readable file", std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  if (regular && status.st_size >= 10) {
    void* data = ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data != MAP_FAILED) {
      result->mapping_->data = static_cast<const std::uint8_t*>(data);
      result->mapping_->size = static_cast<std::uint64_t>(status.st_size);
    }
  }
  ::close(descriptor);
  if (!result->mapping_->data)
    throw input_error(place, "is not a safetensors file", "a regular file of at least 10 bytes",
                      regular ? std::to_string(status.st_size) + " bytes" : "no regular file");

  const std::uint8_t* data = result->mapping_->data;
  const std::uint64_t size = result->mapping_->size;
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, data, 8);
  if (header_bytes > max_header_bytes || header_bytes > size - 8)
    throw input_error(place, "safetensors header length is wrong", "at most " + std::to_string(size - 8) + " bytes",
                      std::to_string(header_bytes));
  std::set<std::string> names;
  std::string repeated;
  const auto watch_names = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::key && depth == 1 && !names.insert(parsed.get<std::string>()).second)
      repeated = parsed.get<std::string>();
    return true;
  };
  const auto header = nlohmann::json::parse(data + 8, data + 8 + header_bytes, watch_names, false);
  if (!repeated.empty()) throw input_error(place, "tensor name stands twice", "unique names", repeated);
  if (!header.is_object()) throw input_error(place, "safetensors header is not a JSON object");

  const std::uint64_t body = 8 + header_bytes, body_bytes = size - body;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) throw input_error(place, "__metadata__ is not an object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) throw input_error(place, "__metadata__." + key, "a string", value.type_name());
        result->metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    const std::string where = place + ", tensor " + name;
    const auto field = [&, &tensor = entry](const char* key) {
      const auto found = tensor.is_object() ? tensor.find(key) : tensor.end();
      if (!tensor.is_object() || found == tensor.end()) throw input_error(where, std::string("has no ") + key);
      return *found;
    };
    const auto type_name = field("dtype");
    const StoredType* type = type_name.is_string() ? type_by_name(type_name.get<std::string>()) : nullptr;
    if (!type) throw input_error(where, "dtype is not supported", "F32, F16 or BF16", type_name.dump());
    TensorInfo info{name, {}, type->dtype, 0};
    const auto shape = field("shape");
    const std::int64_t elements = product(shape, info.shape);
    if (elements < 0) throw input_error(where, "shape is not understood", "up to 8 sizes", shape.dump());
    const auto range = field("data_offsets");
    if (!range.is_array() || range.size() != 2 || !range[0].is_number_unsigned() || !range[1].is_number_unsigned())
      throw input_error(where, "data_offsets are not understood", "[begin, end]", range.dump());
    const auto begin = range[0].get<std::uint64_t>(), end = range[1].get<std::uint64_t>();
    if (begin > end || end > body_bytes)
      throw input_error(where, "data_offsets reach past the file", "within " + std::to_string(body_bytes) + " bytes",
                        range.dump());
    if (end - begin != static_cast<std::uint64_t>(elements) * type->bytes)
      throw input_error(where, "size does not match its shape",
                        std::to_string(static_cast<std::uint64_t>(elements) * type->bytes) + " bytes",
                        std::to_string(end - begin));
    info.bytes = end - begin;
    if (end > begin) ranges.emplace_back(begin, end);
    result->tensors_.push_back(std::move(info));
    result->offsets_.push_back(body + begin);
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first < ranges[i - 1].second)
      throw input_error(place, "tensors overlap at byte " + std::to_string(body + ranges[i].first));
  return result;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &TensorInfo::name);
  return found == tensors_.end() ? nullptr : &*found;
}

std::span<const std::uint8_t> SafetensorsFile::bytes(std::string_view name) const {
  const TensorInfo* info = find(name);
  if (!info) throw input_error(path_.string(), "has no tensor " + std::string(name));
  return {mapping_->data + offsets_[static_cast<std::size_t>(info - tensors_.data())], info->bytes};
}

void SafetensorsFile::read_f32(std::string_view name, std::span<float> out) const {
  const auto stored = bytes(name);
  const TensorInfo& info = *find(name);
  if (static_cast<std::int64_t>(out.size()) != info.elements())
    throw Error(ErrorKind::internal, "read_f32: the buffer of " + info.name + " has the wrong size");
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (info.dtype == DType::f32) {
      std::memcpy(&out[i], stored.data() + 4 * i, 4);
    } else {
      std::uint16_t half = 0;
      std::memcpy(&half, stored.data() + 2 * i, 2);
      out[i] = info.dtype == DType::bf16 ? std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16)
                                         : half_to_float(half);
    }
    if (!std::isfinite(out[i]))
      throw input_error(path_.string() + ", tensor " + info.name, "value " + std::to_string(i) + " is not finite",
                        "a finite number", std::to_string(out[i]));
  }
}

void write_safetensors(const fs::path& file, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    const StoredType* type = type_by_dtype(tensor.dtype);
    std::uint64_t elements = 1;
    for (const std::int64_t size : tensor.shape) elements *= static_cast<std::uint64_t>(size);
    if (!type || elements * type->bytes != tensor.bytes.size() || header.contains(tensor.name))
      throw Error(ErrorKind::internal, "write_safetensors: tensor " + tensor.name + " is not storable");
    header[tensor.name] = {
        {"dtype", type->name}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // readers like the data aligned
  const std::uint64_t header_bytes = text.size();

  const fs::path part = file.string() + ".part";
  std::ofstream stream(part, std::ios::binary | std::ios::trunc);
  stream.write(reinterpret_cast<const char*>(&header_bytes), 8);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const TensorToWrite& tensor : tensors)
    stream.write(reinterpret_cast<const char*>(tensor.bytes.data()), static_cast<std::streamsize>(tensor.bytes.size()));
  stream.close();
  std::error_code failed;
  if (stream) fs::rename(part, file, failed);
  if (!stream || failed) {
    std::error_code ignored;
    fs::remove(part, ignored);
    throw input_error(file.string(), "cannot be written", "a writable folder with enough space",
                      failed ? failed.message() : "a write error");
  }
}

}  // namespace headroom::checkpoint
