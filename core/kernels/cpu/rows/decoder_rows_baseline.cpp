// SPDX-License-Identifier: Apache-2.0
// decoder_rows.h compiled for the x86-64-v2 baseline.
#include "kernels/cpu/rows/decoder_rows_impl.h"

namespace headroom::kernels::cpu {
extern const DecoderRows decoder_rows_baseline;
const DecoderRows decoder_rows_baseline = {Isa::baseline, norm<4>, gate<4>, rope<4>};
}  // namespace headroom::kernels::cpu
