// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/adapter_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"
#include "checkpoint/input_file.h"
#include "checkpoint/json_input.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t most_config_bytes = 16 << 20;
constexpr std::size_t most_module_names = 16384, most_layer_patterns = 16, most_expressions = 64;
constexpr std::int64_t most_rank = 65536, most_layer_number = 65535;
constexpr double most_alpha = 1e9;

// Used elsewhere in this file, or known not to change what a trained adapter computes: how training began and went on,
// who made it, on what, with which program.
constexpr std::string_view known_keys[] = {
    "peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern",
    "layers_to_transform", "layers_pattern", "base_model_name_or_path", "init_lora_weights", "task_type",
    "auto_mapping", "revision", "inference_mode", "peft_version", "parent_library", "lora_dropout", "loftq_config",
    "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "megatron_core", "runtime_config",
    "ensure_weight_tying"};

/// Whether nothing is said: null, false, "", [] or {}.
bool says_nothing(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_array() || value.is_object() || value.is_string()) && value.empty()) ||
         (value.is_string() && value.get_ref<const std::string&>().empty());
}

/// The value itself where it is short, in words where it is not.
std::string shown_value(const Json& value) {
  const std::string text = dump_json(value);
  return text.size() <= 120 ? text : headroom::describe(value);
}

const Json& entry_of(const Json& json, const char* key) {
  static const Json nothing;
  const auto found = json.find(key);
  return found == json.end() ? nothing : *found;
}

bool is_plain_name(std::string_view key) {
  return std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

}  // namespace

bool AdapterConfig::ModuleNames::exactly(std::string_view module) const {
  return std::ranges::find(names, module) != names.end();
}

bool AdapterConfig::ModuleNames::matches(std::string_view module) const {
  if (pattern) return pattern->matches(module);
  return std::ranges::any_of(names, [&](const std::string& name) {
    return module == name || (module.size() > name.size() && module.ends_with(name) &&
                              module[module.size() - name.size() - 1] == '.');
  });
}

// In an expression '.' stands for any character, in a plain name too.
bool AdapterConfig::NameValue::matches(std::string_view module) const {
  if (pattern) return pattern->matches(module);
  if (module.size() < key.size()) return false;
  const std::string_view end = module.substr(module.size() - key.size());
  if (module.size() > key.size() && module[module.size() - key.size() - 1] != '.') return false;
  return std::ranges::equal(end, key, [](char have, char want) { return want == '.' || have == want; });
}

std::string AdapterConfig::place(const char* key) const {
  return file_.string() + ": key " + in_quotes(key);
}

void AdapterConfig::refuse(const char* key, const std::string& why, const std::string& expected,
                           const Json& found) const {
  throw input_error(place(key), why, expected, shown_value(found));
}

AdapterConfig::AdapterConfig(const std::filesystem::path& file) : file_(file) {
  const Json json = parse_json_object(InputFile(file).text(most_config_bytes), file.string(), 16);
  read_kind(json);
  refuse_options(json);
  Fields fields(json, file.string());
  rank_ = fields.integer("r", 1, most_rank);
  alpha_ = fields.number("lora_alpha", 1e-9, most_alpha);
  square_root_ = fields.boolean_or("use_rslora", false);
  base_name_ = fields.string_or("base_model_name_or_path", {});
  const Json& target = entry_of(json, "target_modules");
  if (target.is_string()) {
    std::string lower = target.get<std::string>();
    std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
    all_linear_ = lower == "all-linear";
  }
  if (!all_linear_) targets_ = read_names(json, "target_modules");
  if (!all_linear_ && targets_.empty())
    refuse("target_modules", "the adapter names no modules", "a list of names, an expression or \"all-linear\"",
           target);
  excluded_ = read_names(json, "exclude_modules");
  read_layers(json);
  ranks_ = read_values(json, "rank_pattern", static_cast<double>(most_rank));
  for (const NameValue& one : ranks_)
    if (one.value != std::floor(one.value))
      throw input_error(place("rank_pattern") + ", " + in_quotes(one.key), "a rank is a whole number", "1 or more",
                        std::to_string(one.value));
  alphas_ = read_values(json, "alpha_pattern", most_alpha);
}

