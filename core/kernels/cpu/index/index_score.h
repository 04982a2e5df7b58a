// SPDX-License-Identifier: Apache-2.0
// The indexer on the CPU (METHOD.md, "Indexer"; arXiv 2606.07703): its projections with norm and rotation in one pass,
// and its scores fused with their top-k, so that no row of L floats outlives its tile. Results do not depend on how
// rows are split into tiles or over threads.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/select/top_k.h"
#include "kernels/cpu/types.h"

namespace headroom::kernels::cpu {

/// Weights of one full layer's indexer. They are copied.
struct IndexWeights {
  std::int64_t width = 0, dim = 0;  ///< of x; d_I, even
  const float* q_proj = nullptr;    ///< [dim, width]
  const float* k_proj = nullptr;    ///< [dim, width]
  const float* k_norm = nullptr;    ///< [dim]
  float norm_epsilon = 0;
};

/// A run of rows to project; [rows, …] contiguous.
struct IndexRows {
  std::int64_t rows = 0;
  const void* x = nullptr;        ///< [rows, width] of the projector's element type
  const float* cosine = nullptr;  ///< [rows, dim / 2] of position * base^(-2i/dim)
  const float* sine = nullptr;
  void* q = nullptr;  ///< [rows, dim] of the projector's element type: W_q x, rotated
  void* k = nullptr;  ///< [rows, dim]: RMSNorm(W_k x), rotated
};

/// Weights in the kernel's layout. Immutable; threads may share it.
class IndexProjector {
 public:
  virtual ~IndexProjector() = default;
  /// Sums, norm and rotation in fp32; bf16 results are rounded to nearest even.
  virtual void project(const IndexRows& rows) const = 0;
  virtual bool uses_bf16_products() const = 0;  ///< VDPBF16PS, else fp32 products of the widened values
};

/// For x, q and k of `element`. Products of bf16 x are taken by VDPBF16PS where the processor has it and the weights
/// are bf16 values.
std::unique_ptr<IndexProjector> make_index_projector(const IndexWeights& weights, Element element,
                                                     Isa at_most = preferred_isa());

/// q and k of one layer, [length, dim] contiguous; dim even.
struct IndexInput {
  Element element = Element::f32;
  std::int64_t length = 0, dim = 0;
  const void* q = nullptr;  ///< the scorer reads it while it lives
  const void* k = nullptr;  ///< copied
};

/// What the two parts of select() took.
struct IndexTime {
  std::int64_t score_ns = 0;
  std::int64_t select_ns = 0;
};

/// q.k of one layer, unscaled (ranks are the same), summed in fp32. Immutable; threads may share it.
class IndexScorer {
 public:
  virtual ~IndexScorer() = default;
  /// scores[r * stride + s] = q[begin + r].k[s] for s < end, any rows begin < end. stride >= score_stride(end).
  virtual void scores(std::int64_t begin, std::int64_t end, float* scores, std::int64_t stride) const = 0;
  /// For each row t of [begin, end) the keys that top_k_row selects of its history 0 … t, at indices[(t - begin) *
  /// width]. Threads keep a tile of scores each, 16 rows of the longest history seen.
  virtual IndexTime select(std::int64_t begin, std::int64_t end, std::int64_t k, const ForcedRange& forced,
                           std::int32_t* indices, std::int64_t width, std::int32_t* counts) const = 0;
};
/// Floats between rows of scores of `keys` keys: whole vectors, and not a multiple of a page, which caches map to few
/// places.
constexpr std::int64_t score_stride(std::int64_t keys) {
  return ((keys + 15) / 16 | 1) * 16;
}

/// Packs k. bf16 products are taken by VDPBF16PS where the processor has it, else widened to fp32.
std::unique_ptr<IndexScorer> make_index_scorer(const IndexInput& input, const RunTasks& run,
                                               Isa at_most = preferred_isa());

}  // namespace headroom::kernels::cpu
