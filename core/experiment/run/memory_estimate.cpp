// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/memory_estimate.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>

#include "attention/analysis.h"
#include "base/error.h"
#include "base/machine_limits.h"
#include "experiment/passes/recorded_pass.h"
#include "kernels/cpu/isa.h"
#include "model/row_pieces.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t mib = 1 << 20;
// Resident size of program and LibTorch with their threads, before a model is loaded (measured).
constexpr std::int64_t program_bytes = 160 * mib;
// What the CUDA half, its context and pinned buffers add on the host.
constexpr std::int64_t cuda_host_bytes = 1500 * mib;
// Scores of one run of rows (PreparedLayer::run_rows), fp32: on the CPU in one tensor, on a device of all
// heads, with two more of its size while a softmax or a ranking is made of it.
constexpr std::int64_t cpu_scores_bytes = 32 * mib, device_scores_bytes = 3 * 512 * mib;
constexpr std::int64_t logits_rows = 256;  // of the whole vocabulary at a time (core/model/decoder.cpp)

class Estimator {
 public:
  Estimator(const checkpoint::Checkpoint& file, const model::ModelConfig& config, c10::ScalarType dtype,
            c10::Device device, const MemoryWorkload& work)
      : file_(file),
        config_(config),
        bf16_(dtype == c10::ScalarType::BFloat16),
        on_cpu_(device.is_cpu()),
        device_(device),
        work_(work),
        element_(bf16_ ? 2 : 4),
        sizes_(config.typical_layer().attention),
        mlp_width_(config.typical_layer().mlp.width),
        q_values_(sizes_.num_q_heads * work.length * sizes_.head_dim),
        kv_values_(sizes_.num_kv_heads * work.length * sizes_.head_dim) {}

  MemoryEstimate operator()() const {
    MemoryEstimate estimate;
    for (const auto& tensor : file_.tensors()) estimate.weights += tensor.elements() * element_;
    const auto pass = activations() + widest(&Estimator::attention);
    const auto recorded = work_.analysed ? activations() + roomy_cache() + widest(&Estimator::kept_supports) : 0;
    const auto on_host = hidden_copies() + std::max(widest(&Estimator::analysis), output_copies());
    if (on_cpu_) {
      const auto attended =
          std::max(pass + widest(&Estimator::kept_supports), recorded + (work_.analysed ? on_host : 0));
      // As they were read, and as the kernels read them.
      estimate.host = program_bytes + 8 * work_.indexer_values + std::max(loading() - estimate.weights, attended);
    } else {
      estimate.device = 4 * work_.indexer_values + std::max(pass + widest(&Estimator::kept_supports), recorded);
      estimate.host = program_bytes + cuda_host_bytes + 4 * work_.indexer_values + std::max(loading(), on_host);
    }
    return estimate;
  }

 private:
  std::int64_t rows_values(std::int64_t width) const { return work_.length * width; }
  bool fp32_arithmetic() const { return !bf16_ || kernels::cpu::preferred_isa() != kernels::cpu::Isa::avx512_bf16; }

