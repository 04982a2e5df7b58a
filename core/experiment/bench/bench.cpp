// SPDX-License-Identifier: Apache-2.0
#include "experiment/bench/bench.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "attention/registry.h"
#include "base/error.h"
#include "experiment/bench/bench_setup.h"
#include "experiment/bench/length_bench.h"
#include "experiment/passes/torch_errors.h"
#include "experiment/run/indexer_choice.h"
#include "experiment/run/memory_estimate.h"
#include "experiment/run/session.h"
#include "model/delta_kernels.h"
#include "model/device.h"

namespace headroom::experiment {
namespace {

bool is_llama_cpp(const BenchRow& row) {
  return !row.staged;
}

const BenchRow* fastest(const std::vector<BenchRow>& rows, auto&& counts) {
  const BenchRow* found = nullptr;
  for (const BenchRow& row : rows)
    if (row.role == MethodRole::dense && row.error.empty() && counts(row) &&
        (!found || row.ttft.median < found->ttft.median))
      found = &row;
  return found;
}

/// Ratios between the rows of one length. llama.cpp multiplies quantised weights: it is a peer, not a baseline.
void compare(std::vector<BenchRow>& rows) {
  const auto baseline = [&](const char* backend) {
    return fastest(rows, [&](const BenchRow& row) { return row.backend == backend; });
  };
  const BenchRow* dense = rows.empty() ? nullptr : record::fastest_dense(rows, rows.front().length);
  const BenchRow* llama_cpp = fastest(rows, is_llama_cpp);
  const BenchRow *libtorch = baseline("libtorch"), *fa2 = baseline("fa2"), *cudnn = baseline("cudnn");
  for (BenchRow& row : rows) {
    if (!row.error.empty()) continue;
    if (dense) row.amdahl_bound = record::free_attention_bound(*dense);
    if (libtorch) row.time_over_libtorch = row.ttft.median / libtorch->ttft.median;
    if (row.role == MethodRole::reference || !row.label.empty() || is_llama_cpp(row)) continue;
    const auto over = [&](const BenchRow* base) {
      return base ? std::optional(base->ttft.median / row.ttft.median) : std::nullopt;
    };
    if (row.role != MethodRole::dense && row.timing_plan.dense_throughout()) continue;
    row.speedup_over = {over(dense), over(fa2), over(cudnn), over(libtorch), over(llama_cpp)};
    row.sparsity_factor = over(dense);
    if (row.role == MethodRole::deployable && row.amdahl_bound && row.sparsity_factor)
      row.bound_reached = *row.sparsity_factor / *row.amdahl_bound;
    if (libtorch && dense) row.kernel_factor = libtorch->ttft.median / dense->ttft.median;
  }
}

void check(const BenchSpec& spec) {
  if (spec.lengths.empty()) throw usage_error("bench needs --lengths, e.g. --lengths 2048,4096");
  if (spec.repeats < 1 || spec.repeats > 1000) throw usage_error("--repeats must be 1 to 1000");
  if (spec.llama_cpp_repeats < 1 || spec.llama_cpp_repeats > 100)
    throw usage_error("--llama-cpp-repeats must be 1 to 100");
  if (spec.threads < 0 || spec.threads > 1024) throw usage_error("--threads must be 1 to 1024");
  if (spec.dtype != "auto" && spec.dtype != "bf16" && spec.dtype != "f32")
    throw usage_error("dtype \"" + spec.dtype + "\" is not known: expected auto, bf16 or f32");
  if (spec.supports != "own" && spec.supports != "measured")
    throw usage_error("--supports \"" + spec.supports + "\" is not known: expected own or measured");
  if (spec.llama_cpp && spec.model.empty()) throw usage_error("--llama-cpp needs a model, not --config");
}

/// LibTorch keeps the number for the whole process: put back what was there.
class ThreadCount {
 public:
  explicit ThreadCount(int wanted) : before_(at::get_num_threads()) {
    if (wanted > 0) at::set_num_threads(wanted);
  }
  ~ThreadCount() {
    if (at::get_num_threads() != before_) at::set_num_threads(before_);
  }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

/// Of the warm-up passes, which keep supports.
MemoryWorkload longest_workload(const BenchSpec& spec, const attention::Policy& dense,
                                const std::vector<Method>& methods) {
  MemoryWorkload work;
  work.length = *std::max_element(spec.lengths.begin(), spec.lengths.end());
  work.methods.push_back(&dense);
  for (const Method& method : methods) work.methods.push_back(method.policy.get());
  work.supports_kept = work.floor = true;
  if (spec.supports == "measured")
    work.own = [&methods](std::int64_t length) { return LengthBench::drawn_bytes(methods, length); };
  return work;
}

/// `account`: of the memory that was estimated, once it is.
BenchReport guarded_bench(const BenchSpec& spec, const JobContext& job, const BenchCallbacks& callbacks,
                          std::string& account) {
  const auto choice = model::open_device(spec.device);
  const ThreadCount threads(spec.threads);
  if (const char* said = std::getenv("OMP_NUM_THREADS"); said && *said && spec.threads > 0 && callbacks.notice)
    callbacks.notice("OMP_NUM_THREADS=" + std::string(said) + " is ignored: --threads says " +
                     std::to_string(spec.threads));
  const at::NoGradGuard no_grad;
  std::optional<PlanFile> plans;
  if (spec.plan && *spec.plan != "none") plans = read_plan_file(*spec.plan, job);
  const BenchModel model = open_bench_model(spec);
  const std::string& hash = model.checkpoint->hash(job);
  if (plans) check_model(*plans, hash);
  check_full_layers(spec.dense_layers, "--dense-layers", model.config);
  const auto methods = sparse_methods(spec, model);
  std::vector<std::vector<std::int32_t>> prompts;  // all of them first: what does not fit shows at once
  for (const std::int64_t length : spec.lengths) {
    prompts.push_back(bench_ids(model, length));
    for (const Method& method : methods) {
      method.policy->check_length(length);
      if (plans && !method.is_reference())
        find_plan(*plans, method.id, length, {spec.dense_layers.begin(), spec.dense_layers.end()}, model.config);
    }
  }
  std::optional<LlamaCpp> llama_cpp;
  if (spec.llama_cpp) {
    if (!std::filesystem::is_regular_file(model.checkpoint->path()))
      throw input_error("--llama-cpp", "llama.cpp reads GGUF files alone", "a GGUF model",
                        model.checkpoint->path().string());
    llama_cpp.emplace(*spec.llama_cpp, job);
  }

  model::DecoderOptions options;
  options.dtype = resolve_dtype(spec.dtype, choice.device);
  const auto dense = attention::make_dense_policy();
  const MemoryWorkload work = longest_workload(spec, *dense, methods);
  const MemoryEstimate memory = refuse_what_cannot_fit(*model.checkpoint, model.config, *options.dtype, choice, work);
  account = memory_account(memory, choice);
  options.parts = place_decoder(*model.checkpoint, model.config, *options.dtype, choice, work);
  const auto decoder = model::load_decoder(*model.checkpoint, model.config, options, job);

  BenchReport report;
  const std::string device = model::description_of_all(choice);
  const std::string linear = model::linear_layers_text(model.config, choice.device, decoder->dtype());
  report.device = device + (linear.empty() ? "" : "; " + linear);
  report.device_note = choice.note;
  report.dtype = dtype_name(decoder->dtype());
  report.config = model.config.name;
  report.weights = model.random ? "random, no quality" : hash;
  report.memory_needed = memory.weights + (choice.device.is_cpu() ? memory.host : memory.device);
  report.weight_bytes = decoder->weight_bytes();
  report.threads = at::get_num_threads();
  report.repeats = spec.repeats;
  report.supports = spec.supports;
  if (llama_cpp) report.llama_cpp = llama_cpp->version();
  const auto backends = attention::make_backends(choice.device, decoder->dtype(), full_head_dims(model.config),
                                                  has_sinks(model.config));
  std::optional<CostModel> costs;
  if (choice.device.is_cpu() && !spec.plan)
    costs.emplace(model.config, decoder->dtype(), backends, device, callbacks.notice);
  const BenchContext context{spec,
                             model,
                             *decoder,
                             job,
                             device,
                             backends,
                             std::move(plans),
                             costs ? &*costs : nullptr,
                             llama_cpp ? &*llama_cpp : nullptr};
  for (std::vector<std::int32_t>& ids : prompts) {
    LengthBench length_bench(context, std::move(ids));
    for (const auto& backend : backends)
      if (backend->dense_is_its_own()) length_bench.add_dense(*backend);
    for (const Method& method : methods) length_bench.add(method);
    auto rows = length_bench.run();
    compare(rows);
    std::move(rows.begin(), rows.end(), std::back_inserter(report.rows));
    if (callbacks.on_length) callbacks.on_length(report);
  }
  report.complete = true;
  return report;
}

}  // namespace

BenchReport bench(const BenchSpec& spec, const JobContext& job, const BenchCallbacks& callbacks) {
  check(spec);
  BenchReport report;
  std::string account;
  translate_errors([&] { report = guarded_bench(spec, job, callbacks, account); }, account);
  return report;
}

}  // namespace headroom::experiment
