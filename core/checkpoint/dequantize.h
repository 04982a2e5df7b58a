// SPDX-License-Identifier: Apache-2.0
// Stored tensor data to fp32, bit for bit what the `gguf` Python package's quants.dequantize gives.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "checkpoint/checkpoint.h"

namespace headroom::checkpoint {

/// How a dtype is laid out: `elements` neighbouring values of a row share one block of `bytes`.
struct BlockLayout {
  std::int64_t elements = 1;
  std::int64_t bytes = 0;
};
BlockLayout block_layout(DType dtype);

/// `data` holds whole blocks, out.size() / elements of them (the caller has checked both sizes). Single-threaded.
void dequantize(DType dtype, const std::uint8_t* data, std::span<float> out);
/// Fills `out` with the stored bytes from `offset` on, counted from the tensor's first; called from several threads.
using ReadStored = std::function<void(std::uint64_t offset, std::span<std::uint8_t> out)>;
/// The same over all cores for large tensors, from bytes that are read piece by piece. Returns the flat index of the
/// first value that is not finite. What `read` throws reaches the caller.
std::optional<std::int64_t> dequantize_checked(DType dtype, const ReadStored& read, std::span<float> out);

}  // namespace headroom::checkpoint
