// SPDX-License-Identifier: Apache-2.0
// Internal to the CPU attention kernels: what the host side (attention.cpp) and the inner loops of each instruction set
// (attention_<isa>.cpp) say to each other.
#pragma once

#include <cstdint>

#include "kernels/cpu/attention/attention.h"

namespace headroom::kernels::cpu {

/// Query rows of a tile: one vector of lanes a head.
inline constexpr int tile_rows = 16;
/// Heads of one KV head that a tile works on at once; larger groups are split.
inline constexpr int max_tile_heads = 4;
/// Keys of one step of the online softmax.
inline constexpr int block_keys = 64;

/// A layer as the inner loops see it. A "unit" is what one dot-product step multiplies: a float, or where VDPBF16PS does
/// the work a pair of neighbouring bf16 (along d for keys, along the key axis for values).
struct LayerView {
  Element element = Element::f32;
  std::int64_t num_q_heads = 0, num_kv_heads = 0, length = 0, head_dim = 0;
  float scale = 0;
  const void* q = nullptr;      ///< [Hq, L, d] as given
  const void* keys = nullptr;   ///< [Hkv, L, padded_dim] in arithmetic type (bf16 for pairs, else fp32)
  const void* values = nullptr; ///< the same for values, row by row
  const void* grouped_values = nullptr;  ///< [Hkv, ceil(L / 2), d] pairs of rows; for fp32 arithmetic the values
  std::int64_t padded_dim = 0;           ///< elements a row of keys and values
};

/// Which heads and rows a tile covers.
struct Tile {
  std::int64_t kv_head = 0, first_head = 0, row_begin = 0;
  int heads = 1;         ///< 1 … max_tile_heads, all of kv_head's group
  const std::int32_t* next_keys = nullptr;  ///< of gather_row: what the next call will read, to be fetched early; or null
  int rows = tile_rows;  ///< rows that are written, 1 … tile_rows; within the layer
};

/// Keys of a tile's union, ascending, and who attends to them: bit r of members[i] is row row_begin + r.
struct UnionKeys {
  const std::int32_t* keys = nullptr;
  const std::uint16_t* members = nullptr;
  std::int64_t count = 0;
};

/// One table for each instruction set and arithmetic.
struct AttentionKernels {
  bool pairs = false;         ///< VDPBF16PS on bf16
  int row_multiple = 8;       ///< padded_dim is a multiple of this
  /// Floats that a workspace must hold; `longest_row` is the largest support of a gathered row.
  std::int64_t (*workspace)(const LayerView& layer, std::int64_t longest_row) = nullptr;
  /// Without output.out the values are left out: log-sum-exp alone.
  void (*dense_tile)(const LayerView& layer, const Tile& tile, const LayerOutput& output, float* work) = nullptr;
  void (*union_tile)(const LayerView& layer, const Tile& tile, const UnionKeys& keys, const LayerOutput& output,
                     float* work) = nullptr;
  /// One row of tile.heads heads (tile.row_begin) over `count` keys.
  void (*gather_row)(const LayerView& layer, const Tile& tile, const std::int32_t* keys, std::int64_t count,
                     const LayerOutput& output, float* work) = nullptr;
  /// All heads of tile_rows rows from `row_begin`, of which `rows` exist; see AttentionLayer::mass.
  void (*mass_tile)(const LayerView& layer, std::int64_t row_begin, std::int64_t rows, const float* lse, float* mass,
                    std::int64_t stride, float* work) = nullptr;
};

/// Whether a row's keys ascend strictly.
bool ascends(const std::int32_t* keys, std::int64_t count);

const AttentionKernels& attention_kernels_baseline();
const AttentionKernels& attention_kernels_avx2();
const AttentionKernels& attention_kernels_avx512();
const AttentionKernels& attention_kernels_avx512_bf16();

}  // namespace headroom::kernels::cpu
