// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/top_k_search.h"

namespace headroom::kernels::cpu {
namespace {

struct Avx512 {
  static double square_root(double x) { return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set_sd(x))); }

  static __mmask16 first(std::int64_t count) {
    return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1u);
  }

  /// Values >= floor.
  static std::int64_t count(const float* values, std::int64_t n, float floor) {
    const __m512 least = _mm512_set1_ps(floor);
    const __m512i one = _mm512_set1_epi32(1);
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    std::int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
      a = _mm512_mask_add_epi32(a, _mm512_cmp_ps_mask(_mm512_loadu_ps(values + i), least, _CMP_GE_OQ), a, one);
      b = _mm512_mask_add_epi32(b, _mm512_cmp_ps_mask(_mm512_loadu_ps(values + i + 16), least, _CMP_GE_OQ), b, one);
      c = _mm512_mask_add_epi32(c, _mm512_cmp_ps_mask(_mm512_loadu_ps(values + i + 32), least, _CMP_GE_OQ), c, one);
      d = _mm512_mask_add_epi32(d, _mm512_cmp_ps_mask(_mm512_loadu_ps(values + i + 48), least, _CMP_GE_OQ), d, one);
    }
    for (; i < n; i += 16) {
      const __mmask16 lanes = first(n - i);
      const __m512 x = _mm512_maskz_loadu_ps(lanes, values + i);
      a = _mm512_mask_add_epi32(a, _mm512_mask_cmp_ps_mask(lanes, x, least, _CMP_GE_OQ), a, one);
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d)));
  }

  /// Of the ordered values; -inf where there is none.
  static float max(const float* values, std::int64_t n) {
    const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
    __m512 a = lowest, b = lowest;
    std::int64_t i = 0;
    for (; i + 32 <= n; i += 32) {  // the second operand is the result where the first is NaN
      a = _mm512_max_ps(_mm512_loadu_ps(values + i), a);
      b = _mm512_max_ps(_mm512_loadu_ps(values + i + 16), b);
    }
    for (; i < n; i += 16) a = _mm512_max_ps(_mm512_mask_loadu_ps(lowest, first(n - i), values + i), a);
    return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
  }
  static float min(const float* values, std::int64_t n) {
    const __m512 highest = _mm512_set1_ps(__builtin_inff());
    __m512 a = highest, b = highest;
    std::int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
      a = _mm512_min_ps(_mm512_loadu_ps(values + i), a);
      b = _mm512_min_ps(_mm512_loadu_ps(values + i + 16), b);
    }
    for (; i < n; i += 16) a = _mm512_min_ps(_mm512_mask_loadu_ps(highest, first(n - i), values + i), a);
    return _mm512_reduce_min_ps(_mm512_min_ps(a, b));
  }

  static __m512i lanes() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

  /// Compacts what reaches the floor. Whole vectors are stored: compressing to memory is microcoded on some processors.
  static std::int64_t keep(const float* scores, std::int64_t n, float floor, float* values, std::int32_t* positions) {
    const __m512 least = _mm512_set1_ps(floor);
    __m512i at = lanes();
    const __m512i step = _mm512_set1_epi32(16);
    std::int64_t kept = 0;
    const auto store = [&](__m512 x, __mmask16 take) {
      _mm512_storeu_ps(values + kept, _mm512_maskz_compress_ps(take, x));
      _mm512_storeu_si512(positions + kept, _mm512_maskz_compress_epi32(take, at));
      kept += __builtin_popcount(take);
      at = _mm512_add_epi32(at, step);
    };
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
      const __m512 x = _mm512_loadu_ps(scores + i);
      store(x, _mm512_cmp_ps_mask(x, least, _CMP_GE_OQ));
    }
    if (i < n) {
      const __m512 x = _mm512_maskz_loadu_ps(first(n - i), scores + i);
      store(x, _mm512_mask_cmp_ps_mask(first(n - i), x, least, _CMP_GE_OQ));
    }
    return kept;
  }

  /// Writes offset + position of values[begin … end) that reach the floor, nothing behind `out_end`.
  static std::int32_t* emit(const float* values, const std::int32_t* positions, std::int64_t begin, std::int64_t end,
                            float floor, std::int32_t offset, std::int32_t* out, const std::int32_t* out_end) {
    if (positions) {  // whole vectors: the buffer has places behind its values
      const __m512i base = _mm512_set1_epi32(offset);
      const auto place = [&](std::int64_t i) { return _mm512_add_epi32(_mm512_loadu_si512(positions + i), base); };
      return emit_places(values, begin, end, floor, out, out_end, place);
    }
    __m512i next = _mm512_add_epi32(lanes(), _mm512_set1_epi32(offset + static_cast<std::int32_t>(begin)));
    const auto place = [&](std::int64_t) {
      const __m512i at = next;
      next = _mm512_add_epi32(next, _mm512_set1_epi32(16));
      return at;
    };
    return emit_places(values, begin, end, floor, out, out_end, place);
  }

  template <class Place>
  static std::int32_t* emit_places(const float* values, std::int64_t begin, std::int64_t end, float floor,
                                   std::int32_t* out, const std::int32_t* out_end, const Place& place) {
    const __m512 least = _mm512_set1_ps(floor);
    std::int64_t i = begin;
    for (; i + 16 <= end && out_end - out >= 16; i += 16) {
      const __mmask16 take = _mm512_cmp_ps_mask(_mm512_loadu_ps(values + i), least, _CMP_GE_OQ);
      _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(take, place(i)));
      out += __builtin_popcount(take);
    }
    for (; i < end && out < out_end; i += 16) {
      const __mmask16 in = first(end - i);
      const __mmask16 take = _mm512_mask_cmp_ps_mask(in, _mm512_maskz_loadu_ps(in, values + i), least, _CMP_GE_OQ);
      _mm512_mask_storeu_epi32(out, first(out_end - out), _mm512_maskz_compress_epi32(take, place(i)));
      out += __builtin_popcount(take);
    }
    return out;
  }
};

}  // namespace

void largest_avx512(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset, std::int32_t* out,
                    float* values, std::int32_t* positions) {
  largest<Avx512>(scores, n, wanted, offset, out, values, positions);
}

}  // namespace headroom::kernels::cpu
#endif
