// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/preflight.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

#include "base/utf8.h"
#include "experiment/passes/machine_lock.h"
#include "experiment/run/memory_estimate.h"
#include "experiment/run/method_run.h"
#include "experiment/run/record_builder.h"
#include "record/parts.h"

namespace headroom::experiment {
namespace {

// LibTorch's attention on a CPU runs at about a third of its matrix products' rate; the recorded pass and the reference
// path of sparse methods take a few dense passes (measured on two cores).
constexpr double attention_slowdown = 3;
constexpr double recorded_passes = 3;
constexpr std::size_t tail_bytes = 600;

std::int64_t parameters(const Session& session) {
  std::int64_t count = 0;
  for (const auto& tensor : session.checkpoint().tensors()) count += tensor.elements();
  return count;
}

struct RecordEstimate {
  std::int64_t bytes = 0, scratch = 0;
  std::string keeps;
};

/// Without compression, so that the promise errs on the small side.
RecordEstimate estimate_record(const PreparedRun& run) {
  const auto& config = run.config();
  const auto methods = static_cast<std::int64_t>(run.methods.methods.size());
  const auto sparse = std::count_if(run.methods.methods.begin(), run.methods.methods.end(),
                                    [](const Method& method) { return !method.is_dense(); });
  const auto length = run.length(), full = run.full_layers(), heads = config.max_q_heads() + 1;
  const auto marginals =
      std::ssize(layers_with_marginals(config, run.spec.keep_layers, methods, length, run.spec.record_limit));
  const auto small =
      methods * heads * (marginals * length + full * (3 * attention::most_curve_budgets + 8)) * 4 + length * 40;
  const auto thumbnails = heads * RecordedPass::thumbnail_size * RecordedPass::thumbnail_size * 8 * methods;
  const auto& sizes = config.typical_layer().attention;
  std::int64_t supports = 0, bitmaps = 0, pyramids = 0;  // of a layer, of all methods
  const record::LayerMeta layer{"full", sizes.num_q_heads, sizes.num_kv_heads, sizes.head_dim, 0, 0};
  for (const Method& method : run.methods.methods) {
    const std::int64_t groups =
        method.is_dense() ? 0
                          : num_support_groups(method.policy->traits().scope, sizes.num_q_heads, sizes.num_kv_heads);
    supports +=
        3 * groups * record::support_bytes(length, describe(method, *run.backends.front(), length).budget_tokens);
    bitmaps += 3 * groups * record::support_bytes(length, 0);
    pyramids += record::pyramid_bytes(length, layer, groups);
  }
  const auto rows = run.spec.keep_queries > 0 ? std::min(run.spec.keep_queries, length) : length;
  const std::int64_t element = run.dtype == c10::ScalarType::Float ? 4 : 2;
  const auto stream_of = [&](std::int64_t kept) {
    return methods * (element * sizes.head_dim * (sizes.num_q_heads * kept + sizes.num_kv_heads * length) +
                      4 * sizes.num_q_heads * kept);
  };
  const auto stream = stream_of(rows);
  const auto limit = run.spec.record_limit;
  RecordEstimate estimate;
  auto used = small;
  const auto take = [&](double share, std::int64_t each, std::int64_t wanted) {
    const auto room = static_cast<std::int64_t>(share * static_cast<double>(limit)) - used;
    const auto layers = each > 0 ? std::clamp<std::int64_t>(room / each, 0, wanted) : 0;
    used += layers * each;
    return layers;
  };
  const auto thumbnail_layers = take(thumbnail_share, thumbnails, full);
  const auto pyramid_layers = take(pyramid_share, pyramids, full);
  const auto support_layers = take(support_share, supports, full);
  const auto asked = run.spec.keep_layers.empty() ? full : static_cast<std::int64_t>(run.spec.keep_layers.size());
  const auto stream_layers = take(1.0, stream, asked);
  estimate.bytes = used;
  const auto of = " of " + std::to_string(full) + " layers";
  estimate.keeps =
      "statistics and curves of all layers; at least: " +
      (marginals < full ? "mass by key of " + std::to_string(marginals) + of + ", " : std::string()) + "thumbnails of " +
      std::to_string(thumbnail_layers) + of;
  if (pyramids > 0) estimate.keeps += ", stored tiles of " + std::to_string(pyramid_layers) + of;
  if (sparse > 0) estimate.keeps += ", supports of " + std::to_string(support_layers) + of;
  estimate.keeps += ", exact maps of " + std::to_string(stream_layers) + of;
  const auto kept = static_cast<std::int64_t>(map_layers(run).size()), mapped = kept > 0 ? kept : full;
  const auto held_supports = std::min(bitmaps * mapped, 4 * limit * std::max<std::int64_t>(sparse, 1));
  // On a GPU the stored tiles' first levels lie there as well.
  const auto tiles = run.device.device.is_cpu() ? 0 : pyramids;
  const auto maps = run.spec.out ? mapped * (stream_of(length) + tiles) + full * thumbnails + held_supports : 0;
  const bool compared = sparse < methods;  // dense runs, and its hidden states are kept
  estimate.scratch = maps + (compared ? config.num_layers() * length * config.width * element : 0);
  return estimate;
}

/// Multiply-adds a second that this device reaches, from one small product.
double measure_rate(c10::Device device, c10::ScalarType dtype) {
  const c10::InferenceMode guard;
  const auto options = at::TensorOptions().device(device).dtype(dtype);
  const std::int64_t n = device.is_cpu() ? 512 : 4096;
  const auto a = at::ones({n, n}, options), b = at::ones({n, n}, options);
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    model::synchronize(device);
    const auto start = std::chrono::steady_clock::now();
    at::mm(a, b);
    model::synchronize(device);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds > 0)
      best = std::max(best, static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds);
  }
  return best;
}

