// SPDX-License-Identifier: Apache-2.0
#include "record/record_json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json_fields.h"
#include "record/device_json.h"

namespace headroom::record {
namespace {

using nlohmann::json;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double most = 1e300;  // of a plain number
constexpr std::int64_t most_whole = 1LL << 53;
constexpr std::size_t max_layers = 1024;
constexpr std::int64_t max_heads = 1024;
constexpr std::size_t max_baselines = 16;
constexpr std::size_t max_samples = 100'000;
constexpr std::size_t max_parameters = 64;
constexpr std::size_t max_warnings = 256;
constexpr std::size_t max_answer_bytes = 16u << 20;
constexpr std::array<std::string_view, 3> budget_kind_names = {"tokens", "fraction", "mass"};

/// The field's place among `names`.
template <typename Value, std::size_t N, typename Name>
Value one_of(Fields& fields, const char* field, const std::array<Name, N>& names) {
  const std::string found = fields.string(field, 32);
  std::string expected;
  for (std::size_t i = 0; i < N; ++i) {
    if (found == names[i]) return static_cast<Value>(i);
    expected += (i == 0 ? "" : i + 1 == N ? " or " : ", ") + std::string(names[i]);
  }
  fields.fail(field, expected, "\"" + found + "\"");
}

template <typename Value, typename Name, std::size_t N>
std::string name_of(Value value, const std::array<Name, N>& names) {
  return std::string(names[static_cast<std::size_t>(value)]);
}

MachineLoad load_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  MachineLoad load;
  load.seconds = fields.number("seconds", 0, most);
  load.cpus = static_cast<int>(fields.integer("cpus", 0, 1 << 20));
  load.other_cpus = fields.number("other_cpus", 0, load.cpus);
  load.threads = static_cast<int>(fields.integer("threads", 0, 1 << 20));
  return load;
}

constexpr std::size_t max_candidates = 64;
constexpr std::size_t max_positions = 1 << 12;

AnswerPosition answer_position_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  AnswerPosition at;
  at.position = fields.integer("position", 0, most_whole);
  for (const auto& item : fields.array("candidates", max_candidates)) {
    Fields one(item, place + ".candidates");
    TokenChoice choice;
    choice.id = static_cast<std::int32_t>(one.integer("id", 0, std::numeric_limits<std::int32_t>::max()));
    choice.text = one.string("text", 1024);
    choice.dense = one.number("dense", 0, 1.0001);
    choice.method = one.number("method", 0, 1.0001);
    at.candidates.push_back(std::move(choice));
  }
  return at;
}

ForcedComparison forced_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  ForcedComparison forced;
  forced.positions = fields.integer("positions", 0, most_whole);
  forced.kl_mean = fields.number_or("kl_mean", nan, 0, most);
  forced.kl_p95 = fields.number_or("kl_p95", nan, 0, most);
  forced.top1_flips = fields.integer("top1_flips", 0, forced.positions);
  if (fields.has("first_divergence"))
    forced.first_divergence = fields.integer("first_divergence", 0, std::max<std::int64_t>(forced.positions - 1, 0));
  if (fields.has("first_difference")) {
    forced.first_difference =
        answer_position_from_json(fields.object("first_difference"), place + ".first_difference");
    if (forced.first_difference->position != forced.first_divergence)
      fields.fail("first_difference", "at first_divergence", std::to_string(forced.first_difference->position));
  }
  return forced;
}

ReferenceAnswer reference_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  ReferenceAnswer reference;
  reference.tokens = fields.integer("tokens", 1, most_whole);
  reference.nll_mean = fields.number_or("nll_mean", nan, 0, most);
  reference.top1_agrees = fields.integer("top1_agrees", 0, reference.tokens);
  return reference;
}

