// SPDX-License-Identifier: Apache-2.0
// Reads a folder as transformers saves it: config.json and one or several *.safetensors files.
#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/sha256.h"
#include "checkpoint/config_json.h"
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
  std::string compute_hash(const JobContext& job) const override {
    std::string lines;  // files_ are sorted by name
    for (const auto& file : files_) lines += file->path().filename().string() + " " + file->hash(job) + "\n";
    return sha256({reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()});
  }

 private:
  struct Place {
    std::size_t file = 0;
    std::size_t tensor = 0;
  };

  std::vector<fs::path> weight_files(const fs::path& folder) const;

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<Place> places_;  ///< by tensor
};

std::vector<fs::path> SafetensorsCheckpoint::weight_files(const fs::path& folder) const {
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
  for (const std::string& name : names) files.push_back(folder / name);
  return files;
}

}  // namespace

std::unique_ptr<Checkpoint> open_safetensors(const fs::path& folder) {
  return std::make_unique<SafetensorsCheckpoint>(folder);
}

}  // namespace headroom::checkpoint
