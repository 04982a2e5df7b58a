// SPDX-License-Identifier: Apache-2.0
// Internal to the CPU attention kernels: the two arithmetics. F32 multiplies floats (bf16 layers were widened when they
// were packed); Bf16Pairs multiplies pairs of bf16 and adds in fp32 (VDPBF16PS). For the files
// of one instruction set alone, as vectors.h is.
#pragma once

#include "kernels/cpu/attention/attention_kernels.h"
#include "kernels/cpu/vectors.h"

namespace headroom::kernels::cpu {
namespace {

constexpr float log2_e = 1.44269504f;
constexpr float minus_infinity = -__builtin_inff();

/// `width` floats times `factor` to element `place` of an output of the layer's type.
HEADROOM_INLINE void write_row(Element element, void* out, std::int64_t place, const float* values, std::int64_t width,
                               float factor) {
  if (element == Element::f32) {
    float* to = static_cast<float*>(out) + place;
    for (std::int64_t i = 0; i < width; ++i) to[i] = values[i] * factor;
  } else {
    auto* to = static_cast<std::uint16_t*>(out) + place;
    for (std::int64_t i = 0; i < width; ++i) to[i] = to_bf16(values[i] * factor);
  }
}

/// Accumulators of a block stay below the registers that there are: 24 of 32, or 12 of 16.
HEADROOM_INLINE constexpr int rows_in_registers(int lanes, int heads) {
  if (lanes == 16) return heads == 1 ? 16 : heads == 4 ? 4 : 8;
  if (lanes == 8) return heads == 1 ? 4 : heads == 4 ? 1 : 2;
  return heads == 1 ? 2 : 1;
}

template <int N>
struct F32 : FloatProducts<N> {
  static constexpr int score_keys(int heads) { return rows_in_registers(N, heads); }
  static constexpr int value_step(int heads) { return rows_in_registers(N, heads); }

  static HEADROOM_INLINE void copy_unit(const LayerView& layer, const void* from, std::int64_t place, float* to) {
    if (layer.element == Element::f32)
      *to = static_cast<const float*>(from)[place];
    else
      *to = from_bf16(static_cast<const std::uint16_t*>(from)[place]);
  }
  static HEADROOM_INLINE void store_probabilities(float* p, std::int64_t row, std::int64_t key, Floats<N> even,
                                                  Floats<N> odd) {
    store<N>(p + key * row, even);
    store<N>(p + (key + 1) * row, odd);
  }
  static HEADROOM_INLINE const float* key_row(const LayerView& layer, std::int64_t kv_head, std::int64_t key) {
    return static_cast<const float*>(layer.keys) + (kv_head * layer.length + key) * layer.padded_dim;
  }
  static HEADROOM_INLINE const float* value_row(const LayerView& layer, std::int64_t kv_head, std::int64_t key) {
    return static_cast<const float*>(layer.values) + (kv_head * layer.length + key) * layer.padded_dim;
  }
  static HEADROOM_INLINE const float* value_group(const LayerView& layer, std::int64_t kv_head, std::int64_t key) {
    return value_row(layer, kv_head, key);
  }
  static HEADROOM_INLINE void group_values(const LayerView& layer, std::int64_t kv_head, std::int64_t key,
                                           std::int64_t /*next*/, float* to) {
    __builtin_memcpy(to, value_row(layer, kv_head, key), static_cast<std::size_t>(layer.padded_dim) * sizeof(float));
  }
};

#if defined(__AVX512BF16__)
struct Bf16Pairs : PairProducts {
  static constexpr int score_keys(int heads) { return rows_in_registers(16, heads); }
  static constexpr int value_step(int heads) { return rows_in_registers(16, heads); }

  static HEADROOM_INLINE void copy_unit(const LayerView&, const void* from, std::int64_t place, float* to) {
    __builtin_memcpy(to, static_cast<const std::uint16_t*>(from) + place, sizeof(float));
  }
  static HEADROOM_INLINE void store_probabilities(float* p, std::int64_t row, std::int64_t key, Floats<16> even,
                                                  Floats<16> odd) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                           5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512bh both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(odd), reinterpret_cast<__m512>(even));
    _mm512_storeu_si512(p + key / 2 * row, _mm512_permutexvar_epi16(order, reinterpret_cast<__m512i>(both)));
  }
  static HEADROOM_INLINE const float* key_row(const LayerView& layer, std::int64_t kv_head, std::int64_t key) {
    return reinterpret_cast<const float*>(static_cast<const std::uint16_t*>(layer.keys) +
                                          (kv_head * layer.length + key) * layer.padded_dim);
  }
  static HEADROOM_INLINE const std::uint16_t* value_row(const LayerView& layer, std::int64_t kv_head, std::int64_t key) {
    return static_cast<const std::uint16_t*>(layer.values) + (kv_head * layer.length + key) * layer.padded_dim;
  }
  static HEADROOM_INLINE const float* value_group(const LayerView& layer, std::int64_t kv_head, std::int64_t key) {
    const std::int64_t groups = (layer.length + 1) / 2;
    return static_cast<const float*>(layer.grouped_values) + (kv_head * groups + key / 2) * layer.head_dim;
  }
  static HEADROOM_INLINE void group_values(const LayerView& layer, std::int64_t kv_head, std::int64_t key,
                                           std::int64_t next, float* to) {
    const std::uint16_t *a = value_row(layer, kv_head, key), *b = value_row(layer, kv_head, next);
    auto* words = reinterpret_cast<std::uint32_t*>(to);
    for (std::int64_t i = 0; i < layer.head_dim; i += 8) {  // head_dim is a multiple of 8
      const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i));
      const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(words + i), _mm_unpacklo_epi16(low, high));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(words + i + 4), _mm_unpackhi_epi16(low, high));
    }
  }
};
#endif

}  // namespace
}  // namespace headroom::kernels::cpu