/// Measured once by a process for each device and dtype, never while a job or another measurement is at work: then 0
/// where it is not known yet.
double matmul_rate(c10::Device device, c10::ScalarType dtype, bool busy) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, c10::ScalarType>, double> measured;
  const auto key = std::pair(device.str(), dtype);
  {
    const std::lock_guard lock(mutex);
    if (const auto found = measured.find(key); found != measured.end()) return found->second;
  }
  if (busy) return 0;
  const auto machine = MachineLock::try_now();
  if (!machine) return 0;
  const double rate = measure_rate(device, dtype);
  const std::lock_guard lock(mutex);
  return measured[key] = rate;
}

double estimate_seconds(const PreparedRun& run, bool busy) {
  const double pass =
      prefill_seconds(*run.session, run.device.device, run.dtype, run.length(), busy);
  const bool plans = MethodRunner::plans_by_times(run);
  double passes = 0;
  for (const auto& method : run.methods.methods)
    passes += (!method.is_dense() ? sparse_passes : 1.0) *
                  (run.spec.repeats + (plans && MethodRunner::is_for_plans(method) ? 1 : 0)) +
              recorded_passes;
  return pass * passes;
}

MemoryWorkload workload(const PreparedRun& run) {
  MemoryWorkload work;
  work.length = run.length();
  work.new_tokens = run.prompt.max_new_tokens;
  for (const auto& method : run.methods.methods) work.methods.push_back(method.policy.get());
  work.supports_kept = work.analysed = true;
  work.maps_kept = run.spec.out.has_value();
  const auto is_dense = [](const Method& method) { return method.is_dense(); };
  const auto& methods = run.methods.methods;
  work.compared = work.new_tokens > 0 && std::any_of(methods.begin(), methods.end(), is_dense) &&
                  !std::all_of(methods.begin(), methods.end(), is_dense);
  return work;
}

/// Files there are pages of memory.
bool lies_in_memory(const std::filesystem::path& folder) {
  struct statfs found {};
  return ::statfs(folder.c_str(), &found) == 0 && found.f_type == TMPFS_MAGIC;
}

MemoryEstimate estimate_of(const PreparedRun& run, std::int64_t tokens) {
  auto work = workload(run);
  work.length = tokens;
  return estimate_memory(run.session->checkpoint(), run.config(), run.dtype, run.device.device, work);
}

