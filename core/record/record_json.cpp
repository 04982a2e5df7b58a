// SPDX-License-Identifier: Apache-2.0
#include "record/record_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace headroom::record {
namespace {

using nlohmann::json;

json number(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}
json number(const std::optional<double>& value) {
  return value ? number(*value) : json(nullptr);
}

json quartiles(const Quartiles& q) {
  return {{"median", number(q.median)}, {"q1", number(q.q1)}, {"q3", number(q.q3)}, {"repeats", q.repeats}};
}

std::string dump(const json& value) {
  return value.dump(1, ' ', false, json::error_handler_t::replace);
}

/// Typed access to the fields of one JSON object, with errors that name the field.
class Fields {
 public:
  Fields(const json& object, std::string place) : object_(object), place_(std::move(place)) {
    if (!object.is_object()) throw input_error(place_, "expected a JSON object", "object", object.type_name());
  }
  const json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) throw input_error(place_, std::string("field \"") + key + "\" is missing");
    return *found;
  }
  bool is_null(const char* key) const { return at(key).is_null(); }
  /// Whether the field is there and not null.
  bool has(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && !found->is_null();
  }
  std::string text(const char* key) const {
    if (!at(key).is_string()) wrong(key, "string");
    return at(key).get<std::string>();
  }
  bool flag(const char* key) const {
    if (!at(key).is_boolean()) wrong(key, "true or false");
    return at(key).get<bool>();
  }
  double real(const char* key) const {
    if (at(key).is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (!at(key).is_number()) wrong(key, "number");
    return at(key).get<double>();
  }
  std::optional<double> optional_real(const char* key) const {
    if (at(key).is_null()) return std::nullopt;
    return real(key);
  }
  std::int64_t integer(const char* key, std::int64_t least, std::int64_t most) const {
    const json& value = at(key);
    const bool fits = value.is_number_unsigned() ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most) &&
                                                       static_cast<std::int64_t>(value.get<std::uint64_t>()) >= least
                                                 : value.is_number_integer() && value.get<std::int64_t>() >= least &&
                                                       value.get<std::int64_t>() <= most;
    if (!fits) wrong(key, ("integer from " + std::to_string(least) + " to " + std::to_string(most)).c_str());
    return value.get<std::int64_t>();
  }
  std::vector<std::string> texts(const char* key, std::size_t limit) const {
    const json& value = at(key);
    if (!value.is_array() || value.size() > limit) wrong(key, "short array of strings");
    std::vector<std::string> result;
    for (const json& item : value) {
      if (!item.is_string()) wrong(key, "array of strings");
      result.push_back(item.get<std::string>());
    }
    return result;
  }
  Quartiles quartiles(const char* key) const {
    const Fields inner(at(key), place_ + ", field \"" + key + "\"");
    return {inner.real("median"), inner.real("q1"), inner.real("q3"),
            static_cast<int>(inner.integer("repeats", 0, 1'000'000))};
  }
  [[noreturn]] void wrong(const char* key, const char* expected) const {
    throw input_error(place_, std::string("field \"") + key + "\" is not valid", expected, short_dump(at(key)));
  }

 private:
  static std::string short_dump(const json& value) {
    std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
    return text.size() > 60 ? text.substr(0, 60) + "…" : text;
  }
  const json& object_;
  std::string place_;
};

json parse(const std::string& text, const std::string& place) {
  // The callback bounds the nesting: these objects are two levels deep.
  bool too_deep = false;
  try {
    json value = json::parse(text, [&](int depth, json::parse_event_t, json&) {
      too_deep = too_deep || depth > 8;
      return depth <= 8;
    });
    if (!too_deep) return value;
  } catch (const json::exception&) {
  }
  throw input_error(place, too_deep ? "JSON is nested too deeply" : "not valid JSON");
}

constexpr std::int64_t huge = 1LL << 53;

}  // namespace

bool is_method_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && id.front() != '.' && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

std::string meta_to_json(const RunMeta& m, const std::vector<std::string>& methods) {
  return dump({{"schema_version", schema_version},
               {"run_id", m.run_id},
               {"created", m.created},
               {"program_version", m.program_version},
               {"spec", m.spec_json},
               {"model_name", m.model_name},
               {"model_path", m.model_path},
               {"model_sha256", m.model_sha256},
               {"architecture", m.architecture},
               {"device", m.device},
               {"dtype", m.dtype},
               {"context", m.context},
               {"num_layers", m.num_layers},
               {"num_q_heads", m.num_q_heads},
               {"num_kv_heads", m.num_kv_heads},
               {"head_dim", m.head_dim},
               {"layer_kinds", m.layer_kinds},
               {"scale", number(m.scale)},
               {"indexer_path", m.indexer_path},
               {"indexer_sha256", m.indexer_sha256},
               {"indexer_trained_length", m.indexer_trained_length},
               {"task", m.task},
               {"task_reference", m.task_reference},
               {"warmups", m.warmups},
               {"curve_rows", m.curve_rows},
               {"kept_note", m.kept_note},
               {"complete", m.complete},
               {"methods", methods}});
}

