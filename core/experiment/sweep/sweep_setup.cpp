// SPDX-License-Identifier: Apache-2.0
// What a sweep is before its first pass: checked, fingerprinted, and held against the store that it goes on with.
#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "attention/registry.h"
#include "base/error.h"
#include "base/input_file.h"
#include "base/json_fields.h"
#include "base/sha256.h"
#include "base/version.h"
#include "experiment/run/indexer_choice.h"
#include "experiment/run/new_meta.h"
#include "experiment/run/prompt_text.h"
#include "experiment/sweep/sweep.h"
#include "tasks/haystack.h"
#include "tasks/task.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t most_tail = 4096;
constexpr std::int64_t longest_length = 1 << 22;

std::string sha256_text(const std::string& text) {
  return sha256(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

Error sweep_usage(const char* option, std::string message, std::string expected, std::string found) {
  return Error(ErrorKind::usage, std::move(message), {option, std::move(expected), std::move(found)});
}

template <typename T>
void check_distinct(const std::vector<T>& values, const char* option) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::find(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), values[i]) !=
        values.begin() + static_cast<std::ptrdiff_t>(i))
      throw sweep_usage(option, "names one twice", "each once", nlohmann::json(values[i]).dump());
}

void check_spec(const SweepSpec& spec) {
  const bool own = spec.prompts.has_value();
  if (own == !spec.tasks.empty())
    throw sweep_usage("--tasks", "either tasks or own prompts make a sweep", "--tasks with --lengths, or --prompts",
                      own ? "both" : "neither");
  if (!own && spec.lengths.empty()) throw sweep_usage("--lengths", "tasks need a length", "e.g. 2048,4096", "none");
  if (own && !spec.lengths.empty())
    throw sweep_usage("--lengths", "own prompts have the length they have", "--lengths with --tasks alone", "both");
  check_distinct(spec.tasks, "--tasks");
  check_distinct(spec.lengths, "--lengths");
  const auto in_range = [](const char* option, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most)
      throw sweep_usage(option, "is out of range", std::to_string(least) + " to " + std::to_string(most),
                        std::to_string(value));
  };
  for (const std::int64_t length : spec.lengths) in_range("--lengths", length, 1, longest_length);
  in_range("--samples", spec.samples, 1, record::max_sweep_samples);
  in_range("--calibrate", spec.calibration, 0, record::max_sweep_samples);
  in_range("--prompt-tail", spec.prompt_tail, 0, most_tail);
  if (spec.max_new_tokens) in_range("--max-new-tokens", *spec.max_new_tokens, 0, 65536);
  // Scored and calibration seeds must not meet.
  const auto last_seed = static_cast<std::uint64_t>(record::calibration_seeds - record::max_sweep_samples);
  if (spec.seed > last_seed)
    throw sweep_usage("--seed", "is too large", "at most " + std::to_string(last_seed), std::to_string(spec.seed));
  in_range("--shard", spec.shards, 1, 1 << 16);
  in_range("--shard", spec.shard, 1, spec.shards);
  if (spec.out.empty()) throw sweep_usage("--out", "is missing", "the file that the sweep becomes, S.h5", "none");
}

