// SPDX-License-Identifier: Apache-2.0
// A model in GGUF: one file, or the parts that llama.cpp's gguf-split makes of one, NAME-00001-of-00003.gguf. Any part
// opens them all; the first holds the model's keys.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/sha256.h"
#include "checkpoint/gguf_file.h"

namespace headroom::checkpoint {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view count_key = "split.count", number_key = "split.no", total_key = "split.tensors.count";
constexpr std::int64_t max_parts = 99999;  // as many as a name has digits for

/// A whole number under a key of one file; -1 where it has none.
std::int64_t split_number(const GgufFile& file, std::string_view key) {
  const MetadataValue* const value = file.find(key);
  if (!value) return -1;
  const auto* const number = std::get_if<std::int64_t>(value);
  if (!number || *number < 0) {
    throw input_error(file.path().string() + ": key " + in_quotes(key), "the value is out of range", "0 or more",
                      number ? std::to_string(*number) : std::string("no integer"));
  }
  return *number;
}

std::string five_digits(std::int64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(5 - std::min<std::size_t>(5, digits.size()), '0') + digits;
}

/// What stands before "-00002-of-00003.gguf" in a part's name. Throws where the name is another.
std::string stem_of_part(const GgufFile& file, std::int64_t number, std::int64_t count) {
  const std::string name = file.path().filename().string();
  const std::string ending = "-" + five_digits(number + 1) + "-of-" + five_digits(count) + ".gguf";
  if (!name.ends_with(ending)) {
    throw input_error(file.path().string(), "the file is one part of a model, and its name does not lead to the others",
                      "a name that ends in " + in_quotes(ending), in_quotes(name));
  }
  return name.substr(0, name.size() - ending.size());
}

class GgufCheckpoint final : public CheckpointBase {
 public:
  explicit GgufCheckpoint(const fs::path& file) : CheckpointBase(file) {
    parts_.push_back(std::make_unique<GgufFile>(file));
    if (const std::int64_t count = split_number(*parts_.front(), count_key); count > 1) open_parts(count);
    for (const auto& [key, value] : parts_.front()->values()) add_value(key, value);
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      const GgufFile& opened = *parts_[part];
      for (std::size_t i = 0; i < opened.tensors().size(); ++i) {
        const TensorInfo& info = opened.tensors()[i];
        if (!add_tensor(info)) {
          throw input_error(opened.path().string() + ": tensor " + in_quotes(info.name),
                            "a tensor name appears in two parts of the model", "each name once", "twice");
        }
        places_.push_back({part, i});
      }
    }
    if (parts_.size() > 1) check_total();
  }

  Format format() const override { return Format::gguf; }
  std::vector<fs::path> files() const override {
    std::vector<fs::path> list;
    for (const auto& part : parts_) list.push_back(part->path());
    return list;
  }

 protected:
  void read_stored(std::size_t tensor, std::uint64_t offset, std::span<std::uint8_t> out) const override {
    parts_[places_[tensor].part]->read(places_[tensor].tensor, offset, out);
  }
  std::string compute_hash(const JobContext& job) const override {
    if (parts_.size() == 1) return parts_.front()->hash(job);
    std::string lines;
    for (const auto& part : parts_) lines += part->path().filename().string() + " " + part->hash(job) + "\n";
    return sha256({reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()});
  }

 private:
  struct Place {
    std::size_t part = 0;
    std::size_t tensor = 0;
  };

  // From the part that was named to all of them, in order.
  void open_parts(std::int64_t count) {
    std::unique_ptr<GgufFile> named = std::move(parts_.front());
    parts_.clear();
    const std::int64_t number = split_number(*named, number_key);
    if (count > max_parts || number < 0 || number >= count) {
      throw input_error(named->path().string() + ": key " + in_quotes(number_key), "this part's number is impossible",
                        "0 to " + std::to_string(std::min(count, max_parts) - 1),
                        number < 0 ? "nothing" : std::to_string(number));
    }
    const std::string stem = stem_of_part(*named, number, count);
    for (std::int64_t i = 0; i < count; ++i) {
      if (i == number) {
        parts_.push_back(std::move(named));
        continue;
      }
      const fs::path file =
          path().parent_path() / (stem + "-" + five_digits(i + 1) + "-of-" + five_digits(count) + ".gguf");
      std::error_code failed;
      if (!fs::exists(file, failed)) {
        throw input_error(file.string(), "this part of the model is missing",
                          "all " + std::to_string(count) + " files of it in one folder", "no such file");
      }
      parts_.push_back(std::make_unique<GgufFile>(file));
      const std::pair<std::string_view, std::int64_t> expected[] = {{count_key, count}, {number_key, i}};
      for (const auto& [key, wanted] : expected) {
        if (const std::int64_t found = split_number(*parts_.back(), key); found != wanted) {
          throw input_error(file.string() + ": key " + in_quotes(key), "this file is not the part that its name says",
                            std::to_string(wanted), found < 0 ? "nothing" : std::to_string(found));
        }
      }
    }
  }

  void check_total() const {
    const std::int64_t total = split_number(*parts_.front(), total_key);
    if (total >= 0 && total != static_cast<std::int64_t>(tensors().size())) {
      throw input_error(parts_.front()->path().string() + ": key " + in_quotes(total_key),
                        "the parts do not hold as many tensors as the first says", std::to_string(total),
                        std::to_string(tensors().size()));
    }
  }

  std::vector<std::unique_ptr<GgufFile>> parts_;
  std::vector<Place> places_;  ///< by tensor
};

}  // namespace

std::unique_ptr<Checkpoint> open_gguf(const fs::path& file) {
  return std::make_unique<GgufCheckpoint>(file);
}

}  // namespace headroom::checkpoint
