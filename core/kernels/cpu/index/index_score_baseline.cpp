// SPDX-License-Identifier: Apache-2.0
// The indexer's inner loops for every machine: four lanes, whatever it makes of them.
#include "kernels/cpu/index/index_loops.h"

namespace headroom::kernels::cpu {

extern const IndexKernels index_kernels_baseline = index_kernels<Blocking<FloatProducts<4>, 4, 2>>(Isa::baseline);

}  // namespace headroom::kernels::cpu
