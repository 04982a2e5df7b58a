// SPDX-License-Identifier: Apache-2.0
// Where a record is looked at first, where nobody says: the same method and layer in the window, in pictures and in
// tables.
#pragma once

#include <optional>
#include <string>

#include "record/run_record.h"

namespace headroom::record {

/// Positions that the statistics count as sinks and as local.
inline constexpr std::int64_t counted_sinks = 4, counted_local = 64;

/// The indexer whose maps can be drawn exactly, since the keys that it misses and wastes are there to see; else another
/// sparse method with maps, else any with maps, else any sparse one. Empty where the record holds no method.
std::string opening_method(const RunRecord& record);

/// From the summaries alone. Of the layers that the record holds best (stream before thumbnails before any full layer)
/// the one whose support captures least.
int opening_layer(const RunRecord& record, const MethodSummary* method);

/// The kept layer where retrieval shows: over the mean of its heads the last query gives a few keys, neither sinks nor
/// local, the most mass beyond what those keys get from the other queries. (Mass alone would choose layers that spread
/// it evenly, or that have further sinks.) Reads q and k of some layers, so it belongs on a background thread; none
/// where no layer is kept exactly, where reading would take too long, or where the data are damaged (the map will say
/// so).
std::optional<int> retrieval_layer(const RunRecord& record);

/// retrieval_layer(), else opening_layer() of the opening method: what a newly opened record shows.
int first_layer(const RunRecord& record);

}  // namespace headroom::record
