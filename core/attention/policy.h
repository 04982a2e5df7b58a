// SPDX-License-Identifier: Apache-2.0
// The seam between the decoder and attention: a full layer hands its q, k, v to a policy, the policy selects a support
// and attends (METHOD.md, "Sparse prefill of one full layer"). Hand-written kernels come in behind this seam.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceType.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/budget.h"
#include "base/progress.h"
#include "base/stage_clock.h"

namespace headroom::attention {

/// One full layer's attention input during prefill. All on one device, in the model's dtype (bf16 or fp32).
struct LayerQuery {
  int layer = 0;
  at::Tensor x;          ///< [L, width], the layer's normalised input (what the indexer reads)
  at::Tensor q;          ///< [Hq, L, d], after norms and RoPE
  at::Tensor k;          ///< [Hkv, L, d], after norms and RoPE
  at::Tensor v;          ///< [Hkv, L, d]
  double scale = 0;      ///< of q.k, usually d^-1/2
  double rope_base = 0;  ///< for the indexer's own RoPE

  std::int64_t length() const { return q.size(1); }
  std::int64_t num_q_heads() const { return q.size(0); }
  std::int64_t num_kv_heads() const { return k.size(0); }
  std::int64_t head_dim() const { return q.size(2); }
};

/// The support of a run of neighbouring queries, shared by all heads.
struct SupportTile {
  std::int64_t row_begin = 0;
  at::Tensor indices;  ///< [R, K] int32, key positions ascending, -1 behind the row's count
  at::Tensor counts;   ///< [R] int32
};
/// Receives tiles in row order, covering every row once. May be empty.
using SupportSink = std::function<void(const SupportTile&)>;

struct PolicyInfo {
  std::string name;              ///< "dense", "oracle", "indexer", "sink_window", "random"
  std::optional<Budget> budget;  ///< none for dense
  std::int64_t granularity = 1;
  bool causal = true;  ///< false where a row's support depends on later tokens (METHOD.md, "No leakage")
  bool is_dense = false;
  std::string backend;  ///< what executes it, e.g. "LibTorch SDPA, CPU"
  std::string label;    ///< e.g. "reference path, not optimised"; empty where there is nothing to say
};

class Policy {
 public:
  virtual ~Policy() = default;
  virtual PolicyInfo info() const = 0;
  /// Selects and attends for the whole prompt. Returns [Hq, L, d] in q's dtype. Times its work as score, select and
  /// attention on `clock`; hands supports to `sink` where it is set (dense never calls it). Polls `job` between tiles.
  virtual at::Tensor attend(const LayerQuery& query, StageClock& clock, const SupportSink& sink,
                            const JobContext& job) const = 0;
};

struct ForcedKeys {
  std::int64_t sinks = 0;  ///< first n positions, always in the support
  std::int64_t local = 1;  ///< last n positions up to and with the query itself
};

/// Who computes dense attention. automatic: our kernels on the CPU, LibTorch elsewhere.
enum class DenseBackend { automatic, libtorch, kernels };

struct PolicyOptions {
  std::string name = "dense";
  std::optional<Budget> budget;
  std::int64_t granularity = 1;
  ForcedKeys forced;
  std::uint64_t seed = 0;  ///< of "random"
  DenseBackend dense_backend = DenseBackend::automatic;     ///< of "dense"
  c10::DeviceType device = c10::DeviceType::CPU;            ///< where it will run: what info() says of its backend
};

/// dense, oracle, sink_window and random; the indexer's comes from core/indexer. Throws usage errors (unknown name,
/// budget missing, p-budget where refused, granularity not in {1, 4, 8, 16, 32, 64, 128}).
std::unique_ptr<Policy> make_policy(const PolicyOptions& options);

}  // namespace headroom::attention
