// SPDX-License-Identifier: Apache-2.0
// Reads a folder as transformers saves it: config.json and one or several *.safetensors files.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/sha256.h"
#include "checkpoint/dequantize.h"
#include "checkpoint/json_input.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;
constexpr std::uint64_t max_header = 100'000'000;  // bytes, the format's own limit
constexpr std::uint64_t max_text = 64 << 20;       // bytes of config.json or the index
constexpr std::uint64_t max_elements = std::uint64_t{1} << 42;

std::string read_text(const fs::path& file) {
  const MappedFile mapped(file);
  const auto bytes = mapped.bytes();
  if (bytes.size() > max_text) {
    throw input_error(file.string(), "the file is too large", "at most " + std::to_string(max_text) + " bytes",
                      std::to_string(bytes.size()));
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class SafetensorsCheckpoint final : public CheckpointBase {
 public:
  explicit SafetensorsCheckpoint(const fs::path& folder) : CheckpointBase(folder) {
    const fs::path config = folder / "config.json";
    std::error_code failed;
    if (!fs::is_regular_file(config, failed)) {
      throw input_error(folder.string(), "the folder holds no model", "config.json and *.safetensors",
                        "no config.json");
    }
    flatten(parse_json_object(read_text(config), config.string(), 16), "");
    for (const fs::path& file : weight_files(folder)) read_file(file);
  }

  Format format() const override { return Format::safetensors; }

 protected:
  std::span<const std::uint8_t> stored(std::size_t tensor) const override {
    const Place& place = places_[tensor];
    return files_[place.file].bytes().subspan(place.offset, tensors()[tensor].bytes);
  }
  std::string compute_hash() const override {
    std::string lines;
    for (std::size_t i = 0; i < files_.size(); ++i)
      lines += names_[i] + " " + sha256(files_[i].bytes()) + "\n";  // names_ are sorted
    return sha256({reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()});
  }

 private:
  struct Place {
    std::size_t file = 0;
    std::uint64_t offset = 0;
  };

  void flatten(const Json& object, const std::string& prefix);
  std::vector<fs::path> weight_files(const fs::path& folder) const;
  void read_file(const fs::path& file);
  void read_tensor(const std::string& name, const Json& entry, const fs::path& file, std::uint64_t data_begin,
                   std::uint64_t data_bytes, std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges);

  std::vector<MappedFile> files_;
  std::vector<std::string> names_;
  std::vector<Place> places_;
};

void SafetensorsCheckpoint::flatten(const Json& object, const std::string& prefix) {
  for (const auto& [name, value] : object.items()) {
    const std::string key = prefix + name;
    if (value.is_object()) flatten(value, key + ".");
    if (value.is_boolean()) add_value(key, value.get<bool>());
    if (value.is_number_unsigned()) add_value(key, value.get<std::uint64_t>());
    if (value.is_number_integer() && !value.is_number_unsigned()) add_value(key, value.get<std::int64_t>());
    if (value.is_number_float()) add_value(key, value.get<double>());
    if (value.is_string()) add_value(key, value.get<std::string>());
    if (!value.is_array()) continue;
    const auto all = [&](auto test) { return std::all_of(value.begin(), value.end(), test); };
    if (all([](const Json& v) { return v.is_number(); }))
      add_value(key, value.get<std::vector<double>>());
    else if (all([](const Json& v) { return v.is_string(); }))
      add_value(key, value.get<std::vector<std::string>>());
  }
}

std::vector<fs::path> SafetensorsCheckpoint::weight_files(const fs::path& folder) const {
  std::set<std::string> names;
  const fs::path index = folder / "model.safetensors.index.json";
  std::error_code failed;
  if (fs::is_regular_file(index, failed)) {
    const Json json = parse_json_object(read_text(index), index.string(), 8);
    const auto map = json.find("weight_map");
    if (map == json.end() || !map->is_object())
      throw input_error(index.string(), "the index has no weight_map", "an object of file names", "none");
    for (const auto& [tensor, file] : map->items()) {
      if (!file.is_string() || fs::path(file.get<std::string>()).filename() != fs::path(file.get<std::string>()))
        throw input_error(index.string() + ": tensor " + in_quotes(tensor), "no file of this folder is named",
                          "a file name", in_quotes(file.dump(-1, ' ', false, Json::error_handler_t::replace)));
      names.insert(file.get<std::string>());
    }
  } else {
    for (const auto& entry : fs::directory_iterator(folder, failed))
      if (entry.path().extension() == ".safetensors") names.insert(entry.path().filename().string());
  }
  if (names.empty()) {
    throw input_error(folder.string(), "the folder holds no weights", "config.json and *.safetensors",
                      "no *.safetensors");
  }
  std::vector<fs::path> files;
  for (const std::string& name : names) files.push_back(folder / name);
  return files;
}

void SafetensorsCheckpoint::read_file(const fs::path& file) {
  MappedFile mapped(file);
  const auto bytes = mapped.bytes();
  if (bytes.size() < 8) {
    throw input_error(file.string(), "the file ends within its header: it is truncated or damaged", "8 bytes or more",
                      std::to_string(bytes.size()));
  }
  std::uint64_t header = 0;
  for (std::size_t i = 8; i-- > 0;) header = header << 8 | bytes[i];
  if (header > std::min<std::uint64_t>(bytes.size() - 8, max_header)) {
    throw input_error(file.string() + ": byte 0",
                      "the header's length is impossible: no safetensors file, or truncated",
                      "at most " + std::to_string(std::min<std::uint64_t>(bytes.size() - 8, max_header)) + " bytes",
                      std::to_string(header));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header);
  const Json json = parse_json_object(text, file.string() + ": header", 8);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") continue;
    read_tensor(name, entry, file, 8 + header, bytes.size() - 8 - header, ranges);
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      throw input_error(file.string() + ": header", "two tensors overlap",
                        "an offset of at least " + std::to_string(ranges[i - 1].second),
                        std::to_string(ranges[i].first));
    }
  }
  files_.push_back(std::move(mapped));
  names_.push_back(file.filename().string());
}

