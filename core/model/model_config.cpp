// SPDX-License-Identifier: Apache-2.0
#include "model/model_config.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/metadata.h"
#include "model/adapted_checkpoint.h"
#include "model/family.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Format;
using checkpoint::in_quotes;
using checkpoint::key_place;

/// What the checkpoint calls its architecture, and under which key.
std::pair<std::string, std::string> named_architecture(const Checkpoint& checkpoint) {
  if (checkpoint.format() == Format::gguf) {
    const auto name = checkpoint.get_string("general.architecture");
    if (!name)
      throw input_error(key_place(checkpoint, "general.architecture"), "the file does not name its architecture");
    return {*name, "general.architecture"};
  }
  const auto names = checkpoint.get_strings("architectures");
  if (!names || names->size() != 1) {
    throw input_error(key_place(checkpoint, "architectures"), "config.json does not name its architecture",
                      "a list of one name", names ? std::to_string(names->size()) + " names" : "none");
  }
  return {names->front(), "architectures"};
}

/// The file's or folder's own name: general.name is often what the training run was called.
std::string base_display_name(const Checkpoint& checkpoint) {
  const auto& path = checkpoint.path();
  if (checkpoint.format() == Format::gguf) {
    const std::string stem = path.stem().string();
    const std::size_t part = stem.rfind("-of-");  // NAME-00001-of-00003
    return checkpoint.files().size() > 1 && part != std::string::npos && part >= 6 ? stem.substr(0, part - 6) : stem;
  }
  if (path.extension() == ".json") return path.stem().string();  // a configuration alone
  return (path.has_filename() ? path.filename() : path.parent_path().filename()).string();
}

/// With an adapter the name that it gives the pair, or both names.
std::string display_name(const Checkpoint& checkpoint) {
  const checkpoint::Adapter* const adapter = checkpoint.adapter();
  if (!adapter) return base_display_name(checkpoint);
  if (adapter->change() && !adapter->change()->name.empty()) return adapter->change()->name;
  return base_display_name(checkpoint) + " + " + adapter->name();
}

/// What a file says of itself beside its architecture.
void check_container(const Checkpoint& checkpoint) {
  const ConfigReader reader(checkpoint);
  if (const std::string type = reader.string_or("general.type", "model"); type != "model")
    reader.refuse("general.type", "this file holds no model of its own", "model", in_quotes(type));
  reader.must_be("general.quantization_version", 2.0, "this version of quantised blocks is not known");
}

/// A tensor that is left out would change the result without a word: a layer too many, norms, biases, adapters.
void refuse_unused_tensors(const Checkpoint& checkpoint, const ModelConfig& config, const Family& family) {
  std::unordered_set<std::string> used;
  const auto add = [&used](const TensorPlans& plans) {
    for (const auto& [role, plan] : plans)
      for (const RowBlock& block : plan.blocks) used.insert(block.tensor);
  };
  const ModelPlan plan = family.plan(checkpoint, config);
  add(plan.ends);
  for (const TensorPlans& layer : plan.layers) add(layer);
  for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) {
    if (used.contains(tensor.name) || (family.stands_beside && family.stands_beside(config, tensor.name))) continue;
    throw input_error(
        checkpoint.path().string() + ": tensor " + in_quotes(tensor.name),
        "the model as its metadata describe it has no place for this tensor, which would be left out",
        "tensors of " + config.architecture + " with layers 0 to " + std::to_string(config.num_layers() - 1),
        "one more");
  }
}

}  // namespace

std::string_view to_string(LayerKind kind) {
  switch (kind) {
    case LayerKind::full:
      return "full";
    case LayerKind::sliding:
      return "sliding";
    case LayerKind::linear:
      return "linear";
  }
  return "?";
}

std::int64_t ModelConfig::full_layers() const {
  return std::count_if(layers.begin(), layers.end(),
                       [](const LayerSpec& spec) { return spec.kind == LayerKind::full; });
}

std::int64_t ModelConfig::first_full() const {
  for (std::int64_t i = 0; i < num_layers(); ++i) {
    if (is_full(i)) return i;
  }
  return 0;
}

std::int64_t ModelConfig::kv_values_per_token() const {
  std::int64_t values = 0;
  for (const LayerSpec& spec : layers) values += spec.kv_values_per_token();
  return values;
}

std::int64_t ModelConfig::active_weights() const {
  std::int64_t weights = 0;
  for (const LayerSpec& spec : layers) {
    const AttentionSpec& attention = spec.attention;
    const DeltaSpec& delta = spec.delta;
    const std::int64_t q_width = attention.num_q_heads * attention.head_dim;
    const std::int64_t mixer = spec.kind == LayerKind::linear
                                   ? delta.channels() + 2 * delta.value_width() + 2 * delta.value_heads
                                   : q_width * (attention.output_gate ? 3 : 2) +
                                         2 * attention.num_kv_heads * attention.head_dim;
    weights += width * (mixer + 3 * spec.mlp.active_width() + (spec.mlp.has_experts() ? spec.mlp.experts : 0));
  }
  return weights;
}

std::int64_t ModelConfig::max_q_heads() const {
  std::int64_t most = 0;
  for (const LayerSpec& spec : layers) {
    if (spec.kind == LayerKind::full) most = std::max(most, spec.attention.num_q_heads);
  }
  return most;
}

