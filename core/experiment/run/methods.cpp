// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/methods.h"

#include <algorithm>
#include <charconv>

#include "attention/backend.h"
#include "attention/registry.h"
#include "base/error.h"
#include "experiment/run/indexer_choice.h"
#include "experiment/run/random_model.h"

namespace headroom::experiment {
namespace {

using attention::PolicyEntry;
using attention::PolicyTraits;

/// "name:parameter=value:…" taken apart.
struct NamedMethod {
  const PolicyEntry* entry = nullptr;
  std::map<std::string, double, std::less<>> parameters;
};

NamedMethod parse_method(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  NamedMethod method;
  method.entry = attention::find_policy(name);
  if (!method.entry) throw Error(ErrorKind::usage, "the method is not known", {"--methods", method_names(), name});
  for (std::size_t begin = colon; begin != std::string::npos;) {
    const std::size_t end = text.find(':', begin + 1);
    const std::string part = text.substr(begin + 1, end == std::string::npos ? end : end - begin - 1);
    const std::size_t equals = part.find('=');
    double value = 0;
    const char* const last = part.data() + part.size();
    const char* const number = equals == std::string::npos ? last : part.data() + equals + 1;
    const auto [stop, failed] = std::from_chars(number, last, value);
    if (equals == std::string::npos || equals == 0 || failed != std::errc() || stop != last)
      throw Error(ErrorKind::usage, "is not understood", {"--methods", name + ":parameter=number", text});
    if (!method.parameters.emplace(part.substr(0, equals), value).second)
      throw Error(ErrorKind::usage, "names a parameter twice", {"--methods", "each once", text});
    begin = end;
  }
  return method;
}

bool has_parameter(const PolicyTraits& traits, std::string_view name) {
  return std::any_of(traits.parameters.begin(), traits.parameters.end(), [&](const auto& p) { return p.name == name; });
}

/// What was asked for all methods, where the method has it and was not told otherwise.
void add_common(const MethodRequest& request, NamedMethod& method) {
  const auto add = [&](const char* name, const std::optional<std::int64_t>& value) {
    if (value && has_parameter(method.entry->traits, name))
      method.parameters.try_emplace(name, static_cast<double>(*value));
  };
  add("sinks", request.sinks);
  add("local", request.local);
  add("seed", request.seed);
}

/// A setting for all methods that none of them has would be ignored without a word.
void refuse_unused(const MethodRequest& request, const std::vector<NamedMethod>& named) {
  const auto check = [&](const char* name, const std::optional<std::int64_t>& value) {
    const bool taken = std::any_of(named.begin(), named.end(),
                                   [&](const auto& one) { return has_parameter(one.entry->traits, name); });
    if (!value || taken) return;
    std::string expected;
    for (const PolicyEntry& entry : attention::policies())
      if (has_parameter(entry.traits, name))
        expected += (expected.empty() ? "one of " : ", ") + std::string(entry.traits.name);
    throw Error(ErrorKind::usage, "no method of this run takes it",
                {"--" + std::string(name), expected, std::to_string(*value)});
  };
  check("sinks", request.sinks);
  check("local", request.local);
}

/// Budgets of another model, or of layers that have none, would be run without a word.
void check_layer_budgets(const LayerBudgets& budgets, const std::set<int>& dense_layers,
                         const std::string& model_sha256, const model::ModelConfig& config) {
  const std::string place = "--layer-budgets" + (budgets.source.empty() ? "" : " " + budgets.source);
  if (!budgets.model_sha256.empty() && budgets.model_sha256 != model_sha256)
    throw input_error(place, "the budgets are of another model", model_sha256, budgets.model_sha256);
  std::vector<int> layers;
  for (const auto& [layer, keys] : budgets.keys) layers.push_back(layer);
  check_full_layers(layers, place.c_str(), config);
  for (int layer = 0; layer < config.num_layers(); ++layer)
    if (config.is_full(layer) && !dense_layers.contains(layer) && !budgets.keys.contains(layer))
      throw input_error(place, "a full layer has no budget", "one, or the layer among --dense-layers",
                        "layer " + std::to_string(layer) + " without");
}

}  // namespace

std::vector<Method> list_methods(const MethodRequest& request,
                                 const std::function<std::shared_ptr<const attention::IndexSource>()>& index,
                                 const std::shared_ptr<const attention::StreamSource>& dense_stream) {
  std::vector<NamedMethod> named;
  for (const std::string& name : request.names) {
    named.push_back(parse_method(name));
    add_common(request, named.back());
  }
  refuse_unused(request, named);
  std::stable_partition(named.begin(), named.end(), [](const auto& one) { return one.entry->traits.is_dense(); });
  std::vector<Method> methods;
  const auto add = [&](const NamedMethod& one, const attention::PolicySettings& settings) {
    std::shared_ptr<const attention::Policy> policy = one.entry->make(one.entry->traits, settings);
    const bool repeated = std::any_of(methods.begin(), methods.end(), [&](const Method& other) {
      return other.policy->fingerprint() == policy->fingerprint();
    });
    const std::string id = policy->id();
    if (!repeated) methods.push_back({id, std::move(policy)});
  };
  for (const NamedMethod& one : named) {
    attention::PolicySettings settings;
    settings.parameters = one.parameters;
    settings.dense_stream = dense_stream;
    const PolicyTraits& traits = one.entry->traits;
    if (one.entry->traits.is_dense()) {
      add(one, settings);
      continue;
    }
    if (request.budgets.empty() && !request.layer_budgets)
      throw Error(ErrorKind::usage, "no budget was given", {"--budget", "at least one, e.g. 512", "none"});
    if (one.entry->traits.needs_index) settings.index = index();
    std::vector<std::optional<Budget>> budgets(request.budgets.begin(), request.budgets.end());
    if (request.layer_budgets) budgets.emplace_back();
    for (const auto& budget : budgets) {
      for (const std::int64_t granularity : request.granularities) {
        settings.layer_budgets = budget ? nullptr : std::make_shared<LayerBudgets>(*request.layer_budgets);
        settings.budget =
            budget ? *budget : Budget{BudgetKind::tokens, static_cast<double>(request.layer_budgets->mean())};
        settings.granularity = traits.takes_granularity ? std::max(granularity, traits.least_granularity) : 1;
        add(one, settings);
      }
    }
  }
  return methods;
}

std::string method_names() {
  std::string names;
  for (const PolicyEntry& entry : attention::policies())
    names += (names.empty() ? "" : ", ") + std::string(entry.traits.name);
  return names;
}

std::vector<std::string> default_methods(bool has_index) {
  std::vector<std::string> names;
  for (const PolicyEntry& entry : attention::policies()) {
    const PolicyTraits& traits = entry.traits;
    if (traits.is_default && (!traits.needs_index || has_index)) names.emplace_back(traits.name);
  }
  return names;
}

MethodSet make_methods(const protocol::RunSpec& spec, const Session& session) {
  model::require_full_layer(session.config());
  check_full_layers(spec.dense_layers, "--dense-layers", session.config());
  check_full_layers(spec.keep_layers, "--keep-layers", session.config());
  const std::string& model_sha256 = session.checkpoint().hash();
  const auto file = find_indexer(spec.indexer, model_sha256);
  MethodSet set;
  set.dense_layers = {spec.dense_layers.begin(), spec.dense_layers.end()};
  MethodRequest request;
  request.names = spec.methods.empty() ? default_methods(file.has_value() || session.is_random()) : spec.methods;
  request.budgets = spec.budgets;
  request.granularities = spec.granularities;
  request.sinks = spec.sinks;
  request.local = spec.local;
  if (spec.layer_budgets) {
    check_layer_budgets(*spec.layer_budgets, set.dense_layers, model_sha256, session.config());
    request.layer_budgets = spec.layer_budgets;
  }
  if (spec.seed != 0) request.seed = static_cast<std::int64_t>(spec.seed);
  const auto load = [&] {
    if (!set.indexer) {
      set.indexer = session.is_random()
                        ? indexer_of_random_model(session.config(), file)
                        : load_indexer_of(file, model_sha256, words_of_model(spec.model, spec.adapter));
      set.indexer_path = file.value_or(std::filesystem::path());
    }
    return set.indexer;
  };
  const auto streams = std::make_shared<DenseStreams>();
  set.methods = list_methods(request, load, streams);
  if (std::any_of(set.methods.begin(), set.methods.end(),
                  [](const Method& method) { return method.policy->traits().needs_dense_stream; }))
    set.dense_streams = streams;
  return set;
}

record::MethodSummary describe(const Method& method, const attention::Backend& backend, std::int64_t length) {
  const attention::Policy& policy = *method.policy;
  const PolicyTraits& traits = policy.traits();
  record::MethodSummary summary;
  summary.id = method.id;
  summary.name = traits.name;
  summary.title = traits.title;
  summary.role = traits.role;
  summary.scope = traits.scope;
  summary.score = traits.score;
  summary.look = traits.look;
  summary.parameters = policy.parameter_texts();
  summary.fingerprint = policy.fingerprint();
  summary.budget = policy.settings().budget;
  if (summary.budget && summary.budget->kind != BudgetKind::mass)
    summary.budget_tokens = summary.budget->tokens_for(length);
  summary.granularity = policy.settings().granularity;
  summary.causal = policy.causal();
  summary.backend = policy.is_dense() ? backend.dense_label() : backend.sparse_label();
  if (!policy.is_dense()) summary.label = backend.note();
  return summary;
}

std::string cost_tag(const Method& method) {
  if (!method.policy->traits().needs_index) return method.id;
  return method.id + ", " + std::to_string(method.policy->settings().index->dim()) + " wide";
}

}  // namespace headroom::experiment
