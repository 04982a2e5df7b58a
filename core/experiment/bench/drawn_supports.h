// SPDX-License-Identifier: Apache-2.0
// Supports that share keys as those of trained models do, for timing where weights are random: a backend that selects
// as the one it wraps, in the same time, and then attends to drawn keys. Never quality.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>

#include "attention/backend.h"

namespace headroom::experiment {

/// Keys that the rows of a prompt attend to, k each: [1, L, k] int32 ascending, -1 behind the count, and counts [1, L].
struct DrawnSupports {
  at::Tensor indices, counts;
};

/// Unions of neighbouring rows' supports as multiples of k, measured on a trained model (docs/kernels-cuda.md).
inline constexpr double measured_union_16 = 2.46, measured_union_32 = 2.99;

/// Tiles of 32 rows have a pool of measured_union_32 k keys, spread over the history of the tile's first row; each
/// half's rows draw from a part of it of measured_union_16 k keys, one from each of k pieces. A row's own key is in;
/// rows that see no more than k keys have them all. A function of length, k and row alone: the same on every device.
/// 1 <= k <= length < 2^31.
DrawnSupports draw_supports(std::int64_t length, std::int64_t k, c10::Device device);

/// Attends to `drawn` wherever keys are ranked for the whole layer, row by row; else as `inner`. Both must outlive it.
std::shared_ptr<const attention::Backend> with_drawn_supports(const attention::Backend& inner,
                                                              const DrawnSupports& drawn);

}  // namespace headroom::experiment
