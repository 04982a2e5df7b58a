// SPDX-License-Identifier: Apache-2.0
// Internal to the CPU attention kernels: one query row of up to 4 heads over keys read where they lie. There is no union
// with other rows, so exactly the support is worked on; a key's row is loaded once for all heads of its group. The
// whole row of scores is at hand, so the softmax is the plain one. For the files of
// one instruction set alone, as vectors.h is.
#pragma once

#include "kernels/cpu/attention/attention_dot.h"

namespace headroom::kernels::cpu {
namespace {

constexpr std::int64_t score_padding = 32;

HEADROOM_INLINE std::int64_t padded_count(std::int64_t count) {
  return (count + score_padding - 1) / score_padding * score_padding;
}

/// Raw scores [n] (n a multiple of 32, padding -inf) to exp(scale (s - max)); returns the sum; lse with scale applied.
template <int N>
HEADROOM_INLINE float soften_row(float* scores, std::int64_t n, float scale, float& lse) {
  Floats<N> tops[2] = {load<N>(scores), load<N>(scores + N)};
  for (std::int64_t i = 2 * N; i < n; i += 2 * N) {
    tops[0] = larger<N>(tops[0], load<N>(scores + i));
    tops[1] = larger<N>(tops[1], load<N>(scores + i + N));
  }
  float top = largest_lane<N>(larger<N>(tops[0], tops[1]));
  // A NaN may hide in the first vectors; it comes out through the sum all the same.
  if (!(top > minus_infinity)) top = 0;
  const float to_log2 = scale * log2_e;
  const float least = -126.0f / to_log2;
  const Floats<N> origin = splat<N>(top);
  Floats<N> sums[2] = {Floats<N>{}, Floats<N>{}};
  for (std::int64_t i = 0; i < n; i += 2 * N) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const Floats<N> p = exp2_below_zero<N>(load<N>(scores + i + j * N) - origin, to_log2, least);
      store<N>(scores + i + j * N, p);
      sums[j] += p;
    }
  }
  const float sum = sum_lanes<N>(sums[0] + sums[1]);
  lse = top * scale + __builtin_logf(sum);
  return sum;
}

/// Sums over the lanes of four vectors.
template <int N>
HEADROOM_INLINE void sum_lanes_4(const Floats<N>* v, float* to) {
#if defined(__SSE3__)
  __m128 part[4];
  for (int i = 0; i < 4; ++i) {
    if constexpr (N == 4) {
      part[i] = reinterpret_cast<__m128>(v[i]);
    }
#if defined(__AVX2__)
    if constexpr (N == 8) {
      const auto whole = reinterpret_cast<__m256>(v[i]);
      part[i] = _mm_add_ps(_mm256_castps256_ps128(whole), _mm256_extractf128_ps(whole, 1));
    }
#endif
#if defined(__AVX512F__)
    if constexpr (N == 16) {
      const auto whole = reinterpret_cast<__m512>(v[i]);
      const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(whole), _mm512_extractf32x8_ps(whole, 1));
      part[i] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    }
#endif
  }
  _mm_storeu_ps(to, _mm_hadd_ps(_mm_hadd_ps(part[0], part[1]), _mm_hadd_ps(part[2], part[3])));
#else
  for (int i = 0; i < 4; ++i) to[i] = sum_lanes<N>(v[i]);
#endif
}

/// out[head][Block vectors] += p v, for `Block` vectors of the dimension from `begin` on.
template <int N, int Heads, int Block>
HEADROOM_INLINE void gather_values(const LayerView& layer, std::int64_t kv_head, const std::int32_t* keys,
                                   std::int64_t count, std::int64_t begin, const float* p, std::int64_t stride,
                                   float* out) {
  Floats<N> sum[Heads][Block];
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h)
#pragma GCC unroll 4
    for (int b = 0; b < Block; ++b) sum[h][b] = Floats<N>{};
  for (std::int64_t i = 0; i < count; ++i) {
    const float* row = F32<N>::value_row(layer, kv_head, keys[i]) + begin;
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h) {
      const Floats<N> weight = splat<N>(p[h * stride + i]);
#pragma GCC unroll 4
      for (int b = 0; b < Block; ++b) sum[h][b] += weight * load<N>(row + b * N);
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h)
#pragma GCC unroll 4
    for (int b = 0; b < Block; ++b) store<N>(out + h * layer.padded_dim + begin + b * N, sum[h][b]);
}