std::map<std::string, std::string> parameters_from_json(const json& object, Fields& fields) {
  std::map<std::string, std::string> parameters;
  if (object.size() > max_parameters) fields.fail("parameters", "at most 64 entries", headroom::describe(object));
  for (const auto& [name, value] : object.items()) {
    if (!value.is_string() || name.size() > 64 || value.get_ref<const std::string&>().size() > 32768)
      fields.fail("parameters", "short texts", headroom::describe(value));
    parameters.emplace(name, value.get<std::string>());
  }
  return parameters;
}

std::array<double, num_stages> stage_row(const json& row, Fields& fields) {
  std::array<double, num_stages> values{};
  if (!row.is_array() || row.size() != num_stages)
    fields.fail("layer_stages_ms", "lists of 9 numbers", headroom::describe(row));
  for (std::size_t i = 0; i < num_stages; ++i) {
    if (!row[i].is_number() && !row[i].is_null())
      fields.fail("layer_stages_ms", "lists of 9 numbers", headroom::describe(row[i]));
    values[i] = row[i].is_null() ? nan : row[i].get<double>();
  }
  return values;
}

/// The lists that Arrays::beside leaves out.
void read_arrays(MethodSummary& s, Fields& fields) {
  if (fields.has("ttft_samples_ms")) s.ttft_samples = fields.numbers("ttft_samples_ms", max_samples);
  if (fields.has("layer_stages_ms"))
    for (const auto& row : fields.array("layer_stages_ms", max_layers))
      s.layer_stages.push_back(stage_row(row, fields));
  for (const auto& [name, values] : {std::pair{"output_l2_per_layer", &s.output_l2_per_layer},
                                     std::pair{"output_frobenius_per_layer", &s.output_frobenius_per_layer}})
    if (fields.has(name)) *values = fields.numbers(name, max_layers);
  if (fields.has("answer_ids"))
    for (const auto id : fields.integers("answer_ids", 1 << 17, 0, std::numeric_limits<std::int32_t>::max()))
      s.answer_ids.push_back(static_cast<std::int32_t>(id));
  s.answer = fields.string_or("text", {}, max_answer_bytes);
}

LayerMeta layer_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  LayerMeta layer;
  layer.kind = fields.string("kind", 32);
  const std::int64_t least = layer.is_full() ? 1 : 0;
  layer.num_q_heads = fields.integer("num_q_heads", least, max_heads);
  layer.num_kv_heads = fields.integer("num_kv_heads", least, max_heads);
  // Both or none: group_size() divides by one and head groups by the other.
  if (layer.num_kv_heads == 0 ? layer.num_q_heads != 0
                              : layer.num_q_heads == 0 || layer.num_q_heads % layer.num_kv_heads != 0)
    fields.fail("num_kv_heads", "a divisor of num_q_heads, " + std::to_string(layer.num_q_heads),
                std::to_string(layer.num_kv_heads));
  layer.head_dim = fields.integer("head_dim", least, 1024);
  layer.window = fields.integer("window", 0, most_whole);
  layer.scale = fields.number("scale", 0, 1e6);
  return layer;
}

}  // namespace

bool is_method_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && id.front() != '.' && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

json to_json(const Budget& budget) {
  json object = {{"kind", name_of(budget.kind, budget_kind_names)}};
  if (budget.kind == BudgetKind::tokens)
    object["value"] = static_cast<std::int64_t>(budget.value);
  else
    object["value"] = budget.value;
  return object;
}

Budget budget_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  Budget budget;
  budget.kind = one_of<BudgetKind>(fields, "kind", budget_kind_names);
  const bool tokens = budget.kind == BudgetKind::tokens;
  budget.value = fields.number("value", 0, tokens ? 1e9 : 1);
  if (!(budget.value > 0) || (tokens && budget.value != std::floor(budget.value)))
    fields.fail("value", tokens ? "a whole number of keys" : "a share above 0", std::to_string(budget.value));
  return budget;
}

json to_json(const Quartiles& quartiles) {
  return {{"median", json_number(quartiles.median)},
          {"q1", json_number(quartiles.q1)},
          {"q3", json_number(quartiles.q3)},
          {"repeats", quartiles.repeats}};
}

