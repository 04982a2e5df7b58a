// SPDX-License-Identifier: Apache-2.0
// Exact selection from one row of scores: the k largest, or the fewest that reach a share of the row's sum.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/select/forced.h"

namespace headroom::kernels::cpu {

/// Reusable memory of one thread.
struct SelectScratch {
  std::vector<std::uint32_t> keys;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> others;
  std::vector<float> members;
};

/// Writes the positions of min(k, n) of scores[0 … n), ascending, to `indices` and returns their number. Forced
/// keys come first and count, as open_choice() says. Equal scores go to the lower position; NaN ranks below everything.
/// k, n >= 1. Every instruction set gives the same positions.
std::int64_t top_k_row(const float* scores, std::int64_t n, std::int64_t k, const ForcedRange& forced,
                       std::int32_t* indices, SelectScratch& scratch, Isa at_most = Isa::avx512_bf16);

/// The forced keys, then the largest scores until their sum reaches `share` (0 … 1) of the row's sum
/// (to 1e-12 of it); `scores` are not
/// negative (NaN counts as 0). Same order and ties as top_k_row; sums in double. Returns the number written
/// (1 … n).
std::int64_t top_mass_row(const float* scores, std::int64_t n, double share, const ForcedRange& forced,
                          std::int32_t* indices, SelectScratch& scratch);

/// Positions of scores[0 … n) from the largest to the smallest, ties to the lower position, NaN last.
void sort_row(const float* scores, std::int64_t n, std::int32_t* order, SelectScratch& scratch);

/// For each share (0 … 1, ascending) the fewest of p[0 … n) that sum to it times their total; p is not negative, n
/// >= 1.
void fewest_keys(const float* p, std::int64_t n, std::span<const double> shares, std::span<std::int64_t> counts,
                 SelectScratch& scratch);

}  // namespace headroom::kernels::cpu
