// SPDX-License-Identifier: Apache-2.0
// Indexers as safetensors files: weights under the layers' names, metadata as strings.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/paths.h"
#include "base/sha256.h"
#include "checkpoint/safetensors_file.h"
#include "indexer/indexer.h"

namespace headroom::indexer {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view name_prefix = "model.layers.";
constexpr std::string_view name_middle = ".self_attn.indexer.";
constexpr std::string_view format_name = "headroom-indexer";
constexpr std::int64_t max_layers = 4096, max_index_dim = 4096, max_width = 1 << 20;

std::string tensor_name(int layer, std::string_view part) {
  return std::string(name_prefix) + std::to_string(layer) + std::string(name_middle) + std::string(part) + ".weight";
}

/// The layer number and "q_proj", "k_proj" or "k_norm"; -1 for any other name.
std::pair<int, std::string> parse_name(std::string_view name) {
  constexpr std::pair<int, const char*> unknown = {-1, ""};
  if (!name.starts_with(name_prefix)) return unknown;
  name.remove_prefix(name_prefix.size());
  int layer = -1;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (failed != std::errc() || layer < 0 || layer >= max_layers) return unknown;
  name.remove_prefix(static_cast<std::size_t>(end - name.data()));
  if (!name.starts_with(name_middle)) return unknown;
  name.remove_prefix(name_middle.size());
  for (const char* part : {"q_proj", "k_proj", "k_norm"})
    if (name == std::string(part) + ".weight") return {layer, part};
  return unknown;
}

template <typename Number>
void read_number(const std::map<std::string, std::string>& metadata, const char* key, Number low, Number high,
                 const std::string& place, Number& value) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return;
  const std::string& text = found->second;
  Number parsed{};
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (failed != std::errc() || end != text.data() + text.size() || !(parsed >= low && parsed <= high))
    throw input_error(place, std::string("metadata \"") + key + "\" is not a number in range",
                      std::to_string(low) + " to " + std::to_string(high), text.substr(0, 40));
  value = parsed;
}

std::string read_json_object(const std::map<std::string, std::string>& metadata, const char* key,
                             const std::string& place) {
  const auto found = metadata.find(key);
  if (found == metadata.end() || found->second.empty()) return {};
  if (!nlohmann::json::accept(found->second))
    throw input_error(place, std::string("metadata \"") + key + "\" is not JSON", "a JSON object",
                      found->second.substr(0, 40));
  return found->second;
}

