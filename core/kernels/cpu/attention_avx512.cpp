// SPDX-License-Identifier: Apache-2.0
// The attention kernels in fp32 on vectors of 16 lanes.
#include <cstdint>
#include <cstring>

#include "kernels/cpu/attention_kernels.h"

#if defined(__AVX512F__)
#include <immintrin.h>

namespace headroom::kernels::cpu {
namespace {
constexpr int vector_lanes = 16;
#include "kernels/cpu/attention_f32.h"
}  // namespace

const AttentionKernels& attention_kernels_avx512() {
  return kernels;
}
}  // namespace headroom::kernels::cpu
#else
namespace headroom::kernels::cpu {
const AttentionKernels& attention_kernels_avx512() {
  return attention_kernels_baseline();
}
}  // namespace headroom::kernels::cpu
#endif
