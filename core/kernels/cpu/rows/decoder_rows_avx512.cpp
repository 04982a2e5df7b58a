// SPDX-License-Identifier: Apache-2.0
// decoder_rows.h compiled for AVX-512.
#include "kernels/cpu/rows/decoder_rows_impl.h"

#if defined(__x86_64__)
namespace headroom::kernels::cpu {
extern const DecoderRows decoder_rows_avx512;
const DecoderRows decoder_rows_avx512 = {Isa::avx512, norm<16>, gate<16>, rope<16>};
}  // namespace headroom::kernels::cpu
#endif