Quartiles quartiles_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  return {fields.number_or("median", nan, 0, most), fields.number_or("q1", nan, 0, most),
          fields.number_or("q3", nan, 0, most), static_cast<int>(fields.integer("repeats", 0, 1'000'000))};
}

json to_json(const std::optional<MachineLoad>& load) {
  if (!load) return nullptr;
  return {{"seconds", load->seconds},
          {"other_cpus", load->other_cpus},
          {"cpus", load->cpus},
          {"threads", load->threads}};
}

std::optional<MachineLoad> load_of(Fields& fields, const std::string& place) {
  if (!fields.has("machine_load")) return std::nullopt;
  return load_from_json(fields.object("machine_load"), place + ".machine_load");
}

json to_json(const TimingPlan& plan) {
  json layers = json::array();
  for (const LayerPlan& layer : plan.layers)
    layers.push_back({{"run", name_of(layer.run, layer_run_names)},
                      {"dense_ms", json_number(layer.dense_ms)},
                      {"sparse_ms", json_number(layer.sparse_ms)}});
  return {{"source", plan.source},
          {"times", plan.times},
          {"machine", plan.machine},
          {"dtype", plan.dtype},
          {"threads", plan.threads},
          {"dense_backend", plan.dense_backend},
          {"density", json_number(plan.density)},
          {"layers", layers}};
}

TimingPlan timing_plan_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  TimingPlan plan;
  plan.source = fields.string("source", 32);
  plan.times = fields.string("times", 32);
  plan.machine = fields.string("machine");
  plan.dtype = fields.string("dtype", 16);
  plan.threads = fields.integer("threads", 0, 1 << 20);
  plan.dense_backend = fields.string("dense_backend", 64);
  plan.density = fields.number_or("density", nan, 0, 1.0000001);
  for (const auto& item : fields.array("layers", max_layers)) {
    Fields layer(item, place + ".layers");
    plan.layers.push_back({one_of<LayerRun>(layer, "run", layer_run_names), layer.number_or("dense_ms", nan, 0, most),
                           layer.number_or("sparse_ms", nan, 0, most)});
  }
  return plan;
}

json layer_runs_json(const TimingPlan& plan) {
  json layers = json::array();
  for (const LayerPlan& layer : plan.layers)
    layers.push_back(layer.run == LayerRun::other ? json(nullptr) : json(name_of(layer.run, layer_run_names)));
  return layers;
}

json to_json(const AnswerPosition& at) {
  json candidates = json::array();
  for (const TokenChoice& choice : at.candidates)
    candidates.push_back({{"id", choice.id},
                          {"text", choice.text},
                          {"dense", json_number(choice.dense)},
                          {"method", json_number(choice.method)}});
  return {{"position", at.position}, {"candidates", candidates}};
}

std::vector<AnswerPosition> answer_positions_from_json(const json& list, const std::string& place) {
  if (!list.is_array() || list.size() > max_positions)
    throw input_error(place, "not a list of positions", "at most " + std::to_string(max_positions),
                      headroom::describe(list));
  std::vector<AnswerPosition> positions;
  for (const auto& item : list) {
    positions.push_back(answer_position_from_json(item, place + "[" + std::to_string(positions.size()) + "]"));
    if (positions.size() > 1 && positions[positions.size() - 2].position >= positions.back().position)
      throw input_error(place, "positions are not in ascending order");
  }
  return positions;
}

json to_json(const ForcedComparison& forced) {
  return {{"positions", forced.positions},
          {"kl_mean", json_number(forced.kl_mean)},
          {"kl_p95", json_number(forced.kl_p95)},
          {"top1_flips", forced.top1_flips},
          {"first_divergence", forced.first_divergence ? json(*forced.first_divergence) : json(nullptr)},
          {"first_difference", forced.first_difference ? to_json(*forced.first_difference) : json(nullptr)}};
}

