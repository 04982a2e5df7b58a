// SPDX-License-Identifier: Apache-2.0
#include "model/adapted_checkpoint.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "base/named_model.h"
#include "base/sha256.h"
#include "checkpoint/metadata.h"
#include "model/family.h"

namespace headroom::model {
namespace {

using checkpoint::Adapter;
using checkpoint::Checkpoint;
using checkpoint::Format;
using checkpoint::in_quotes;
using checkpoint::LoraFactors;

/// Rows of a stored tensor that one module's factors change.
struct AdaptedRows {
  std::int64_t first = 0, count = 0;     // of the stored tensor
  const LoraFactors* factors = nullptr;  // of the adapter, which outlives this
  double scale = 0;
  std::int64_t factor_row = 0;              // of B, for the first of them; the others follow …
  std::vector<std::int64_t> factor_rows{};  // … unless they are listed here
};
struct AdaptedTensor {
  std::int64_t columns = 0;
  std::vector<AdaptedRows> rows;
};
using AdaptedTensors = std::unordered_map<std::string, AdaptedTensor>;

// Four rows at a time, so that A passes through the cache a quarter as often.
void add_product(const float* const* b, int rows, std::int64_t rank, const float* a, std::int64_t stride,
                 std::int64_t columns, float scale, float* const* out, float* sums) {
  std::fill_n(sums, rows * columns, 0.0f);
  for (std::int64_t k = 0; k < rank; ++k) {
    const float* const from = a + k * stride;
    for (int row = 0; row < rows; ++row) {
      const float factor = b[row][k];
      float* const sum = sums + row * columns;
      for (std::int64_t i = 0; i < columns; ++i) sum[i] += factor * from[i];
    }
  }
  for (int row = 0; row < rows; ++row) {
    const float* const sum = sums + row * columns;
    for (std::int64_t i = 0; i < columns; ++i) out[row][i] += scale * sum[i];
  }
}

class AdaptedCheckpoint final : public Checkpoint {
 public:
  AdaptedCheckpoint(std::unique_ptr<Checkpoint> base, std::shared_ptr<const Adapter> adapter, AdaptedTensors tensors)
      : base_(std::move(base)), adapter_(std::move(adapter)), adapted_(std::move(tensors)) {}

  Format format() const override { return base_->format(); }
  const std::filesystem::path& path() const override { return base_->path(); }
  std::vector<std::filesystem::path> files() const override {
    auto list = base_->files();
    for (auto& file : adapter_->files()) list.push_back(std::move(file));
    return list;
  }
  const std::vector<checkpoint::TensorInfo>& tensors() const override { return base_->tensors(); }
  const checkpoint::TensorInfo* find(std::string_view name) const override { return base_->find(name); }
  void read_f32(std::string_view name, std::span<float> out) const override {
    base_->read_f32(name, out);
    merge(name, 0, out);
  }
  void read_part(std::string_view name, std::int64_t first, std::span<float> out) const override {
    base_->read_part(name, first, out);
    merge(name, first, out);
  }
  void read_bytes(std::string_view name, std::uint64_t offset, std::span<std::uint8_t> out) const override {
    if (!is_as_stored(name))
      throw Error(ErrorKind::internal, "the bytes of an adapted tensor are not its values: " + std::string(name));
    base_->read_bytes(name, offset, out);
  }
  bool is_as_stored(std::string_view name) const override { return !adapted_.contains(std::string(name)); }
  bool same_data(std::string_view first, std::string_view second) const override {
    if (first == second) return true;
    return is_as_stored(first) && is_as_stored(second) && base_->same_data(first, second);
  }
  std::optional<std::int64_t> get_int(std::string_view key) const override { return base_->get_int(key); }
  std::optional<double> get_float(std::string_view key) const override { return base_->get_float(key); }
  std::optional<bool> get_bool(std::string_view key) const override { return base_->get_bool(key); }
  std::optional<std::string> get_string(std::string_view key) const override { return base_->get_string(key); }
  std::optional<std::vector<std::string>> get_strings(std::string_view key) const override {
    return base_->get_strings(key);
  }
  std::optional<std::vector<double>> get_numbers(std::string_view key) const override {
    return base_->get_numbers(key);
  }
  checkpoint::Held holds(std::string_view key) const override { return base_->holds(key); }
  std::map<std::string, std::string> keys(std::string_view prefix) const override { return base_->keys(prefix); }

