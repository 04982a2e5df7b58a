// SPDX-License-Identifier: Apache-2.0
// The attention kernels in fp32 for every machine: vectors of four lanes, which any compiler can lower.
#include <cstdint>
#include <cstring>

#if defined(__SSE3__)
#include <immintrin.h>
#endif

#include "kernels/cpu/attention_kernels.h"

namespace headroom::kernels::cpu {
namespace {
constexpr int vector_lanes = 4;
#include "kernels/cpu/attention_f32.h"
}  // namespace

bool ascends(const std::int32_t* keys, std::int64_t count) {
  int broken = 0;  // no early exit, so that the loop becomes vectors
  for (std::int64_t i = 1; i < count; ++i) broken |= keys[i] <= keys[i - 1];
  return broken == 0;
}

const AttentionKernels& attention_kernels_baseline() {
  return kernels;
}
}  // namespace headroom::kernels::cpu
