// SPDX-License-Identifier: Apache-2.0
// SHA-256 of files and bytes, as lower-case hexadecimal: how indexers and records name the model they belong to.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace headroom {

std::string sha256(std::span<const std::uint8_t> bytes);
/// Throws input errors where the file cannot be read.
std::string sha256_file(const std::filesystem::path& file);

}  // namespace headroom
