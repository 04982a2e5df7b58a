// SPDX-License-Identifier: Apache-2.0
// The attention kernels in fp32 for every machine: vectors of four lanes, which any compiler can lower.
#include "kernels/cpu/attention/attention_f32.h"

namespace headroom::kernels::cpu {

bool ascends(const std::int32_t* keys, std::int64_t count) {
  int broken = 0;  // no early exit, so that the loop becomes vectors
  for (std::int64_t i = 1; i < count; ++i) broken |= keys[i] <= keys[i - 1];
  return broken == 0;
}

const AttentionKernels& attention_kernels_baseline() {
  return float_kernels<4>;
}

}  // namespace headroom::kernels::cpu