RunMeta meta_from_json(const std::string& text, std::vector<std::string>& methods, const std::string& place) {
  const json object = parse(text, place);
  const Fields f(object, place);
  const std::int64_t version = f.integer("schema_version", 0, huge);
  if (version != schema_version)
    throw input_error(place, "written by another version of the program", "schema " + std::to_string(schema_version),
                      std::to_string(version));
  RunMeta m;
  m.run_id = f.text("run_id");
  m.created = f.text("created");
  m.program_version = f.text("program_version");
  m.spec_json = f.text("spec");
  m.model_name = f.text("model_name");
  m.model_path = f.text("model_path");
  m.model_sha256 = f.text("model_sha256");
  m.architecture = f.text("architecture");
  m.device = f.text("device");
  m.dtype = f.text("dtype");
  m.context = f.integer("context", 0, huge);
  m.num_layers = f.integer("num_layers", 1, 1024);
  m.num_q_heads = f.integer("num_q_heads", 1, 1024);
  m.num_kv_heads = f.integer("num_kv_heads", 1, m.num_q_heads);
  if (m.num_q_heads % m.num_kv_heads != 0) f.wrong("num_kv_heads", "a divisor of num_q_heads");
  m.head_dim = f.integer("head_dim", 1, 1024);
  m.layer_kinds = f.texts("layer_kinds", 1024);
  if (static_cast<std::int64_t>(m.layer_kinds.size()) != m.num_layers) f.wrong("layer_kinds", "one kind a layer");
  m.scale = f.real("scale");
  if (!std::isfinite(m.scale)) f.wrong("scale", "finite number");
  m.indexer_path = f.text("indexer_path");
  m.indexer_sha256 = f.text("indexer_sha256");
  m.indexer_trained_length = f.integer("indexer_trained_length", 0, huge);
  m.task = f.text("task");
  m.task_reference = f.text("task_reference");
  m.warmups = f.integer("warmups", 0, huge);
  m.curve_rows = f.integer("curve_rows", 0, huge);
  m.kept_note = f.text("kept_note");
  m.complete = f.flag("complete");
  methods = f.texts("methods", 256);
  std::set<std::string> seen;
  for (const auto& id : methods)
    if (!is_method_id(id) || !seen.insert(id).second) f.wrong("methods", "distinct method ids");
  return m;
}

json plan_to_json(const TimingPlan& plan) {
  json layers = json::array();
  for (const LayerPlan& layer : plan.layers)
    layers.push_back({{"run", layer_run_names[static_cast<std::size_t>(layer.run)]},
                      {"dense_ms", number(layer.dense_ms)},
                      {"sparse_ms", number(layer.sparse_ms)}});
  return {{"source", plan.source},           {"times", plan.times},
          {"machine", plan.machine},         {"dtype", plan.dtype},
          {"threads", plan.threads},         {"dense_backend", plan.dense_backend},
          {"density", number(plan.density)}, {"layers", layers}};
}

namespace {

constexpr std::size_t max_baselines = 16;

TimingPlan plan_from_json(const json& object, const std::string& place) {
  const Fields f(object, place);
  TimingPlan plan;
  plan.source = f.text("source");
  plan.times = f.text("times");
  plan.machine = f.text("machine");
  plan.dtype = f.text("dtype");
  plan.threads = f.integer("threads", 0, 1 << 20);
  plan.dense_backend = f.text("dense_backend");
  plan.density = f.real("density");
  const json& layers = f.at("layers");
  if (!layers.is_array() || layers.size() > 1024) f.wrong("layers", "an entry a layer");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Fields entry(layers[i], place + ", layer " + std::to_string(i));
    const std::string run = entry.text("run");
    const auto name = std::find(layer_run_names.begin(), layer_run_names.end(), run);
    if (name == layer_run_names.end()) entry.wrong("run", "dense, sparse or other");
    plan.layers.push_back(
        {static_cast<LayerRun>(name - layer_run_names.begin()), entry.real("dense_ms"), entry.real("sparse_ms")});
  }
  return plan;
}