void AdapterConfig::read_kind(const Json& json) const {
  const Json& kind = entry_of(json, "peft_type");
  if (kind != "LORA") refuse("peft_type", "this kind of adapter is not supported", "\"LORA\"", kind);
  const Json& task = entry_of(json, "task_type");
  if (!task.is_null() && task != "CAUSAL_LM")
    refuse("task_type", "an adapter for another task than predicting the next token is not supported",
           "\"CAUSAL_LM\" or null", task);
  // Starts that take something away from the base's weights: what is saved then belongs to weights that are nowhere.
  const Json& init = entry_of(json, "init_lora_weights");
  constexpr std::string_view kept[] = {"gaussian", "eva", "orthogonal", "mica"};
  const bool keeps_base = init.is_null() || init.is_boolean() ||
                          (init.is_string() && std::ranges::find(kept, init.get<std::string>()) != std::end(kept));
  if (!keeps_base)
    refuse("init_lora_weights",
           "training with this start changed the base's weights, too; PEFT converts such an adapter when it saves it "
           "(path_initial_model_for_weight_conversion)",
           "true, false, \"gaussian\", \"eva\", \"orthogonal\" or \"mica\"", init);
}

// What changes the result in a way that is not implemented. A key that nobody knows may.
void AdapterConfig::refuse_options(const Json& json) const {
  constexpr std::pair<const char*, const char*> unsupported[] = {
      {"use_dora", "DoRA is not supported"},
      {"use_qalora", "QALoRA is not supported"},
      {"use_bdlora", "block-diagonal LoRA is not supported"},
      {"fan_in_fan_out", "transposed weights are not supported: no family here has any"},
      {"lora_bias", "biases of the adapter's own are not supported"},
      {"modules_to_save", "modules that are saved whole are not supported: merge them into the base"},
      {"trainable_token_indices", "trained rows of the embedding are not supported"},
      {"target_parameters", "adapters on parameters (experts) are not supported: modules alone"},
      {"layer_replication", "replicated layers are not supported"},
      {"megatron_config", "Megatron's parallel layers are not supported"},
      {"alora_invocation_tokens", "adapters that act behind certain tokens alone (aLoRA) are not supported"},
      {"arrow_config", "routing among adapters (Arrow) is not supported"},
      {"monteclora_config", "MonteCLoRA is not supported"},
      {"kasa_config", "KaSA is not supported"},
      {"velora_config", "VeLoRA is not supported"}};
  for (const auto& [key, why] : unsupported)
    if (const Json& value = entry_of(json, key); !says_nothing(value)) refuse(key, why, "null or false", value);
  if (const Json& bias = entry_of(json, "bias"); !bias.is_null() && bias != "none")
    refuse("bias", "trained biases are not supported", "\"none\"", bias);
  for (const auto& [name, value] : json.items()) {
    const auto is_name = [&name = name](const auto& option) { return name == option.first; };
    if (std::ranges::find(known_keys, name) != std::end(known_keys) || name == "bias" ||
        std::ranges::any_of(unsupported, is_name))
      continue;
    throw input_error(file_.string() + ": key " + in_quotes(name),
                      "this key is not understood, and it may change what the adapter computes", "no such key",
                      shown_value(value));
  }
}

AdapterConfig::ModuleNames AdapterConfig::read_names(const Json& json, const char* key) const {
  ModuleNames found;
  const Json& value = entry_of(json, key);
  if (value.is_null()) return found;
  if (value.is_string()) {
    if (!value.get_ref<const std::string&>().empty()) found.pattern.emplace(value.get<std::string>(), place(key));
    return found;
  }
  Fields fields(json, file_.string());
  found.names = fields.strings(key, most_module_names, 1024);
  for (const std::string& name : found.names)
    if (name.empty()) refuse(key, "a module has no name", "names", value);
  return found;
}

