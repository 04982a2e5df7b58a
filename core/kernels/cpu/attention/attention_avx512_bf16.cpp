// SPDX-License-Identifier: Apache-2.0
// The attention kernels on bf16 with VDPBF16PS: the tiles of attention_tile.h on pairs, and a gather of its own.
#include "kernels/cpu/attention/attention_gather_bf16.h"
#include "kernels/cpu/attention/attention_tile.h"

namespace headroom::kernels::cpu {
#if defined(__AVX512BF16__)
namespace {

std::int64_t pair_workspace(const LayerView& layer, std::int64_t longest_row) {
  return workspace_floats<Bf16Pairs>(layer, GatherWork::floats(layer, longest_row));
}

constexpr AttentionKernels pair_kernels = {true,
                                           32,
                                           pair_workspace,
                                           any_dense_tile<Bf16Pairs>,
                                           any_union_tile<Bf16Pairs>,
                                           any_gather_pairs,
                                           mass_tile<Bf16Pairs>};
}  // namespace

const AttentionKernels& attention_kernels_avx512_bf16() {
  return pair_kernels;
}
#else
const AttentionKernels& attention_kernels_avx512_bf16() {
  return attention_kernels_avx512();
}
#endif
}  // namespace headroom::kernels::cpu
