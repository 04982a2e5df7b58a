// SPDX-License-Identifier: Apache-2.0
// What a record's parts weigh, before compression and in the file, and what to leave out to make it smaller.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "record/run_record.h"

namespace headroom::record {

struct KindSize {
  std::string kind;  ///< as RecordPart
  std::int64_t bytes = 0;
};
/// Sums by kind, the largest first.
std::vector<KindSize> sizes_by_kind(const std::vector<RecordPart>& parts);
/// "exact maps (q, k)": what people call a kind.
std::string kind_title(const std::string& kind);
/// What makes this part smaller next time, in a sentence with the options' names; empty where nothing does.
std::string kind_advice(const std::string& kind);

/// Of one support (support, target or wasted; one head group) before compression; `budget_tokens` 0: not known, a mass
/// budget. Lists for long prompts, bitmaps else (record_writer.h).
std::int64_t support_bytes(std::int64_t length, std::int64_t budget_tokens);

}  // namespace headroom::record