  const std::string& hash(const JobContext& job) const override {
    std::call_once(hash_once_, [&] {
      const std::string lines = "base " + base_->hash(job) + "\nadapter " + adapter_->hash(job) + "\n";
      hash_ = sha256({reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()});
    });
    return hash_;
  }
  const std::string& base_hash(const JobContext& job) const override { return base_->hash(job); }
  const Adapter* adapter() const override { return adapter_.get(); }

 private:
  // Adds the adapter's part to the values first … of a tensor.
  void merge(std::string_view name, std::int64_t first, std::span<float> out) const {
    const auto found = adapted_.find(std::string(name));
    if (found == adapted_.end() || out.empty()) return;
    const AdaptedTensor& tensor = found->second;
    const std::int64_t columns = tensor.columns, end = first + static_cast<std::int64_t>(out.size());
    for (const AdaptedRows& part : tensor.rows) {
      const std::int64_t from = std::max(part.first, first / columns);
      const std::int64_t to = std::min(part.first + part.count, (end + columns - 1) / columns);
      if (from < to) merge_rows(part, columns, from, to, first, out);
    }
  }

  void merge_rows(const AdaptedRows& part, std::int64_t columns, std::int64_t from, std::int64_t to,
                  std::int64_t first, std::span<float> out) const {
    thread_local std::vector<float> a, b, sums;
    const LoraFactors& factors = *part.factors;
    const auto factor_row = [&](std::int64_t row) {
      const std::int64_t at = row - part.first;
      return part.factor_rows.empty() ? part.factor_row + at : part.factor_rows[static_cast<std::size_t>(at)];
    };
    std::int64_t lowest = factor_row(from), highest = lowest;
    for (std::int64_t row = from; row < to; ++row) {
      lowest = std::min(lowest, factor_row(row));
      highest = std::max(highest, factor_row(row));
    }
    a.resize(static_cast<std::size_t>(factors.rank * factors.in));
    adapter_->read_rows(factors.a, 0, a);
    b.resize(static_cast<std::size_t>((highest - lowest + 1) * factors.rank));
    adapter_->read_rows(factors.b, lowest, b);
    constexpr int together = 4;
    sums.resize(static_cast<std::size_t>(together * columns));
    const std::int64_t end = first + static_cast<std::int64_t>(out.size());
    for (std::int64_t row = from; row < to;) {
      std::array<const float*, together> b_rows{};
      std::array<float*, together> out_rows{};
      // A row that the asked for values begin or end within goes alone.
      const std::int64_t low = std::max(row * columns, first) - row * columns;
      const std::int64_t high = std::min((row + 1) * columns, end) - row * columns;
      int count = 0;
      while (count < together && row + count < to) {
        const std::int64_t one = row + count;
        const bool whole = one * columns >= first && (one + 1) * columns <= end;
        if (count > 0 && (!whole || high - low != columns)) break;
        b_rows[static_cast<std::size_t>(count)] = b.data() + (factor_row(one) - lowest) * factors.rank;
        out_rows[static_cast<std::size_t>(count)] = out.data() + (one * columns + low - first);
        ++count;
      }
      add_product(b_rows.data(), count, factors.rank, a.data() + low, columns, high - low,
                  static_cast<float>(part.scale), out_rows.data(), sums.data());
      row += count;
    }
  }

  std::unique_ptr<Checkpoint> base_;
  std::shared_ptr<const Adapter> adapter_;
  AdaptedTensors adapted_;
  mutable std::once_flag hash_once_;
  mutable std::string hash_;
};

// --- which rows of which tensors ---

/// Names as transformers has them, of a base in another format: a plan looks at nothing else here.
class TransformersNames final : public checkpoint::CheckpointBase {
 public:
  explicit TransformersNames(const Checkpoint& base) : CheckpointBase(base.path()) {}
  Format format() const override { return Format::safetensors; }
  std::vector<std::filesystem::path> files() const override { return {}; }

