// SPDX-License-Identifier: Apache-2.0
// Reads a folder as transformers saves it: config.json and one or several *.safetensors files.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/sha256.h"
#include "checkpoint/config_json.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/input_file.h"
#include "checkpoint/json_input.h"
#include "checkpoint/metadata.h"
#include "checkpoint/quantised_tensors.h"
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

Json parse_file(const fs::path& file, int max_depth) {
  const std::string text = read_text(file);
  try {
    return parse_json_object(text, file.string(), max_depth);
  } catch (const Error& error) {
    const std::string kind = file_kind(text);
    if (kind.empty() || kind == "JSON") throw;
    throw input_error(file.string(), "this is not valid JSON", "an object in JSON", kind);
  }
}

/// What a folder without *.safetensors holds instead, with what to do about it; empty where that is not known.
std::string other_weights(const fs::path& folder) {
  struct Ending {
    std::string_view name, what;
  };
  constexpr std::array endings = {
      Ending{".gguf", "a GGUF file: give it instead of its folder"},
      Ending{".bin", "pickled weights of PyTorch, which are programs and not read: save them as safetensors"},
      Ending{".pt", "pickled weights of PyTorch, which are programs and not read: save them as safetensors"},
      Ending{".pth", "pickled weights of PyTorch, which are programs and not read: save them as safetensors"},
      Ending{".ckpt", "pickled weights of PyTorch, which are programs and not read: save them as safetensors"},
      Ending{".pkl", "a pickle, which is a program and not read: save the weights as safetensors"},
      Ending{".h5", "an HDF5 file"},
      Ending{".msgpack", "weights of Flax"},
      Ending{".onnx", "an ONNX model"},
  };
  std::set<fs::path> files;  // the order of a folder is nobody's
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) files.insert(entry.path());
  for (const Ending& ending : endings)
    for (const fs::path& file : files)
      if (file.extension() == ending.name) return in_quotes(file.filename().string()) + ", " + std::string(ending.what);
  return {};
}

class SafetensorsCheckpoint final : public CheckpointBase {
 public:
  explicit SafetensorsCheckpoint(const fs::path& folder) : CheckpointBase(folder) {
    const fs::path config = folder / "config.json";
    std::error_code failed;
    if (!fs::is_regular_file(config, failed)) {
      const std::string other = other_weights(folder);
      throw input_error(folder.string(), "the folder holds no model", "config.json and *.safetensors",
                        "no config.json" + (other.empty() ? "" : ", but " + other));
    }
    for (auto& [key, value] : config_values(parse_file(config, 16))) {
      if (!add_value(key, std::move(value)))
        throw input_error(place_of_key(key), "two entries of config.json have this name", "one",
                          "an object's and another");
    }
    const ConfigReader reader(*this, "quantization_config.");
    const Quantisation quantisation = read_quantisation(reader);
    std::vector<StoredTensor> stored;
    for (const fs::path& file : weight_files(folder)) {
      files_.push_back(SafetensorsFile::open(file));
      for (std::size_t i = 0; i < files_.back()->tensors().size(); ++i)
        stored.push_back({files_.back()->tensors()[i], {files_.size() - 1, i}});
    }
    check_index(stored);
    const auto place_of = [&](const StoredTensor& tensor) {
      return files_[tensor.place.file]->path().string() + ": tensor " + in_quotes(tensor.info.name);
    };
    for (ComposedTensor& tensor : compose_tensors(quantisation, stored, place_of)) {
      if (!add_tensor(std::move(tensor.info)))
        throw Error(ErrorKind::internal, "safetensors: a composed tensor's name is taken");
      composed_.push_back({tensor.values, std::move(tensor.scales)});
    }
    remove_values("quantization_config.");
  }

  Format format() const override { return Format::safetensors; }
  bool same_data(std::string_view first, std::string_view second) const override {
    for (const std::string_view name : {first, second}) {
      const TensorInfo* const info = find(name);
      if (info && composed_[static_cast<std::size_t>(info - tensors().data())].scales) return first == second;
    }
    return CheckpointBase::same_data(first, second);
  }
  std::vector<fs::path> files() const override {
    std::vector<fs::path> list = {path() / "config.json", path() / index_name};
    for (const auto& file : files_) list.push_back(file->path());
    return list;
  }

