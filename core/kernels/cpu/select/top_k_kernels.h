// SPDX-License-Identifier: Apache-2.0
// Inside of top_k: the search for the k-th largest, once for each instruction set that has compare-and-count.
#pragma once

#include <cstddef>
#include <cstdint>

namespace headroom::kernels::cpu {

/// Writes offset + i for exactly the `wanted` largest scores[i] (1 <= wanted < n), ascending; ties to the lower i, NaN
/// below everything. `values` and `positions` have n + search_padding places for the function's own use.
inline constexpr std::size_t search_padding = 16;
using LargestFunction = void (*)(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset,
                                 std::int32_t* out, float* values, std::int32_t* positions);

void largest_avx2(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset, std::int32_t* out,
                  float* values, std::int32_t* positions);
void largest_avx512(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset, std::int32_t* out,
                    float* values, std::int32_t* positions);

}  // namespace headroom::kernels::cpu
