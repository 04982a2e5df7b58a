// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_kind.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/input_file.h"
#include "checkpoint/json_input.h"
#include "checkpoint/quantised_tensors.h"

namespace headroom::checkpoint {
namespace {

using Json = nlohmann::json;

MetadataValue config_value(const Json& value) {
  if (value.is_null()) return OtherValue{"null", true};
  if (value.is_object()) return OtherValue{"an empty object", true};
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number_float()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (std::ranges::all_of(value, [](const Json& v) { return v.is_number(); })) return value.get<std::vector<double>>();
  if (std::ranges::all_of(value, [](const Json& v) { return v.is_string(); }))
    return value.get<std::vector<std::string>>();
  return OtherValue{"a list that is neither of numbers nor of strings"};
}

void collect(const Json& object, const std::string& prefix,
             std::vector<std::pair<std::string, MetadataValue>>& values) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_object() && !value.empty())
      collect(value, prefix + name + ".", values);
    else
      values.emplace_back(prefix + name, config_value(value));
  }
}

class ConfigAlone final : public CheckpointBase {
 public:
  explicit ConfigAlone(const std::filesystem::path& file) : CheckpointBase(file), file_(file) {
    constexpr std::uint64_t max_text = 64 << 20;
    const std::string text = file_.text(max_text);
    if (const std::string kind = file_kind(text); !kind.empty() && kind != "JSON")
      throw input_error(file.string(), "this is no configuration", "an object in JSON", kind);
    for (auto& [key, value] : config_values(parse_json_object(text, file.string(), 16))) {
      if (!add_value(key, std::move(value)))
        throw input_error(place_of_key(key), "two entries of the configuration have this name", "one", "two");
    }
    // How weights would be stored, were there any.
    read_quantisation(ConfigReader(*this, "quantization_config."));
    remove_values("quantization_config.");
  }

  Format format() const override { return Format::safetensors; }
  std::vector<std::filesystem::path> files() const override { return {path()}; }

 protected:
  void read_stored(std::size_t, std::uint64_t, std::span<std::uint8_t>) const override {
    throw Error(ErrorKind::internal, "a configuration has no tensors");
  }
  std::string compute_hash(const JobContext& job) const override { return file_.hash(job); }

 private:
  InputFile file_;
};

}  // namespace

std::vector<std::pair<std::string, MetadataValue>> config_values(const Json& object) {
  std::vector<std::pair<std::string, MetadataValue>> values;
  collect(object, "", values);
  return values;
}

std::unique_ptr<Checkpoint> open_config(const std::filesystem::path& file) {
  return std::make_unique<ConfigAlone>(file);
}

}  // namespace headroom::checkpoint
