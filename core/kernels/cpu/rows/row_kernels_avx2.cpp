// SPDX-License-Identifier: Apache-2.0
// row_kernels.h compiled for AVX2.
#include "kernels/cpu/rows/row_kernels_impl.h"

#if defined(__x86_64__)
namespace headroom::kernels::cpu {
extern const RowKernels row_kernels_avx2 = row_kernels_of<8, 3>(Isa::avx2, "avx2");
}  // namespace headroom::kernels::cpu
#endif
