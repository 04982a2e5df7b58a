// SPDX-License-Identifier: Apache-2.0
#include "protocol/summary_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "protocol/json_fields.h"
#include "record/record_json.h"

namespace headroom::protocol {
namespace {

constexpr std::size_t max_layers = 4096;
constexpr double huge = 1e300;
constexpr std::int64_t max_count = std::numeric_limits<std::int64_t>::max();

nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

nlohmann::json numbers(const std::vector<double>& values) {
  auto list = nlohmann::json::array();
  for (double value : values) list.push_back(number(value));
  return list;
}

nlohmann::json optional_number(const std::optional<double>& value) {
  return value ? number(*value) : nlohmann::json(nullptr);
}

nlohmann::json quartiles_json(const record::Quartiles& quartiles) {
  return {{"median", number(quartiles.median)},
          {"q1", number(quartiles.q1)},
          {"q3", number(quartiles.q3)},
          {"repeats", quartiles.repeats}};
}

record::Quartiles quartiles_from_json(const nlohmann::json& json, const std::string& place) {
  Fields fields(json, place);
  record::Quartiles quartiles;
  quartiles.median = fields.number_or("median", 0, 0, huge);
  quartiles.q1 = fields.number_or("q1", 0, 0, huge);
  quartiles.q3 = fields.number_or("q3", 0, 0, huge);
  quartiles.repeats = static_cast<int>(fields.integer_or("repeats", 0, 0, 1'000'000));
  return quartiles;
}

Budget budget_from_json(const nlohmann::json& json) {
  Fields fields(json, "method.budget");
  const auto kind = fields.string("kind", 16);
  Budget budget;
  if (kind == "tokens")
    budget.kind = BudgetKind::tokens;
  else if (kind == "fraction")
    budget.kind = BudgetKind::fraction;
  else if (kind == "mass")
    budget.kind = BudgetKind::mass;
  else
    fields.fail("kind", "tokens, fraction or mass", kind);
  budget.value = fields.number("value", 0, 1e12);
  return budget;
}

/// "dense" or "sparse" a layer, null for layers without full attention; null altogether where no plan is recorded.
nlohmann::json plan_layers_json(const std::optional<record::TimingPlan>& plan) {
  if (!plan) return nullptr;
  auto layers = nlohmann::json::array();
  for (const auto& layer : plan->layers)
    layers.push_back(layer.run == record::LayerRun::other
                         ? nlohmann::json(nullptr)
                         : nlohmann::json(record::layer_run_names[static_cast<std::size_t>(layer.run)]));
  return layers;
}

record::TimingPlan plan_from_json(const nlohmann::json& json) {
  Fields fields(json, "method.timing_plan");
  record::TimingPlan plan;
  plan.source = fields.string_or("source", {}, 32);
  plan.times = fields.string_or("times", {}, 32);
  plan.machine = fields.string_or("machine", {});
  plan.dtype = fields.string_or("dtype", {}, 16);
  plan.threads = fields.integer_or("threads", 0, 0, 1 << 20);
  plan.dense_backend = fields.string_or("dense_backend", {}, 64);
  plan.density = fields.number_or("density", std::nan(""), 0, 1.0000001);
  for (const auto& item : fields.array("layers", max_layers)) {
    Fields layer(item, "method.timing_plan.layers");
    const auto run = layer.string("run", 16);
    const auto name = std::find(record::layer_run_names.begin(), record::layer_run_names.end(), run);
    if (name == record::layer_run_names.end()) layer.fail("run", "dense, sparse or other", run);
    plan.layers.push_back({static_cast<record::LayerRun>(name - record::layer_run_names.begin()),
                           layer.number_or("dense_ms", std::nan(""), 0, huge),
                           layer.number_or("sparse_ms", std::nan(""), 0, huge)});
  }
  return plan;
}

std::vector<std::string> stage_name_list() {
  return {stage_names.begin(), stage_names.end()};
}

}  // namespace

nlohmann::json to_json(const Budget& budget) {
  constexpr const char* kinds[] = {"tokens", "fraction", "mass"};
  nlohmann::json json = {{"kind", kinds[static_cast<int>(budget.kind)]}};
  if (budget.kind == BudgetKind::tokens)
    json["value"] = static_cast<std::int64_t>(budget.value);
  else
    json["value"] = budget.value;
  return json;
}

nlohmann::json to_json(const record::MethodSummary& summary) {
  nlohmann::json json = {{"id", summary.id}, {"name", summary.name}};
  json["budget"] = summary.budget ? to_json(*summary.budget) : nlohmann::json(nullptr);
  json["budget_tokens"] = summary.budget_tokens;
  json["granularity"] = summary.granularity;
  json["density"] = number(summary.density);
  json["plan"] = summary.plan;
  json["plan_layers"] = plan_layers_json(summary.timing_plan);
  json["timing_plan"] = summary.timing_plan ? record::plan_to_json(*summary.timing_plan) : nlohmann::json(nullptr);
  auto& baselines = json["baselines"] = nlohmann::json::array();
  for (const auto& baseline : summary.baselines)
    baselines.push_back({{"backend", baseline.backend}, {"ttft_ms", quartiles_json(baseline.ttft)}});
  json["backend"] = summary.backend;
  json["label"] = summary.label;
  json["causal"] = summary.causal;
  json["ttft_ms"] = quartiles_json(summary.ttft);
  json["ttft_samples_ms"] = numbers(summary.ttft_samples);
  auto& stages = json["stages_ms"] = nlohmann::json::object();
  auto& quartiles = json["stages_quartiles_ms"] = nlohmann::json::object();
  for (std::size_t i = 0; i < num_stages; ++i) {
    stages[std::string(stage_names[i])] = number(summary.stages[i].median);
    quartiles[std::string(stage_names[i])] = quartiles_json(summary.stages[i]);
  }
  auto& layers = json["layer_stages_ms"] = nlohmann::json::array();
  for (const auto& layer : summary.layer_stages) layers.push_back(numbers({layer.begin(), layer.end()}));
  json["captured_mass"] = {{"mean", number(summary.captured_mass_mean)},
                           {"min", number(summary.captured_mass_min)},
                           {"per_layer", numbers(summary.captured_mass_per_layer)}};
  json["oracle_recall"] = nullptr;
  if (summary.oracle_recall_mean) {
    json["oracle_recall"] = {{"mean", number(*summary.oracle_recall_mean)},
                             {"mean_95", optional_number(summary.oracle_recall_95_mean)},
                             {"per_layer", numbers(summary.oracle_recall_per_layer)}};
  }
  json["kl_to_dense"] = optional_number(summary.kl_to_dense);
  json["top1_agrees"] = summary.top1_agrees ? nlohmann::json(*summary.top1_agrees) : nlohmann::json(nullptr);
  json["output_l2_per_layer"] = numbers(summary.output_l2_per_layer);
  json["answer_ids"] = summary.answer_ids;
  json["text"] = summary.answer;
  json["task_score"] = optional_number(summary.task_score);
  json["peak_bytes"] = summary.peak_bytes;
  json["complete"] = summary.complete;
  return json;
}

record::MethodSummary method_summary_from_json(const nlohmann::json& json) {
  Fields fields(json, "method");
  record::MethodSummary summary;
  summary.id = fields.string("id", 128);
  summary.name = fields.string("name", 64);
  if (fields.has("budget")) summary.budget = budget_from_json(fields.object("budget"));
  summary.budget_tokens = fields.integer_or("budget_tokens", 0, 0, max_count);
  summary.granularity = fields.integer_or("granularity", 1, 1, 1 << 20);
  summary.density = fields.number_or("density", std::nan(""), 0, 1.0000001);
  summary.plan = fields.string_or("plan", {});
  if (fields.has("timing_plan")) summary.timing_plan = plan_from_json(fields.object("timing_plan"));
  if (fields.has("baselines")) {
    for (const auto& item : fields.array("baselines", 16)) {
      Fields baseline(item, "method.baselines");
      const auto backend = baseline.string("backend", 64);
      summary.baselines.push_back({backend, quartiles_from_json(baseline.object("ttft_ms"), "method.baselines")});
    }
  }
  summary.backend = fields.string_or("backend", {});
  summary.label = fields.string_or("label", {});
  summary.causal = fields.boolean_or("causal", true);
  summary.ttft = quartiles_from_json(fields.object("ttft_ms"), "method.ttft_ms");
  if (fields.has("ttft_samples_ms")) summary.ttft_samples = fields.numbers("ttft_samples_ms", 1'000'000);
  if (fields.has("stages_quartiles_ms")) {
    Fields stages(fields.object("stages_quartiles_ms"), "method.stages_quartiles_ms");
    const auto names = stage_name_list();
    for (std::size_t i = 0; i < num_stages; ++i)
      if (stages.has(names[i].c_str()))
        summary.stages[i] = quartiles_from_json(stages.object(names[i].c_str()), "method.stages_quartiles_ms");
  }
  if (fields.has("layer_stages_ms")) {
    for (const auto& layer : fields.array("layer_stages_ms", max_layers)) {
      if (!layer.is_array() || layer.size() != num_stages)
        fields.fail("layer_stages_ms", "lists of 8 numbers", describe(layer));
      auto& values = summary.layer_stages.emplace_back();
      for (std::size_t i = 0; i < num_stages; ++i) {
        if (!layer[i].is_number() && !layer[i].is_null())
          fields.fail("layer_stages_ms", "lists of 8 numbers", describe(layer[i]));
        values[i] = layer[i].is_null() ? std::nan("") : layer[i].get<double>();
      }
    }
  }
  Fields captured(fields.object("captured_mass"), "method.captured_mass");
  summary.captured_mass_mean = captured.number_or("mean", std::nan(""), -huge, huge);
  summary.captured_mass_min = captured.number_or("min", std::nan(""), -huge, huge);
  summary.captured_mass_per_layer = captured.numbers("per_layer", max_layers);
  if (fields.has("oracle_recall")) {
    Fields recall(fields.object("oracle_recall"), "method.oracle_recall");
    summary.oracle_recall_mean = recall.number_or("mean", std::nan(""), -huge, huge);
    summary.oracle_recall_95_mean = recall.optional_number("mean_95", -huge, huge);
    summary.oracle_recall_per_layer = recall.numbers("per_layer", max_layers);
  }
  summary.kl_to_dense = fields.optional_number("kl_to_dense", -huge, huge);
  if (fields.has("top1_agrees")) summary.top1_agrees = fields.boolean("top1_agrees");
  if (fields.has("output_l2_per_layer"))
    summary.output_l2_per_layer = fields.numbers("output_l2_per_layer", max_layers);
  if (fields.has("answer_ids"))
    for (auto id : fields.integers("answer_ids", 1 << 17, 0, std::numeric_limits<std::int32_t>::max()))
      summary.answer_ids.push_back(static_cast<std::int32_t>(id));
  summary.answer = fields.string_or("text", {}, 16u << 20);
  summary.task_score = fields.optional_number("task_score", 0, 100);
  summary.peak_bytes = fields.integer_or("peak_bytes", 0, 0, max_count);
  summary.complete = fields.boolean_or("complete", true);
  return summary;
}

nlohmann::json to_json(const record::RunMeta& meta) {
  nlohmann::json json = {{"model", meta.model_name},
                         {"model_path", meta.model_path},
                         {"model_sha256", meta.model_sha256},
                         {"architecture", meta.architecture},
                         {"device", meta.device},
                         {"dtype", meta.dtype},
                         {"context", meta.context},
                         {"run_id", meta.run_id},
                         {"created", meta.created},
                         {"program_version", meta.program_version},
                         {"num_layers", meta.num_layers},
                         {"num_q_heads", meta.num_q_heads},
                         {"num_kv_heads", meta.num_kv_heads},
                         {"head_dim", meta.head_dim},
                         {"layer_kinds", meta.layer_kinds},
                         {"scale", number(meta.scale)},
                         {"warmups", meta.warmups},
                         {"curve_rows", meta.curve_rows},
                         {"kept_note", meta.kept_note},
                         {"complete", meta.complete},
                         {"spec", meta.spec_json}};
  json["task"] = meta.task.empty() ? nlohmann::json(nullptr) : nlohmann::json(meta.task);
  json["task_reference"] = meta.task_reference.empty() ? nlohmann::json(nullptr) : nlohmann::json(meta.task_reference);
  json["indexer"] = nullptr;
  if (!meta.indexer_path.empty()) {
    json["indexer"] = {
        {"path", meta.indexer_path}, {"sha256", meta.indexer_sha256}, {"trained_length", meta.indexer_trained_length}};
  }
  return json;
}

record::RunMeta run_meta_from_json(const nlohmann::json& json) {
  Fields fields(json, "run");
  record::RunMeta meta;
  meta.model_name = fields.string("model");
  meta.model_path = fields.string_or("model_path", {});
  meta.model_sha256 = fields.string_or("model_sha256", {}, 64);
  meta.architecture = fields.string("architecture");
  meta.device = fields.string("device");
  meta.dtype = fields.string("dtype", 16);
  meta.context = fields.integer("context", 0, max_count);
  meta.run_id = fields.string_or("run_id", {}, 64);
  meta.created = fields.string_or("created", {}, 64);
  meta.program_version = fields.string_or("program_version", {}, 64);
  meta.num_layers = fields.integer_or("num_layers", 0, 0, static_cast<std::int64_t>(max_layers));
  meta.num_q_heads = fields.integer_or("num_q_heads", 0, 0, 4096);
  meta.num_kv_heads = fields.integer_or("num_kv_heads", 0, 0, 4096);
  meta.head_dim = fields.integer_or("head_dim", 0, 0, 4096);
  if (fields.has("layer_kinds")) meta.layer_kinds = fields.strings("layer_kinds", max_layers, 32);
  meta.scale = fields.number_or("scale", 0, 0, 1e6);
  meta.warmups = fields.integer_or("warmups", 0, 0, 1'000'000);
  meta.curve_rows = fields.integer_or("curve_rows", 0, 0, 1'000'000);
  meta.kept_note = fields.string_or("kept_note", {}, 1 << 16);
  meta.complete = fields.boolean_or("complete", true);
  meta.spec_json = fields.string_or("spec", {}, Fields::long_text);
  meta.task = fields.string_or("task", {});
  meta.task_reference = fields.string_or("task_reference", {}, 1 << 20);
  if (fields.has("indexer")) {
    Fields indexer(fields.object("indexer"), "run.indexer");
    meta.indexer_path = indexer.string("path");
    meta.indexer_sha256 = indexer.string_or("sha256", {}, 64);
    meta.indexer_trained_length = indexer.integer_or("trained_length", 0, 0, max_count);
  }
  return meta;
}

nlohmann::json run_result_json(const record::RunMeta& meta, std::int64_t tokens,
                               const std::vector<record::MethodSummary>& methods, const std::string& record_path) {
  nlohmann::json json = to_json(meta);
  json["tokens"] = tokens;
  auto& list = json["methods"] = nlohmann::json::array();
  for (const auto& method : methods) list.push_back(to_json(method));
  json["record"] = record_path.empty() ? nlohmann::json(nullptr) : nlohmann::json(record_path);
  return json;
}

}  // namespace headroom::protocol
