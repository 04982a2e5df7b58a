// SPDX-License-Identifier: Apache-2.0
// Whether bytes are UTF-8, for text that comes from files, peers and tokens.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace headroom {

/// Offset of the first byte that does not begin or continue a valid sequence (overlong forms, surrogates and values
/// above U+10FFFF are not valid); nothing where all is well.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);
/// Each invalid byte becomes U+FFFD.
std::string replace_invalid_utf8(std::string_view text);
/// For one line on a terminal: control characters become "\\n", "\\t" or "\\x1b".
std::string escape_controls(std::string_view text);
/// For messages, which are UTF-8 and quote names of files, which need not be: each invalid byte becomes "\\xff".
std::string escape_invalid_utf8(std::string_view text);
/// Both, for one line on a terminal.
std::string printable_text(std::string_view text);
/// The first `bytes` bytes or fewer, ending with a whole character.
std::string_view utf8_head(std::string_view text, std::size_t bytes);
/// The last `bytes` bytes or fewer, beginning at a character.
std::string_view utf8_tail(std::string_view text, std::size_t bytes);

}  // namespace headroom