json to_json(const ReferenceAnswer& reference) {
  return {{"tokens", reference.tokens},
          {"nll_mean", json_number(reference.nll_mean)},
          {"top1_agrees", reference.top1_agrees}};
}

json to_json(const MethodSummary& s, Arrays arrays) {
  const bool inside = arrays == Arrays::inside;
  json object = {
      {"id", s.id},
      {"name", s.name},
      {"title", s.title},
      {"role", name_of(s.role, method_role_names)},
      {"scope", name_of(s.scope, support_scope_names)},
      {"score", name_of(s.score, score_kind_names)},
      {"look", s.look},
      {"parameters", s.parameters},
      {"fingerprint", s.fingerprint},
      {"budget", s.budget ? to_json(*s.budget) : json(nullptr)},
      {"budget_tokens", s.budget_tokens},
      {"granularity", s.granularity},
      {"density", json_number(s.density)},
      {"plan", s.plan},
      {"plan_layers", s.timing_plan ? layer_runs_json(*s.timing_plan) : json(nullptr)},
      {"timing_plan", s.timing_plan ? to_json(*s.timing_plan) : json(nullptr)},
      {"baselines", json::array()},
      {"backend", s.backend},
      {"label", s.label},
      {"causal", s.causal},
      {"ttft_ms", to_json(s.ttft)},
      {"machine_load", to_json(s.load)},
      {"captured_mass", {{"mean", json_number(s.captured_mass_mean)}, {"min", json_number(s.captured_mass_min)}}},
      {"oracle_recall", nullptr},
      {"kl_to_dense", json_number(s.kl_to_dense)},
      {"top1_agrees", s.top1_agrees ? json(*s.top1_agrees) : json(nullptr)},
      {"forced", s.forced ? to_json(*s.forced) : json(nullptr)},
      {"reference_answer", s.reference_answer ? to_json(*s.reference_answer) : json(nullptr)},
      {"answer_cut", s.answer_cut},
      {"task_score", json_number(s.task_score)},
      {"peak_bytes", s.peak_bytes},
      {"device_peak_bytes", s.device_peak_bytes},
      {"devices", to_json(s.devices)},
      {"complete", s.complete}};
  for (const auto& baseline : s.baselines)
    object["baselines"].push_back(
        {{"backend", baseline.backend}, {"ttft_ms", to_json(baseline.ttft)}, {"machine_load", to_json(baseline.load)}});
  for (std::size_t i = 0; i < num_stages; ++i) {
    const std::string stage(stage_names[i]);
    object["stages_ms"][stage] = json_number(s.stages[i].median);
    object["stages_quartiles_ms"][stage] = to_json(s.stages[i]);
  }
  if (s.oracle_recall_mean)
    object["oracle_recall"] = {{"mean", json_number(*s.oracle_recall_mean)},
                               {"mean_95", json_number(s.oracle_recall_95_mean)}};
  if (!inside) return object;
  object["captured_mass"]["per_layer"] = json_numbers(s.captured_mass_per_layer);
  if (s.oracle_recall_mean) object["oracle_recall"]["per_layer"] = json_numbers(s.oracle_recall_per_layer);
  object["output_l2_per_layer"] = json_numbers(s.output_l2_per_layer);
  object["output_frobenius_per_layer"] = json_numbers(s.output_frobenius_per_layer);
  object["ttft_samples_ms"] = json_numbers(s.ttft_samples);
  object["layer_stages_ms"] = json::array();
  for (const auto& row : s.layer_stages) object["layer_stages_ms"].push_back(json_numbers({row.begin(), row.end()}));
  object["answer_ids"] = s.answer_ids;
  object["text"] = s.answer;
  return object;
}

