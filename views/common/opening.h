// SPDX-License-Identifier: GPL-3.0-or-later
// Where a newly opened record is looked at first.
#pragma once

#include <QString>
#include <optional>

#include "record/run_record.h"

namespace headroom::views {

/// The indexer whose maps can be drawn exactly, since the keys that it misses and wastes are there to see; else another
/// sparse method with maps, else any with maps, else any sparse one.
QString opening_method(const record::RunRecord& record);

/// From the summaries alone. Of the layers that the record holds best (stream before thumbnails before any full layer)
/// the one whose support captures least.
int opening_layer(const record::RunRecord& record, const record::MethodSummary* method);

/// The kept layer where retrieval shows: over the mean of its heads the last query gives a few keys, neither sinks nor
/// local, the most mass beyond what those keys get from the other queries. (Mass alone would choose layers that spread
/// it evenly, or that have further sinks.) Reads q and k of some layers, so it belongs on a background thread; none where no layer
/// is kept exactly, where reading would take too long, or where the data are damaged (the map will say so).
std::optional<int> retrieval_layer(const record::RunRecord& record);

}  // namespace headroom::views
