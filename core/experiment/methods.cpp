// SPDX-License-Identifier: Apache-2.0
#include "experiment/methods.h"

#include <algorithm>

#include "base/error.h"
#include "base/sha256.h"

namespace headroom::experiment {
namespace {

constexpr const char* known_methods[] = {"dense", "oracle", "indexer", "sink_window", "random"};

bool is_full(const checkpoint::ModelConfig& config, int layer) {
  return config.layers[static_cast<std::size_t>(layer)] == checkpoint::LayerKind::full;
}

void check_layers(const std::vector<int>& layers, const char* option, const checkpoint::ModelConfig& config) {
  for (int layer : layers) {
    if (layer < 0 || layer >= config.num_layers)
      throw input_error(option, "the model has no such layer", "0 to " + std::to_string(config.num_layers - 1),
                        std::to_string(layer));
    if (!is_full(config, layer))
      throw input_error(option, "layer " + std::to_string(layer) + " has no full attention", "a full layer",
                        std::string(checkpoint::to_string(config.layers[static_cast<std::size_t>(layer)])));
  }
}

std::filesystem::path find_indexer(const protocol::RunSpec& spec, const Session& session) {
  if (spec.indexer) return *spec.indexer;
  if (auto shipped = indexer::find_shipped_indexer(session.checkpoint().hash())) return *shipped;
  return {};
}

void load(MethodSet& set, const protocol::RunSpec& spec, const Session& session) {
  set.indexer_path = find_indexer(spec, session);
  if (set.indexer_path.empty()) {
    throw input_error("indexer",
                      "there is none for this model; make one with: headroom distill " + spec.model +
                          " --out indexer.safetensors, then give it with --indexer",
                      "an indexer distilled for " + session.checkpoint().hash().substr(0, 12) + "…", "none");
  }
  set.indexer = std::make_shared<indexer::Indexer>(indexer::load_indexer(set.indexer_path));
  if (set.indexer->metadata.base_model_sha256 != session.checkpoint().hash()) {
    throw input_error(set.indexer_path.string(),
                      "belongs to another model (" + set.indexer->metadata.base_model_name +
                          "); make one with: headroom distill " + spec.model + " --out indexer.safetensors",
                      session.checkpoint().hash(), set.indexer->metadata.base_model_sha256);
  }
  set.indexer_sha256 = sha256_file(set.indexer_path);
}

std::vector<std::string> method_names(const protocol::RunSpec& spec, const Session& session) {
  std::vector<std::string> names;
  for (const auto& name : spec.methods) {
    if (std::find(std::begin(known_methods), std::end(known_methods), name) == std::end(known_methods)) {
      std::string expected;
      for (const char* known : known_methods) expected += (expected.empty() ? "" : ", ") + std::string(known);
      throw Error(ErrorKind::usage, "the method is not known", {"--methods", expected, name});
    }
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (names.empty()) {
    names = {"dense", "oracle"};
    if (!find_indexer(spec, session).empty()) names.push_back("indexer");
  }
  std::stable_partition(names.begin(), names.end(), [](const std::string& name) { return name == "dense"; });
  return names;
}

}  // namespace

MethodSet make_methods(const protocol::RunSpec& spec, const Session& session, c10::DeviceType device) {
  check_layers(spec.dense_layers, "--dense-layers", session.config());
  check_layers(spec.keep_layers, "--keep-layers", session.config());
  const auto names = method_names(spec, session);
  MethodSet set;
  set.dense_layers = {spec.dense_layers.begin(), spec.dense_layers.end()};
  for (const auto& name : names) {
    if (name == "dense") {
      attention::PolicyOptions options;
      options.device = device;
      set.methods.push_back({name, options, attention::make_policy(options)});
      continue;
    }
    if (name == "indexer") load(set, spec, session);
    for (const auto& budget : spec.budgets) {
      if (budget.kind == BudgetKind::mass && name != "oracle" && name != "indexer") {
        throw Error(ErrorKind::usage, "a mass budget needs scores, which " + name + " does not have",
                    {"--budget", "keys or a percentage with " + name, to_string(budget)});
      }
      for (const auto granularity : spec.granularities) {
        Method method;
        method.options.name = name;
        method.options.budget = budget;
        method.options.granularity = granularity;
        method.options.forced = {spec.sinks, spec.local};
        method.options.seed = spec.seed;
        method.options.device = device;
        method.id = name + "-" + budget_tag(budget) + "-g" + std::to_string(granularity);
        const bool repeated = std::any_of(set.methods.begin(), set.methods.end(),
                                          [&](const Method& other) { return other.id == method.id; });
        if (repeated) continue;
        if (name == "indexer")
          method.policy = indexer::make_indexer_policy(set.indexer, method.options);
        else
          method.policy = attention::make_policy(method.options);
        set.methods.push_back(std::move(method));
      }
    }
  }
  return set;
}

std::string cost_tag(const Method& method, const MethodSet& set) {
  if (method.options.name != "indexer" || !set.indexer) return method.id;
  return method.id + ", " + std::to_string(set.indexer->metadata.index_dim) + " wide";
}

}  // namespace headroom::experiment