ModelConfig read_model_config(const Checkpoint& checkpoint) {
  const auto [name, key] = named_architecture(checkpoint);
  const bool gguf = checkpoint.format() == Format::gguf;
  std::string supported;
  for (const Family& family : families()) {
    const auto& known = gguf ? family.gguf : family.transformers;
    if (std::ranges::find(known, name) != known.end()) {
      ModelConfig config;
      config.architecture = family.name;
      config.name = display_name(checkpoint);
      if (gguf) check_container(checkpoint);
      family.read(checkpoint, config);
      if (const auto* adapter = checkpoint.adapter(); adapter && adapter->change())
        change_architecture(*adapter->change(), config);
      check_config(config, checkpoint.path().string());
      refuse_unused_tensors(checkpoint, config, family);
      return config;
    }
    for (const std::string_view one : known) supported += (supported.empty() ? "" : ", ") + std::string(one);
  }
  throw input_error(key_place(checkpoint, key), "this architecture is not supported", supported, in_quotes(name));
}

Family find_family(const std::string& name, const std::string& place) {
  std::string names;
  for (const Family& family : families()) {
    if (family.name == name) return family;
    names += (names.empty() ? "" : ", ") + std::string(family.name);
  }
  throw input_error(place, "this architecture is not supported", names, name);
}

namespace {

void check_delta(const DeltaSpec& delta, const std::string& here) {
  if (delta.key_heads < 1 || delta.value_heads < 1 || delta.value_heads % delta.key_heads != 0 || delta.key_dim < 1 ||
      delta.value_dim < 1)
    throw input_error(here, "the heads of linear attention do not fit together", "value heads a multiple of key heads",
                      std::to_string(delta.value_heads) + " : " + std::to_string(delta.key_heads) + " heads of " +
                          std::to_string(delta.value_dim) + " and " + std::to_string(delta.key_dim));
  if (delta.kernel < 2)
    throw input_error(here, "the convolution of linear attention sees no row before", "a kernel of 2 or more",
                      std::to_string(delta.kernel));
}

}  // namespace

void check_config(const ModelConfig& config, const std::string& place) {
  if (config.layers.empty()) throw input_error(place, "the model has no layers", "at least 1", "0");
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    const auto& [kind, attention, mlp, delta] = config.layer(i);
    const std::string here = place + ": layer " + std::to_string(i);
    if (mlp.width < 1) throw input_error(here, "the MLP has no width", "at least 1", std::to_string(mlp.width));
    if (mlp.has_experts() && (mlp.experts < 1 || mlp.experts_used < 1 || mlp.experts_used > mlp.experts))
      throw input_error(here, "the experts do not fit together", "at least 1, and no more used than there are",
                        std::to_string(mlp.experts_used) + " of " + std::to_string(mlp.experts) + " used");
    if (kind == LayerKind::linear) {
      check_delta(delta, here);
      continue;
    }
    const std::int64_t d = attention.head_dim;
    if (d < 2 || d % 2 != 0 || attention.num_kv_heads < 1 || attention.num_q_heads < 1 ||
        attention.num_q_heads % attention.num_kv_heads != 0)
      throw input_error(here, "the attention heads do not fit together",
                        "an even head size, q heads a multiple of kv heads",
                        std::to_string(attention.num_q_heads) + " : " + std::to_string(attention.num_kv_heads) +
                            " heads of " + std::to_string(d));
    if (!(attention.scale > 0))
      throw input_error(here, "the scale of attention is not positive", "> 0", std::to_string(attention.scale));
    const RopeSpec& rope = attention.rope;
    if (rope.dims < 0 || rope.dims > d || rope.dims % 2 != 0)
      throw input_error(here, "the rotated dimensions do not fit the head", "an even number up to " + std::to_string(d),
                        std::to_string(rope.dims));
    if (!rope.factors.empty() && static_cast<std::int64_t>(rope.factors.size()) != rope.dims / 2)
      throw input_error(here, "the RoPE factors do not fit the rotated dimensions", std::to_string(rope.dims / 2),
                        std::to_string(rope.factors.size()));
    if (!(rope.magnitude > 0))
      throw input_error(here, "the magnitude of RoPE's values is not positive", "> 0", std::to_string(rope.magnitude));
    if (kind == LayerKind::sliding && attention.window < 1)
      throw input_error(here, "a sliding layer has no window", "at least 1", std::to_string(attention.window));
    if (kind == LayerKind::sliding) continue;
    // Policies and their backends know none of these.
    const std::pair<const char*, bool> unknown[] = {{"window", attention.window != 0},
                                                    {"soft_cap", attention.soft_cap != 0}};
    for (const auto& [option, wanted] : unknown) {
      if (wanted)
        throw input_error(here, std::string("the option ") + option + " is not implemented in full layers", "not set",
                          "set");
    }
  }
}

bool has_sinks(const ModelConfig& config) {
  return std::any_of(config.layers.begin(), config.layers.end(), [](const LayerSpec& layer) {
    return layer.kind == LayerKind::full && layer.attention.sinks;
  });
}

std::vector<std::int64_t> full_head_dims(const ModelConfig& config) {
  std::vector<std::int64_t> dims;
  for (const LayerSpec& layer : config.layers)
    if (layer.kind == LayerKind::full) dims.push_back(layer.attention.head_dim);
  return dims;
}

void require_full_layer(const ModelConfig& config) {
  if (config.full_layers() > 0) return;
  throw input_error(config.name, "no layer of this model attends to the whole history: there is nothing to sparsify",
                    "a full layer", "none among " + std::to_string(config.num_layers()));
}

}  // namespace headroom::model
