// SPDX-License-Identifier: Apache-2.0
// row_kernels.h compiled for AVX-512.
#include "kernels/cpu/rows/row_kernels_impl.h"

#if defined(__x86_64__)
namespace headroom::kernels::cpu {
extern const RowKernels row_kernels_avx512 = row_kernels_of<16, 8>(Isa::avx512, "avx512");
}  // namespace headroom::kernels::cpu
#endif
