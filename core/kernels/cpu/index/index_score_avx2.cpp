// SPDX-License-Identifier: Apache-2.0
// The indexer's inner loops compiled for AVX2.
#include "kernels/cpu/index/index_loops.h"

#if defined(__x86_64__)
namespace headroom::kernels::cpu {

extern const IndexKernels index_kernels_avx2 = index_kernels<Blocking<FloatProducts<8>, 4, 3>>(Isa::avx2);

}  // namespace headroom::kernels::cpu
#endif
