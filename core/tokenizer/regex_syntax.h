// SPDX-License-Identifier: Apache-2.0
// From the regular expressions of tokenizer.json (Oniguruma's Ruby syntax) to PCRE2's.
#pragma once

#include <string>
#include <string_view>

namespace headroom::tokenizer {

/// Throws an input error at `place` for what the two do not agree on.
std::string translate_pattern(std::string_view pattern, const std::string& place);

}  // namespace headroom::tokenizer
