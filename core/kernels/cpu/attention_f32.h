// SPDX-License-Identifier: Apache-2.0
// Internal to the CPU attention kernels: the table of the fp32 kernels. Included inside an anonymous namespace by
// attention_<isa>.cpp, which says how many lanes a vector has.
#pragma once

#include "kernels/cpu/attention_vectors.h"
// After the vectors.
#include "kernels/cpu/attention_dot.h"
#include "kernels/cpu/attention_tile.h"
// After the tiles.
#include "kernels/cpu/attention_gather.h"

std::int64_t workspace(const LayerView& layer, std::int64_t longest_row) {
  const std::int64_t sizes[] = {TileWork<F32<vector_lanes>>::floats(layer, max_tile_heads), mass_floats<F32<vector_lanes>>(layer),
                                gather_floats<vector_lanes>(layer, longest_row)};
  std::int64_t most = 0;
  for (const std::int64_t size : sizes) most = size > most ? size : most;
  return most;
}

constexpr AttentionKernels kernels = {false,
                                      vector_lanes < 8 ? 8 : vector_lanes,
                                      workspace,
                                      any_dense_tile<F32<vector_lanes>>,
                                      any_union_tile<F32<vector_lanes>>,
                                      any_gather_row<vector_lanes>,
                                      mass_tile<F32<vector_lanes>>};
