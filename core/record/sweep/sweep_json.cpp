// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json_fields.h"
#include "record/sweep/sweep_types.h"

namespace headroom::record {
namespace {

using nlohmann::json;

constexpr std::size_t most_tasks = 256, most_lengths = 256, most_methods = 1024, most_layers = 1024, most_devices = 256;
constexpr std::size_t most_answer_bytes = 4u << 20;
constexpr std::int64_t most_tokens = 4LL << 20;
constexpr std::int64_t largest_seed = 1LL << 53;
constexpr std::int64_t most_samples = 2'000'000;
constexpr std::size_t most_budgets = 64;
constexpr double largest = 1e300;
constexpr std::array<std::string_view, 3> budget_words = {"tokens", "fraction", "mass"};

template <typename Value, std::size_t N>
Value sweep_word(Fields& fields, const char* field, const std::array<std::string_view, N>& names) {
  const std::string found = fields.string(field, 32);
  std::string expected;
  for (std::size_t i = 0; i < N; ++i) {
    if (found == names[i]) return static_cast<Value>(i);
    expected += (i == 0 ? "" : ", ") + std::string(names[i]);
  }
  fields.fail(field, expected, "\"" + found + "\"");
}

template <typename Value, std::size_t N>
std::string sweep_name(Value value, const std::array<std::string_view, N>& names) {
  return std::string(names[static_cast<std::size_t>(value)]);
}

json layers_json(const std::vector<LayerMeta>& layers) {
  json list = json::array();
  for (const LayerMeta& layer : layers)
    list.push_back({{"kind", layer.kind},
                    {"num_q_heads", layer.num_q_heads},
                    {"num_kv_heads", layer.num_kv_heads},
                    {"head_dim", layer.head_dim},
                    {"window", layer.window},
                    {"scale", json_number(layer.scale)}});
  return list;
}

LayerMeta sweep_layer(const json& object, const std::string& place) {
  Fields fields(object, place);
  LayerMeta layer;
  layer.kind = fields.string("kind", 32);
  layer.num_q_heads = fields.integer("num_q_heads", 0, 4096);
  layer.num_kv_heads = fields.integer("num_kv_heads", 0, 4096);
  layer.head_dim = fields.integer("head_dim", 0, 65536);
  layer.window = fields.integer("window", 0, most_tokens);
  layer.scale = fields.number_or("scale", 0, -largest, largest);
  return layer;
}

json sweep_method_json(const SweepMethod& method) {
  return {{"id", method.id},
          {"name", method.name},
          {"title", method.title},
          {"role", sweep_name(method.role, method_role_names)},
          {"scope", sweep_name(method.scope, support_scope_names)},
          {"score", sweep_name(method.score, score_kind_names)},
          {"look", method.look},
          {"causal", method.causal},
          {"is_default", method.is_default},
          {"parameters", method.parameters},
          {"fingerprint", method.fingerprint},
          {"budget", method.budget ? json{{"kind", sweep_name(method.budget->kind, budget_words)},
                                          {"value", method.budget->value}}
                                   : json(nullptr)},
          {"granularity", method.granularity}};
}

SweepMethod sweep_method(const json& object, const std::string& place) {
  Fields fields(object, place);
  SweepMethod method;
  method.id = fields.string("id", 64);
  method.name = fields.string("name", 64);
  method.title = fields.string("title", 256);
  method.role = sweep_word<MethodRole>(fields, "role", method_role_names);
  method.scope = sweep_word<SupportScope>(fields, "scope", support_scope_names);
  method.score = sweep_word<ScoreKind>(fields, "score", score_kind_names);
  method.look = static_cast<int>(fields.integer("look", 0, 1'000));
  method.causal = fields.boolean("causal");
  method.is_default = fields.boolean("is_default");
  const json& parameters = fields.object("parameters");
  if (parameters.size() > 64) fields.fail("parameters", "at most 64 of them", std::to_string(parameters.size()));
  for (const auto& [name, value] : parameters.items()) {
    if (!value.is_string()) fields.fail("parameters", "texts", headroom::describe(value));
    method.parameters[name] = value.get<std::string>();
  }
  method.fingerprint = fields.string("fingerprint", 64);
  method.granularity = fields.integer("granularity", 1, 1 << 20);
  if (fields.has("budget")) {
    Fields budget(fields.object("budget"), place + ".budget");
    method.budget.emplace();
    method.budget->kind = sweep_word<BudgetKind>(budget, "kind", budget_words);
    method.budget->value = budget.number("value", 1e-12, method.budget->kind == BudgetKind::tokens ? 1e9 : 1);
  }
  if (method.budget.has_value() == method.is_dense())
    fields.fail("budget", method.is_dense() ? "none for dense" : "a budget", method.budget ? "one" : "none");
  return method;
}

json sample_json(const SweepMeta& meta, const SweepSample& sample) {
  return {{"task", meta.tasks[sample.task].name},
          {"length", sample.length},
          {"seed", sample.seed},
          {"calibration", sample.calibration}};
}

SweepSample sample_from(const SweepMeta& meta, Fields& fields) {
  SweepSample sample;
  const std::string task = fields.string("task", 256);
  const auto found =
      std::find_if(meta.tasks.begin(), meta.tasks.end(), [&](const SweepTask& one) { return one.name == task; });
  if (found == meta.tasks.end()) fields.fail("task", "one of the sweep's tasks", "\"" + task + "\"");
  sample.task = static_cast<std::size_t>(found - meta.tasks.begin());
  sample.length = fields.integer("length", 0, most_tokens);
  if (std::find(meta.lengths.begin(), meta.lengths.end(), sample.length) == meta.lengths.end())
    fields.fail("length", "one of the sweep's lengths", std::to_string(sample.length));
  sample.seed = fields.integer("seed", 0, largest_seed);
  sample.calibration = fields.boolean("calibration");
  if (!meta.is_own_prompts()) {
    const std::int64_t first = meta.seed + (sample.calibration ? calibration_seeds : 0);
    const std::int64_t count = sample.calibration ? meta.calibration : meta.samples;
    if (sample.seed < first || sample.seed >= first + count)
      fields.fail("seed", std::to_string(first) + " to " + std::to_string(first + count - 1),
                  std::to_string(sample.seed));
  }
  return sample;
}

json floats_json(const std::vector<float>& values) {
  json list = json::array();
  for (const float value : values) list.push_back(json_number(static_cast<double>(value)));
  return list;
}

std::vector<float> floats_from(Fields& fields, const char* name, std::size_t most) {
  const std::vector<double> values = fields.numbers(name, most);
  return {values.begin(), values.end()};
}

}  // namespace

json to_json(const SweepMeta& m) {
  json tasks = json::array(), methods = json::array(), prompts = json::array();
  for (const SweepTask& task : m.tasks)
    tasks.push_back(
        {{"name", task.name}, {"title", task.title}, {"in_family", task.in_family}, {"has_score", task.has_score}});
  for (const SweepMethod& method : m.methods) methods.push_back(sweep_method_json(method));
  for (const SweepSample& sample : m.prompt_samples) prompts.push_back({sample.task, sample.seed});
  return {{"schema_version", sweep_schema_version},
          {"created", m.created},
          {"program_version", m.program_version},
          {"model", m.model_name},
          {"model_file", m.model_file},
          {"model_sha256", m.model_sha256},
          {"architecture", m.architecture},
          {"dtype", m.dtype},
          {"context", m.context},
          {"layers", layers_json(m.layers)},
          {"devices", m.devices},
          {"indexer_file", m.indexer_file},
          {"indexer_sha256", m.indexer_sha256},
          {"indexer_trained_length", m.indexer_trained_length},
          {"dense_layers", m.dense_layers},
          {"rendering", m.rendering},
          {"system_sha256", m.system_sha256},
          {"template_arguments", m.template_arguments},
          {"haystack_sha256", m.haystack_sha256},
          {"tasks", tasks},
          {"lengths", m.lengths},
          {"samples", m.samples},
          {"seed", m.seed},
          {"calibration", m.calibration},
          {"prompts", m.prompts},
          {"prompts_sha256", m.prompts_sha256},
          {"prompt_samples", prompts},
          {"max_new_tokens", m.max_new_tokens ? json(*m.max_new_tokens) : json(nullptr)},
          {"prompt_tail", m.prompt_tail},
          {"curves", m.curves},
          {"methods", methods},
          {"shard", {m.shard, m.shards}},
          {"complete", m.complete}};
}

SweepMeta sweep_meta_from_json(const json& object, const std::string& place) {
  Fields fields(object, place);
  const std::int64_t version = fields.integer("schema_version", 0, std::numeric_limits<std::int64_t>::max());
  if (version != sweep_schema_version)
    throw input_error(place, "written by another version of the program",
                      "schema " + std::to_string(sweep_schema_version), std::to_string(version));
  SweepMeta m;
  m.created = fields.string("created", 64);
  m.program_version = fields.string("program_version", 64);
  m.model_name = fields.string("model");
  m.model_file = fields.string("model_file");
  m.model_sha256 = fields.string("model_sha256", 128);
  m.architecture = fields.string("architecture", 128);
  m.dtype = fields.string("dtype", 16);
  m.context = fields.integer("context", 1, 1LL << 40);
  for (const json& layer : fields.array("layers", most_layers))
    m.layers.push_back(sweep_layer(layer, place + ".layers"));
  if (m.layers.empty()) fields.fail("layers", "at least one layer", "none");
  m.devices = fields.strings("devices", most_devices);
  m.indexer_file = fields.string("indexer_file");
  m.indexer_sha256 = fields.string("indexer_sha256", 128);
  m.indexer_trained_length = fields.integer("indexer_trained_length", 0, 1LL << 40);
  for (const std::int64_t layer : fields.integers("dense_layers", most_layers, 0, m.num_layers() - 1))
    m.dense_layers.push_back(static_cast<int>(layer));
  m.rendering = fields.string("rendering", 64);
  m.system_sha256 = fields.string("system_sha256", 128);
  m.template_arguments = fields.string("template_arguments", 1u << 16);
  m.haystack_sha256 = fields.string("haystack_sha256", 128);
  std::set<std::string> names;
  for (const json& item : fields.array("tasks", most_tasks)) {
    Fields task(item, place + ".tasks");
    m.tasks.push_back(
        {task.string("name", 256), task.string("title", 256), task.boolean("in_family"), task.boolean("has_score")});
    if (!names.insert(m.tasks.back().name).second) fields.fail("tasks", "each once", m.tasks.back().name + " twice");
  }
  if (m.tasks.empty()) fields.fail("tasks", "at least one", "none");
  m.lengths = fields.integers("lengths", most_lengths, 0, most_tokens);
  if (m.lengths.empty()) fields.fail("lengths", "at least one", "none");
  if (std::set<std::int64_t>(m.lengths.begin(), m.lengths.end()).size() != m.lengths.size())
    fields.fail("lengths", "each once", headroom::describe(object["lengths"]));
  m.samples = fields.integer("samples", 1, max_sweep_samples);
  m.seed = fields.integer("seed", 0, largest_seed);
  m.calibration = fields.integer("calibration", 0, max_sweep_samples);
  m.prompts = fields.string("prompts");
  m.prompts_sha256 = fields.string("prompts_sha256", 128);
  for (const json& item : fields.array("prompt_samples", max_sweep_samples)) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_number_unsigned() || !item[1].is_number_unsigned() ||
        item[0].get<std::uint64_t>() >= m.tasks.size() ||
        item[1].get<std::uint64_t>() > static_cast<std::uint64_t>(largest_seed))
      fields.fail("prompt_samples", "pairs of a task and an index", headroom::describe(item));
    m.prompt_samples.push_back({item[0].get<std::size_t>(), 0, item[1].get<std::int64_t>(), false});
  }
  // All samples are gone through one by one, so their number has a limit of its own.
  const auto cells = static_cast<std::int64_t>(m.tasks.size() * m.lengths.size());
  if (cells * (m.samples + m.calibration) > most_samples)
    fields.fail("samples", std::to_string(most_samples) + " in all",
                std::to_string(cells * (m.samples + m.calibration)));
  if (fields.has("max_new_tokens")) m.max_new_tokens = fields.integer("max_new_tokens", 0, most_tokens);
  m.prompt_tail = fields.integer("prompt_tail", 0, most_tokens);
  m.curves = fields.integer("curves", 0, max_sweep_samples);
  names.clear();
  for (const json& item : fields.array("methods", most_methods)) {
    m.methods.push_back(sweep_method(item, place + ".methods"));
    if (!names.insert(m.methods.back().id).second) fields.fail("methods", "each once", m.methods.back().id + " twice");
  }
  if (m.methods.empty() || !m.methods.front().is_dense() ||
      std::count_if(m.methods.begin(), m.methods.end(), [](const SweepMethod& one) { return one.is_dense(); }) != 1)
    fields.fail("methods", "dense, once and first", m.methods.empty() ? "none" : m.methods.front().id);
  const auto shard = fields.integers("shard", 2, 1, 1 << 20);
  if (shard.size() != 2 || shard[0] > shard[1])
    fields.fail("shard", "[i, n] with i from 1 to n", headroom::describe(object["shard"]));
  m.shard = static_cast<int>(shard[0]);
  m.shards = static_cast<int>(shard[1]);
  m.complete = fields.boolean("complete");
  return m;
}

json to_json(const SweepMeta& meta, const SweepRow& row) {
  json object = sample_json(meta, row.sample);
  object["method"] = meta.methods[row.method].id;
  object["fingerprint"] = meta.methods[row.method].fingerprint;
  object["tokens"] = row.tokens;
  object["score"] = json_number(row.score);
  object["density"] = json_number(row.density);
  object["forced"] = nullptr;
  if (row.forced)
    object["forced"] = {
        {"positions", row.forced->positions},
        {"top1_flips", row.forced->top1_flips},
        {"first_divergence", row.forced->first_divergence ? json(*row.forced->first_divergence) : json(nullptr)},
        {"kl_mean", row.forced->kl_mean},
        {"kl_p95", row.forced->kl_p95},
        {"nll_mean", row.forced->nll_mean}};
  object["prompt_nll"] = json_number(row.prompt_nll);
  object["prompt_kl"] = json_number(row.prompt_kl);
  object["answer_cut"] = row.answer_cut;
  object["answer"] = row.answer;
  object["output_l2"] = floats_json(row.output_l2);
  return object;
}

SweepRow sweep_row_from_json(const SweepMeta& meta, const json& object, const std::string& place) {
  Fields fields(object, place);
  SweepRow row;
  row.sample = sample_from(meta, fields);
  const std::string id = fields.string("method", 64);
  const auto found =
      std::find_if(meta.methods.begin(), meta.methods.end(), [&](const SweepMethod& one) { return one.id == id; });
  if (found == meta.methods.end()) fields.fail("method", "one of the sweep's methods", "\"" + id + "\"");
  row.method = static_cast<std::size_t>(found - meta.methods.begin());
  if (const std::string print = fields.string("fingerprint", 64); print != found->fingerprint)
    fields.fail("fingerprint", found->fingerprint, print);
  if (row.sample.calibration && row.method != 0) fields.fail("method", "dense in calibration", "\"" + id + "\"");
  row.tokens = fields.integer("tokens", 1, most_tokens);
  row.score = fields.optional_number("score", 0, 100);
  row.density = fields.number("density", 0, 1 + 1e-9);
  if (fields.has("forced")) {
    Fields forced(fields.object("forced"), place + ".forced");
    SweepForced& f = row.forced.emplace();
    f.positions = forced.integer("positions", 1, most_tokens);
    f.top1_flips = forced.integer("top1_flips", 0, f.positions);
    if (forced.has("first_divergence")) f.first_divergence = forced.integer("first_divergence", 0, f.positions - 1);
    f.kl_mean = forced.number("kl_mean", 0, largest);
    f.kl_p95 = forced.number("kl_p95", 0, largest);
    f.nll_mean = forced.number("nll_mean", 0, largest);
  }
  row.prompt_nll = fields.optional_number("prompt_nll", 0, largest);
  row.prompt_kl = fields.optional_number("prompt_kl", 0, largest);
  if (!found->causal && (row.prompt_nll || row.prompt_kl))
    fields.fail("prompt_nll", "none for a method that is not causal", "a number");
  row.answer_cut = fields.boolean("answer_cut");
  row.answer = fields.string("answer", most_answer_bytes);
  row.output_l2 = floats_from(fields, "output_l2", most_layers);
  if (!row.output_l2.empty() && std::ssize(row.output_l2) != meta.num_layers())
    fields.fail("output_l2", std::to_string(meta.num_layers()) + " values or none",
                std::to_string(row.output_l2.size()));
  return row;
}

json to_json(const SweepMeta& meta, const SweepCurves& curves) {
  json object = sample_json(meta, curves.sample);
  object["tokens"] = curves.tokens;
  object["budgets"] = curves.budgets;
  object["values"] = floats_json(curves.values);
  return object;
}

SweepCurves sweep_curves_from_json(const SweepMeta& meta, const json& object, const std::string& place) {
  Fields fields(object, place);
  SweepCurves curves;
  curves.sample = sample_from(meta, fields);
  curves.tokens = fields.integer("tokens", 1, most_tokens);
  curves.budgets = fields.integers("budgets", most_budgets, 1, most_tokens);
  if (curves.budgets.empty() || !std::is_sorted(curves.budgets.begin(), curves.budgets.end()))
    fields.fail("budgets", "at least one, ascending", headroom::describe(object["budgets"]));
  const std::size_t values = meta.layers.size() * 3 * curves.budgets.size();
  curves.values = floats_from(fields, "values", values);
  if (curves.values.size() != values)
    fields.fail("values", std::to_string(values) + " values", std::to_string(curves.values.size()));
  for (const float value : curves.values)
    if (!std::isnan(value) && !(value >= 0 && value <= 1.001f))
      fields.fail("values", "shares from 0 to 1", std::to_string(value));
  return curves;
}

}  // namespace headroom::record