/// SOURCE_DATE_EPOCH, where builds and tests that compare bytes set it, else now.
std::string creation_time(const std::string& now) {
  const char* const fixed = std::getenv("SOURCE_DATE_EPOCH");
  char* end = nullptr;
  const long long seconds = fixed ? std::strtoll(fixed, &end, 10) : 0;
  if (!fixed || end == fixed || *end != '\0' || seconds < 0 || seconds > 253402300799LL) return now;
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::vector<record::SweepMethod> describe_methods(const MethodSet& set) {
  std::vector<record::SweepMethod> described;
  for (const Method& method : set.methods) {
    const attention::Policy& policy = *method.policy;
    const attention::PolicyTraits& traits = policy.traits();
    described.push_back({.id = method.id,
                         .name = std::string(traits.name),
                         .title = std::string(traits.title),
                         .role = traits.role,
                         .scope = traits.scope,
                         .score = traits.score,
                         .look = traits.look,
                         .causal = policy.causal(),
                         .is_default = traits.is_default,
                         .parameters = policy.parameter_texts(),
                         .fingerprint = policy.fingerprint(),
                         .budget = policy.settings().budget,
                         .granularity = policy.settings().granularity});
  }
  return described;
}

protocol::RunSpec method_spec(const SweepSpec& spec) {
  protocol::RunSpec run;
  run.model = spec.model;
  run.methods = spec.methods;
  run.budgets = spec.budgets;
  run.layer_budgets = spec.layer_budgets;
  run.granularities = spec.granularities;
  run.sinks = spec.sinks;
  run.local = spec.local;
  run.indexer = spec.indexer;
  run.dense_layers = spec.dense_layers;
  // What others are compared with is always there.
  const auto is_dense = [](const std::string& name) {
    const std::string plain = name.substr(0, name.find(':'));
    for (const auto& entry : attention::policies())
      if (entry.traits.is_dense() && entry.traits.name == plain) return true;
    return false;
  };
  if (!run.methods.empty() && std::none_of(run.methods.begin(), run.methods.end(), is_dense))
    for (const auto& entry : attention::policies())
      if (entry.traits.is_dense()) run.methods.insert(run.methods.begin(), std::string(entry.traits.name));
  return run;
}

void describe_prompts(PreparedSweep& sweep) {
  record::SweepMeta& meta = sweep.meta;
  const tasks::PromptSet& set = *sweep.prompts;
  if (set.prompts.size() > static_cast<std::size_t>(record::max_sweep_samples))
    throw input_error(set.source, "holds too many prompts", std::to_string(record::max_sweep_samples),
                      std::to_string(set.prompts.size()));
  const std::filesystem::path source(set.source);
  meta.prompts = (source.has_filename() ? source : source.parent_path()).filename().string();
  meta.prompts_sha256 = set.fingerprint;
  meta.lengths = {0};
  for (const tasks::FilePrompt& prompt : set.prompts) {
    const std::string name = prompt.sample.task.empty() ? record::own_prompts : prompt.sample.task;
    auto task = std::find_if(meta.tasks.begin(), meta.tasks.end(), [&](const auto& one) { return one.name == name; });
    if (task == meta.tasks.end()) {
      meta.tasks.push_back({name, name == record::own_prompts ? "Own prompts" : name, false, true});
      task = meta.tasks.end() - 1;
    }
    task->has_score = task->has_score && !prompt.sample.references.empty();
    meta.prompt_samples.push_back({static_cast<std::size_t>(task - meta.tasks.begin()), 0, prompt.index, false});
  }
  std::sort(meta.prompt_samples.begin(), meta.prompt_samples.end());
  meta.samples = std::ssize(meta.prompt_samples);
  meta.curves = 1;  // there are no others to take: the first prompt's
  for (const std::string& warning : set.warnings) sweep.warnings.push_back(warning);
}

void describe_tasks(PreparedSweep& sweep) {
  record::SweepMeta& meta = sweep.meta;
  for (const std::string& name : sweep.spec.tasks) {
    const tasks::TaskInfo info = tasks::task_info(name);
    meta.tasks.push_back({info.name, info.title, info.in_family, true});
  }
  if (sweep.spec.haystack) {
    const auto takes = [](const std::string& name) { return tasks::task_info(name).takes_haystack; };
    if (std::none_of(sweep.spec.tasks.begin(), sweep.spec.tasks.end(), takes))
      throw sweep_usage("--haystack", "none of these tasks has an essay", "a task that takes one",
                        *sweep.spec.haystack);
    const tasks::Haystack haystack = tasks::read_haystack(*sweep.spec.haystack);
    meta.haystack_sha256 = haystack.fingerprint;
    if (haystack.passed_over > 0)
      sweep.warnings.push_back("the haystack passes over " + std::to_string(haystack.passed_over) +
                               " files that are no UTF-8 text");
  }
  for (const std::int64_t length : sweep.spec.lengths)
    if (length > sweep.config().context_length)
      throw input_error("--lengths", "is too long for the model's context",
                        std::to_string(sweep.config().context_length) + " tokens at most", std::to_string(length));
  meta.lengths = sweep.spec.lengths;
  meta.samples = sweep.spec.samples;
  meta.seed = static_cast<std::int64_t>(sweep.spec.seed);
  meta.calibration = sweep.spec.calibration;
  meta.curves = std::min<std::int64_t>(1, meta.calibration);
}

void describe_sweep(PreparedSweep& sweep, const JobContext& job) {
  record::SweepMeta& meta = sweep.meta;
  const SweepSpec& spec = sweep.spec;
  const auto& config = sweep.config();
  const record::RunMeta fresh = new_meta();
  meta.created = creation_time(fresh.created);
  meta.program_version = fresh.program_version;
  meta.model_name = config.name;
  const auto& model = sweep.session->checkpoint().path();
  meta.model_file = (model.has_filename() ? model : model.parent_path()).filename().string();
  meta.model_sha256 = sweep.session->checkpoint().hash(job);
  meta.architecture = config.architecture;
  meta.dtype = dtype_name(sweep.dtype);
  meta.context = config.context_length;
  meta.layers = layers_of(config);
  meta.devices = {model::description_of_all(sweep.device)};
  if (sweep.methods.indexer) {
    meta.indexer_file = sweep.methods.indexer_path.filename().string();
    meta.indexer_sha256 = sweep.methods.indexer->sha256;
    meta.indexer_trained_length = sweep.methods.indexer->metadata.trained_length;
  }
  meta.dense_layers.assign(sweep.methods.dense_layers.begin(), sweep.methods.dense_layers.end());
  if (spec.system_file) meta.system_sha256 = sha256_text(read_prompt_file(*spec.system_file, job));
  if (!spec.template_arguments.empty()) meta.template_arguments = nlohmann::json(spec.template_arguments).dump();
  meta.max_new_tokens = spec.max_new_tokens;
  meta.prompt_tail = spec.prompt_tail;
  meta.methods = describe_methods(sweep.methods);
  meta.shard = spec.shard;
  meta.shards = spec.shards;
  if (sweep.prompts)
    describe_prompts(sweep);
  else
    describe_tasks(sweep);
}

/// Holds the store that is there against what was asked for.
void find_store(PreparedSweep& sweep) {
  sweep.store = record::sweep_store_path(sweep.out->target());
  std::error_code failed;
  if (!std::filesystem::exists(sweep.store, failed)) return;
  const std::string place = sweep.store.string();
  if (!sweep.spec.resume)
    throw input_error(place, "is the store of a sweep that was begun", "--resume to go on with it, or another --out",
                      "a file");
  sweep.found = record::read_sweep_store(sweep.store);
  if (sweep.found->whole_bytes == 0) return;
  if (const auto setting = record::different_setting(sweep.found->record.meta, sweep.meta))
    throw input_error(place, "the sweep that was begun has another \"" + setting->name + "\"", setting->expected,
                      setting->found);
  if (sweep.found->torn) sweep.warnings.push_back("the store's last line was not whole and is written anew");
}

}  // namespace

