// SPDX-License-Identifier: Apache-2.0
#include "experiment/bench/bench_setup.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/paths.h"
#include "experiment/run/indexer_choice.h"
#include "model/random_checkpoint.h"
#include "tasks/task.h"
#include "tokenizer/tokenizer.h"

namespace headroom::experiment {
namespace {

struct Shape {
  const char* name;
  std::int64_t layers, width, q_heads, kv_heads, head_dim, mlp_width, vocabulary;
};
// Fewer layers than the real models have where those would not fit an ordinary machine: the name says so.
constexpr std::array shapes = {
    Shape{"smollm2-135m", 30, 576, 9, 3, 64, 1536, 49152},
    Shape{"llama-3.2-1b", 16, 2048, 32, 8, 64, 8192, 128256},
    Shape{"qwen3-8b-4-layers", 4, 4096, 32, 8, 128, 12288, 32768},
};

constexpr std::int64_t max_length = 1 << 20;

}  // namespace

std::vector<std::string> bench_configs() {
  std::vector<std::string> names;
  for (const Shape& shape : shapes) names.emplace_back(shape.name);
  return names;
}

BenchModel open_bench_model(const BenchSpec& spec) {
  if (spec.model.empty() == spec.config.empty())
    throw usage_error("bench needs either a model or --config NAME --random-init");
  BenchModel model;
  if (!spec.model.empty()) {
    model.checkpoint = checkpoint::open_checkpoint(resolve_model(spec.model));
    model.config = model::read_model_config(*model.checkpoint);
    model::require_full_layer(model.config);
    return model;
  }
  const auto shape = std::find_if(shapes.begin(), shapes.end(), [&](const Shape& s) { return s.name == spec.config; });
  if (shape == shapes.end()) {
    std::string known;
    for (const Shape& s : shapes) known += (known.empty() ? "" : ", ") + std::string(s.name);
    throw usage_error("config \"" + spec.config + "\" is not known: expected " + known);
  }
  model::ModelConfig& config = model.config;
  config.architecture = "llama";
  config.name = shape->name;
  config.width = shape->width;
  model::LayerSpec layer;
  layer.attention.num_q_heads = shape->q_heads;
  layer.attention.num_kv_heads = shape->kv_heads;
  layer.attention.head_dim = layer.attention.rope.dims = shape->head_dim;
  layer.attention.scale = 1.0 / std::sqrt(static_cast<double>(shape->head_dim));
  layer.mlp.width = shape->mlp_width;
  config.layers.assign(static_cast<std::size_t>(shape->layers), layer);
  config.vocabulary = shape->vocabulary;
  config.context_length = 1 << 20;
  config.tied_output = true;
  model.checkpoint = std::make_unique<model::RandomCheckpoint>(config, 1);
  model.random = true;
  return model;
}

std::vector<std::int32_t> bench_ids(const BenchModel& model, std::int64_t length) {
  if (length < 1 || length > max_length)
    throw input_error("--lengths", "this length is out of range", "1 to " + std::to_string(max_length),
                      std::to_string(length));
  std::vector<std::int32_t> ids;
  if (!model.random) {
    const auto tokenizer = tokenizer::make_tokenizer(*model.checkpoint, model.config.vocabulary);
    // The task has a least length; what is cut off or repeated does not matter for the time.
    const auto whole = std::clamp<std::int64_t>(length, 512, std::max<std::int64_t>(512, model.config.context_length));
    const auto sample = tasks::make_sample("niah_single_1", whole, 0, *tokenizer, 0, 0);
    for (const auto& token : tokenizer->encode(sample.prompt)) ids.push_back(token.id);
    const std::size_t text = ids.size();
    while (static_cast<std::int64_t>(ids.size()) < length) ids.push_back(ids[ids.size() % text]);
    ids.resize(static_cast<std::size_t>(length));
    return ids;
  }
  std::uint64_t state = 1;
  for (std::int64_t i = 0; i < length; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    ids.push_back(static_cast<std::int32_t>((state >> 33) % static_cast<std::uint64_t>(model.config.vocabulary)));
  }
  return ids;
}

std::vector<Method> sparse_methods(const BenchSpec& spec, const BenchModel& model) {
  const std::string& hash = model.checkpoint->hash();
  const auto file = find_indexer(spec.indexer, hash);
  MethodRequest request;
  request.names = spec.methods.empty() ? default_methods(file.has_value() || model.random) : spec.methods;
  request.budgets = spec.budgets;
  request.granularities = spec.granularities;
  std::shared_ptr<const indexer::Indexer> loaded;
  auto methods = list_methods(request, [&] {
    // Random weights are nobody's: an indexer of their width takes as long as one of their own would.
    if (!loaded && model.random && file) loaded = std::make_shared<const indexer::Indexer>(indexer::load_indexer(*file));
    if (!loaded && model.random) {
      std::vector<int> full;
      for (std::int64_t layer = 0; layer < model.config.num_layers(); ++layer)
        if (model.config.layer(layer).kind == model::LayerKind::full) full.push_back(static_cast<int>(layer));
      loaded = indexer::random_indexer(model.config.width, 128, full);
    }
    if (!loaded) loaded = load_indexer_of(file, hash, spec.model);
    return loaded;
  });
  std::erase_if(methods, [](const Method& method) { return method.is_dense(); });
  return methods;
}

}  // namespace headroom::experiment