Metadata read_metadata(const checkpoint::SafetensorsFile& file) {
  const auto& stored = file.metadata();
  const std::string place = file.path().string();
  if (const auto format = stored.find("format"); format == stored.end() || format->second != format_name)
    throw input_error(place, "this is not an indexer's file",
                      std::string("metadata format ") + std::string(format_name),
                      format == stored.end() ? "none" : format->second.substr(0, 40));
  Metadata metadata;
  const auto text = [&](const char* key) {
    const auto found = stored.find(key);
    return found == stored.end() ? std::string() : found->second;
  };
  read_number<std::int64_t>(stored, "index_dim", 2, max_index_dim, place, metadata.index_dim);
  read_number<std::int64_t>(stored, "trained_length", 0, std::int64_t{1} << 40, place, metadata.trained_length);
  read_number<std::int64_t>(stored, "steps", 0, std::int64_t{1} << 40, place, metadata.steps);
  read_number<double>(stored, "norm_epsilon", 1e-12, 1e-1, place, metadata.norm_epsilon);
  metadata.base_model_sha256 = text("base_model_sha256");
  metadata.base_model_name = text("base_model_name");
  metadata.recipe = read_json_object(stored, "recipe", place);
  metadata.held_out = read_json_object(stored, "held_out", place);
  return metadata;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

std::string number_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace

const LayerWeights* Indexer::find_layer(int layer) const {
  const auto found = layers.find(layer);
  return found == layers.end() ? nullptr : &found->second;
}

std::string Indexer::layers_text() const {
  return std::to_string(layers.size()) + " layers, the last is " +
         std::to_string(layers.empty() ? -1 : layers.rbegin()->first);
}

Indexer load_indexer(const fs::path& path) {
  const auto file = checkpoint::SafetensorsFile::open(path);
  Indexer indexer;
  indexer.sha256 = sha256_file(path);
  indexer.metadata = read_metadata(*file);
  const std::int64_t dim = indexer.metadata.index_dim;
  if (dim % 2 != 0)
    throw input_error(path.string(), "index_dim must be even: rotary embedding turns pairs", "an even number",
                      std::to_string(dim));
  std::int64_t width = 0;
  for (const checkpoint::TensorInfo& info : file->tensors()) {
    const std::string place = path.string() + ": " + info.name;
    const auto [layer, part] = parse_name(info.name);
    if (layer < 0)
      throw input_error(place, "unknown tensor in an indexer's file", tensor_name(0, "{q_proj,k_proj,k_norm}"),
                        info.name.substr(0, 100));
    const bool is_norm = part == "k_norm";
    if (!is_norm && width == 0 && info.shape.size() == 2) width = info.shape[1];
    const std::vector<std::int64_t> expected = is_norm ? std::vector{dim} : std::vector{dim, width};
    if (info.shape != expected || (!is_norm && (width < 1 || width > max_width)))
      throw input_error(place, "wrong shape", shape_text(expected), shape_text(info.shape));
    at::Tensor tensor = at::empty(info.shape, at::kFloat);
    file->read_f32(info.name, {tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
    LayerWeights& weights = indexer.layers[layer];
    (is_norm ? weights.k_norm : part == "q_proj" ? weights.q_proj : weights.k_proj) = tensor;
  }
  if (indexer.layers.empty()) throw input_error(path.string(), "the file holds no layer", "indexer weights", "nothing");
  for (const auto& [layer, weights] : indexer.layers) {
    const char* missing = !weights.q_proj.defined()   ? "q_proj"
                          : !weights.k_proj.defined() ? "k_proj"
                          : !weights.k_norm.defined() ? "k_norm"
                                                      : nullptr;
    if (missing)
      throw input_error(path.string(), "a tensor is missing", tensor_name(layer, missing), "only the layer's others");
  }
  return indexer;
}

fs::path save_indexer(const Indexer& indexer, OutputPlace& place) {
  std::vector<at::Tensor> kept;
  std::vector<checkpoint::TensorToWrite> tensors;
  const auto add = [&](int layer, const char* part, const at::Tensor& weight) {
    kept.push_back(weight.to(at::kCPU).to(at::kBFloat16).contiguous());
    const at::Tensor& stored = kept.back();
    tensors.push_back({tensor_name(layer, part),
                       stored.sizes().vec(),
                       checkpoint::DType::bf16,
                       {static_cast<const std::uint8_t*>(stored.const_data_ptr()), stored.nbytes()}});
  };
  for (const auto& [layer, weights] : indexer.layers) {
    add(layer, "q_proj", weights.q_proj);
    add(layer, "k_proj", weights.k_proj);
    add(layer, "k_norm", weights.k_norm);
  }
  const Metadata& metadata = indexer.metadata;
  return checkpoint::write_safetensors(place, tensors,
                                       {{"format", std::string(format_name)},
                                        {"index_dim", std::to_string(metadata.index_dim)},
                                        {"base_model_sha256", metadata.base_model_sha256},
                                        {"base_model_name", metadata.base_model_name},
                                        {"trained_length", std::to_string(metadata.trained_length)},
                                        {"steps", std::to_string(metadata.steps)},
                                        {"norm_epsilon", number_text(metadata.norm_epsilon)},
                                        {"recipe", metadata.recipe},
                                        {"held_out", metadata.held_out}});
}

std::optional<fs::path> find_shipped_indexer(const std::string& model_sha256) {
  const auto folder = find_data("sample_data/indexers");
  if (!folder || model_sha256.empty()) return std::nullopt;
  std::vector<fs::path> files;
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(*folder, failed))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    try {
      if (read_metadata(*checkpoint::SafetensorsFile::open(file)).base_model_sha256 == model_sha256) return file;
    } catch (const Error&) {
      continue;  // another file in that folder is no reason to fail; load_indexer names what is wrong with it
    }
  }
  return std::nullopt;
}

}  // namespace headroom::indexer
