// SPDX-License-Identifier: Apache-2.0
#include "experiment/bench/bench_setup.h"

#include <algorithm>

#include "base/error.h"
#include "experiment/run/indexer_choice.h"
#include "experiment/run/random_model.h"
#include "model/adapted_checkpoint.h"
#include "tasks/task.h"
#include "tokenizer/tokenizer.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t max_length = 1 << 20;

}  // namespace

BenchModel open_bench_model(const BenchSpec& spec) {
  if (spec.model.empty() == spec.config.empty())
    throw usage_error("bench needs either a model or --config NAME --random-init");
  if (spec.adapter && spec.model.empty()) throw usage_error("--adapter belongs to a model, not to --config");
  BenchModel model;
  if (!spec.model.empty()) {
    model.checkpoint = model::open_model(spec.model, spec.adapter);
    model.config = model::read_model_config(*model.checkpoint);
    model::require_full_layer(model.config);
    return model;
  }
  RandomModel made = open_random_model(spec.config);
  model.checkpoint = std::move(made.checkpoint);
  model.config = std::move(made.config);
  model::require_full_layer(model.config);
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
    if (!loaded && model.random) loaded = indexer_of_random_model(model.config, file);
    if (!loaded) loaded = load_indexer_of(file, hash, words_of_model(spec.model, spec.adapter));
    return loaded;
  });
  std::erase_if(methods, [](const Method& method) { return method.is_dense(); });
  return methods;
}

}  // namespace headroom::experiment
