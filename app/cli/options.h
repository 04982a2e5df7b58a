// SPDX-License-Identifier: Apache-2.0
// Words that several commands read alike.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string>

namespace headroom::cli {

/// "auto" (none: the decoder chooses), "bf16" or "f32". Throws usage errors.
std::optional<c10::ScalarType> parse_dtype(const std::string& text);

}  // namespace headroom::cli
