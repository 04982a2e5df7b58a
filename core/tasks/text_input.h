// SPDX-License-Identifier: Apache-2.0
// Texts that come from files: what can be a prompt, what a person may not know to be in it, and which files a folder
// stands for.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::tasks {

inline constexpr std::size_t max_prompt_bytes = 16u << 20;
inline constexpr const char* prompt_too_large = "is too large for a prompt";

/// Throws an input error at `place` for what cannot be a prompt: nothing, more than max_prompt_bytes, zero bytes,
/// another encoding than UTF-8, with what to do about it.
void check_prompt_text(std::string_view text, const std::string& place);
/// Throws an input error at `place` for zero bytes and for another encoding than UTF-8.
void check_is_text(std::string_view text, const std::string& place);

/// What is in the text of a file unseen and stays in it: a byte order mark, carriage returns. In sentences that name
/// the file, without the folders above it.
std::vector<std::string> prompt_text_notes(std::string_view text, const std::string& file);

/// The regular files below a folder in the order of their paths, those of hidden folders and hidden files left out; a
/// file stands for itself. Throws input errors: nothing there, `what` (e.g. "a text file or a folder of them") said as
/// expected; more than `most` files; a folder that cannot be read.
std::vector<std::filesystem::path> files_of(const std::filesystem::path& path, const char* what, std::size_t most);

}  // namespace headroom::tasks
