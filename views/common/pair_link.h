// SPDX-License-Identifier: GPL-3.0-or-later
// Looking at a pair of query and key from anywhere: lists, tables and cards lead map and text to it.
#pragma once

#include <QString>
#include <optional>

#include "views/common/selection.h"

namespace headroom::views {

/// Moves the viewport of a prompt of `length` tokens so that the pair lies in it; the span stays. A key of -1: the
/// query alone.
void reveal_pair(ViewState& state, MapPoint point, std::int64_t length);
/// Selects the pair, in `layer` where there is one, and reveals it. `keep_rows`: the selected rows stay as they are,
/// only the key is chosen. Nothing for a pair that the shown record does not have.
void look_at_pair(Selection& selection, MapPoint point, std::optional<int> layer = {}, bool keep_rows = false,
                  const QString& merge_key = {});

}  // namespace headroom::views