std::vector<TimedBaseline> baselines_from_json(const json& list, const std::string& place) {
  if (!list.is_array() || list.size() > max_baselines)
    throw input_error(place, "not a short list", "at most 16 entries");
  std::vector<TimedBaseline> baselines;
  for (const json& item : list) {
    const Fields f(item, place);
    baselines.push_back({f.text("backend"), f.quartiles("ttft_ms")});
  }
  return baselines;
}

}  // namespace

std::string summary_to_json(const MethodSummary& s) {
  json budget = nullptr;
  if (s.budget) {
    const char* kinds[] = {"tokens", "fraction", "mass"};
    budget = {{"kind", kinds[static_cast<int>(s.budget->kind)]}, {"value", number(s.budget->value)}};
  }
  json stages = json::object();
  for (std::size_t i = 0; i < num_stages; ++i) stages[std::string(stage_names[i])] = quartiles(s.stages[i]);
  json baselines = json::array();
  for (const auto& b : s.baselines) baselines.push_back({{"backend", b.backend}, {"ttft_ms", quartiles(b.ttft)}});
  return dump({{"id", s.id},
               {"name", s.name},
               {"budget", budget},
               {"budget_tokens", s.budget_tokens},
               {"granularity", s.granularity},
               {"density", number(s.density)},
               {"backend", s.backend},
               {"label", s.label},
               {"plan", s.plan},
               {"timing_plan", s.timing_plan ? plan_to_json(*s.timing_plan) : json(nullptr)},
               {"baselines", baselines},
               {"causal", s.causal},
               {"ttft_ms", quartiles(s.ttft)},
               {"stages_ms", stages},
               {"captured_mass_mean", number(s.captured_mass_mean)},
               {"captured_mass_min", number(s.captured_mass_min)},
               {"oracle_recall_mean", number(s.oracle_recall_mean)},
               {"oracle_recall_95_mean", number(s.oracle_recall_95_mean)},
               {"kl_to_dense", number(s.kl_to_dense)},
               {"top1_agrees", s.top1_agrees ? json(*s.top1_agrees) : json(nullptr)},
               {"task_score", number(s.task_score)},
               {"peak_bytes", s.peak_bytes},
               {"complete", s.complete}});
}

MethodSummary summary_from_json(const std::string& text, const std::string& place) {
  const json object = parse(text, place);
  const Fields f(object, place);
  MethodSummary s;
  s.id = f.text("id");
  s.name = f.text("name");
  if (!f.is_null("budget")) {
    const Fields b(f.at("budget"), place + ", field \"budget\"");
    const std::string kind = b.text("kind");
    Budget budget;
    if (kind == "tokens")
      budget.kind = BudgetKind::tokens;
    else if (kind == "fraction")
      budget.kind = BudgetKind::fraction;
    else if (kind == "mass")
      budget.kind = BudgetKind::mass;
    else
      b.wrong("kind", "tokens, fraction or mass");
    budget.value = b.real("value");
    const double most = budget.kind == BudgetKind::tokens ? 1e9 : 1;
    if (!(budget.value > 0 && budget.value <= most)) b.wrong("value", "a budget in range");
    s.budget = budget;
  }
  s.budget_tokens = f.integer("budget_tokens", 0, huge);
  s.granularity = f.integer("granularity", 1, 1 << 20);
  s.density = f.real("density");
  s.backend = f.text("backend");
  s.label = f.text("label");
  s.plan = f.text("plan");
  s.causal = f.flag("causal");
  // Both came after the first records of this schema.
  if (f.has("timing_plan")) s.timing_plan = plan_from_json(f.at("timing_plan"), place + ", field \"timing_plan\"");
  if (f.has("baselines")) s.baselines = baselines_from_json(f.at("baselines"), place + ", field \"baselines\"");
  s.ttft = f.quartiles("ttft_ms");
  const Fields stages(f.at("stages_ms"), place + ", field \"stages_ms\"");
  for (std::size_t i = 0; i < num_stages; ++i) s.stages[i] = stages.quartiles(std::string(stage_names[i]).c_str());
  s.captured_mass_mean = f.real("captured_mass_mean");
  s.captured_mass_min = f.real("captured_mass_min");
  s.oracle_recall_mean = f.optional_real("oracle_recall_mean");
  s.oracle_recall_95_mean = f.optional_real("oracle_recall_95_mean");
  s.kl_to_dense = f.optional_real("kl_to_dense");
  if (!f.is_null("top1_agrees")) s.top1_agrees = f.flag("top1_agrees");
  s.task_score = f.optional_real("task_score");
  s.peak_bytes = f.integer("peak_bytes", 0, huge);
  s.complete = f.flag("complete");
  return s;
}

}  // namespace headroom::record