void SafetensorsCheckpoint::read_tensor(const std::string& name, const Json& entry, const fs::path& file,
                                        std::uint64_t data_begin, std::uint64_t data_bytes,
                                        std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges) {
  const std::string place = file.string() + ": tensor " + in_quotes(name);
  const auto field = [&](const char* key) -> const Json& {
    const auto found = entry.is_object() ? entry.find(key) : entry.end();
    if (found == entry.end()) throw input_error(place, "the tensor's entry is incomplete", key, "none");
    return *found;
  };
  const auto whole_numbers = [&](const char* key) {
    const Json& list = field(key);
    const bool good =
        list.is_array() && std::all_of(list.begin(), list.end(), [](const Json& v) { return v.is_number_unsigned(); });
    if (!good) throw input_error(place, std::string(key) + " is not what it should be", "a list of whole numbers");
    return list.get<std::vector<std::uint64_t>>();
  };
  const Json& type = field("dtype");
  TensorInfo info;
  info.name = name;
  if (type == "F32")
    info.dtype = DType::f32;
  else if (type == "F16")
    info.dtype = DType::f16;
  else if (type == "BF16")
    info.dtype = DType::bf16;
  else
    throw input_error(place, "the tensor's dtype is not supported", "F32, F16 or BF16",
                      type.is_string() ? in_quotes(type.get<std::string>()) : std::string(type.type_name()));
  std::uint64_t elements = 1;
  for (const std::uint64_t size : whole_numbers("shape")) {
    if (size < 1 || size > max_elements / elements) {
      throw input_error(place, "a dimension is impossible", "1 to " + std::to_string(max_elements / elements),
                        std::to_string(size));
    }
    elements *= size;
    info.shape.push_back(static_cast<std::int64_t>(size));
  }
  info.bytes = elements * static_cast<std::uint64_t>(block_layout(info.dtype).bytes);
  const std::vector<std::uint64_t> range = whole_numbers("data_offsets");
  if (range.size() != 2 || range[0] > range[1] || range[1] > data_bytes) {
    throw input_error(place, "the tensor's data lie outside the file: it is truncated or damaged",
                      "begin and end within " + std::to_string(data_bytes) + " bytes", field("data_offsets").dump());
  }
  if (range[1] - range[0] != info.bytes) {
    throw input_error(place, "the size of the data does not fit the shape", std::to_string(info.bytes) + " bytes",
                      std::to_string(range[1] - range[0]));
  }
  ranges.emplace_back(range[0], range[1]);
  if (!add_tensor(std::move(info))) throw input_error(place, "a tensor name appears in two files", "each name once");
  places_.push_back({files_.size(), data_begin + range[0]});
}

}  // namespace

std::unique_ptr<Checkpoint> open_safetensors(const fs::path& folder) {
  return std::make_unique<SafetensorsCheckpoint>(folder);
}

}  // namespace headroom::checkpoint
