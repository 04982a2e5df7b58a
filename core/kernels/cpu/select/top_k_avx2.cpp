// SPDX-License-Identifier: Apache-2.0
// The search of top_k compiled for AVX2.
#include "kernels/cpu/select/top_k_search.h"

#if defined(__x86_64__)
namespace headroom::kernels::cpu {

void largest_avx2(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset, std::int32_t* out,
                  float* values, std::int32_t* positions) {
  largest<8>(scores, n, wanted, offset, out, values, positions);
}

}  // namespace headroom::kernels::cpu
#endif