 protected:
  void read_stored(std::size_t, std::uint64_t, std::span<std::uint8_t>) const override {
    throw Error(ErrorKind::internal, "names have no tensors");
  }
  std::string compute_hash(const JobContext&) const override { return {}; }
};

constexpr std::string_view text_prefixes[] = {"model.language_model.", "language_model.model.", "model."};

/// "layers.3.self_attn.q_proj" of any model that has a text part: the same module, whoever named it.
std::string without_prefix(std::string_view module) {
  for (const std::string_view prefix : text_prefixes)
    if (module.starts_with(prefix) && module.substr(prefix.size()).starts_with("layers."))
      return std::string(module.substr(prefix.size()));
  return std::string(module == "language_model.lm_head" ? module.substr(15) : module);
}

struct Module {
  const TensorPlans* wanted = nullptr;  // of its layer or of the ends, in transformers' names
  const TensorPlans* stored = nullptr;  // … and in the base's
  std::string role;                     // that it is part of
  std::string tensor;                   // in transformers' names
  std::int64_t rows = 0, columns = 0, layer = -1;
};

/// Matrices that are linear layers of their own in transformers, whichever version made the adapter.
constexpr std::string_view linear_roles[] = {"qkv",         "attention_output", "gate_up",     "down",
                                             "delta_qkvz",  "delta_rates",      "delta_output", "shared_gate_up",
                                             "shared_down", "shared_gate",      "output"};

std::map<std::string, Module> find_modules(const ModelPlan& wanted, const ModelPlan& stored) {
  std::map<std::string, Module> modules;
  const auto add = [&](const TensorPlans& by_role, const TensorPlans& in_base, std::int64_t layer) {
    for (const auto& [role, plan] : by_role) {
      if (std::ranges::find(linear_roles, role) == std::end(linear_roles)) continue;
      for (const RowBlock& block : plan.blocks) {
        constexpr std::string_view ending = ".weight";
        const std::vector<std::int64_t> shape = stored_shape(block, plan.columns);
        if (!block.tensor.ends_with(ending) || block.transposed || shape.size() != 2) continue;
        const std::string name = block.tensor.substr(0, block.tensor.size() - ending.size());
        modules.emplace(without_prefix(name),
                        Module{&by_role, &in_base, role, block.tensor, shape[0], shape[1], layer});
      }
    }
  };
  add(wanted.ends, stored.ends, -1);
  for (std::size_t i = 0; i < wanted.layers.size(); ++i)
    add(wanted.layers[i], stored.layers[i], static_cast<std::int64_t>(i));
  return modules;
}

/// The rows that one module's factors change, in every stored tensor that holds some of them.
void add_rows(const Module& module, const LoraFactors& factors, double scale, AdaptedTensors& adapted) {
  // Rows of the part, in the order that it computes with, are what both formats have in common.
  const TensorPlan &wanted = module.wanted->at(module.role), &stored = module.stored->at(module.role);
  std::vector<std::int64_t> factor_row;  // by row of the part; -1: of another module
  for (const RowBlock& block : wanted.blocks)
    for (std::int64_t row = 0; row < block.rows; ++row)
      factor_row.push_back(block.tensor == module.tensor ? stored_row(block, row) : -1);
  std::map<std::string, std::map<std::int64_t, std::int64_t>> by_tensor;  // stored row to row of B
  std::size_t at = 0;
  for (const RowBlock& block : stored.blocks)
    for (std::int64_t row = 0; row < block.rows; ++row, ++at)
      if (at < factor_row.size() && factor_row[at] >= 0)
        by_tensor[block.tensor][stored_row(block, row)] = factor_row[at];
  if (at != factor_row.size() || wanted.columns != stored.columns)
    throw Error(ErrorKind::internal, "the plans of " + module.role + " differ in size between formats");
  for (const auto& [tensor, rows] : by_tensor) {
    AdaptedTensor& target = adapted[tensor];
    target.columns = stored.columns;
    for (auto row = rows.begin(); row != rows.end();) {
      AdaptedRows part{row->first, 0, &factors, scale, row->second};
      bool in_order = true;
      std::vector<std::int64_t> listed;
      for (; row != rows.end() && row->first == part.first + part.count; ++row, ++part.count) {
        in_order = in_order && row->second == part.factor_row + part.count;
        listed.push_back(row->second);
      }
      if (!in_order) part.factor_rows = std::move(listed);
      target.rows.push_back(std::move(part));
    }
  }
}

[[noreturn]] void refuse_module(const Adapter& adapter, const LoraFactors& factors, const ModelConfig& config,
                                const std::map<std::string, Module>& modules) {
  const std::string place = adapter.place_of(factors), found = in_quotes(factors.module);
  const std::string name = without_prefix(factors.module);
  if (name == "lm_head" && config.tied_output)
    throw input_error(place, "the model's output is its embedding, and an adapter of the output alone is not supported",
                      "no adapter of 'lm_head'", found);
  const bool experts = name.find(".experts") != std::string::npos || name.ends_with(".mlp.gate") ||
                       name.ends_with(".router");
  throw input_error(place,
                    experts ? "adapters of experts and their routers are not supported"
                            : "the base (" + config.architecture + ") has no linear layer of this name",
                    modules.empty() ? "a linear layer of the base"
                                    : "one as 'model." + modules.begin()->first + "'",
                    found);
}

/// In GGUF files of some families value heads stand in another order than in transformers, columns of the output too.
bool heads_are_reordered(const Checkpoint& base, const ModelConfig& config, const Module& module) {
  if (base.format() != Format::gguf || !module.role.starts_with("delta_")) return false;
  const DeltaSpec& delta = config.layer(module.layer).delta;
  return delta.tiled_heads && delta.group() > 1;
}

AdaptedTensors match_modules(const Checkpoint& base, const ModelConfig& config, const Adapter& adapter) {
  const Family family = find_family(config.architecture, base.path().string());
  const ModelPlan stored = family.plan(base, config);
  const TransformersNames names(base);
  const ModelPlan wanted = base.format() == Format::gguf ? family.plan(names, config) : stored;
  const std::map<std::string, Module> modules = find_modules(wanted, stored);
  AdaptedTensors adapted;
  std::map<std::string, std::string> changed;  // modules by their common names, and the adapter's own
  for (const LoraFactors& factors : adapter.factors()) {
    const std::string name = without_prefix(factors.module);
    const auto found = modules.find(name);
    if (found == modules.end()) refuse_module(adapter, factors, config, modules);
    const Module& module = found->second;
    const std::string place = adapter.place_of(factors);
    if (heads_are_reordered(base, config, module))
      throw input_error(place, "adapters of linear attention are not supported where GGUF reorders its heads",
                        "the base as safetensors", "a GGUF file");
    if (factors.out != module.rows || factors.in != module.columns)
      throw input_error(place, "the factors have another shape than the base's weight",
                        "[" + std::to_string(module.rows) + ", " + std::to_string(module.columns) + "]",
                        "[" + std::to_string(factors.out) + ", " + std::to_string(factors.in) + "]");
    if (!adapter.config().targets(factors.module, module.role == "output"))
      throw input_error(place, "adapter_config.json does not name this module, so that PEFT would leave it out",
                        "a module that target_modules and the keys beside it name", in_quotes(factors.module));
    if (const auto [other, is_new] = changed.emplace(name, factors.module); !is_new)
      throw input_error(place, "two modules of the adapter are the same one of the base", "one of them",
                        in_quotes(other->second) + " and " + in_quotes(factors.module));
    add_rows(module, factors, adapter.config().scale(factors.module), adapted);
  }
  // What the configuration names must be there: a file that lost some of its tensors is another adapter.
  const std::string& some = adapter.factors().front().module;
  const std::string prefix = some.substr(0, some.size() - without_prefix(some).size());
  for (const auto& [name, module] : modules) {
    const bool output = module.role == "output";
    const std::string whole = output ? name : (prefix.empty() ? "model." : prefix) + name;
    if (!changed.contains(name) && adapter.config().targets(whole, output))
      throw input_error(adapter.folder().string(),
                        "adapter_config.json names a module that the adapter holds no factors of",
                        in_quotes("base_model.model." + whole + ".lora_A.weight"), "no such tensor");
  }
  return adapted;
}

}  // namespace

std::unique_ptr<Checkpoint> apply_adapter(std::unique_ptr<Checkpoint> base, std::shared_ptr<const Adapter> adapter,
                                          const JobContext& job) {
  const ModelConfig config = read_model_config(*base);
  if (const auto& change = adapter->change()) {
    if (const std::string& hash = base->hash(job); hash != change->base_sha256)
      throw input_error(change->file.string() + ": key 'base_sha256'",
                        "the adapter belongs to another base than " + base->path().filename().string(),
                        change->base_sha256, hash);
    ModelConfig changed = config;
    change_architecture(*change, changed);
  }
  AdaptedTensors tensors = match_modules(*base, config, *adapter);
  return std::make_unique<AdaptedCheckpoint>(std::move(base), std::move(adapter), std::move(tensors));
}

std::unique_ptr<Checkpoint> open_model(const std::string& path_or_name, const std::optional<std::string>& adapter,
                                       const JobContext& job) {
  const NamedModel named = find_named_model(path_or_name, adapter);
  auto base = checkpoint::open_checkpoint(named.path);
  if (!named.adapter) return base;
  return apply_adapter(std::move(base), checkpoint::Adapter::open(*named.adapter), job);
}

}  // namespace headroom::model
