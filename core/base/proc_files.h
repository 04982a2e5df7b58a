// SPDX-License-Identifier: Apache-2.0
// Reading the small text files in which Linux describes a process and its machine. Whatever is missing or not
// understood is none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::proc {

std::vector<std::string> lines_of(const std::filesystem::path& file);
std::vector<std::string> words_of(const std::string& line);

/// A whole number from 0 on; none for anything else.
std::optional<std::int64_t> number(std::string_view text);
/// Of a file with nothing but a number ("max" and -1 are none).
std::optional<std::int64_t> number_in(const std::filesystem::path& file);
/// The number behind "key" in a file of "key number" lines; a colon may stand behind the key.
std::optional<std::int64_t> entry(const std::filesystem::path& file, std::string_view key);
/// entry() in bytes, where the file counts KiB.
std::optional<std::int64_t> kilobytes(const std::filesystem::path& file, std::string_view key);

/// The processors that the process may run on, ascending (proc/self/status); empty where that is not understood.
std::vector<int> allowed_processors(const std::filesystem::path& root);

}  // namespace headroom::proc
