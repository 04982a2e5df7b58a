// SPDX-License-Identifier: Apache-2.0
#include "protocol/sweep_spec.h"

#include <nlohmann/json.hpp>

#include "protocol/json_fields.h"

namespace headroom::protocol {
namespace {

constexpr std::size_t max_sweep_list = 256;
constexpr std::int64_t max_sweep_number = std::int64_t{1} << 52;

template <typename T>
void put_if_set(nlohmann::json& object, const char* name, const std::optional<T>& value) {
  if (value) object[name] = *value;
}

std::optional<std::int64_t> integer_if_set(Fields& fields, const char* name, std::int64_t lowest) {
  if (!fields.has(name)) return std::nullopt;
  return fields.integer(name, lowest, max_sweep_number);
}

}  // namespace

nlohmann::json to_json(const SweepSpec& spec) {
  nlohmann::json json = {{"model", spec.model},
                         {"methods", spec.methods},
                         {"granularities", spec.granularities},
                         {"samples", spec.samples},
                         {"seed", spec.seed},
                         {"calibration", spec.calibration},
                         {"prompt_tail", spec.prompt_tail},
                         {"dense_layers", spec.dense_layers},
                         {"device", spec.device},
                         {"dtype", spec.dtype},
                         {"shard", spec.shard},
                         {"shards", spec.shards},
                         {"resume", spec.resume},
                         {"out", spec.out}};
  put_if_set(json, "adapter", spec.adapter);
  if (!spec.tasks.empty()) json["tasks"] = spec.tasks;
  if (!spec.lengths.empty()) json["lengths"] = spec.lengths;
  put_if_set(json, "prompts", spec.prompts);
  put_if_set(json, "haystack", spec.haystack);
  auto& budgets = json["budgets"] = nlohmann::json::array();
  for (const Budget& budget : spec.budgets) budgets.push_back(to_string(budget));
  if (spec.layer_budgets) json["layer_budgets"] = to_json(*spec.layer_budgets);
  put_if_set(json, "sinks", spec.sinks);
  put_if_set(json, "local", spec.local);
  put_if_set(json, "max_new_tokens", spec.max_new_tokens);
  put_if_set(json, "system_file", spec.system_file);
  if (!spec.template_arguments.empty()) {
    auto& arguments = json["template_arguments"] = nlohmann::json::object();
    for (const auto& [name, value] : spec.template_arguments) arguments[name] = nlohmann::json::parse(value);
  }
  put_if_set(json, "indexer", spec.indexer);
  return json;
}

SweepSpec sweep_spec_from_json(const nlohmann::json& json) {
  Fields fields(json, "sweep specification", ErrorKind::usage);
  SweepSpec spec;
  spec.model = fields.string("model");
  spec.adapter = fields.optional_string("adapter");
  if (fields.has("tasks")) spec.tasks = fields.strings("tasks", max_sweep_list, 64);
  if (fields.has("lengths")) spec.lengths = fields.integers("lengths", max_sweep_list, 1, 1 << 24);
  spec.prompts = fields.optional_string("prompts");
  spec.haystack = fields.optional_string("haystack");
  if (fields.has("methods")) spec.methods = fields.strings("methods", max_sweep_list, 256);
  if (fields.has("budgets")) {
    spec.budgets.clear();
    for (const auto& budget : fields.strings("budgets", max_sweep_list, 32))
      spec.budgets.push_back(parse_budget(budget));
  }
  if (fields.has("layer_budgets"))
    spec.layer_budgets = layer_budgets_from_json(fields.object("layer_budgets"), "layer_budgets");
  if (fields.has("granularities")) spec.granularities = fields.integers("granularities", max_sweep_list, 1, 128);
  spec.sinks = integer_if_set(fields, "sinks", 0);
  spec.local = integer_if_set(fields, "local", 1);
  spec.samples = fields.integer_or("samples", 50, 1, max_sweep_number);
  if (fields.has("seed")) spec.seed = fields.unsigned_integer("seed");
  spec.calibration = fields.integer_or("calibration", 8, 0, max_sweep_number);
  spec.prompt_tail = fields.integer_or("prompt_tail", 0, 0, max_sweep_number);
  spec.max_new_tokens = integer_if_set(fields, "max_new_tokens", 0);
  spec.system_file = fields.optional_string("system_file");
  if (fields.has("template_arguments")) {
    const auto& arguments = fields.object("template_arguments");
    if (arguments.size() > max_sweep_list)
      fields.fail("template_arguments", "at most 256", std::to_string(arguments.size()));
    for (const auto& [name, value] : arguments.items()) spec.template_arguments[name] = dump_json(value);
  }
  spec.indexer = fields.optional_string("indexer");
  if (fields.has("dense_layers"))
    for (const std::int64_t layer : fields.integers("dense_layers", 4096, 0, 4095))
      spec.dense_layers.push_back(static_cast<int>(layer));
  spec.device = fields.string_or("device", "auto", 1024);
  spec.dtype = fields.string_or("dtype", "auto", 16);
  spec.shards = static_cast<int>(fields.integer_or("shards", 1, 1, 1 << 16));
  spec.shard = static_cast<int>(fields.integer_or("shard", 1, 1, spec.shards));
  spec.resume = fields.boolean_or("resume", false);
  spec.out = fields.string("out");
  fields.refuse_unknown();
  return spec;
}

nlohmann::json to_json(const SweepNeeds& needs) {
  return {{"memory_needed", needs.memory_needed},
          {"memory_free", needs.memory_free},
          {"samples", needs.samples},
          {"rows", needs.rows},
          {"rows_found", needs.rows_found},
          {"longest", needs.longest},
          {"seconds", needs.seconds},
          {"device", needs.device},
          {"dtype", needs.dtype},
          {"methods", needs.methods},
          {"notes", needs.notes},
          {"warnings", needs.warnings}};
}

SweepNeeds sweep_needs_from_json(const nlohmann::json& json) {
  Fields fields(json, "sweep/preflight");
  SweepNeeds needs;
  const auto count = [&](const char* name) { return fields.integer_or(name, 0, 0, max_sweep_number); };
  needs.memory_needed = count("memory_needed");
  needs.memory_free = count("memory_free");
  needs.samples = count("samples");
  needs.rows = count("rows");
  needs.rows_found = count("rows_found");
  needs.longest = count("longest");
  needs.seconds = fields.number_or("seconds", 0, 0, 1e12);
  needs.device = fields.string_or("device", {});
  needs.dtype = fields.string_or("dtype", {}, 16);
  if (fields.has("methods")) needs.methods = fields.strings("methods", 4096);
  if (fields.has("notes")) needs.notes = fields.strings("notes", max_sweep_list);
  if (fields.has("warnings")) needs.warnings = fields.strings("warnings", max_sweep_list);
  return needs;
}

nlohmann::json to_json(const JobRow& row) {
  return {{"job", row.job},       {"task", row.task}, {"method", row.method},
          {"length", row.length}, {"rows", row.rows}, {"rows_total", row.rows_total},
          {"store", row.store}};
}

JobRow job_row_from_json(const nlohmann::json& json) {
  Fields fields(json, "job/row");
  JobRow row;
  row.job = fields.integer("job", 1, max_sweep_number);
  row.task = fields.string_or("task", {}, 256);
  row.method = fields.string_or("method", {}, 256);
  row.length = fields.integer_or("length", 0, 0, max_sweep_number);
  row.rows = fields.integer_or("rows", 0, 0, max_sweep_number);
  row.rows_total = fields.integer_or("rows_total", 0, 0, max_sweep_number);
  row.store = fields.string_or("store", {});
  return row;
}

}  // namespace headroom::protocol
