// SPDX-License-Identifier: Apache-2.0
// Methods of imported streams: what is said of them, in the record and wherever it is shown.
#pragma once

#include <string_view>

#include "record/types.h"

namespace headroom::record {

/// MethodSummary::label of such a method.
inline constexpr std::string_view static_label = "static: the stream is the model's own";

/// Whether the method selected in the unmodified model's stream, so that nothing follows for the layers behind it.
/// Earlier versions had other words behind the first.
inline bool is_static(const MethodSummary& method) {
  return method.label.starts_with("static:");
}

}  // namespace headroom::record