PreparedSweep prepare_sweep(const SweepSpec& spec, const JobContext& job) {
  check_spec(spec);
  PreparedSweep sweep;
  sweep.spec = spec;
  for (const std::string& task : spec.tasks) tasks::task_info(task);  // a typing error is told before a model is read
  sweep.device = model::open_device(spec.device);
  sweep.dtype = resolve_dtype(spec.dtype, sweep.device.device);
  sweep.out.emplace(spec.out, OutputKind::file);
  if (spec.system_file && reads_once(*spec.system_file))
    throw input_error(*spec.system_file, "is read once a sample", "a regular file", "a pipe or a device");
  if (spec.haystack && reads_once(*spec.haystack))
    throw input_error(*spec.haystack, "is read once a sample", "a file or a folder", "a pipe or a device");
  if (spec.haystack && spec.prompts)
    throw sweep_usage("--haystack", "own prompts have none", "--haystack with --tasks alone", "both");
  if (spec.prompts) sweep.prompts = tasks::read_prompts(*spec.prompts, {}, job);
  sweep.session = std::make_shared<Session>(spec.model, spec.adapter, job);
  if (sweep.session->is_random())
    throw sweep_usage("the model", "random weights answer nothing: there is no quality to measure", "a trained model",
                      spec.model);
  sweep.methods = make_methods(method_spec(spec), *sweep.session);
  sweep.backends = attention::make_backends(sweep.device.device, sweep.dtype, full_head_dims(sweep.config()),
                                            has_sinks(sweep.config()));
  auto inputs = sweep.session->checkpoint().files();
  for (const auto& file : {spec.prompts, spec.haystack, spec.system_file, spec.indexer})
    if (file) inputs.emplace_back(*file);
  if (!sweep.methods.indexer_path.empty()) inputs.push_back(sweep.methods.indexer_path);
  sweep.out->must_not_be(inputs);
  describe_sweep(sweep, job);
  for (const std::int64_t length : spec.lengths)
    for (const Method& method : sweep.methods.methods) method.policy->check_length(length);
  // One prompt shows how all are rendered, and what a person should know of it.
  const PreparedPrompt first = sweep_prompt(sweep, record::all_samples(sweep.meta).front(), job);
  sweep.meta.rendering = first.chat ? "chat" : "plain";
  for (const std::string& warning : first.warnings) sweep.warnings.push_back(warning);
  find_store(sweep);
  return sweep;
}

PreparedPrompt sweep_prompt(const PreparedSweep& sweep, const record::SweepSample& sample, const JobContext& job) {
  protocol::RunSpec run;
  run.model = sweep.spec.model;
  run.system_file = sweep.spec.system_file;
  run.template_arguments = sweep.spec.template_arguments;
  run.max_new_tokens = sweep.spec.max_new_tokens;
  if (!sweep.prompts) {
    run.task = sweep.meta.tasks[sample.task].name;
    run.length = sample.length;
    if (sweep.spec.haystack && tasks::task_info(*run.task).takes_haystack) run.haystack = sweep.spec.haystack;
    run.seed = static_cast<std::uint64_t>(sample.seed);
    return prepare_prompt(run, *sweep.session, job);
  }
  for (const tasks::FilePrompt& prompt : sweep.prompts->prompts)
    if (prompt.index == sample.seed) return prepare_sample(prompt.sample, prompt.name, run, *sweep.session, job);
  throw Error(ErrorKind::internal, "a prompt that was read is missing");
}

}  // namespace headroom::experiment
