// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/index_loops.h"

namespace headroom::kernels::cpu {
namespace {

struct Avx512 {
  using Sum = __m512;
  using Element = __m512;
  static constexpr int rows = 8, vectors = 3, lanes = 16, panel_columns = vectors * lanes;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Element load(const std::uint32_t* from) { return _mm512_castsi512_ps(_mm512_loadu_si512(from)); }
  static Element broadcast(const std::uint32_t* from) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(*from)));
  }
  static Sum add_product(Sum sum, Element a, Element b) { return _mm512_fmadd_ps(a, b, sum); }
  static void store(float* to, Sum sum) { _mm512_storeu_ps(to, sum); }
};

}  // namespace

extern const IndexKernels index_kernels_avx512 = index_kernels<Avx512>(Isa::avx512, false);

}  // namespace headroom::kernels::cpu
#endif
