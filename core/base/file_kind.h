// SPDX-License-Identifier: Apache-2.0
// What a file is by how it begins, for messages: a download that went wrong, or the right thing in the wrong format.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace headroom {

/// Bytes from the start of a file that file_kind() looks at.
inline constexpr std::size_t file_kind_bytes = 1024;

/// "a ZIP archive (…)", "an HTML page (…)", with what to do about it where that is known. Empty where `head` looks like
/// nothing that is known.
std::string file_kind(std::string_view head);

/// "UTF-16 (little-endian)" and the like where `text` begins with such a byte order mark, or has the zero bytes of one
/// without a mark; empty for everything else, UTF-8 included.
std::string foreign_encoding(std::string_view text);

}  // namespace headroom
