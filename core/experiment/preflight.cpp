// SPDX-License-Identifier: Apache-2.0
#include "experiment/preflight.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "base/utf8.h"
#include "experiment/method_run.h"
#include "experiment/record_builder.h"

namespace headroom::experiment {
namespace {

// Resident size of the program and LibTorch's CPU half before a model is loaded (measured: 0.2 GB).
constexpr std::int64_t program_bytes = 200LL << 20;
// LibTorch's attention on a CPU runs at about a third of its matrix products' rate; the recorded pass and the reference
// path of sparse methods take a few dense passes (measured on two cores).
constexpr double attention_slowdown = 3;
constexpr double recorded_passes = 3;
constexpr double sparse_passes = 3;
constexpr std::size_t tail_bytes = 600;

std::string size_text(std::int64_t bytes) {
  char text[32];
  if (bytes >= 10LL << 30)
    std::snprintf(text, sizeof text, "%.0f GB", static_cast<double>(bytes) / (1 << 30));
  else if (bytes >= 1LL << 30)
    std::snprintf(text, sizeof text, "%.1f GB", static_cast<double>(bytes) / (1 << 30));
  else
    std::snprintf(text, sizeof text, "%.0f MB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

std::int64_t parameters(const PreparedRun& run) {
  std::int64_t count = 0;
  for (const auto& tensor : run.session->checkpoint().tensors()) count += tensor.elements();
  return count;
}

std::int64_t memory_needed(const PreparedRun& run) {
  const auto& config = run.config();
  const std::int64_t element = run.dtype == c10::ScalarType::Float ? 4 : 2;
  const auto length = run.length(), head_width = config.head_dim;
  const auto cache = 2 * config.num_layers * config.num_kv_heads * (length + run.spec.max_new_tokens) * head_width;
  const auto layer = length * (3 * config.width + (2 * config.num_q_heads + 2 * config.num_kv_heads) * head_width);
  const auto bitmaps = 4 * length * ((length + 7) / 8);
  const auto tile = 256 * length * 4 * (config.num_q_heads + 2);  // scores of one row tile, all heads, fp32
  auto bytes = (parameters(run) + cache + layer) * element + bitmaps + tile;
  if (run.device.device.is_cpu()) bytes += program_bytes;
  return bytes;
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
                                    [](const Method& method) { return method.options.budget.has_value(); });
  const auto length = run.length(), full = run.full_layers(), heads = config.num_q_heads + 1;
  const auto small = methods * full * heads * (length + 3 * attention::num_curve_budgets + 8) * 4 + length * 40;
  const auto thumbnails = heads * MethodRunner::thumbnail_size * MethodRunner::thumbnail_size * 8 * methods;
  const auto supports = 3 * length * ((length + 7) / 8) * sparse;
  const auto rows = run.spec.keep_queries > 0 ? std::min(run.spec.keep_queries, length) : length;
  const std::int64_t element = run.dtype == c10::ScalarType::Float ? 4 : 2;
  const auto stream =
      methods * (element * config.head_dim * (config.num_q_heads * rows + config.num_kv_heads * length) +
                 4 * config.num_q_heads * rows);
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
  const auto support_layers = take(support_share, supports, full);
  const auto asked = run.spec.keep_layers.empty() ? full : static_cast<std::int64_t>(run.spec.keep_layers.size());
  const auto stream_layers = take(1.0, stream, asked);
  estimate.bytes = used;
  const auto of = " of " + std::to_string(full) + " layers";
  estimate.keeps =
      "statistics and curves of all layers; at least: thumbnails of " + std::to_string(thumbnail_layers) + of;
  if (sparse > 0) estimate.keeps += ", supports of " + std::to_string(support_layers) + of;
  estimate.keeps += ", exact maps of " + std::to_string(stream_layers) + of;
  const auto held_supports = std::min(supports * full, 4 * limit * std::max<std::int64_t>(sparse, 1));
  estimate.scratch = full * (stream + thumbnails) + held_supports + config.num_layers * length * config.width * element;
  return estimate;
}

/// Multiply-adds a second that this device reaches, from one small product.
double matmul_rate(const PreparedRun& run) {
  const c10::InferenceMode guard;
  const auto options = at::TensorOptions().device(run.device.device).dtype(run.dtype);
  const std::int64_t n = run.device.device.is_cpu() ? 512 : 4096;
  const auto a = at::ones({n, n}, options), b = at::ones({n, n}, options);
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    model::synchronize(run.device.device);
    const auto start = std::chrono::steady_clock::now();
    at::mm(a, b);
    model::synchronize(run.device.device);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds > 0)
      best = std::max(best, static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds);
  }
  return best;
}

double estimate_seconds(const PreparedRun& run) {
  const auto& config = run.config();
  const double rate = matmul_rate(run), length = static_cast<double>(run.length());
  if (rate <= 0) return 0;
  const double embedding = static_cast<double>(config.vocabulary * config.width);
  const double products = length * std::max(0.0, static_cast<double>(parameters(run)) - embedding);
  const double attention =
      static_cast<double>(run.full_layers() * config.num_q_heads * config.head_dim) * length * length;
  const double pass = (products + attention_slowdown * attention) / rate;
  double passes = 0;
  for (const auto& method : run.methods.methods)
    passes += (method.options.budget ? sparse_passes : 1.0) * run.spec.repeats + recorded_passes;
  return pass * passes;
}

}  // namespace

protocol::Preflight preflight(const PreparedRun& run) {
  protocol::Preflight result;
  result.tokens = run.length();
  result.context = run.config().context_length;
  result.device = run.device.description;
  result.dtype = dtype_name(run.dtype);
  for (const auto& method : run.methods.methods) result.methods.push_back(method.id);
  result.memory_needed = memory_needed(run);
  result.memory_free = run.device.free_bytes;
  result.prompt_tail = utf8_tail(run.prompt.table.text, tail_bytes);
  result.seconds = estimate_seconds(run);
  if (result.memory_free > 0 && result.memory_needed > result.memory_free) {
    result.warnings.push_back("needs " + size_text(result.memory_needed) + ", " + size_text(result.memory_free) +
                              " free on this device: use a shorter prompt");
  }
  if (run.spec.out) {
    const auto estimate = estimate_record(run);
    result.record_bytes = estimate.bytes;
    result.keeps = estimate.keeps;
    std::error_code ignored;
    auto folder = std::filesystem::path(*run.spec.out).parent_path();
    const auto space = std::filesystem::space(folder.empty() ? "." : folder, ignored);
    if (!ignored) result.disk_free = static_cast<std::int64_t>(space.available);
    const auto needed = estimate.bytes + estimate.scratch;
    if (result.disk_free > 0 && needed > result.disk_free) {
      result.warnings.push_back("needs " + size_text(needed) + " of disk while it runs, " +
                                size_text(result.disk_free) + " free: choose another folder or a lower --record-limit");
    }
  }
  if (run.methods.indexer && run.length() > run.methods.indexer->metadata.trained_length) {
    result.warnings.push_back("the indexer was trained at " +
                              std::to_string(run.methods.indexer->metadata.trained_length) + " tokens; " +
                              std::to_string(run.length()) + " is untested");
  }
  return result;
}

void refuse_what_cannot_fit(const protocol::Preflight& result) {
  if (result.memory_free <= 0 || result.memory_needed <= result.memory_free) return;
  throw device_error("the run does not fit into the memory of " + result.device,
                     size_text(result.memory_needed) + " free", size_text(result.memory_free) + " free");
}

}  // namespace headroom::experiment
