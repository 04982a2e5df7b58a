// SPDX-License-Identifier: Apache-2.0
#include "model_info.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "indexer/indexer.h"
#include "model/model_config.h"
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

/// What the frequencies of RoPE are divided by: the smallest and the largest factor; null where they are as they come.
Json rope_scaling_json(const model::RopeSpec& rope) {
  if (rope.factors.empty()) return nullptr;
  const auto [least, most] = std::ranges::minmax(rope.factors);
  return {{"kind", least == most ? "linear" : "by frequency"}, {"factor_min", least}, {"factor_max", most}};
}

}  // namespace

nlohmann::json model_info(const std::filesystem::path& path, bool hash) {
  const auto model = checkpoint::open_checkpoint(path);
  const model::ModelConfig config = model::read_model_config(*model);
  Json kinds = Json::array();
  for (const model::LayerSpec& layer : config.layers) kinds.push_back(model::to_string(layer.kind));
  const auto& [kind, attention, mlp] = config.typical_layer();
  Json dtypes = Json::object();
  std::int64_t parameters = 0;
  std::uint64_t bytes = 0;
  for (const checkpoint::TensorInfo& tensor : model->tensors()) {
    Json& entry = dtypes[std::string(checkpoint::to_string(tensor.dtype))];
    if (entry.is_null()) entry = {{"tensors", 0}, {"bytes", std::uint64_t{0}}};
    entry["tensors"] = entry["tensors"].get<int>() + 1;
    entry["bytes"] = entry["bytes"].get<std::uint64_t>() + tensor.bytes;
    parameters += tensor.elements();
    bytes += tensor.bytes;
  }
  Json json = {{"kind", "model"},
               {"path", path.string()},
               {"format", model->format() == checkpoint::Format::gguf ? "gguf" : "safetensors"},
               {"name", config.name},
               {"architecture", config.architecture},
               {"layers", config.num_layers()},
               {"layer_kinds", std::move(kinds)},
               {"width", config.width},
               {"q_heads", attention.num_q_heads},
               {"kv_heads", attention.num_kv_heads},
               {"head_dim", attention.head_dim},
               {"mlp_width", mlp.width},
               {"vocabulary", config.vocabulary},
               {"context", config.context_length},
               {"rope_base", attention.rope.base},
               {"rope_scaled", !attention.rope.factors.empty()},
               {"rope_scaling", rope_scaling_json(attention.rope)},
               {"rms_epsilon", config.norm.epsilon},
               {"tied_output", config.tied_output},
               {"parameters", parameters},
               {"weight_bytes", bytes},
               {"dtypes", std::move(dtypes)},
               {"tokenizer", tokenizer_json(*model, config.vocabulary)},
               {"sha256", nullptr},
               {"shipped_indexer", nullptr}};
  if (hash || bytes <= hash_without_asking) {
    json["sha256"] = model->hash();
    if (const auto file = indexer::find_shipped_indexer(model->hash())) json["shipped_indexer"] = file->string();
  }
  return json;
}

}  // namespace headroom::cli
