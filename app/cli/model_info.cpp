// SPDX-License-Identifier: Apache-2.0
#include "model_info.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "attention/registry.h"
#include "base/error.h"
#include "checkpoint/adapter.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_json.h"
#include "experiment/run/memory_estimate.h"
#include "indexer/indexer.h"
#include "model/adapted_checkpoint.h"
#include "model/decoder.h"
#include "model/model_config.h"
#include "model/random_checkpoint.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace headroom::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t hash_without_asking = std::uint64_t{4} << 30;  // bytes: a few seconds

std::string template_kind(const checkpoint::Checkpoint& model) {
  switch (tokenizer::find_chat_template(model)) {
    case tokenizer::ChatTemplate::none:
      return "none";
    case tokenizer::ChatTemplate::other:
      return "jinja";
    case tokenizer::ChatTemplate::known:
      return "chatml";
  }
  return "none";
}

Json tokenizer_json(const checkpoint::Checkpoint& model, std::int64_t embedding_rows) {
  try {
    const auto tokenizer = tokenizer::make_tokenizer(model, embedding_rows);
    return {{"kind", tokenizer->kind()},
            {"pre", tokenizer->split_name()},
            {"vocabulary", tokenizer->vocabulary()},
            {"end_tokens", tokenizer->end_tokens()},
            {"chat_template", tokenizer::has_chat_template(model)},
            {"chat_template_kind", template_kind(model)}};
  } catch (const Error& error) {  // the weights may still be of use
    return {{"error", error.what()}};
  }
}

/// What the frequencies of RoPE are divided by, the smallest and the largest factor, and the scaling as the file names
/// it; null where they are as they come.
Json rope_scaling_json(const model::RopeSpec& rope) {
  if (rope.factors.empty()) return nullptr;
  const auto [least, most] = std::ranges::minmax(rope.factors);
  const model::RopeScaling& scaling = rope.scaling;
  Json json = {{"kind", least == most ? "linear" : "by frequency"},
               {"type", scaling.kind.empty() ? Json() : Json(scaling.kind)},
               {"rope_freqs", scaling.tensor},
               {"factor_min", least},
               {"factor_max", most},
               {"magnitude", rope.magnitude}};
  for (const auto& [key, value] : {std::pair("factor", scaling.factor),
                                   {"original_context", scaling.original_context},
                                   {"low_freq_factor", scaling.low_freq_factor},
                                   {"high_freq_factor", scaling.high_freq_factor},
                                   {"beta_fast", scaling.beta_fast},
                                   {"beta_slow", scaling.beta_slow}})
    if (value != 0) json[key] = value;
  return json;
}

/// Layers that attend alike, in the order of their first: how many, their window and RoPE.
Json layer_groups_json(const model::ModelConfig& config) {
  struct Group {
    Json words;
    std::vector<std::int64_t> layers;
  };
  std::vector<Group> groups;
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    const model::LayerSpec& layer = config.layer(i);
    const model::AttentionSpec& attention = layer.attention;
    Json words = {{"kind", model::to_string(layer.kind)}};
    if (layer.kind != model::LayerKind::linear) {
      words.update({{"q_heads", attention.num_q_heads},
                    {"kv_heads", attention.num_kv_heads},
                    {"head_dim", attention.head_dim},
                    {"scale", attention.scale},
                    {"window", attention.window > 0 ? Json(attention.window) : Json()},
                    {"learned_sinks", attention.sinks},
                    {"rope_base", attention.rope.base},
                    {"rope_dims", attention.rope.dims},
                    {"rope_scaling", rope_scaling_json(attention.rope)}});
    }
    auto same = std::ranges::find_if(groups, [&](const Group& group) { return group.words == words; });
    if (same == groups.end()) same = groups.insert(groups.end(), {std::move(words), {}});
    same->layers.push_back(i);
  }
  Json json = Json::array();
  for (Group& group : groups) {
    group.words["layers"] = group.layers;
    json.push_back(std::move(group.words));
  }
  return json;
}

/// What is merged into the base; null: nothing.
Json adapter_json(const checkpoint::Checkpoint& model) {
  const checkpoint::Adapter* const adapter = model.adapter();
  if (!adapter) return nullptr;
  std::int64_t parameters = 0, smallest = 0, largest = 0;
  for (const checkpoint::LoraFactors& factors : adapter->factors()) {
    parameters += factors.rank * (factors.in + factors.out);
    smallest = smallest == 0 ? factors.rank : std::min(smallest, factors.rank);
    largest = std::max(largest, factors.rank);
  }
  return {{"name", adapter->name()},
          {"path", adapter->folder().string()},
          {"sha256", adapter->hash()},
          {"base_sha256", nullptr},
          {"modules", adapter->factors().size()},
          {"rank_min", smallest},
          {"rank_max", largest},
          {"parameters", parameters},
          {"trained_on", adapter->config().base_name()},
          {"changes_architecture", adapter->change().has_value()}};
}

