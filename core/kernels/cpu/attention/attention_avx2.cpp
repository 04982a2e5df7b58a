// SPDX-License-Identifier: Apache-2.0
// The attention kernels in fp32 on vectors of 8 lanes.
#include "kernels/cpu/attention/attention_f32.h"

namespace headroom::kernels::cpu {

const AttentionKernels& attention_kernels_avx2() {
#if defined(__AVX2__)
  return float_kernels<8>;
#else
  return attention_kernels_baseline();
#endif
}

}  // namespace headroom::kernels::cpu
