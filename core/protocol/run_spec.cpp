// SPDX-License-Identifier: Apache-2.0
#include "protocol/run_spec.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/device_request.h"
#include "protocol/json_fields.h"

namespace headroom::protocol {
namespace {

constexpr const char* spec_place = "run specification";
constexpr std::size_t max_list = 256;
constexpr std::int64_t max_tokens = 1 << 24, max_new_tokens = 65536;
constexpr std::int64_t max_prompt_index = std::int64_t{1} << 53;

template <typename T>
void put_optional(nlohmann::json& object, const char* name, const std::optional<T>& value) {
  if (value) object[name] = *value;
}

[[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& found) {
  throw Error(ErrorKind::usage, what, {{}, expected, found});
}

void check_range(const char* what, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  if (value < lowest || value > highest) {
    refuse(std::string(what) + " is out of range", std::to_string(lowest) + " to " + std::to_string(highest),
           std::to_string(value));
  }
}

std::vector<int> layer_list(Fields& fields, const char* name) {
  std::vector<int> layers;
  if (!fields.has(name)) return layers;
  for (std::int64_t layer : fields.integers(name, 4096, 0, 4095)) layers.push_back(static_cast<int>(layer));
  return layers;
}

}  // namespace

nlohmann::json to_json(const RunSpec& spec) {
  nlohmann::json json = {{"model", spec.model}, {"seed", spec.seed}, {"chat", spec.chat}};
  put_optional(json, "adapter", spec.adapter);
  put_optional(json, "prompt", spec.prompt);
  put_optional(json, "prompt_file", spec.prompt_file);
  put_optional(json, "task", spec.task);
  put_optional(json, "haystack", spec.haystack);
  put_optional(json, "prompts", spec.prompts);
  if (spec.prompts) json["index"] = spec.index;
  json["length"] = spec.length;
  put_optional(json, "system_file", spec.system_file);
  if (!spec.template_arguments.empty()) {
    auto& arguments = json["template_arguments"] = nlohmann::json::object();
    for (const auto& [name, value] : spec.template_arguments) arguments[name] = nlohmann::json::parse(value);
  }
  json["answer_prefix"] = spec.answer_prefix;
  json["methods"] = spec.methods;
  auto& budgets = json["budgets"] = nlohmann::json::array();
  for (const auto& budget : spec.budgets) budgets.push_back(to_string(budget));
  if (spec.layer_budgets) json["layer_budgets"] = to_json(*spec.layer_budgets);
  json["granularities"] = spec.granularities;
  put_optional(json, "sinks", spec.sinks);
  put_optional(json, "local", spec.local);
  put_optional(json, "indexer", spec.indexer);
  json["dense_layers"] = spec.dense_layers;
  json["device"] = spec.device;
  json["dtype"] = spec.dtype;
  json["repeats"] = spec.repeats;
  put_optional(json, "max_new_tokens", spec.max_new_tokens);
  json["keep_layers"] = spec.keep_layers;
  json["keep_queries"] = spec.keep_queries;
  json["record_limit"] = spec.record_limit;
  json["baselines"] = spec.baselines;
  put_optional(json, "plan", spec.plan);
  put_optional(json, "out", spec.out);
  return json;
}

RunSpec run_spec_from_json(const nlohmann::json& json) {
  Fields fields(json, spec_place, ErrorKind::usage);
  RunSpec spec;
  spec.model = fields.string("model");
  spec.adapter = fields.optional_string("adapter");
  spec.prompt = fields.optional_string("prompt", Fields::long_text);
  spec.prompt_file = fields.optional_string("prompt_file");
  spec.task = fields.optional_string("task", 64);
  spec.haystack = fields.optional_string("haystack");
  spec.prompts = fields.optional_string("prompts");
  spec.index = fields.integer_or("index", 0, 0, max_prompt_index);
  spec.length = fields.integer_or("length", 0, 0, max_tokens);
  if (fields.has("seed")) spec.seed = fields.unsigned_integer("seed");
  spec.chat = fields.boolean_or("chat", false);
  spec.system_file = fields.optional_string("system_file");
  if (fields.has("template_arguments")) {
    const auto& arguments = fields.object("template_arguments");
    if (arguments.size() > max_list) fields.fail("template_arguments", "at most 256", std::to_string(arguments.size()));
    for (const auto& [name, value] : arguments.items()) spec.template_arguments[name] = dump_json(value);
  }
  spec.answer_prefix = fields.string_or("answer_prefix", {}, 1 << 16);
  if (fields.has("methods")) spec.methods = fields.strings("methods", max_list, 256);
  if (fields.has("budgets")) {
    spec.budgets.clear();
    for (const auto& budget : fields.strings("budgets", max_list, 32)) spec.budgets.push_back(parse_budget(budget));
  }
  if (fields.has("layer_budgets"))
    spec.layer_budgets = layer_budgets_from_json(fields.object("layer_budgets"), "layer_budgets");
  if (fields.has("granularities")) spec.granularities = fields.integers("granularities", max_list, 1, 128);
  if (fields.has("sinks")) spec.sinks = fields.integer("sinks", 0, max_tokens);
  if (fields.has("local")) spec.local = fields.integer("local", 1, max_tokens);
  spec.indexer = fields.optional_string("indexer");
  spec.dense_layers = layer_list(fields, "dense_layers");
  spec.device = fields.string_or("device", "auto", 1024);
  spec.dtype = fields.string_or("dtype", "auto", 16);
  spec.repeats = static_cast<int>(fields.integer_or("repeats", 3, 1, 1000));
  if (fields.has("max_new_tokens")) spec.max_new_tokens = fields.integer("max_new_tokens", 0, max_new_tokens);
  // An earlier version, which wrote what its methods did anyway; it knew no arguments.
  if (fields.has("template_arguments") && spec.template_arguments.empty()) {
    if (spec.sinks == 0) spec.sinks.reset();
    if (spec.local == 1) spec.local.reset();
    if (spec.max_new_tokens == 16) spec.max_new_tokens.reset();
  }
  spec.keep_layers = layer_list(fields, "keep_layers");
  spec.keep_queries = fields.integer_or("keep_queries", 0, 0, max_tokens);
  spec.record_limit = fields.integer_or("record_limit", 256LL << 20, 0, 1LL << 50);
  if (fields.has("baselines")) spec.baselines = fields.strings("baselines", max_list, 64);
  spec.plan = fields.optional_string("plan");
  spec.out = fields.optional_string("out");
  fields.refuse_unknown();
  return spec;
}

void validate(const RunSpec& spec) {
  if (spec.model.empty()) refuse("no model was given", "a path or a fetched model's short name", "nothing");
  if (spec.adapter && spec.adapter->empty()) refuse("--adapter names nothing", "a folder or a file", "nothing");
  const int sources =
      spec.prompt.has_value() + spec.prompt_file.has_value() + spec.task.has_value() + spec.prompts.has_value();
  if (sources != 1) {
    refuse("the prompt needs one source", "exactly one of --prompt, --prompt-file, --task and --prompts",
           std::to_string(sources) + " of them");
  }
  if (spec.task) {
    if (spec.length == 0) refuse("a task needs a length", "--length in tokens", "none");
    check_range("--length", spec.length, 1, max_tokens);
  } else if (spec.length != 0) {
    refuse("--length belongs to --task", "--task with --length", "--length without --task");
  }
  if (spec.haystack && !spec.task) refuse("--haystack belongs to --task", "--task beside it", "none");
  if (!spec.prompts && spec.index != 0) refuse("--index belongs to --prompts", "--prompts beside it", "none");
  const bool may_be_chat = spec.chat || spec.task || spec.prompts;
  if (!may_be_chat && spec.system_file)
    refuse("--system belongs to a chat", "--chat or --task beside it", "a plain prompt");
  if (!may_be_chat && !spec.template_arguments.empty())
    refuse("--template-arg belongs to a chat", "--chat or --task beside it", "a plain prompt");
  for (const Budget& budget : spec.budgets) {
    const bool whole = budget.kind == BudgetKind::tokens;
    if (!(budget.value >= (whole ? 1.0 : 1e-9) && budget.value <= (whole ? 1e9 : 1.0)))
      refuse("a budget is out of range", "keys of at least 1, or a share up to 100 %", to_string(budget));
  }
  if (spec.granularities.empty()) refuse("no granularity was given", "at least one, e.g. 1", "none");
  for (std::int64_t granularity : spec.granularities) {
    constexpr std::int64_t allowed[] = {1, 4, 8, 16, 32, 64, 128};
    if (std::find(std::begin(allowed), std::end(allowed), granularity) == std::end(allowed))
      refuse("the granularity is not supported", "1, 4, 8, 16, 32, 64 or 128", std::to_string(granularity));
  }
  if (spec.sinks) check_range("the number of sinks", *spec.sinks, 0, max_tokens);
  if (spec.local) check_range("the local tail", *spec.local, 1, max_tokens);
  if (!parse_device_request(spec.device))
    refuse("the device is not understood", std::string(device_request_forms), spec.device);
  if (spec.dtype != "auto" && spec.dtype != "bf16" && spec.dtype != "f32")
    refuse("the dtype is not understood", "auto, bf16 or f32", spec.dtype);
  check_range("--repeats", spec.repeats, 1, 1000);
  if (spec.max_new_tokens) check_range("--max-new-tokens", *spec.max_new_tokens, 0, max_new_tokens);
  check_range("--keep-queries", spec.keep_queries, 0, max_tokens);
  check_range("--record-limit", spec.record_limit, 0, 1LL << 50);
  for (const std::string& baseline : spec.baselines)
    if (baseline != "libtorch" && baseline != "fa2" && baseline != "cudnn" && baseline != "all")
      refuse("the baseline is not known", "libtorch, fa2, cudnn or all", baseline);
}

}  // namespace headroom::protocol
