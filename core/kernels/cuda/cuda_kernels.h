// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels as a table of C functions: what the run-time module (libheadroom_cuda.so, built by nvcc) offers to a
// program that links no CUDA. Pointers are device memory, strides count elements, `stream` is a cudaStream_t. Every
// function returns 0, or a text that says what failed; it returns once the work is queued.
#pragma once

#include <cstdint>

#include "kernels/cuda/delta_net/config.h"
#include "kernels/cuda/record/config.h"
#include "kernels/cuda/rows/config.h"

namespace headroom::kernels::cuda {

inline constexpr std::int64_t union_rows = 32;       ///< queries of a tile
inline constexpr std::int64_t half_union_rows = 16;  ///< of half of one
inline constexpr std::int64_t union_padding = 128;   ///< entries that are whole steps of every kernel
/// The most shared memory that a block asks for (227 KB on Hopper), and what one has on any GPU since 8.0.
inline constexpr std::int64_t shared_limit = 227 * 1024, portable_shared_limit = 99 * 1024;

/// The unions of tiles of 32 neighbouring queries' supports: what sparse attention gathers. Where supports differ so
/// much that two unions of 16 queries cost less, those are made instead.
struct UnionParams {
  const std::int32_t* indices = nullptr;  ///< [rows, width] ascending key positions
  const std::int32_t* counts = nullptr;   ///< [rows] how many of a row's indices count
  std::int64_t row_begin = 0, rows = 0;   ///< query rows [row_begin, row_begin + rows)
  std::int64_t width = 0;
  std::int64_t capacity = 0, half_capacity = 0;  ///< entries of a tile and of half of one: union_capacity()
  std::int32_t* keys = nullptr;      ///< out [tiles, capacity] ascending; padded to union_padding with a key of no row
  std::uint32_t* members = nullptr;  ///< out [tiles, capacity / 32, 32] bit b of word r: query r attends to key b of 32
  std::int32_t* sizes = nullptr;     ///< out [tiles] keys, without the padding; -1: the halves count
  std::int32_t* half_keys = nullptr;  ///< out [2 tiles, half_capacity]
  std::uint32_t* half_members =
      nullptr;                         ///< out [2 tiles, half_capacity] bit r: query r of the half attends to the key
  std::int32_t* half_sizes = nullptr;  ///< out [2 tiles]; -1: the whole tile counts
  /// Operations a second of attention over unions of 32 queries, as a multiple of that over 16. 0: always halves.
  float wide_rate = 0;
};
/// Measured (docs/kernels-cuda.md).
inline constexpr float wide_rate(std::int32_t head_dim) {
  return head_dim == 64 ? 1.3f : 1.45f;
}
/// Entries that the union of `queries` rows may need, where rows have `width` keys at most and see `row_end` of them.
inline constexpr std::int64_t union_capacity(std::int64_t queries, std::int64_t width, std::int64_t row_end) {
  const std::int64_t most = queries * width < row_end ? queries * width : row_end;
  return (most + union_padding - 1) / union_padding * union_padding;
}

/// Attention of query rows over the unions, each row over its own keys alone: softmax(scale q.k) v, bf16 in and out,
/// fp32 between. Rows without keys get zeros (log-sum-exp: -infinity).
struct SparseAttentionParams {
  const void* q = nullptr;  ///< bf16 [Hq, L, d]
  const void* k = nullptr;  ///< bf16 [Hkv, L, d]
  const void* v = nullptr;  ///< bf16 [Hkv, L, d]
  void* out = nullptr;      ///< bf16 [Hq, L, d]
  float* lse = nullptr;     ///< fp32 [Hq, L] natural log-sum-exp, or null
  std::int64_t q_head = 0, q_row = 0, k_head = 0, k_row = 0, v_head = 0, v_row = 0, out_head = 0, out_row = 0;
  std::int64_t length = 0;  ///< L
  std::int32_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  float scale = 0;
  UnionParams unions;
};

/// The k best of each row's scores, exactly, as kernels/cpu/select/top_k.h defines it: forced keys first and counted,
/// equal scores to the lower position, NaN below everything.
struct TopKParams {
  const float* scores = nullptr;         ///< [rows / shared_rows rounded up, row_stride]; row t has t + 1 of them
  std::int64_t row_stride = 0;           ///< a multiple of 4
  std::int64_t row_begin = 0, rows = 0;  ///< query rows [row_begin, row_begin + rows)
  std::int64_t shared_rows = 1;          ///< so many neighbouring rows, from row_begin on, have one row of scores
  std::int32_t k = 0;
  std::int32_t sinks = 0, local = 1;  ///< forced keys; sinks + local <= k
  std::int32_t* indices = nullptr;    ///< out [rows, k] ascending, -1 behind the count
  std::int32_t* counts = nullptr;     ///< out [rows]
};
/// Shared memory of a selection over so many keys.
inline constexpr std::int64_t top_k_bins = 4096, top_k_candidates = 8192;
inline constexpr std::int64_t top_k_shared_bytes(std::int64_t keys) {
  return top_k_bins * 4 + top_k_candidates * 8 + (keys + 31) / 32 * 4;
}

/// The k best of each row's scores q.k, from the projections, without a matrix of scores. Ties, forced keys and NaN as
/// in TopKParams.
struct IndexTopKParams {
  const void* q = nullptr;               ///< bf16 [L, dim]
  const void* k = nullptr;               ///< bf16 [L, dim]
  std::int64_t q_row = 0, k_row = 0;     ///< strides, multiples of 8
  std::int32_t dim = 0;                  ///< 64 or 128
  std::int64_t row_begin = 0, rows = 0;  ///< query rows [row_begin, row_begin + rows)
  std::int32_t top = 0;                  ///< k, at most index_most_top
  std::int32_t sinks = 0, local = 1;     ///< forced keys; sinks + local <= k
  void* workspace = nullptr;             ///< index_workspace_bytes(), aligned to 256
  std::int32_t* indices = nullptr;       ///< out [rows, top] ascending, -1 behind the count
  std::int32_t* counts = nullptr;        ///< out [rows]
};
inline constexpr std::int32_t index_most_top = 8192;
inline constexpr std::int64_t index_row_tile = 128, index_sample = 16;  ///< one key in 16 is looked at for a threshold
inline constexpr std::int64_t index_fallback_rows = 64;                 ///< whose scores are written out at once
/// Of one in `index_sample` keys the best so many leave more than `top` keys with all but certainty: top / 16 and 4.5
/// standard deviations.
inline constexpr std::int64_t index_sample_rank(std::int64_t top) {
  const std::int64_t mean = (top + index_sample - 1) / index_sample;
  std::int64_t root = 1;
  while (root * root < mean) ++root;
  return mean + (9 * root + 1) / 2 + 1;
}
/// Keys kept a row: what that threshold leaves, and 5 standard deviations; a row that has more takes the slow way.
inline constexpr std::int64_t index_capacity(std::int64_t top) {
  const std::int64_t rank = index_sample_rank(top);
  std::int64_t root = 1;
  while (root * root < rank) ++root;
  return (index_sample * (rank + 5 * root) + 255) / 256 * 256;
}
/// Sampled scores are written for so many rows at once (256 MB of them).
inline constexpr std::int64_t index_sample_stride(std::int64_t row_end) {
  return (row_end / index_sample + 127) / 128 * 128 + 128;
}
inline constexpr std::int64_t index_sampled_rows(std::int64_t row_end) {
  const std::int64_t rows = (std::int64_t{1} << 26) / index_sample_stride(row_end) / index_row_tile * index_row_tile;
  return rows < index_row_tile ? index_row_tile : rows;
}
/// Candidates, thresholds and counts of `rows` rows, sampled keys, sampled scores, and rows of the slow way.
inline constexpr std::int64_t index_workspace_bytes(std::int64_t rows, std::int64_t row_end, std::int64_t top,
                                                    std::int64_t dim) {
  const std::int64_t sampled = index_sampled_rows(row_end) < rows ? index_sampled_rows(row_end) : rows;
  return rows * (index_capacity(top) * 8 + 8) + index_sample_stride(row_end) * (dim * 2 + sampled * 4) +
         index_fallback_rows * (row_end + 3) / 4 * 4 * 4 + 8 * 256;
}

/// Attention mass of rows: the mean over the heads of exp(scale q.k - log-sum-exp), 0 where key > row.
struct MassParams {
  const void* q = nullptr;     ///< bf16 [Hq, L, d]
  const void* k = nullptr;     ///< bf16 [Hkv, L, d]
  const float* lse = nullptr;  ///< fp32 [Hq, L] natural log-sum-exp of each row over its history
  float* mass = nullptr;       ///< out fp32 [rows, mass_row]; columns 0 … row_begin + rows - 1 are written
  std::int64_t q_head = 0, q_row = 0, k_head = 0, k_row = 0, lse_head = 0;
  std::int64_t mass_row = 0;             ///< a multiple of 4
  std::int64_t row_begin = 0, rows = 0;  ///< query rows [row_begin, row_begin + rows)
  std::int32_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  float scale = 0;
};

/// Sums of rows' scores over blocks of rows, in fp64, NaN as the lowest number; rows that do not see a key add nothing.
struct BlockSumParams {
  const float* scores = nullptr;  ///< [rows, row_stride]
  float* sums = nullptr;          ///< out [rows / shared_rows rounded up, row_stride]
  std::int64_t row_stride = 0, row_begin = 0, rows = 0, shared_rows = 1;
};

struct KernelTable {
  std::int32_t version = 0;  ///< table_version
  const char* (*build_unions)(const UnionParams&, void* stream) = nullptr;
  const char* (*sparse_attention)(const SparseAttentionParams&, void* stream) = nullptr;
  const char* (*top_k)(const TopKParams&, void* stream) = nullptr;
  const char* (*index_top_k)(const IndexTopKParams&, void* stream) = nullptr;
  const char* (*mass)(const MassParams&, void* stream) = nullptr;
  const char* (*block_sums)(const BlockSumParams&, void* stream) = nullptr;
  const char* (*delta_net)(const DeltaNetParams&, void* stream) = nullptr;
  const char* (*delta_gate)(const DeltaGateParams&, void* stream) = nullptr;
  const char* (*norm_rows)(const NormRowsParams&, void* stream) = nullptr;
  const char* (*silu_mul)(const SiluMulParams&, void* stream) = nullptr;
  const char* (*split_heads)(const SplitHeadsParams&, void* stream) = nullptr;
  const char* (*gate_heads)(const GateHeadsParams&, void* stream) = nullptr;
  const char* (*row_figures)(const RowFiguresParams&, void* stream) = nullptr;
  const char* (*curve_rows)(const CurveRowsParams&, void* stream) = nullptr;
  const char* (*pack_flags)(const PackFlagsParams&, void* stream) = nullptr;
  bool has_attention() const { return sparse_attention && mass && index_top_k; }
};
inline constexpr std::int32_t table_version = 4;
/// const KernelTable* (*)(). Of a GPU without Hopper's tensor core instructions the table of `portable_symbol` counts:
/// compute capability 8.0 and newer, no kernels of attention, mass, index and linear layers.
inline constexpr const char *table_symbol = "headroom_cuda_kernels", *portable_symbol = "headroom_portable_kernels";

}  // namespace headroom::kernels::cuda
