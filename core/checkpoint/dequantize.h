// SPDX-License-Identifier: Apache-2.0
// Stored tensor data to fp32, bit for bit what the `gguf` Python package's quants.dequantize gives, and torch for FP8
// (OCP 8-bit floating point, E4M3: bias 7, no infinities). A block's tables and bit positions are the formats' own.
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

/// `data` holds whole blocks, out.size() / elements of them (the caller has checked both sizes). Single-threaded. Of
/// f8_e4m3 the values without their scale; mxfp4_pairs is not stored in blocks: mxfp4_pairs() below.
void dequantize(DType dtype, const std::uint8_t* data, std::span<float> out);
/// gpt-oss' MXFP4: of each 32 values 16 bytes of `nibbles`, the lower half of a byte first, and one byte of `scales`.
void dequantize_mxfp4_pairs(const std::uint8_t* nibbles, const std::uint8_t* scales, std::span<float> out);
/// Fills `out` with the stored bytes from `offset` on, counted from the tensor's first; called from several threads.
using ReadStored = std::function<void(std::uint64_t offset, std::span<std::uint8_t> out)>;
/// The same over all cores for large tensors, from bytes that are read piece by piece. Returns the flat index of the
/// first value that is not finite. What `read` throws reaches the caller.
std::optional<std::int64_t> dequantize_checked(DType dtype, const ReadStored& read, std::span<float> out);

/// Fills `out` with the values from `first` on; called from several threads, with multiples of 256 but at the end.
using ReadValues = std::function<void(std::int64_t first, std::span<float> out)>;
/// The same as dequantize_checked over all cores, or on the calling thread alone, of values that come piece by piece.
std::optional<std::int64_t> read_checked(const ReadValues& read, std::span<float> out, bool all_cores);
bool all_finite(std::span<const float> values);

}  // namespace headroom::checkpoint
