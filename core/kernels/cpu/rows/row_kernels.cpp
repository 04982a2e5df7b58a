// SPDX-License-Identifier: Apache-2.0
// Chooses the table of an instruction set, and packs keys.
#include "kernels/cpu/rows/row_kernels.h"

#include <algorithm>

namespace headroom::kernels::cpu {

extern const RowKernels row_kernels_baseline;
#if defined(__x86_64__)
extern const RowKernels row_kernels_avx2, row_kernels_avx512;
#endif

const RowKernels& row_kernels(Isa at_most) {
#if defined(__x86_64__)
  const Isa best = best_isa(at_most);
  if (best >= Isa::avx512) return row_kernels_avx512;
  if (best >= Isa::avx2) return row_kernels_avx2;
#endif
  return row_kernels_baseline;
}

const RowKernels& row_kernels() {
  static const RowKernels& best = row_kernels(Isa::avx512);
  return best;
}

void pack_keys(const float* k, std::int64_t keys, std::int64_t head_dim, float* panels) {
  for (std::int64_t panel = 0; panel * panel_keys < keys; ++panel) {
    float* out = panels + panel * head_dim * panel_keys;
    const std::int64_t count = std::min(panel_keys, keys - panel * panel_keys);
    for (std::int64_t i = 0; i < head_dim; ++i)
      for (std::int64_t s = 0; s < panel_keys; ++s)
        out[i * panel_keys + s] = s < count ? k[(panel * panel_keys + s) * head_dim + i] : 0.0f;
  }
}

}  // namespace headroom::kernels::cpu
