// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels as a table of C functions: what the run-time module (libheadroom_cuda.so, built by nvcc) offers to a
// program that links no CUDA. Pointers are device memory, strides count elements, `stream` is a cudaStream_t. Every
// function returns 0, or a text that says what failed; it returns once the work is queued.
#pragma once

#include <cstdint>

namespace headroom::kernels::cuda {

/// The unions of tiles of `union_rows` neighbouring queries' supports: what sparse attention gathers.
struct UnionParams {
  const std::int32_t* indices = nullptr;  ///< [rows, width] ascending key positions
  const std::int32_t* counts = nullptr;   ///< [rows] how many of a row's indices count
  std::int64_t row_begin = 0, rows = 0;   ///< query rows [row_begin, row_begin + rows)
  std::int64_t width = 0;
  std::int64_t capacity = 0;  ///< entries a tile: union_capacity()
  std::int32_t* keys = nullptr;      ///< out [tiles, capacity] ascending; padded to a multiple of 64 with a key of no row
  std::uint16_t* members = nullptr;  ///< out [tiles, capacity] bit r: query r of the tile attends to the key
  std::int32_t* sizes = nullptr;     ///< out [tiles] keys, without the padding
};

/// Attention of query rows over the unions, each row over its own keys alone: softmax(scale q.k) v, bf16 in and out, fp32
/// between. Rows without keys get zeros (log-sum-exp: -infinity).
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

/// The k best of each row's scores, exactly, as kernels/cpu/select/top_k.h defines it: forced keys first and counted, equal
/// scores to the lower position, NaN below everything.
struct TopKParams {
  const float* scores = nullptr;         ///< [rows, row_stride]; row t has t + 1 of them
  std::int64_t row_stride = 0;
  std::int64_t row_begin = 0, rows = 0;  ///< query rows [row_begin, row_begin + rows)
  std::int32_t k = 0;
  std::int32_t sinks = 0, local = 1;     ///< forced keys; sinks + local <= k
  std::int32_t* indices = nullptr;       ///< out [rows, k] ascending, -1 behind the count
  std::int32_t* counts = nullptr;        ///< out [rows]
};

struct KernelTable {
  std::int32_t version = 0;  ///< table_version
  const char* (*build_unions)(const UnionParams&, void* stream) = nullptr;
  const char* (*sparse_attention)(const SparseAttentionParams&, void* stream) = nullptr;
  const char* (*top_k)(const TopKParams&, void* stream) = nullptr;
};
inline constexpr std::int32_t table_version = 1;
inline constexpr const char* table_symbol = "headroom_cuda_kernels";  ///< const KernelTable* (*)()

inline constexpr std::int64_t union_rows = 16;
/// Entries that the union of a tile may need, where rows have `width` keys at most and see `row_end` of them.
inline constexpr std::int64_t union_capacity(std::int64_t width, std::int64_t row_end) {
  const std::int64_t most = union_rows * width < row_end ? union_rows * width : row_end;
  return (most + 63) / 64 * 64;
}
/// Whether unions of that capacity and selections over that many keys fit into a block's shared memory (227 KB on Hopper).
inline constexpr std::int64_t shared_limit = 220 * 1024;
inline constexpr std::int64_t union_shared_bytes(std::int64_t capacity, std::int64_t row_end) {
  const std::int64_t groups = (row_end + 255) / 256;
  return groups * 32 + groups * 4 + capacity * 2 + 256;
}

}  // namespace headroom::kernels::cuda
