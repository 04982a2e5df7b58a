// SPDX-License-Identifier: Apache-2.0
// The numbers behind each view of a run as a table: for `headroom export` and for the window's CSV.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "record/run_record.h"
#include "record/table.h"
#include "record/tiles.h"

namespace headroom::record {

struct ExportRequest {
  /// overview, compare, heads, budget, timing, rows, plan, text, attention ("map" is the same).
  std::string view = "overview";
  std::string method = {};                ///< id; empty: every method, or the first for text and attention
  std::string baseline = {};              ///< id, for compare; empty: the dense method
  std::optional<int> layer = {};          ///< empty: every layer; of maps and text the opening one
  std::optional<HeadSelector> head = {};  ///< empty: every head, or the head mean for text and attention
  std::optional<TileAddress> tile = {};   ///< of attention; empty: the whole map as one tile
};

/// Views of `ExportRequest::view`, in the order above.
const std::vector<std::string>& export_views();
/// Throws usage errors (no such view, method, layer or head) and input errors (the record does not hold it).
Table export_table(const RunRecord& record, const ExportRequest& request);

}  // namespace headroom::record
