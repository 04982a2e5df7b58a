// SPDX-License-Identifier: Apache-2.0
// Internal to preferred_isa(): how fast this processor multiplies bf16.
#pragma once

namespace headroom::kernels::cpu {

/// Products a second of VDPBF16PS over those of fp32 FMA, both on 512-bit registers; 2 where both issue alike. Call only where
/// avx512_bf16 is supported.
double bf16_product_gain();

}  // namespace headroom::kernels::cpu