void add_memory(protocol::Preflight& result, const PreparedRun& run, std::int64_t scratch, const EngineLoad& engine) {
  const auto device = run.device.device;
  const auto estimate = estimate_of(run, run.length());
  const bool here = engine.weights && engine.weights->parts.front().device == device;
  // The same weights are used again; others give back their room before new ones are loaded.
  const bool loaded = here && engine.weights->model == run.session->model() &&
                      engine.weights->adapter == run.session->adapter() && engine.weights->dtype == run.dtype;
  const auto weights = loaded && !engine.busy ? 0 : estimate.weights;  // the room of a busy engine counts as free below
  const auto given_back = here && !loaded ? engine.weights->bytes_on(device) : 0;
  const HostMemory there = host_memory(device);
  const auto host = estimate.host + there.mapped_only + (lies_in_memory(scratch_folder(run)) ? scratch : 0);
  // What a job at work holds comes back before the next one starts.
  const auto free = engine.busy ? there.total : there.free;
  if (device.is_cpu()) {
    result.memory_needed = weights + host;
    result.memory_free = free > 0 && !engine.busy ? free + given_back : free;
    return;
  }
  std::int64_t on_device = 0, others = 0;
  for (const auto& choice : each_of(run.device)) on_device += engine.busy ? choice.total_bytes : choice.free_bytes;
  for (const auto& choice : run.device.others) {
    others += estimate.device - estimate.cache;  // what a pass needs beside the layers
    if (here && !engine.busy) on_device += engine.weights->bytes_on(choice.device);
  }
  result.memory_needed = weights + estimate.device + others;
  result.memory_free = on_device > 0 && !engine.busy ? on_device + given_back : on_device;
  result.host_needed = host;
  result.host_free = free;
}

/// What makes a run smaller, given how much of what it needs depends on the prompt.
std::string help_for(const PreparedRun& run, std::int64_t needed, std::int64_t free, bool host) {
  const auto of = [&](std::int64_t tokens) {
    const auto estimate = estimate_of(run, tokens);
    const bool on_cpu = run.device.device.is_cpu();
    return on_cpu ? estimate.weights + estimate.host : host ? estimate.host : estimate.weights + estimate.device;
  };
  // Beside the estimate: weights that are there already, files in memory.
  const auto beside = needed - of(run.length());
  return memory_help(run.length(), free, run.dtype, run.device.device,
                     [&](std::int64_t tokens) { return of(tokens) + beside; });
}

void warn_of_memory(protocol::Preflight& result, const PreparedRun& run, std::int64_t needed, std::int64_t free,
                    bool host) {
  if (free <= 0 || needed <= free) return;
  result.warnings.push_back("needs " + size_text(needed) + ", " + size_text(free) + " free " +
                            (host ? "in this machine's memory" : "on this device") + ": " +
                            help_for(run, needed, free, host));
}

}  // namespace

double prefill_seconds(const Session& session, c10::Device device, c10::ScalarType dtype, std::int64_t length,
                       bool busy) {
  const auto& config = session.config();
  const double rate = matmul_rate(device, dtype, busy), tokens = static_cast<double>(length);
  if (rate <= 0) return 0;
  const double embedding = static_cast<double>(config.vocabulary * config.width);
  const double products = tokens * std::max(0.0, static_cast<double>(parameters(session)) - embedding);
  const auto& sizes = config.typical_layer().attention;
  const double attention =
      static_cast<double>(config.full_layers() * sizes.num_q_heads * sizes.head_dim) * tokens * tokens;
  return (products + attention_slowdown * attention) / rate;
}

std::filesystem::path scratch_folder(const PreparedRun& run) {
  return run.out ? run.out->folder() : std::filesystem::temp_directory_path();
}

std::string memory_account(const PreparedRun& run) {
  return run.device.device.is_cpu() ? std::string() : memory_account(estimate_of(run, run.length()), run.device);
}