MethodSummary method_summary_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  MethodSummary s;
  s.id = fields.string("id", 64);
  if (!is_method_id(s.id)) fields.fail("id", "a method id", "\"" + s.id + "\"");
  s.name = fields.string("name", 64);
  s.title = fields.string("title", 256);
  s.role = one_of<MethodRole>(fields, "role", method_role_names);
  s.scope = one_of<SupportScope>(fields, "scope", support_scope_names);
  s.score = one_of<ScoreKind>(fields, "score", score_kind_names);
  s.look = static_cast<int>(fields.integer("look", 0, num_method_looks - 1));
  s.parameters = parameters_from_json(fields.object("parameters"), fields);
  s.fingerprint = fields.string("fingerprint", 64);
  if (s.fingerprint.find_first_not_of("0123456789abcdef") != std::string::npos)
    fields.fail("fingerprint", "hexadecimal digits", "\"" + s.fingerprint + "\"");
  if (fields.has("budget")) s.budget = budget_from_json(fields.object("budget"), place + ".budget");
  s.budget_tokens = fields.integer("budget_tokens", 0, most_whole);
  s.granularity = fields.integer("granularity", 1, 1 << 20);
  s.density = fields.number_or("density", nan, 0, 1.0000001);
  s.plan = fields.string("plan");
  if (fields.has("timing_plan"))
    s.timing_plan = timing_plan_from_json(fields.object("timing_plan"), place + ".timing_plan");
  for (const auto& item : fields.array("baselines", max_baselines)) {
    Fields baseline(item, place + ".baselines");
    const auto backend = baseline.string("backend", 64);
    s.baselines.push_back({backend, quartiles_from_json(baseline.object("ttft_ms"), place + ".baselines.ttft_ms"),
                           load_of(baseline, place + ".baselines")});
  }
  s.backend = fields.string("backend");
  s.label = fields.string("label");
  s.causal = fields.boolean("causal");
  s.ttft = quartiles_from_json(fields.object("ttft_ms"), place + ".ttft_ms");
  s.load = load_of(fields, place);
  Fields stages(fields.object("stages_quartiles_ms"), place + ".stages_quartiles_ms");
  for (std::size_t i = 0; i < num_stages; ++i) {
    const std::string stage(stage_names[i]);
    if (static_cast<Stage>(i) == Stage::transfer && !stages.has(stage.c_str())) continue;  // schemas 1 to 3
    s.stages[i] = quartiles_from_json(stages.object(stage.c_str()), place + ".stages_quartiles_ms." + stage);
  }
  Fields captured(fields.object("captured_mass"), place + ".captured_mass");
  s.captured_mass_mean = captured.number_or("mean", nan, -most, most);
  s.captured_mass_min = captured.number_or("min", nan, -most, most);
  if (captured.has("per_layer")) s.captured_mass_per_layer = captured.numbers("per_layer", max_layers);
  if (fields.has("oracle_recall")) {
    Fields recall(fields.object("oracle_recall"), place + ".oracle_recall");
    s.oracle_recall_mean = recall.number_or("mean", nan, -most, most);
    s.oracle_recall_95_mean = recall.optional_number("mean_95", -most, most);
    if (recall.has("per_layer")) s.oracle_recall_per_layer = recall.numbers("per_layer", max_layers);
  }
  s.kl_to_dense = fields.optional_number("kl_to_dense", -most, most);
  if (fields.has("top1_agrees")) s.top1_agrees = fields.boolean("top1_agrees");
  s.answer_cut = fields.boolean_or("answer_cut", false);
  if (fields.has("forced")) s.forced = forced_from_json(fields.object("forced"), place + ".forced");
  if (fields.has("reference_answer"))
    s.reference_answer = reference_from_json(fields.object("reference_answer"), place + ".reference_answer");
  s.task_score = fields.optional_number("task_score", 0, 100);
  s.peak_bytes = fields.integer("peak_bytes", 0, most_whole);
  if (fields.has("device_peak_bytes")) s.device_peak_bytes = fields.integers("device_peak_bytes", 128, 0, most_whole);
  if (fields.has("devices"))
    s.devices = devices_from_json(fields.array("devices", most_devices), place + ".devices");
  s.complete = fields.boolean("complete");
  read_arrays(s, fields);
  return s;
}

