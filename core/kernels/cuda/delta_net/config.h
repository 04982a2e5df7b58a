// SPDX-License-Identifier: Apache-2.0
// Gated DeltaNet (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464) of many rows: what the kernels are told, the
// workspace between them, and their plans of shared memory. Heads of 128, convolutions over 4 rows, as Qwen3-Next and
// Qwen3.5 have.
#pragma once

#include <cstdint>

namespace headroom::kernels::cuda {

inline constexpr std::int64_t delta_chunk_rows = 64;  ///< rows whose effects on each other are solved for at once
inline constexpr std::int64_t delta_head_dim = 128;   ///< of keys and of values
inline constexpr std::int64_t delta_kernel_rows = 4;  ///< that the convolution sees

/// Rows of one layer: convolution and SiLU over q, k and v, l2 norm of q and k, S <- e^g S, S <- S + k (rate (v - S^T
/// k))^T, out = S^T q / sqrt(128), with g = decay softplus(a + time), rate = sigmoid(b). Value head j reads key head
/// j / (value_heads / key_heads), or j mod key_heads. bf16 in and out, sums and S in fp32; q, k, v and what products
/// take are rounded to bf16.
struct DeltaNetParams {
  const void* qkv = nullptr;     ///< bf16 [rows, channels and more]: q, k, v of all heads before the convolution
  const void* before = nullptr;  ///< bf16 [3, channels] the three rows before; null: zeros
  const void* rates = nullptr;   ///< bf16 [rows, 2 value_heads]: b of all heads, then a
  const float* conv = nullptr;   ///< [4, channels] oldest row first
  const float* decay = nullptr;  ///< [value_heads], below 0
  const float* time = nullptr;   ///< [value_heads]
  /// [key_heads, value_heads / key_heads, 128 of keys, 128 of values] S before and after.
  float* state = nullptr;
  void* out = nullptr;                                   ///< bf16 [rows, value_heads * 128]
  void* workspace = nullptr;                             ///< delta_workspace_bytes(), aligned to 128
  std::int64_t qkv_row = 0, rates_row = 0, out_row = 0;  ///< strides; of qkv and out multiples of 8
  std::int64_t rows = 0;
  std::int32_t key_heads = 0, value_heads = 0;
  std::int32_t tiled_heads = 0;  ///< 1: value head j reads key head j mod key_heads
  /// Which kernels run, for timing each: 1 the convolution, 2 what is within chunks, 4 states and output.
  std::int32_t parts = 7;
};

/// Norm of each head and its gate: out = x / rms(x) * norm * silu(z).
struct DeltaGateParams {
  const void* heads = nullptr;                            ///< bf16 [rows, value_heads * 128]
  const void* gate = nullptr;                             ///< bf16 [rows, value_heads * 128] z
  const float* norm = nullptr;                            ///< [128]
  void* out = nullptr;                                    ///< bf16 [rows, value_heads * 128]
  std::int64_t heads_row = 0, gate_row = 0, out_row = 0;  ///< strides, multiples of 8
  std::int64_t rows = 0;
  std::int32_t value_heads = 0;
  float epsilon = 0;
};

inline constexpr std::int64_t delta_chunks(std::int64_t rows) {
  return (rows + delta_chunk_rows - 1) / delta_chunk_rows;
}
/// 64 rows of 128 bf16 as shared memory holds them: two panels of 64 columns, rows of 128 bytes whose 16-byte piece c
/// lies at c ^ (row & 7). Then a copy of a panel is one run of bytes.
inline constexpr std::int64_t delta_panel_bytes = 64 * 128, delta_tile_bytes = 2 * delta_panel_bytes;
/// Of a chunk and value head: what is left of S at each row, rates, what is left of each row at the chunk's end.
inline constexpr std::int64_t delta_factor_bytes = 3 * 64 * 4;
/// q, k, v, inverses, scores within chunks, factors.
inline constexpr std::int64_t delta_workspace_bytes(std::int64_t rows, std::int64_t key_heads,
                                                    std::int64_t value_heads) {
  return delta_chunks(rows) * (2 * key_heads * delta_tile_bytes +
                               value_heads * (delta_tile_bytes + 2 * delta_panel_bytes + delta_factor_bytes));
}

/// Shared memory of a chunk's block: k, q (later what leaves: inverse, scores), the chunk's triangle as two bf16 whose
/// sum it is, its diagonal blocks in fp32, decays and rates.
struct DeltaChunkConfig {
  static constexpr int threads = 128;
  static constexpr int k = 0, q = delta_tile_bytes;
  static constexpr int high = 2 * delta_tile_bytes, low = high + delta_panel_bytes;
  static constexpr int diagonal = low + delta_panel_bytes, sums = diagonal + 4 * 16 * 16 * 4, rates = sums + 256;
  static constexpr int shared_bytes = rates + 256;
};

/// Of a state's block, 32 columns of values: a ring of chunks (k, q, v, inverse, scores, factors), barriers, and where
/// output is turned into rows.
struct DeltaStateConfig {
  static constexpr int warps = 2, columns = 16 * warps;  ///< and a warp that copies
  static constexpr int stages = 3;
  static constexpr int threads = (warps + 1) * 32;
  static constexpr int k = 0, q = delta_tile_bytes, v = 2 * delta_tile_bytes;
  static constexpr int inverse = v + delta_panel_bytes, scores = inverse + delta_panel_bytes;
  static constexpr int factors = scores + delta_panel_bytes;
  static constexpr int copied_bytes = factors + delta_factor_bytes;
  static constexpr int stage_bytes = (copied_bytes + 1023) / 1024 * 1024;
  static constexpr int turned = stages * stage_bytes;  ///< 64 rows x 16 columns a warp
  static constexpr int barriers = turned + warps * 64 * 32;
  static constexpr int shared_bytes = barriers + 16 * stages + 1024;  ///< and room to begin at a multiple of 1024
};

}  // namespace headroom::kernels::cuda