std::int64_t spare_device_bytes(const PreparedRun& run) {
  if (run.device.device.is_cpu()) return 0;
  const auto estimate = estimate_of(run, run.length());
  // Where the weights were there before the device was opened, this says too little.
  return std::max<std::int64_t>(0, run.device.free_bytes - estimate.device - estimate.weights);
}

std::vector<int> map_layers(const PreparedRun& run) {
  constexpr std::int64_t most_limits = 16;
  if (run.spec.keep_layers.empty()) return {};
  const auto& sizes = run.config().typical_layer().attention;
  const std::int64_t element = run.dtype == c10::ScalarType::Float ? 4 : 2;
  const std::int64_t stream = run.length() * sizes.head_dim * (sizes.num_q_heads + sizes.num_kv_heads) * element;
  const auto all = stream * run.full_layers() * static_cast<std::int64_t>(run.methods.methods.size());
  return all > most_limits * run.spec.record_limit ? run.spec.keep_layers : std::vector<int>();
}

protocol::Preflight preflight(const PreparedRun& run, const EngineLoad& engine) {
  protocol::Preflight result;
  result.tokens = run.length();
  result.context = run.config().context_length;
  result.device = model::description_of_all(run.device);
  result.dtype = dtype_name(run.dtype);
  for (const auto& method : run.methods.methods) result.methods.push_back(method.id);
  result.warnings = run.prompt.warnings;
  const auto record = estimate_record(run);
  add_memory(result, run, record.scratch, engine);
  if (run.device.others.empty()) {
    warn_of_memory(result, run, result.memory_needed, result.memory_free, false);
  } else if (!engine.busy) {
    try {
      place(run);
    } catch (const Error& error) {
      result.warnings.push_back(error.what());
    }
  }
  warn_of_memory(result, run, result.host_needed, result.host_free, true);
  result.prompt_tail = utf8_tail(run.prompt.table.text, tail_bytes);
  result.seconds = estimate_seconds(run, engine.busy);
  if (run.spec.out) {
    result.record_bytes = record.bytes;
    result.keeps = record.keeps;
    std::error_code ignored;
    const auto space = std::filesystem::space(scratch_folder(run), ignored);
    if (!ignored) result.disk_free = static_cast<std::int64_t>(space.available);
    const auto needed = record.bytes + record.scratch;
    if (result.disk_free > 0 && needed > result.disk_free) {
      result.warnings.push_back("needs " + size_text(needed) + " of disk while it runs, " +
                                size_text(result.disk_free) + " free: choose another folder or a lower --record-limit");
    }
  }
  if (run.is_beyond_training()) {
    result.warnings.push_back("the indexer was trained at " +
                              std::to_string(run.methods.indexer->metadata.trained_length) + " tokens; " +
                              std::to_string(run.length()) + " is untested");
  }
  return result;
}

model::DeviceParts place(const PreparedRun& run) {
  const auto weights = run.session->loaded();
  std::vector<std::int64_t> given_back;
  if (weights)
    for (const auto& choice : each_of(run.device)) given_back.push_back(weights->bytes_on(choice.device));
  auto parts = place_decoder(run.session->checkpoint(), run.config(), run.dtype, run.device, workload(run), given_back);
  // What is free changes from run to run, and moves the borders: no reason to load everything again.
  if (weights && weights->dtype == run.dtype && devices_of(weights->parts) == devices_of(parts)) return weights->parts;
  return parts;
}

void refuse_what_cannot_fit(const PreparedRun& run, const protocol::Preflight& found) {
  const bool on_cpu = run.device.device.is_cpu();
  const auto refuse = [&](const std::string& place, std::int64_t needed, std::int64_t free, bool host) {
    if (free <= 0 || needed <= free) return;
    refuse_memory(place, {needed, free, host || on_cpu ? host_memory(run.device.device).limit : std::string(),
                          help_for(run, needed, free, host)});
  };
  if (run.device.others.empty())
    refuse(found.device, found.memory_needed, found.memory_free, false);
  else
    place(run);
  refuse("this machine", found.host_needed, found.host_free, true);
}

}  // namespace headroom::experiment