template <int N>
std::int64_t gather_floats(const LayerView& layer, std::int64_t longest_row) {
  return max_tile_heads * (padded_count(longest_row) + 2 * layer.padded_dim);
}

template <int N, int Heads>
void gather_row(const LayerView& layer, const Tile& tile, const std::int32_t* keys, std::int64_t count,
                const LayerOutput& output, float* work) {
  const std::int64_t dim = layer.padded_dim, stride = padded_count(count);
  float* q = work;                 // [heads][padded_dim]
  float* out = q + Heads * dim;    // the same
  float* p = out + Heads * dim;    // [heads][stride]
  for (int h = 0; h < Heads; ++h) {
    for (std::int64_t i = 0; i < dim; ++i) q[h * dim + i] = 0;
    const std::int64_t start = ((tile.first_head + h) * layer.length + tile.row_begin) * layer.head_dim;
    for (std::int64_t i = 0; i < layer.head_dim; ++i) F32<N>::copy_unit(layer, layer.q, start + i, q + h * dim + i);
  }
  constexpr int heads_at_once = N == 16 || Heads < 3 ? Heads : 2;
  for (std::int64_t i = 0; i < count; i += 4) {
    const float* rows[4];
    for (int s = 0; s < 4; ++s) rows[s] = F32<N>::key_row(layer, tile.kv_head, keys[i + s < count ? i + s : i]);
#pragma GCC unroll 4
    for (int first = 0; first < Heads; first += heads_at_once) {
      Floats<N> sum[heads_at_once][4];
#pragma GCC unroll 4
      for (int h = 0; h < heads_at_once; ++h)
#pragma GCC unroll 4
        for (int s = 0; s < 4; ++s) sum[h][s] = Floats<N>{};
      for (std::int64_t j = 0; j < dim; j += N) {
#pragma GCC unroll 4
        for (int h = 0; h < heads_at_once; ++h) {
          if (first + h >= Heads) continue;
          const Floats<N> query = load<N>(q + (first + h) * dim + j);
#pragma GCC unroll 4
          for (int s = 0; s < 4; ++s) sum[h][s] += query * load<N>(rows[s] + j);
        }
      }
      for (int h = 0; h < heads_at_once; ++h)
        if (first + h < Heads) sum_lanes_4<N>(sum[h], p + (first + h) * stride + i);
    }
  }
  float sums[Heads];
  for (int h = 0; h < Heads; ++h) {
    for (std::int64_t i = count; i < stride; ++i) p[h * stride + i] = minus_infinity;
    float lse = 0;
    sums[h] = soften_row<N>(p + h * stride, stride, layer.scale, lse);
    if (output.lse) output.lse[(tile.first_head + h) * layer.length + tile.row_begin] = lse;
  }
  constexpr int block = N == 16 || Heads < 3 ? 4 : 2;
  std::int64_t begin = 0;
  for (; begin + block * N <= dim; begin += block * N)
    gather_values<N, Heads, block>(layer, tile.kv_head, keys, count, begin, p, stride, out);
  for (; begin < dim; begin += N) gather_values<N, Heads, 1>(layer, tile.kv_head, keys, count, begin, p, stride, out);
  for (int h = 0; h < Heads; ++h)
    write_row(layer.element, output.out, (tile.first_head + h) * output.head_stride + tile.row_begin * output.row_stride,
              out + h * dim, layer.head_dim, 1.0f / sums[h]);
}

template <int N>
void any_gather_row(const LayerView& layer, const Tile& tile, const std::int32_t* keys, std::int64_t count,
                    const LayerOutput& output, float* work) {
  switch (tile.heads) {
    case 1: return gather_row<N, 1>(layer, tile, keys, count, output, work);
    case 2: return gather_row<N, 2>(layer, tile, keys, count, output, work);
    case 3: return gather_row<N, 3>(layer, tile, keys, count, output, work);
    default: return gather_row<N, 4>(layer, tile, keys, count, output, work);
  }
}

}  // namespace
}  // namespace headroom::kernels::cpu
