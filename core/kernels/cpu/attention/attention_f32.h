// SPDX-License-Identifier: Apache-2.0
// Internal to the CPU attention kernels: the table of the fp32 kernels on vectors of N lanes. For the files of one
// instruction set alone, as vectors.h is.
#pragma once

#include "kernels/cpu/attention/attention_gather.h"
#include "kernels/cpu/attention/attention_tile.h"

namespace headroom::kernels::cpu {
namespace {

template <int N>
std::int64_t float_workspace(const LayerView& layer, std::int64_t longest_row) {
  return workspace_floats<F32<N>>(layer, gather_floats<N>(layer, longest_row));
}

template <int N>
constexpr AttentionKernels float_kernels = {false,
                                            N < 8 ? 8 : N,
                                            float_workspace<N>,
                                            any_dense_tile<F32<N>>,
                                            any_union_tile<F32<N>>,
                                            any_gather_row<N>,
                                            mass_tile<F32<N>>};

}  // namespace
}  // namespace headroom::kernels::cpu