 protected:
  void read_stored(std::size_t tensor, std::uint64_t offset, std::span<std::uint8_t> out) const override {
    const StoredPlace& place = composed_[tensor].values;
    files_[place.file]->read(place.tensor, offset, out);
  }
  void read_values(std::size_t tensor, std::int64_t first, std::span<float> out) const override {
    const auto& [values, scales] = composed_[tensor];
    if (!scales) return CheckpointBase::read_values(tensor, first, out);
    read_scaled(
        tensors()[tensor], *scales, first, out,
        [&](std::uint64_t offset, std::span<std::uint8_t> bytes) { read_stored(tensor, offset, bytes); },
        [&](std::uint64_t offset, std::span<std::uint8_t> bytes) {
          files_[scales->place.file]->read(scales->place.tensor, offset, bytes);
        });
  }
  std::string compute_hash(const JobContext& job) const override {
    std::string lines;  // files_ are sorted by name
    for (const auto& file : files_) lines += file->path().filename().string() + " " + file->hash(job) + "\n";
    return sha256({reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()});
  }

 private:
  struct Composed {
    StoredPlace values;
    std::optional<Scales> scales;
  };

  std::vector<fs::path> weight_files(const fs::path& folder);
  void check_index(const std::vector<StoredTensor>& stored) const;

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<Composed> composed_;                         ///< by tensor
  std::map<std::string, std::string, std::less<>> index_;  ///< the file of each tensor, where there is an index
};

std::vector<fs::path> SafetensorsCheckpoint::weight_files(const fs::path& folder) {
  std::set<std::string> names;
  const fs::path index = folder / index_name;
  std::error_code failed;
  if (fs::is_regular_file(index, failed)) {
    const Json json = parse_file(index, 8);
    const auto map = json.find("weight_map");
    if (map == json.end() || !map->is_object())
      throw input_error(index.string(), "the index has no weight_map", "an object of file names", "none");
    for (const auto& [tensor, file] : map->items()) {
      if (!file.is_string() || fs::path(file.get<std::string>()).filename() != fs::path(file.get<std::string>()))
        throw input_error(index.string() + ": tensor " + in_quotes(tensor), "no file of this folder is named",
                          "a file name", in_quotes(file.dump(-1, ' ', false, Json::error_handler_t::replace)));
      names.insert(file.get<std::string>());
      index_.emplace(tensor, file.get<std::string>());
    }
  } else {
    for (const auto& entry : fs::directory_iterator(folder, failed))
      if (entry.path().extension() == ".safetensors") names.insert(entry.path().filename().string());
  }
  if (names.empty()) {
    const std::string other = other_weights(folder);
    throw input_error(folder.string(), "the folder holds no weights", "config.json and *.safetensors",
                      "no *.safetensors" + (other.empty() ? "" : ", but " + other));
  }
  std::vector<fs::path> files;
  for (const std::string& name : names) {
    files.push_back(folder / name);
    if (!fs::exists(files.back(), failed)) {
      throw input_error(files.back().string(), "the index names this file, and it is missing",
                        "all " + std::to_string(names.size()) + " files of " + index_name, "no such file");
    }
  }
  return files;
}

// Each tensor once, and where the index says so. What an index leaves out is still there.
void SafetensorsCheckpoint::check_index(const std::vector<StoredTensor>& stored) const {
  std::map<std::string_view, std::string> found;
  for (const StoredTensor& tensor : stored) {
    const std::string file = files_[tensor.place.file]->path().filename().string();
    const auto [other, is_new] = found.emplace(tensor.info.name, file);
    if (!is_new) {
      throw input_error((path() / file).string() + ": tensor " + in_quotes(tensor.info.name),
                        "a tensor name appears in two files", "each name once", "it is in " + other->second + ", too");
    }
  }
  for (const auto& [tensor, file] : index_) {
    const auto there = found.find(tensor);
    if (there != found.end() && there->second == file) continue;
    throw input_error((path() / index_name).string() + ": tensor " + in_quotes(tensor),
                      "the tensor is not in the file that the index names", in_quotes(file),
                      there == found.end() ? std::string("in none") : "in " + in_quotes(there->second));
  }
}

}  // namespace

std::unique_ptr<Checkpoint> open_safetensors(const fs::path& folder) {
  return std::make_unique<SafetensorsCheckpoint>(folder);
}

}  // namespace headroom::checkpoint
