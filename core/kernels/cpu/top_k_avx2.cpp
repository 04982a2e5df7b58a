// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/top_k_search.h"

namespace headroom::kernels::cpu {
namespace {

/// For each mask of 8 lanes the taken lanes, first to last, then zeros: a permutation that compacts.
struct LaneTable {
  std::uint8_t lanes[256][8] = {};
  constexpr LaneTable() {
    for (int mask = 0; mask < 256; ++mask) {
      int count = 0;
      for (int lane = 0; lane < 8; ++lane)
        if (mask >> lane & 1) lanes[mask][count++] = static_cast<std::uint8_t>(lane);
    }
  }
};
alignas(64) constexpr LaneTable lane_table;

struct Avx2 {
  static double square_root(double x) { return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set_sd(x))); }

  static __m256i first(std::int64_t count) {
    const auto clamped = static_cast<std::int32_t>(count < 8 ? count : 8);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(clamped), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  /// values[0 … count) of up to 8, NaN behind them: they compare with nothing.
  static __m256 load(const float* values, std::int64_t count) {
    if (count >= 8) return _mm256_loadu_ps(values);
    const __m256i lanes = first(count);
    return _mm256_blendv_ps(_mm256_set1_ps(__builtin_nanf("")), _mm256_maskload_ps(values, lanes),
                            _mm256_castsi256_ps(lanes));
  }
  static __m256i reaching(__m256 x, __m256 floor) { return _mm256_castps_si256(_mm256_cmp_ps(x, floor, _CMP_GE_OQ)); }

  static std::int64_t count(const float* values, std::int64_t n, float floor) {
    const __m256 least = _mm256_set1_ps(floor);
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    std::int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
      a = _mm256_sub_epi32(a, reaching(_mm256_loadu_ps(values + i), least));
      b = _mm256_sub_epi32(b, reaching(_mm256_loadu_ps(values + i + 8), least));
      c = _mm256_sub_epi32(c, reaching(_mm256_loadu_ps(values + i + 16), least));
      d = _mm256_sub_epi32(d, reaching(_mm256_loadu_ps(values + i + 24), least));
    }
    for (; i < n; i += 8) a = _mm256_sub_epi32(a, reaching(load(values + i, n - i), least));
    a = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return _mm_cvtsi128_si32(sum);
  }

  static float max(const float* values, std::int64_t n) {
    const __m256 lowest = _mm256_set1_ps(-__builtin_inff());
    __m256 a = lowest, b = lowest;
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16) {  // the second operand is the result where the first is NaN
      a = _mm256_max_ps(_mm256_loadu_ps(values + i), a);
      b = _mm256_max_ps(_mm256_loadu_ps(values + i + 8), b);
    }
    for (; i < n; i += 8) a = _mm256_max_ps(load(values + i, n - i), a);
    a = _mm256_max_ps(a, b);
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_shuffle_ps(m, m, 0x4e));
    return _mm_cvtss_f32(_mm_max_ps(m, _mm_shuffle_ps(m, m, 0xb1)));
  }
  static float min(const float* values, std::int64_t n) {
    const __m256 highest = _mm256_set1_ps(__builtin_inff());
    __m256 a = highest, b = highest;
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
      a = _mm256_min_ps(_mm256_loadu_ps(values + i), a);
      b = _mm256_min_ps(_mm256_loadu_ps(values + i + 8), b);
    }
    for (; i < n; i += 8) a = _mm256_min_ps(load(values + i, n - i), a);
    a = _mm256_min_ps(a, b);
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_min_ps(m, _mm_shuffle_ps(m, m, 0x4e));
    return _mm_cvtss_f32(_mm_min_ps(m, _mm_shuffle_ps(m, m, 0xb1)));
  }

  static __m256i taken_lanes(int mask) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(lane_table.lanes[mask])));
  }

  static std::int64_t keep(const float* scores, std::int64_t n, float floor, float* values, std::int32_t* positions) {
    const __m256 least = _mm256_set1_ps(floor);
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < n; i += 8) {
      const __m256 x = load(scores + i, n - i);
      const int mask = _mm256_movemask_ps(_mm256_cmp_ps(x, least, _CMP_GE_OQ));
      const __m256i lanes = taken_lanes(mask);
      _mm256_storeu_ps(values + kept, _mm256_permutevar8x32_ps(x, lanes));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(positions + kept),
                          _mm256_add_epi32(lanes, _mm256_set1_epi32(static_cast<std::int32_t>(i))));
      kept += __builtin_popcount(static_cast<unsigned>(mask));
    }
    return kept;
  }

  static std::int32_t* emit(const float* values, const std::int32_t* positions, std::int64_t begin, std::int64_t end,
                            float floor, std::int32_t offset, std::int32_t* out, const std::int32_t* out_end) {
    const __m256 least = _mm256_set1_ps(floor);
    const auto place = [&](std::int64_t i, int mask) {
      const __m256i taken = taken_lanes(mask);
      if (!positions) return _mm256_add_epi32(taken, _mm256_set1_epi32(offset + static_cast<std::int32_t>(i)));
      // Whole vectors: the buffer has places behind its values.
      const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(positions + i));
      return _mm256_add_epi32(_mm256_permutevar8x32_epi32(at, taken), _mm256_set1_epi32(offset));
    };
    std::int64_t i = begin;
    for (; i + 8 <= end && out_end - out >= 8; i += 8) {
      const int mask = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(values + i), least, _CMP_GE_OQ));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), place(i, mask));
      out += __builtin_popcount(static_cast<unsigned>(mask));
    }
    for (; i < end && out < out_end; i += 8) {
      const int mask = _mm256_movemask_ps(_mm256_cmp_ps(load(values + i, end - i), least, _CMP_GE_OQ));
      _mm256_maskstore_epi32(out, first(out_end - out), place(i, mask));
      out += __builtin_popcount(static_cast<unsigned>(mask));
    }
    return out;
  }
};

}  // namespace

void largest_avx2(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset, std::int32_t* out,
                  float* values, std::int32_t* positions) {
  largest<Avx2>(scores, n, wanted, offset, out, values, positions);
}

}  // namespace headroom::kernels::cpu
#endif
