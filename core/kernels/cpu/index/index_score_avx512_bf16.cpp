// SPDX-License-Identifier: Apache-2.0
// The indexer's inner loops compiled for AVX-512 BF16: products of pairs.
#include "kernels/cpu/index/index_loops.h"

#if defined(__x86_64__)
namespace headroom::kernels::cpu {

extern const IndexKernels index_kernels_avx512_bf16 = index_kernels<Blocking<PairProducts, 8, 3>>(Isa::avx512_bf16);

}  // namespace headroom::kernels::cpu
#endif
