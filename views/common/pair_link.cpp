// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/pair_link.h"

#include <algorithm>

namespace headroom::views {

void reveal_pair(ViewState& state, MapPoint point, std::int64_t length) {
  const double tokens = static_cast<double>(length);
  const auto reveal = [tokens](double& begin, double& end, double at) {
    const double span = end - begin;
    if (at >= begin && at + 1 <= end) return;
    begin = std::clamp(at + 0.5 - span / 2, 0.0, std::max(0.0, tokens - span));
    end = begin + span;
  };
  if (point.query >= 0) reveal(state.viewport.query_begin, state.viewport.query_end, static_cast<double>(point.query));
  if (point.key >= 0) reveal(state.viewport.key_begin, state.viewport.key_end, static_cast<double>(point.key));
}

void look_at_pair(Selection& selection, MapPoint point, std::optional<int> layer, bool keep_rows,
                  const QString& merge_key) {
  const RecordPtr record = selection.record();
  if (!record || point.query < 0 || point.query >= record->length() || point.key >= record->length()) return;
  selection.change(
      [&](ViewState& state) {
        if (layer && record->meta().has_layer(*layer)) state.layer = *layer;
        if (!keep_rows || state.query_end <= state.query_begin) {
          state.query_begin = point.query;
          state.query_end = point.query + 1;
        }
        state.keys.clear();
        if (point.key >= 0) state.keys.insert(point.key);
        reveal_pair(state, point, record->length());
      },
      merge_key);
}

}  // namespace headroom::views