  /// Most at one time while weights are made, weights included: threads take the largest matrices first, each through
  /// an fp32 copy where the values change their type; on a device the finished matrix passes through the host.
  std::int64_t loading() const {
    std::vector<std::int64_t> elements;
    for (const auto& tensor : file_.tensors()) elements.push_back(tensor.elements());
    std::sort(elements.rbegin(), elements.rend());
    const auto threads = static_cast<std::size_t>(at::get_num_threads());
    std::int64_t made = 0, copies = 0, most = 0;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      made += elements[i] * element_;
      copies += elements[i] * (bf16_ ? 4 : 0);
      if (i >= threads) {
        copies -= elements[i - threads] * (bf16_ ? 4 : 0);
        if (!on_cpu_) made -= elements[i - threads] * element_;
      }
      most = std::max(most, made + copies);
    }
    return most;
  }

  /// The decoder's own tensors during a pass, the cache among them.
  std::int64_t activations() const {
    const auto hidden = 2 * rows_values(config_.width) * element_;
    const auto rope = rows_values(sizes_.head_dim) * 4;
    const model::RowPieces pieces(0, work_.length, device_);
    const auto columns = (sizes_.num_q_heads + 2 * sizes_.num_kv_heads) * sizes_.head_dim + 3 * mlp_width_ + config_.width;
    const auto buffers = pieces.workers() * pieces.largest() * columns * element_;
    const auto layer = (2 * q_values_ + 2 * kv_values_) * element_;
    const auto cache = 2 * config_.num_layers() * kv_values_ * element_;
    const auto logits = (work_.all_logits ? work_.length + logits_rows : 2) * config_.vocabulary * 4;
    return hidden + rope + buffers + layer + cache + logits;
  }

  /// A recorded pass keeps k and v with room for what is decoded: the layer's own are not the cache's.
  /// On the CPU the allocator finds no place for it where the timed passes' shorter tensors were: about half of that
  /// stays unused (measured).
  std::int64_t roomy_cache() const {
    if (work_.new_tokens <= 0) return 0;
    const auto places = work_.new_tokens + (on_cpu_ ? work_.length / 2 : 0);
    return 2 * config_.num_layers() * sizes_.num_kv_heads * places * sizes_.head_dim * element_;
  }

  std::int64_t widest(std::int64_t (Estimator::*of)(const attention::Policy&) const) const {
    std::int64_t most = 0;
    for (const auto* method : work_.methods) most = std::max(most, (this->*of)(*method));
    return most;
  }

  /// Inside one layer's attention.
  std::int64_t attention(const attention::Policy& method) const {
    if (!on_cpu_) return method.is_dense() ? q_values_ * element_ : device_scores_bytes + tile_bytes(method);
    // Keys and values as the kernels read them: widened, or values in pairs.
    const auto packed = fp32_arithmetic() ? (bf16_ ? 2 * kv_values_ * 4 : 0) : kv_values_ * 2;
    if (method.is_dense()) return std::max(packed, q_values_ * element_);
    return packed + cpu_scores_bytes + sizes_.num_q_heads * work_.length * 4;
  }

  /// Keys in the widest row of a support.
  std::int64_t support_width(const attention::Policy& method) const {
    if (!method.settings().budget) return 0;
    // How many keys a mass takes only the prompt tells; half of them is more than was seen.
    if (method.settings().budget->kind == BudgetKind::mass) return (work_.length + 1) / 2;
    return std::min(method.settings().budget->tokens_for(work_.length), work_.length);
  }
  std::int64_t tile_bytes(const attention::Policy& method) const {
    return work_.length * (support_width(method) + 1) * 4;
  }
  std::int64_t kept_supports(const attention::Policy& method) const {
    return work_.supports_kept ? tile_bytes(method) : 0;
  }

  /// One layer's analysis (core/attention/analysis.cpp): q and k are read as fp32 and packed; then curve values, sums
  /// over columns, bitmaps (and their copies for the working file), thumbnails, blocks. Marginals of all layers stay.
  std::int64_t analysis(const attention::Policy& method) const {
    if (!work_.analysed) return 0;
    const auto length = work_.length, heads = sizes_.num_q_heads + 1;
    const auto packed = (q_values_ + kv_values_) * 4, read = (bf16_ ? 2 : 1) * packed;
    const auto curves = heads * attention::most_curve_budgets * std::min<std::int64_t>(length, 16384) * 4;
    const auto columns = heads * length * (8 + 4) + 2 * sizes_.num_q_heads * length * 4;
    const auto thumbnails = 2 * heads * RecordedPass::thumbnail_size * RecordedPass::thumbnail_size * 4;
    const std::int64_t threads = at::get_num_threads();
    const auto blocks = threads * heads * length * 4 * (8 + 2);
    const auto marginals = config_.num_layers() * (heads + (method.is_dense() ? 0 : 1)) * length * 4;
    const auto bits = method.is_dense() ? 0 : length * ((length + 7) / 8);
    const auto bitmaps = (work_.maps_kept ? 6 : 3) * bits;
    return marginals + std::max(bits + read, packed + curves + columns + bitmaps + thumbnails + blocks);
  }

  /// Hidden states beside the dense run's, as fp32.
  std::int64_t output_copies() const {
    return work_.analysed ? 3 * rows_values(config_.width) * 4 + rows_values(config_.width) * element_ : 0;
  }
  std::int64_t hidden_copies() const { return work_.analysed ? rows_values(config_.width) * element_ : 0; }

  const checkpoint::Checkpoint& file_;
  const model::ModelConfig& config_;
  bool bf16_, on_cpu_;
  c10::Device device_;
  const MemoryWorkload& work_;
  std::int64_t element_;
  const model::AttentionSpec& sizes_;  ///< of the layers; those of a full one where they differ
  std::int64_t mlp_width_, q_values_, kv_values_;
};

}  // namespace

MemoryEstimate estimate_memory(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                               c10::ScalarType dtype, c10::Device device, const MemoryWorkload& workload) {
  return Estimator(file, config, dtype, device, workload)();
}

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

std::int64_t resident_program_bytes(c10::Device device) {
  return std::min(model::resident_bytes(), program_bytes + (device.is_cpu() ? 0 : cuda_host_bytes));
}

void refuse_memory(const std::string& place, std::int64_t needed, std::int64_t free) {
  if (free <= 0 || needed <= free) return;
  throw device_error("the job does not fit into the memory of " + place, size_text(needed) + " free",
                     size_text(free) + " free");
}

void refuse_what_cannot_fit(const MemoryEstimate& needed, const model::DeviceChoice& device) {
  const bool on_cpu = device.device.is_cpu();
  if (!on_cpu) refuse_memory(device.description, needed.weights + needed.device, device.free_bytes);
  const auto free = machine_limits().free_bytes;
  refuse_memory(on_cpu ? device.description : "this machine", needed.host + (on_cpu ? needed.weights : 0),
                free > 0 ? free + resident_program_bytes(device.device) : 0);
}

}  // namespace headroom::experiment
