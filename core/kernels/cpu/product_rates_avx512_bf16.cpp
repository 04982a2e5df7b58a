// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/product_rates.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>

namespace headroom::kernels::cpu {
namespace {

constexpr int chains = 16, steps = 256, trials = 40;

/// Cycles of steps x chains independent additions of products; the least of several is the machine's own.
template <typename Add>
__attribute__((always_inline)) inline unsigned long long cycles(Add&& add) {
  __m512 sum[chains];
  for (int i = 0; i < chains; ++i) sum[i] = _mm512_setzero_ps();
  const unsigned long long start = __builtin_ia32_rdtsc();
  for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 16
    for (int i = 0; i < chains; ++i) sum[i] = add(sum[i]);
#pragma GCC unroll 16
    for (int i = 0; i < chains; ++i) asm volatile("" : "+v"(sum[i]));  // so that no step is dropped
  }
  return __builtin_ia32_rdtsc() - start;
}

}  // namespace

double bf16_product_gain() {
  __m512 one = _mm512_set1_ps(1.0f);
  __m512i pairs = _mm512_set1_epi32(0x3f803f80);
  asm volatile("" : "+v"(one), "+v"(pairs));
  unsigned long long fused = ~0ull, paired = ~0ull;
  for (int trial = 0; trial < trials; ++trial) {
    const auto a = cycles([&](__m512 sum) { return _mm512_fmadd_ps(one, one, sum); });
    const auto b = cycles([&](__m512 sum) {
      return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(pairs), reinterpret_cast<__m512bh>(pairs));
    });
    fused = a < fused ? a : fused;
    paired = b < paired ? b : paired;
  }
  return 2.0 * static_cast<double>(fused) / static_cast<double>(paired);
}

}  // namespace headroom::kernels::cpu
#else
namespace headroom::kernels::cpu {
double bf16_product_gain() {
  return 0;
}
}  // namespace headroom::kernels::cpu
#endif
