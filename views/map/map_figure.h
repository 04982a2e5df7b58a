// SPDX-License-Identifier: GPL-3.0-or-later
// A map as a figure on any painter: axes, marginals, scale and captions as vectors and text, the map as one image.
#pragma once

#include <QString>
#include <functional>

#include "views/map/attention_map.h"
#include "views/common/exportable.h"

namespace headroom::views {

struct MapFigure {
  AttentionMap* map = nullptr;
  MapDataPtr primary, secondary;
  const Selection* selection = nullptr;
  QString title, notice;
  const void* client = nullptr;                      ///< in whose name tiles are asked for
  std::function<QString(const Composition&)> badge;  ///< of the picture as it was composed
};

/// Returns what was drawn of the map itself: its level, and what it lacks.
Composition draw_map_figure(QPainter& painter, const QRectF& target, const ExportOptions& options,
                            const MapFigure& figure);
/// Height of a map's text where a figure of this width holds one and nothing says otherwise.
int map_text_size(double width);

/// One line per causal pair of the view, or, where that would be more than 200,000 lines, per cell of `level`, which is
/// the one that is shown, or of the finest coarser one that can be had: a first line says how large cells are. Query,
/// key, p (or max and mean), selected, missed and both tokens.
QString map_csv(const MapData& data, const Viewport& view, int level, const std::stop_token& stop = {});

}  // namespace headroom::views
