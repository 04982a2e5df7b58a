// SPDX-License-Identifier: Apache-2.0
// row_kernels.h compiled for the x86-64-v2 baseline.
#include "kernels/cpu/rows/row_kernels_impl.h"

namespace headroom::kernels::cpu {
extern const RowKernels row_kernels_baseline = row_kernels_of<4, 1>(Isa::baseline, "baseline");
}  // namespace headroom::kernels::cpu
