// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/adapter.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/sha256.h"
#include "checkpoint/dequantize.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace fs = std::filesystem;
namespace {

constexpr const char* adapter_config_name = "adapter_config.json";
constexpr const char* adapter_weights_name = "adapter_model.safetensors";
constexpr const char* adapter_change_name = "headroom_adapter.json";

constexpr std::string_view module_prefix = "base_model.model.";
constexpr std::string_view factor_a = ".lora_A.weight", factor_b = ".lora_B.weight";

std::string sizes_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// Why a tensor that is no factor is not supported.
std::string why_not(std::string_view name) {
  const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  if (has("lora_magnitude_vector")) return "DoRA is not supported";
  if (has("lora_embedding_")) return "adapters of the embedding are not supported";
  if (has("vera_lambda")) return "VeRA is not supported";
  if (has("lokr_") || has("hada_")) return "LoKr and LoHa are not supported";
  if (has("oft_")) return "OFT is not supported";
  if (has("ia3_")) return "IA3 is not supported";
  if (has("lora_E") || has("ranknum")) return "AdaLoRA is not supported";
  if (has("lora_")) return "this part of an adapter is not supported";
  return "modules that are saved whole are not supported: merge them into the base";
}

bool is_number_type(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

fs::path adapter_folder(const fs::path& path) {
  std::error_code failed;
  if (!fs::exists(path, failed))
    throw input_error(path.string(), "there is no such adapter",
                      "a folder with adapter_config.json and adapter_model.safetensors", "nothing");
  if (fs::is_directory(path, failed)) return path;
  const fs::path folder = path.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

fs::path adapter_weights(const fs::path& path, const fs::path& folder) {
  std::error_code failed;
  // A pickle is a program: it is said, and never read.
  if (path.extension() == ".bin" || path.extension() == ".pt" || path.extension() == ".pth")
    throw input_error(path.string(), "pickled weights of PyTorch are programs and not read: save them as safetensors",
                      adapter_weights_name, in_quotes(path.filename().string()));
  if (!fs::is_directory(path, failed) && path.extension() == ".safetensors") return path;
  const fs::path file = folder / adapter_weights_name;
  if (fs::exists(file, failed)) return file;
  const bool pickled = fs::exists(folder / "adapter_model.bin", failed);
  throw input_error(folder.string(), "the folder holds no weights of an adapter", adapter_weights_name,
                    pickled ? "adapter_model.bin, pickled weights of PyTorch, which are programs and not read"
                            : "no such file");
}

fs::path adapter_config_of(const fs::path& folder) {
  fs::path file = folder / adapter_config_name;
  std::error_code failed;
  if (!fs::exists(file, failed))
    throw input_error(folder.string(), "the folder holds no adapter", adapter_config_name, "no such file");
  return file;
}

}  // namespace

std::unique_ptr<const Adapter> Adapter::open(const fs::path& path) {
  const fs::path folder = adapter_folder(path);
  adapter_config_of(folder);  // what is no adapter at all is said first
  return std::unique_ptr<const Adapter>(new Adapter(folder, adapter_weights(path, folder)));
}

Adapter::Adapter(fs::path folder, const fs::path& weights)
    : folder_(std::move(folder)), config_(adapter_config_of(folder_)), weights_(SafetensorsFile::open(weights)) {
  const fs::path change = folder_ / adapter_change_name;
  std::error_code failed;
  if (fs::exists(fs::symlink_status(change, failed))) change_ = read_architecture_change(change);
  config_sha256_ = sha256_file(folder_ / adapter_config_name);
  if (change_) change_sha256_ = sha256_file(change_->file);
  pair_factors();
  check_values();
}

std::string Adapter::name() const {
  std::error_code failed;
  const fs::path whole = fs::weakly_canonical(folder_, failed);
  const fs::path& named = failed ? folder_ : whole;
  return (named.has_filename() ? named : named.parent_path()).filename().string();
}

std::string Adapter::place_of(const LoraFactors& factors) const {
  return weights_->path().string() + ": tensor " + in_quotes(weights_->tensors()[factors.a].name);
}

void Adapter::pair_factors() {
  const std::string file = weights_->path().string();
  struct Pair {
    std::optional<std::size_t> a, b;
  };
  std::map<std::string, Pair> pairs;
  for (std::size_t i = 0; i < weights_->tensors().size(); ++i) {
    const TensorInfo& info = weights_->tensors()[i];
    const std::string place = file + ": tensor " + in_quotes(info.name);
    const bool is_a = info.name.ends_with(factor_a), is_b = info.name.ends_with(factor_b);
    if (!info.name.starts_with(module_prefix) || (!is_a && !is_b))
      throw input_error(place, why_not(info.name),
                        in_quotes(std::string(module_prefix) + "MODULE" + std::string(factor_a)) + " and its B",
                        "another tensor");
    if (!is_number_type(info.dtype))
      throw input_error(place, "the values are of another type", "F32, F16 or BF16",
                        std::string(to_string(info.dtype)));
    if (info.shape.size() != 2 || info.elements() == 0)
      throw input_error(place, "a factor of LoRA is a matrix with values", "two sizes above 0",
                        sizes_text(info.shape));
    const std::size_t ending = (is_a ? factor_a : factor_b).size();
    Pair& pair =
        pairs[info.name.substr(module_prefix.size(), info.name.size() - module_prefix.size() - ending)];
    (is_a ? pair.a : pair.b) = i;
  }
  if (pairs.empty()) throw input_error(file, "the adapter holds no tensors", "factors A and B of LoRA", "none");
  for (const auto& [module, pair] : pairs) {
    if (!pair.a || !pair.b)
      throw input_error(file + ": tensor " + in_quotes(weights_->tensors()[pair.a ? *pair.a : *pair.b].name),
                        "one factor is there without the other",
                        in_quotes(std::string(module_prefix) + module + std::string(pair.a ? factor_b : factor_a)),
                        "no such tensor");
    const std::vector<std::int64_t>&a = weights_->tensors()[*pair.a].shape, &b = weights_->tensors()[*pair.b].shape;
    const LoraFactors factors{module, *pair.a, *pair.b, config_.rank(module), a[1], b[0]};
    if (a[0] != factors.rank)
      throw input_error(place_of(factors), "the rank is not the configuration's",
                        sizes_text({factors.rank, a[1]}), sizes_text(a));
    if (b[1] != factors.rank)
      throw input_error(file + ": tensor " + in_quotes(weights_->tensors()[*pair.b].name),
                        "the two factors do not fit each other", sizes_text({b[0], factors.rank}), sizes_text(b));
    factors_.push_back(factors);
  }
}

void Adapter::check_values() const {
  constexpr std::int64_t piece = 1 << 20;  // values
  std::vector<float> values;
  for (std::size_t tensor = 0; tensor < weights_->tensors().size(); ++tensor) {
    const std::int64_t rows = weights_->tensors()[tensor].shape[0], columns = weights_->tensors()[tensor].shape[1];
    const std::int64_t step = std::max<std::int64_t>(1, piece / columns);
    for (std::int64_t row = 0; row < rows; row += step) {
      values.resize(static_cast<std::size_t>(std::min(step, rows - row) * columns));
      read_rows(tensor, row, values);
    }
  }
}

std::vector<fs::path> Adapter::files() const {
  std::vector<fs::path> list = {folder_ / adapter_config_name, weights_->path()};
  if (change_) list.push_back(change_->file);
  return list;
}

const std::string& Adapter::hash(const JobContext& job) const {
  std::call_once(hash_once_, [&] {
    std::string lines = std::string(adapter_config_name) + " " + config_sha256_ + "\n" + adapter_weights_name + " " +
                        weights_->hash(job) + "\n";
    if (change_) lines += std::string(adapter_change_name) + " " + change_sha256_ + "\n";
    hash_ = sha256({reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()});
  });
  return hash_;
}

void Adapter::read_rows(std::size_t tensor, std::int64_t first, std::span<float> out) const {
  thread_local std::vector<std::uint8_t> stored;
  const TensorInfo& info = weights_->tensors()[tensor];
  const auto bytes = static_cast<std::uint64_t>(block_layout(info.dtype).bytes);
  const std::int64_t columns = info.shape[1], count = static_cast<std::int64_t>(out.size());
  if (first < 0 || count % columns != 0 || count > info.elements() - first * columns)
    throw Error(ErrorKind::internal, "the adapter's tensor " + info.name + " has no such rows");
  stored.resize(out.size() * bytes);
  weights_->read(tensor, static_cast<std::uint64_t>(first * columns) * bytes, stored);
  dequantize(info.dtype, stored.data(), out);
  if (all_finite(out)) return;
  const auto bad = std::ranges::find_if(out, [](float value) { return !std::isfinite(value); });
  throw input_error(weights_->path().string() + ": tensor " + in_quotes(info.name) + ", flat index " +
                        std::to_string(first * columns + (bad - out.begin())),
                    "a value is not a finite number", "a finite value", std::isnan(*bad) ? "NaN" : "infinity");
}

}  // namespace headroom::checkpoint