void AdapterConfig::read_layers(const Json& json) {
  const Json& layers = entry_of(json, "layers_to_transform");
  const Json& pattern = entry_of(json, "layers_pattern");
  Fields fields(json, file_.string());
  if (layers.is_number())
    layers_ = {fields.integer("layers_to_transform", 0, most_layer_number)};
  else if (!layers.is_null())
    layers_ = fields.integers("layers_to_transform", most_module_names, 0, most_layer_number);
  std::ranges::sort(layers_);
  if (!layers_.empty() && (all_linear_ || targets_.pattern))
    refuse("layers_to_transform", "layers are listed, and an expression already says which modules",
           "a list as target_modules, or no layers_to_transform", layers);
  std::vector<std::string> names;
  if (pattern.is_string())
    names = {pattern.get<std::string>()};
  else if (!pattern.is_null())
    names = fields.strings("layers_pattern", most_layer_patterns, 1024);
  std::erase(names, std::string());
  if (!names.empty() && layers_.empty())
    refuse("layers_pattern", "there is a pattern of layers, and no layers are listed", "layers_to_transform", pattern);
  for (const std::string& name : names)
    layers_pattern_.emplace_back("(?:.*\\.)?(?:" + name + ")", place("layers_pattern"));
}

std::vector<AdapterConfig::NameValue> AdapterConfig::read_values(const Json& json, const char* key,
                                                                 double most) const {
  std::vector<NameValue> values;
  const Json& entries = entry_of(json, key);
  if (entries.is_null()) return values;
  if (!entries.is_object()) refuse(key, "the value has the wrong type", "an object of names and numbers", entries);
  if (entries.size() > most_module_names)
    refuse(key, "there are too many entries", "at most " + std::to_string(most_module_names), entries);
  std::size_t expressions = 0;
  for (const auto& [name, value] : entries.items()) {
    const std::string here = place(key) + ", " + in_quotes(name);
    const double number = value.is_number() ? value.get<double>() : 0;
    if (!(number > 0 && number <= most))
      throw input_error(here, "the value is out of range", "a number above 0", shown_value(value));
    NameValue one{name, std::nullopt, number};
    if (!is_plain_name(name)) {
      if (++expressions > most_expressions)
        throw input_error(here, "there are too many expressions", "at most " + std::to_string(most_expressions),
                          "more");
      one.pattern.emplace("(?:.*\\.)?(?:" + name + ")", here);
    }
    values.push_back(std::move(one));
  }
  return values;
}

bool AdapterConfig::layer_is_listed(std::string_view module) const {
  // The first part of the name that is a number, has one before it that fits, and one after it.
  std::size_t parts = 0;
  for (std::size_t at = 0; at < module.size(); ++parts) {
    const std::size_t dot = module.find('.', at);
    if (dot == std::string_view::npos) return false;
    const std::string_view part = module.substr(at, dot - at);
    std::int64_t number = -1;
    const auto [end, status] = std::from_chars(part.data(), part.data() + part.size(), number);
    const bool whole = status == std::errc() && end == part.data() + part.size() && number >= 0;
    if (whole && at > 0) {
      const std::string_view before = module.substr(0, at - 1);
      const bool fits = layers_pattern_.empty()
                            ? parts >= 2
                            : std::ranges::any_of(layers_pattern_, [&](const NamePattern& pattern) {
                                return pattern.matches(before);
                              });
      if (fits) return std::ranges::binary_search(layers_, number);
    }
    at = dot + 1;
  }
  return false;
}

bool AdapterConfig::targets(std::string_view module, bool output) const {
  if (!excluded_.empty() && excluded_.matches(module)) return false;
  if (all_linear_) return !output;
  if (!targets_.matches(module)) return false;
  return targets_.pattern || layers_.empty() || targets_.exactly(module) || layer_is_listed(module);
}

double AdapterConfig::value_of(const std::vector<NameValue>& values, const char* key, std::string_view module,
                               double otherwise) const {
  const NameValue* chosen = nullptr;
  for (const NameValue& one : values) {
    if (!one.matches(module)) continue;
    // PEFT takes the first in the order of the file, which JSON does not promise to keep.
    if (chosen && chosen->value != one.value)
      throw input_error(place(key), "two entries with different values fit the module " + in_quotes(module), "one",
                        in_quotes(chosen->key) + " and " + in_quotes(one.key));
    chosen = &one;
  }
  return chosen ? chosen->value : otherwise;
}

std::int64_t AdapterConfig::rank(std::string_view module) const {
  return static_cast<std::int64_t>(value_of(ranks_, "rank_pattern", module, static_cast<double>(rank_)));
}

double AdapterConfig::scale(std::string_view module) const {
  const double alpha = value_of(alphas_, "alpha_pattern", module, alpha_), by = static_cast<double>(rank(module));
  return alpha / (square_root_ ? std::sqrt(by) : by);
}

}  // namespace headroom::checkpoint
