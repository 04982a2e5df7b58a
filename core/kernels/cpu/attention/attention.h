// SPDX-License-Identifier: Apache-2.0
// Causal attention of one layer on the CPU: dense, over per-query supports, and the attention mass that the oracle ranks
// keys by (METHOD.md, "Words"; arXiv 2606.07703). No row of L x L outlives its tile. Results do not depend on how the
// work is split over threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/types.h"

namespace headroom::kernels::cpu {

/// One layer's attention input. All contiguous, of one element type, 64-byte alignment not needed.
struct LayerInput {
  Element element = Element::f32;
  std::int64_t num_q_heads = 0, num_kv_heads = 0;  ///< q heads a multiple of kv heads
  std::int64_t length = 0, head_dim = 0;           ///< head_dim a multiple of 8
  float scale = 0;                                 ///< of q.k, positive
  const void* q = nullptr;                         ///< [Hq, L, d]
  const void* k = nullptr;                         ///< [Hkv, L, d]
  const void* v = nullptr;                         ///< [Hkv, L, d]
};

struct LayerOutput {
  void* out = nullptr;  ///< of the input's element type; element (h, t, i) at h * head_stride + t * row_stride + i
  std::int64_t head_stride = 0, row_stride = 0;
  float* lse = nullptr;  ///< [Hq, L], natural log-sum-exp of the scaled scores of the keys attended to; null: not wanted
};

/// Supports of rows [row_begin, row_begin + rows), shared by a run of query heads: all of the layer, those of a KV
/// head, a single one, or any other.
struct SupportRows {
  std::int64_t row_begin = 0, rows = 0;
  const std::int32_t* indices = nullptr;  ///< [rows, width], ascending within a row's count
  std::int64_t width = 0;
  const std::int32_t* counts = nullptr;  ///< [rows]
  std::int64_t first_head = 0, num_heads = 0;  ///< query heads; num_heads 0: all of the layer
};

/// How sparse() goes through supports. gather: one query at a time reads its own keys in place (no union: exact work).
/// union_tile: 16 neighbouring queries share the union of their supports, with one membership bit a query; pays where
/// supports are shared by blocks of queries.
enum class SparseKernel { gather, union_tile };

/// A layer made ready: keys and values in the kernels' layout. Immutable; threads may share it. The input must outlive
/// it.
class AttentionLayer {
 public:
  virtual ~AttentionLayer() = default;

  /// Log-sum-exp of rows [begin, end) over their whole history, without the values: what mass() needs of rows whose
  /// output is not wanted. `lse` [Hq, L], of which these rows are written, and those of the tile that `begin` lies in.
  virtual void log_sum_exp(std::int64_t begin, std::int64_t end, float* lse, const RunTasks& run) const = 0;
  /// Rows [0, rows) over their whole history.
  virtual void dense(std::int64_t rows, const LayerOutput& output, const RunTasks& run) const = 0;
  /// Rows and heads of each group over their keys, all groups in one run of tasks; nothing else is written. A key
  /// outside 0 … t or named twice is ignored; a row without keys gets zeros and log-sum-exp -inf. Queries attend in
  /// fp32 accumulation whatever the element type; heads that share a support and a KV head are worked on together,
  /// which may show in the last bit. Throws where a group names rows or heads that the layer does not have, or two
  /// groups have a row of a head in common.
  virtual void sparse(std::span<const SupportRows> groups, SparseKernel kernel, const LayerOutput& output,
                      const RunTasks& run) const = 0;
  void sparse(const SupportRows& support, SparseKernel kernel, const LayerOutput& output, const RunTasks& run) const {
    sparse(std::span(&support, 1), kernel, output, run);
  }
  /// Attention mass of rows [begin, end), end - begin <= mass_rows and begin a multiple of it:
  /// mass[r * stride + s] = 1/Hq sum_h exp(scale q_h.k_s - lse_h) for s <= begin + r, zero behind up to `stride` or the
  /// next multiple of 16, whichever is less. `lse` [Hq, L] as dense() returns it. `stride` >= end rounded up to 16.
  virtual void mass(std::int64_t begin, std::int64_t end, const float* lse, float* mass, std::int64_t stride) const = 0;
  /// Keys in the unions that union_tile would work on, over all rows of the support (the union factor is this over
  /// the sum of the counts); whatever the number of heads that share them.
  virtual std::int64_t union_keys(const SupportRows& support) const = 0;
  virtual Isa isa() const = 0;  ///< what the inner loops are compiled for
};
inline constexpr std::int64_t mass_rows = 16;

/// Packs k and v. bf16 products are summed in fp32 pairs where the processor has VDPBF16PS, else widened to fp32.
std::unique_ptr<AttentionLayer> make_attention_layer(const LayerInput& input, const RunTasks& run,
                                                     Isa at_most = preferred_isa());

}  // namespace headroom::kernels::cpu
