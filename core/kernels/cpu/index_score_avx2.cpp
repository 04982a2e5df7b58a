// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/index_loops.h"

namespace headroom::kernels::cpu {
namespace {

struct Avx2 {
  using Sum = __m256;
  using Element = __m256;
  static constexpr int rows = 4, vectors = 3, lanes = 8, panel_columns = vectors * lanes;
  static Sum zero() { return _mm256_setzero_ps(); }
  static Element load(const std::uint32_t* from) {
    return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static Element broadcast(const std::uint32_t* from) {
    return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(*from)));
  }
  static Sum add_product(Sum sum, Element a, Element b) { return _mm256_fmadd_ps(a, b, sum); }
  static void store(float* to, Sum sum) { _mm256_storeu_ps(to, sum); }
};

}  // namespace

extern const IndexKernels index_kernels_avx2 = index_kernels<Avx2>(Isa::avx2, false);

}  // namespace headroom::kernels::cpu
#endif
