// SPDX-License-Identifier: Apache-2.0
// Internal to the CPU attention kernels: gather with VDPBF16PS. For q.k a key's row is multiplied by the queries of all
// heads as it lies, and the partial sums of sixteen keys are added up by shuffles within 128-bit lanes, which run beside
// the dot products; for p.v the rows of two keys are interleaved into pairs. Empty where the
// file that includes it is not compiled for AVX-512 BF16.
#pragma once

#include "kernels/cpu/attention/attention_gather.h"

#if defined(__AVX512BF16__)
namespace headroom::kernels::cpu {
namespace {

/// Row `key` of rows of `dim` bf16. Keys are not negative: without sign extension the address takes one step less.
HEADROOM_INLINE const std::uint16_t* row_of(const std::uint16_t* rows, std::int32_t key, std::int64_t dim) {
  return rows + static_cast<std::uint32_t>(key) * static_cast<std::uint64_t>(dim);
}

/// Fetches the first 64 elements of rows that the next call reads: the few that neighbouring queries do not share come
/// from far away.
template <int Rows>
HEADROOM_INLINE void fetch_rows(const std::uint16_t* rows, const std::int32_t* keys, std::int64_t dim) {
#pragma GCC unroll 16
  for (int s = 0; s < Rows; ++s) {
    const auto* line = reinterpret_cast<const char*>(row_of(rows, keys[s], dim));
    _mm_prefetch(line, _MM_HINT_T0);
    _mm_prefetch(line + 64, _MM_HINT_T0);
  }
}

struct GatherWork {
  float* scores;         ///< [heads][stride]
  float* q;              ///< [heads][padded_dim] bf16, where the input's rows cannot be read as they are
  float* out;            ///< [heads][padded_dim]
  std::uint32_t* p;      ///< [heads][stride / 2] pairs of bf16
  std::int64_t stride;   ///< keys, padded

  GatherWork(const LayerView& layer, std::int64_t heads, std::int64_t count, float* work)
      : scores(work), stride(padded_count(count)) {
    q = scores + heads * stride;
    out = q + heads * layer.padded_dim / 2;
    p = reinterpret_cast<std::uint32_t*>(out + heads * layer.padded_dim);
  }
  static std::int64_t floats(const LayerView& layer, std::int64_t count) {
    return max_tile_heads * (padded_count(count) * 3 / 2 + layer.padded_dim * 3 / 2);
  }
};

/// Partial sums of four keys: 128-bit lane l of to[h] holds keys 0 … 3, each summed over the elements of lane l.
/// `Vectors` of 32 elements a row, 0: layer.padded_dim says.
template <int Heads, int Vectors>
HEADROOM_INLINE void partial_scores(const std::uint16_t* const* rows, const std::uint16_t* const* q, std::int64_t vectors,
                                    __m512* to) {
  __m512 sum[4][Heads];
#pragma GCC unroll 2
  for (int pair = 0; pair < 4; pair += 2) {  // two keys share a load of the query
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h) sum[pair][h] = sum[pair + 1][h] = _mm512_setzero_ps();
    const auto add = [&](std::int64_t v) __attribute__((always_inline)) {
      const auto a = reinterpret_cast<__m512bh>(_mm512_loadu_si512(rows[pair] + 32 * v));
      const auto b = reinterpret_cast<__m512bh>(_mm512_loadu_si512(rows[pair + 1] + 32 * v));
#pragma GCC unroll 4
      for (int h = 0; h < Heads; ++h) {
        const auto query = reinterpret_cast<__m512bh>(_mm512_loadu_si512(q[h] + 32 * v));
        sum[pair][h] = _mm512_dpbf16_ps(sum[pair][h], a, query);
        sum[pair + 1][h] = _mm512_dpbf16_ps(sum[pair + 1][h], b, query);
      }
    };
    if constexpr (Vectors > 0) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) add(v);
    } else {
      for (std::int64_t v = 0; v < vectors; ++v) add(v);
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h) {
    const __m512 low = _mm512_add_ps(_mm512_unpacklo_ps(sum[0][h], sum[1][h]), _mm512_unpackhi_ps(sum[0][h], sum[1][h]));
    const __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(sum[2][h], sum[3][h]), _mm512_unpackhi_ps(sum[2][h], sum[3][h]));
    const __m512d a = _mm512_castps_pd(low), b = _mm512_castps_pd(high);
    to[h] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
}