json to_json(const RunMeta& m) {
  json layers = json::array();
  for (const LayerMeta& layer : m.layers)
    layers.push_back({{"kind", layer.kind},
                      {"num_q_heads", layer.num_q_heads},
                      {"num_kv_heads", layer.num_kv_heads},
                      {"head_dim", layer.head_dim},
                      {"window", layer.window},
                      {"scale", json_number(layer.scale)}});
  json object = {{"model", m.model_name},
                 {"model_path", m.model_path},
                 {"model_sha256", m.model_sha256},
                 {"architecture", m.architecture},
                 {"device", m.device},
                 {"dtype", m.dtype},
                 {"threads", m.threads},
                 {"context", m.context},
                 {"run_id", m.run_id},
                 {"created", m.created},
                 {"program_version", m.program_version},
                 {"layers", layers},
                 {"warmups", m.warmups},
                 {"timed_in_turn", m.timed_in_turn},
                 {"kept_note", m.kept_note},
                 {"chat", m.chat ? json(*m.chat) : json(nullptr)},
                 {"warnings", m.warnings},
                 {"complete", m.complete},
                 {"spec", m.spec_json},
                 {"task", m.task.empty() ? json(nullptr) : json(m.task)},
                 {"task_reference", m.task_reference.empty() ? json(nullptr) : json(m.task_reference)},
                 {"adapter", nullptr},
                 {"indexer", nullptr}};
  if (!m.adapter_sha256.empty())
    object["adapter"] = {{"name", m.adapter_name}, {"sha256", m.adapter_sha256}, {"base_sha256", m.base_sha256}};
  if (!m.indexer_path.empty())
    object["indexer"] = {
        {"path", m.indexer_path}, {"sha256", m.indexer_sha256}, {"trained_length", m.indexer_trained_length}};
  return object;
}

RunMeta run_meta_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  RunMeta m;
  m.model_name = fields.string("model");
  m.model_path = fields.string("model_path");
  m.model_sha256 = fields.string("model_sha256", 64);
  m.architecture = fields.string("architecture");
  m.device = fields.string("device");
  m.dtype = fields.string("dtype", 16);
  m.threads = fields.integer_or("threads", 0, 0, 1 << 20);
  m.context = fields.integer("context", 0, most_whole);
  m.run_id = fields.string("run_id", 64);
  m.created = fields.string("created", 64);
  m.program_version = fields.string("program_version", 64);
  for (const auto& layer : fields.array("layers", max_layers))
    m.layers.push_back(layer_from_json(layer, place + ".layers[" + std::to_string(m.layers.size()) + "]"));
  m.warmups = fields.integer("warmups", 0, 1'000'000);
  m.timed_in_turn = fields.has("timed_in_turn") && fields.boolean("timed_in_turn");
  m.kept_note = fields.string("kept_note", 1 << 16);
  if (fields.has("chat")) m.chat = fields.boolean("chat");
  if (fields.has("warnings")) m.warnings = fields.strings("warnings", max_warnings);
  m.complete = fields.boolean("complete");
  m.spec_json = fields.string("spec", Fields::long_text);
  m.task = fields.string_or("task", {});
  m.task_reference = fields.string_or("task_reference", {}, 1 << 20);
  if (fields.has("adapter")) {
    Fields adapter(fields.object("adapter"), place + ".adapter");
    m.adapter_name = adapter.string("name");
    m.adapter_sha256 = adapter.string("sha256", 64);
    m.base_sha256 = adapter.string("base_sha256", 64);
  }
  if (fields.has("indexer")) {
    Fields indexer(fields.object("indexer"), place + ".indexer");
    m.indexer_path = indexer.string("path");
    m.indexer_sha256 = indexer.string("sha256", 64);
    m.indexer_trained_length = indexer.integer("trained_length", 0, most_whole);
  }
  return m;
}

}  // namespace headroom::record
