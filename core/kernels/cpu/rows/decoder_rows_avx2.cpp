// SPDX-License-Identifier: Apache-2.0
// decoder_rows.h compiled for AVX2.
#include "kernels/cpu/rows/decoder_rows_impl.h"

#if defined(__x86_64__)
namespace headroom::kernels::cpu {
extern const DecoderRows decoder_rows_avx2;
const DecoderRows decoder_rows_avx2 = {Isa::avx2, norm<8>, gate<8>, rope<8>};
}  // namespace headroom::kernels::cpu
#endif