/// Raw scores of the row's keys; returns in tops[h] a vector whose largest lane is the head's maximum.
template <int Heads, int Vectors>
HEADROOM_INLINE void gather_scores(const std::uint16_t* key_rows, std::int64_t dim, const std::int32_t* keys,
                                   std::int64_t count, const std::int32_t* next, const std::uint16_t* const* q,
                                   const GatherWork& work, __m512* tops) {
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h) tops[h] = _mm512_set1_ps(minus_infinity);
  std::int32_t last[16];
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int32_t* block = keys + i;
    if (i + 16 > count) {  // repeats a key: its score counts nothing, but must not be the largest
      for (int s = 0; s < 16; ++s) last[s] = i + s < count ? block[s] : block[0];
      block = last;
    }
    if (next && i + 16 <= count) fetch_rows<16>(key_rows, next + i, dim);
    __m512 part[4][Heads];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const std::uint16_t* rows[4];
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) rows[s] = row_of(key_rows, block[4 * g + s], dim);
      partial_scores<Heads, Vectors>(rows, q, dim / 32, part[g]);
    }
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h) {
      const __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(part[0][h], part[1][h], 0x44),
                                       _mm512_shuffle_f32x4(part[0][h], part[1][h], 0xee));
      const __m512 high = _mm512_add_ps(_mm512_shuffle_f32x4(part[2][h], part[3][h], 0x44),
                                        _mm512_shuffle_f32x4(part[2][h], part[3][h], 0xee));
      const __m512 score = _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
      tops[h] = _mm512_max_ps(score, tops[h]);  // a NaN does not become the maximum
      _mm512_storeu_ps(work.scores + h * work.stride + i, score);
    }
  }
  for (int h = 0; h < Heads; ++h)
    for (std::int64_t i = count; i < work.stride; ++i) work.scores[h * work.stride + i] = minus_infinity;
}

/// Scores to probabilities relative to the maximum, in pairs; sums[h] before rounding.
template <int Heads>
HEADROOM_INLINE void soften_pairs(const GatherWork& work, float scale, const __m512* tops, float* maxima, float* sums) {
  const float to_log2 = scale * log2_e, least = -126.0f / to_log2;
  Floats<16> origin[Heads], sum[Heads];
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h) {
    const float top = _mm512_reduce_max_ps(tops[h]);
    maxima[h] = top > minus_infinity ? top : 0.0f;
    origin[h] = splat<16>(maxima[h]);
    sum[h] = Floats<16>{};
  }
  for (std::int64_t i = 0; i < work.stride; i += 32) {
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h) {
      const float* row = work.scores + h * work.stride + i;
      const Floats<16> first = exp2_below_zero<16>(load<16>(row) - origin[h], to_log2, least);
      const Floats<16> second = exp2_below_zero<16>(load<16>(row + 16) - origin[h], to_log2, least);
      sum[h] += first + second;
      const __m512bh both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(first));
      _mm512_storeu_si512(work.p + h * (work.stride / 2) + i / 2, reinterpret_cast<__m512i>(both));
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h) sums[h] = _mm512_reduce_add_ps(reinterpret_cast<__m512>(sum[h]));
}

/// out[head][32 Vectors elements] = sum over keys of p v, from `values` on. Two pairs of keys at a time have accumulators
/// of their own where registers allow: a dot product takes six cycles.
template <int Heads, int Vectors>
HEADROOM_INLINE void gather_value_pairs(const std::uint16_t* values, std::int64_t dim, const std::int32_t* keys,
                                        std::int64_t count, const std::int32_t* next, const GatherWork& work, float* out) {
  constexpr int sets = Heads * Vectors > 6 ? 1 : 2, parts = 2 * Vectors;
  __m512 sum[sets][Heads][parts];
#pragma GCC unroll 2
  for (int s = 0; s < sets; ++s)
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h)
#pragma GCC unroll 4
      for (int v = 0; v < parts; ++v) sum[s][h][v] = _mm512_setzero_ps();
  const auto add = [&](int set, const std::uint16_t* even, const std::uint16_t* odd, std::int64_t pair)
                       __attribute__((always_inline)) {
    __m512i both[parts];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      const __m512i a = _mm512_loadu_si512(even + 32 * v);
      const __m512i b = odd ? _mm512_loadu_si512(odd + 32 * v) : _mm512_setzero_si512();
      both[2 * v] = _mm512_unpacklo_epi16(a, b);
      both[2 * v + 1] = _mm512_unpackhi_epi16(a, b);
    }
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h) {
      const auto weight =
          reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(work.p[h * (work.stride / 2) + pair])));
#pragma GCC unroll 4
      for (int v = 0; v < parts; ++v)
        sum[set][h][v] = _mm512_dpbf16_ps(sum[set][h][v], weight, reinterpret_cast<__m512bh>(both[v]));
    }
  };
  std::int64_t i = 0;
  for (; i + 2 * sets <= count; i += 2 * sets) {
    if (next) fetch_rows<2 * sets>(values, next + i, dim);
#pragma GCC unroll 2
    for (int s = 0; s < sets; ++s)
      add(s, row_of(values, keys[i + 2 * s], dim), row_of(values, keys[i + 2 * s + 1], dim), i / 2 + s);
  }
  for (; i < count; i += 2)
    add(0, row_of(values, keys[i], dim), i + 1 < count ? row_of(values, keys[i + 1], dim) : nullptr, i / 2);
  // Undo the order within 128-bit lanes.
  const __m512i first = _mm512_set_epi32(23, 22, 21, 20, 7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
  const __m512i second = _mm512_set_epi32(31, 30, 29, 28, 15, 14, 13, 12, 27, 26, 25, 24, 11, 10, 9, 8);
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      __m512 low = sum[0][h][2 * v], high = sum[0][h][2 * v + 1];
      if constexpr (sets == 2) {
        low = _mm512_add_ps(low, sum[1][h][2 * v]);
        high = _mm512_add_ps(high, sum[1][h][2 * v + 1]);
      }
      _mm512_storeu_ps(out + h * dim + 32 * v, _mm512_permutex2var_ps(low, first, high));
      _mm512_storeu_ps(out + h * dim + 32 * v + 16, _mm512_permutex2var_ps(low, second, high));
    }
  }
}

