// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/rows/decoder_rows.h"

namespace headroom::kernels::cpu {

extern const DecoderRows decoder_rows_baseline;
#if defined(__x86_64__)
extern const DecoderRows decoder_rows_avx2, decoder_rows_avx512;
#endif

const DecoderRows& decoder_rows(Isa at_most) {
#if defined(__x86_64__)
  const Isa best = best_isa(at_most);
  if (best >= Isa::avx512) return decoder_rows_avx512;
  if (best >= Isa::avx2) return decoder_rows_avx2;
#endif
  return decoder_rows_baseline;
}

}  // namespace headroom::kernels::cpu
