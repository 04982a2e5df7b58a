// SPDX-License-Identifier: Apache-2.0
// Supports are causal: checked when written and when read. Internal to core/record.
#pragma once

#include "base/support_bitmap.h"

namespace headroom::record {

/// First row with a key after its query (bits past the last key included), or -1.
std::int64_t first_row_past_query(const SupportBitmap& bitmap);

}  // namespace headroom::record
