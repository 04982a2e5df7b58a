// SPDX-License-Identifier: Apache-2.0
// The attention kernels on bf16 with VDPBF16PS: the tiles of attention_tile.h on pairs, and a gather of its own.
#include <cstdint>
#include <cstring>

#include "kernels/cpu/attention_kernels.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>

namespace headroom::kernels::cpu {
namespace {
#include "kernels/cpu/attention_vectors.h"
// After the vectors.
#include "kernels/cpu/attention_dot.h"
#include "kernels/cpu/attention_tile.h"
// After the tiles.
#include "kernels/cpu/attention_gather.h"
#include "kernels/cpu/attention_gather_bf16.h"

std::int64_t workspace(const LayerView& layer, std::int64_t longest_row) {
  const std::int64_t sizes[] = {TileWork<Bf16Pairs>::floats(layer, max_tile_heads), mass_floats<Bf16Pairs>(layer),
                                GatherWork::floats(layer, longest_row)};
  std::int64_t most = 0;
  for (const std::int64_t size : sizes) most = size > most ? size : most;
  return most;
}

constexpr AttentionKernels kernels = {true,
                                      32,
                                      workspace,
                                      any_dense_tile<Bf16Pairs>,
                                      any_union_tile<Bf16Pairs>,
                                      any_gather_pairs,
                                      mass_tile<Bf16Pairs>};
}  // namespace

const AttentionKernels& attention_kernels_avx512_bf16() {
  return kernels;
}
}  // namespace headroom::kernels::cpu
#else
namespace headroom::kernels::cpu {
const AttentionKernels& attention_kernels_avx512_bf16() {
  return attention_kernels_avx512();
}
}  // namespace headroom::kernels::cpu
#endif