template <int Heads, int Vectors>
HEADROOM_INLINE void gather_pairs(const LayerView& layer, const Tile& tile, const std::int32_t* keys, std::int64_t count,
                                  const LayerOutput& output, float* memory) {
  const GatherWork work(layer, Heads, count, memory);
  const std::int64_t dim = Vectors > 0 ? 32 * Vectors : layer.padded_dim;
  const std::uint16_t* q[Heads];
  for (int h = 0; h < Heads; ++h) {
    q[h] = static_cast<const std::uint16_t*>(layer.q) +
           ((tile.first_head + h) * layer.length + tile.row_begin) * layer.head_dim;
    if (layer.head_dim < dim) {
      auto* padded = reinterpret_cast<std::uint16_t*>(work.q) + h * dim;
      __builtin_memcpy(padded, q[h], static_cast<std::size_t>(layer.head_dim) * sizeof *padded);
      __builtin_memset(padded + layer.head_dim, 0, static_cast<std::size_t>(dim - layer.head_dim) * sizeof *padded);
      q[h] = padded;
    }
  }
  const std::uint16_t* key_rows = static_cast<const std::uint16_t*>(layer.keys) + tile.kv_head * layer.length * dim;
  const std::uint16_t* value_rows = static_cast<const std::uint16_t*>(layer.values) + tile.kv_head * layer.length * dim;
  __m512 tops[Heads];
  gather_scores<Heads, Vectors>(key_rows, dim, keys, count, tile.next_keys, q, work, tops);
  float maxima[Heads], sums[Heads];
  soften_pairs<Heads>(work, layer.scale, tops, maxima, sums);
  std::int64_t begin = 0;
  for (; begin + 64 <= dim; begin += 64)
    gather_value_pairs<Heads, 2>(value_rows + begin, dim, keys, count, tile.next_keys, work, work.out + begin);
  if (begin < dim) gather_value_pairs<Heads, 1>(value_rows + begin, dim, keys, count, tile.next_keys, work, work.out + begin);
  for (int h = 0; h < Heads; ++h) {
    if (output.lse)
      output.lse[(tile.first_head + h) * layer.length + tile.row_begin] =
          maxima[h] * layer.scale + __builtin_logf(sums[h]);
    auto* to = static_cast<std::uint16_t*>(output.out) + (tile.first_head + h) * output.head_stride +
               tile.row_begin * output.row_stride;
    const __m512 inverse = _mm512_set1_ps(1.0f / sums[h]);
    for (std::int64_t i = 0; i < layer.head_dim; i += 16) {  // the last half of a vector where it is a multiple of 8
      const __mmask16 lanes = layer.head_dim - i >= 16 ? 0xffff : 0x00ff;
      const __m512 value = _mm512_mul_ps(_mm512_loadu_ps(work.out + h * dim + i), inverse);
      _mm256_mask_storeu_epi16(to + i, lanes, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
    }
  }
}

/// The head sizes that models have are unrolled.
template <int Heads>
void gather_pairs_of(const LayerView& layer, const Tile& tile, const std::int32_t* keys, std::int64_t count,
                     const LayerOutput& output, float* work) {
  switch (layer.padded_dim) {
    case 64: return gather_pairs<Heads, 2>(layer, tile, keys, count, output, work);
    case 128: return gather_pairs<Heads, 4>(layer, tile, keys, count, output, work);
    case 256: return gather_pairs<Heads, 8>(layer, tile, keys, count, output, work);
    default: return gather_pairs<Heads, 0>(layer, tile, keys, count, output, work);
  }
}

void any_gather_pairs(const LayerView& layer, const Tile& tile, const std::int32_t* keys, std::int64_t count,
                      const LayerOutput& output, float* work) {
  switch (tile.heads) {
    case 1: return gather_pairs_of<1>(layer, tile, keys, count, output, work);
    case 2: return gather_pairs_of<2>(layer, tile, keys, count, output, work);
    case 3: return gather_pairs_of<3>(layer, tile, keys, count, output, work);
    default: return gather_pairs_of<4>(layer, tile, keys, count, output, work);
  }
}

}  // namespace
}  // namespace headroom::kernels::cpu
#endif
