// SPDX-License-Identifier: Apache-2.0
// The attention kernels in fp32 on vectors of 16 lanes.
#include "kernels/cpu/attention/attention_f32.h"

namespace headroom::kernels::cpu {

const AttentionKernels& attention_kernels_avx512() {
#if defined(__AVX512F__)
  return float_kernels<16>;
#else
  return attention_kernels_baseline();
#endif
}

}  // namespace headroom::kernels::cpu
