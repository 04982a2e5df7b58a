// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include "base/error.h"

namespace headroom::cli {

std::optional<c10::ScalarType> parse_dtype(const std::string& text) {
  if (text == "auto") return std::nullopt;
  if (text == "bf16") return c10::kBFloat16;
  if (text == "f32") return c10::kFloat;
  throw usage_error("dtype \"" + text + "\" is not known: expected auto, bf16 or f32");
}

}  // namespace headroom::cli
