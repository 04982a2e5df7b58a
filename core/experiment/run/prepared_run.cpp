// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/prepared_run.h"

#include <algorithm>

#include "base/error.h"

namespace headroom::experiment {
namespace {

/// Every file that the run reads.
std::vector<std::filesystem::path> input_files(const PreparedRun& run) {
  auto files = run.session->files();
  for (const auto& file : {run.spec.prompt_file, run.spec.prompts, run.spec.haystack, run.spec.system_file,
                           run.spec.plan, run.spec.indexer})
    if (file) files.emplace_back(*file);
  if (!run.methods.indexer_path.empty()) files.push_back(run.methods.indexer_path);
  return files;
}

/// The libraries that `wanted` names, each once; one that this device and dtype do not have is a usage error.
std::vector<std::string> baselines_of(const PreparedRun& run) {
  const auto& wanted = run.spec.baselines;
  std::vector<std::string> libraries, names;
  for (const auto& backend : run.backends)
    if (backend->is_library()) libraries.push_back(backend->id());
  for (const std::string& name : wanted) {
    if (name == "all") return libraries;
    if (std::ranges::find(libraries, name) == libraries.end()) {
      std::string had;
      for (const std::string& library : libraries) had += (had.empty() ? "" : ", ") + library;
      throw usage_error("--baselines " + name + " is not to be had on " + run.device.description + " in " +
                        dtype_name(run.dtype) + "; there is " + had);
    }
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

}  // namespace

std::int64_t PreparedRun::full_layers() const {
  return config().full_layers();
}

bool PreparedRun::is_beyond_training() const {
  return methods.indexer && !session->is_random() && length() > methods.indexer->metadata.trained_length;
}

PreparedRun prepare_run(const protocol::RunSpec& spec, const SessionProvider& sessions, const std::string& auto_device,
                        const JobContext& job) {
  protocol::validate(spec);
  PreparedRun run;
  run.spec = spec;
  run.device = model::open_device(spec.device == "auto" ? auto_device : spec.device);
  run.dtype = resolve_dtype(spec.dtype, run.device.device);
  if (spec.out) run.out.emplace(*spec.out, OutputKind::file);
  if (spec.plan && *spec.plan != "none") run.plans = read_plan_file(*spec.plan, job);
  run.session = sessions ? sessions(spec.model, spec.adapter)
                         : std::make_shared<Session>(spec.model, spec.adapter, job);
  const std::string& hash = run.session->checkpoint().hash(job);
  if (run.plans) check_model(*run.plans, hash);
  run.methods = make_methods(spec, *run.session);
  run.backends = attention::make_backends(run.device.device, run.dtype, full_head_dims(run.config()),
                                         has_sinks(run.config()));
  run.spec.baselines = baselines_of(run);
  if (run.out) run.out->must_not_be(input_files(run));
  run.prompt = prepare_prompt(spec, *run.session, job);
  if (run.session->is_random())
    run.prompt.warnings.emplace_back("random weights: times, sizes and maps of a shape, no quality");
  run.spec.chat = run.prompt.chat;  // of a task the model decides; what is recorded says what ran
  for (const Method& method : run.methods.methods) {
    method.policy->check_length(run.length());
    if (run.plans && !method.is_dense() && !method.is_reference())
      check_dense_backend(
          *run.plans, find_plan(*run.plans, method.id, run.length(), run.methods.dense_layers, run.config()),
          run.backends);
  }
  return run;
}

}  // namespace headroom::experiment