/// What a dense prefill of so many tokens takes, before anything is loaded: bytes at its peak, products of attention.
Json prefill_json(const checkpoint::Checkpoint& weights, const model::ModelConfig& config, std::int64_t length) {
  const auto dense = attention::make_dense_policy();
  experiment::MemoryWorkload work;
  work.length = length;
  work.methods = {dense.get()};
  double attention = 0;
  for (const model::LayerSpec& layer : config.layers) {
    if (layer.kind == model::LayerKind::linear) continue;
    const auto rows = static_cast<double>(length);
    const double window =
        layer.attention.window > 0 ? std::min<double>(static_cast<double>(layer.attention.window), rows) : rows;
    const double pairs = window * (window + 1) / 2 + (rows - window) * window;
    attention += 4 * pairs * static_cast<double>(layer.attention.num_q_heads * layer.attention.head_dim);
  }
  Json json = {{"length", length},
               {"past_context", length > config.context_length},
               {"attention_flops", attention},
               {"memory", Json::object()}};
  for (const auto& [dtype, name, bytes] : {std::tuple{at::kBFloat16, "bf16", 2}, {at::kFloat, "f32", 4}}) {
    const auto on_cpu = estimate_memory(weights, config, dtype, c10::Device(c10::kCPU), work);
    const auto on_gpu = estimate_memory(weights, config, dtype, c10::Device(c10::kCUDA), work);
    json["memory"][name] = {{"weights", on_cpu.weights},
                            {"cache", config.kv_values_per_token() * length * bytes},
                            {"cpu", on_cpu.weights + on_cpu.host},
                            {"gpu", on_gpu.weights + on_gpu.device}};
  }
  return json;
}

}  // namespace

nlohmann::json model_info(const NamedModel& named, const ModelInfoOptions& options) {
  const fs::path& path = named.path;
  const bool alone = path.extension() == ".json";  // a configuration without weights
  if (alone && named.adapter)
    throw input_error("--adapter", "a configuration alone has no weights to merge an adapter into", "a model",
                      path.string());
  auto model = alone ? checkpoint::open_config(path) : checkpoint::open_checkpoint(path);
  if (named.adapter) model = model::apply_adapter(std::move(model), checkpoint::Adapter::open(*named.adapter));
  const model::ModelConfig config = model::read_model_config(*model);
  std::unique_ptr<const checkpoint::Checkpoint> random;
  if (alone) random = std::make_unique<model::RandomCheckpoint>(config, 1);
  const checkpoint::Checkpoint& weights = alone ? *random : *model;
  Json kinds = Json::array();
  for (const model::LayerSpec& layer : config.layers) kinds.push_back(model::to_string(layer.kind));
  const model::LayerSpec& typical = config.typical_layer();
  const model::AttentionSpec& attention = typical.attention;
  Json dtypes = Json::object();
  std::int64_t parameters = 0;
  std::uint64_t bytes = 0;
  for (const checkpoint::TensorInfo& tensor : weights.tensors()) {
    parameters += tensor.elements();
    if (alone) continue;
    Json& entry = dtypes[std::string(checkpoint::to_string(tensor.dtype))];
    if (entry.is_null()) entry = {{"tensors", 0}, {"bytes", std::uint64_t{0}}};
    entry["tensors"] = entry["tensors"].get<int>() + 1;
    entry["bytes"] = entry["bytes"].get<std::uint64_t>() + tensor.bytes;
    bytes += tensor.bytes;
  }
  const char* const format = alone ? "config" : (model->format() == checkpoint::Format::gguf ? "gguf" : "safetensors");
  Json json = {
      {"kind", "model"},
      {"path", path.string()},
      {"format", format},
      {"name", config.name},
      {"architecture", config.architecture},
      {"layers", config.num_layers()},
      {"layer_kinds", std::move(kinds)},
      {"layer_groups", layer_groups_json(config)},
      {"width", config.width},
      {"q_heads", attention.num_q_heads},
      {"kv_heads", attention.num_kv_heads},
      {"head_dim", attention.head_dim},
      {"mlp_width", typical.mlp.width},
      {"experts", typical.mlp.experts},
      {"experts_used", typical.mlp.experts_used},
      {"vocabulary", config.vocabulary},
      {"context", config.context_length},
      {"rope_base", attention.rope.base},
      {"rope_scaled", !attention.rope.factors.empty()},
      {"rope_scaling", rope_scaling_json(attention.rope)},
      {"rms_epsilon", config.norm.epsilon},
      {"tied_output", config.tied_output},
      {"kv_bytes_per_token", {{"bf16", 2 * config.kv_values_per_token()}, {"f32", 4 * config.kv_values_per_token()}}},
      {"parameters", parameters},
      {"weight_bytes", bytes},
      {"dtypes", std::move(dtypes)},
      {"tokenizer",
       alone ? Json{{"error", "a configuration alone has no tokenizer"}} : tokenizer_json(*model, config.vocabulary)},
      {"prefill", options.length ? prefill_json(weights, config, *options.length) : Json()},
      {"sha256", nullptr},
      {"adapter", adapter_json(*model)},
      {"shipped_indexer", nullptr}};
  if (!alone && (options.hash || bytes <= hash_without_asking)) {
    json["sha256"] = model->hash();
    if (model->adapter()) json["adapter"]["base_sha256"] = model->base_hash();
    if (const auto file = indexer::find_shipped_indexer(model->hash())) json["shipped_indexer"] = file->string();
  }
  return json;
}

}  // namespace headroom::cli
