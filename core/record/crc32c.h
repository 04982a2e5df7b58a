// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli): one processor instruction for eight bytes, so that checking a record costs less than reading
// it. Internal to core/record.
#pragma once

#include <cstdint>
#include <span>

namespace headroom::record {

/// `previous` continues an earlier result.
std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::uint32_t previous = 0);
/// The same without the instruction; for tests and other processors.
std::uint32_t crc32c_by_table(std::span<const std::uint8_t> bytes, std::uint32_t previous = 0);

}  // namespace headroom::record
