// SPDX-License-Identifier: Apache-2.0
// Reads a folder as transformers saves it: config.json and one or several *.safetensors files.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/sha256.h"
#include "checkpoint/input_file.h"
#include "checkpoint/json_input.h"
#include "checkpoint/metadata.h"
#include "checkpoint/safetensors_file.h"

namespace headroom::checkpoint {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;
constexpr const char* index_name = "model.safetensors.index.json";
constexpr std::uint64_t max_text = 64 << 20;  // bytes of config.json or the index

std::string read_text(const fs::path& file) {
  return InputFile(file).text(max_text);
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
    for (const fs::path& file : weight_files(folder)) {
      files_.push_back(SafetensorsFile::open(file));
      for (std::size_t i = 0; i < files_.back()->tensors().size(); ++i) {
        const TensorInfo& info = files_.back()->tensors()[i];
        if (!add_tensor(info)) {
          throw input_error(file.string() + ": tensor " + in_quotes(info.name), "a tensor name appears in two files",
                            "each name once");
        }
        places_.push_back({files_.size() - 1, i});
      }
    }
  }

  Format format() const override { return Format::safetensors; }
  std::vector<fs::path> files() const override {
    std::vector<fs::path> list = {path() / "config.json", path() / index_name};
    for (const auto& file : files_) list.push_back(file->path());
    return list;
  }

 protected:
  void read_stored(std::size_t tensor, std::uint64_t offset, std::span<std::uint8_t> out) const override {
    files_[places_[tensor].file]->read(places_[tensor].tensor, offset, out);
  }
  std::string compute_hash() const override {
    std::string lines;  // files_ are sorted by name
    for (const auto& file : files_) lines += file->path().filename().string() + " " + file->hash() + "\n";
    return sha256({reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()});
  }

 private:
  struct Place {
    std::size_t file = 0;
    std::size_t tensor = 0;
  };

  void flatten(const Json& object, const std::string& prefix);
  std::vector<fs::path> weight_files(const fs::path& folder) const;

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<Place> places_;  ///< by tensor
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
  const fs::path index = folder / index_name;
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

}  // namespace

std::unique_ptr<Checkpoint> open_safetensors(const fs::path& folder) {
  return std::make_unique<SafetensorsCheckpoint>(folder);
}

}  // namespace headroom::checkpoint
