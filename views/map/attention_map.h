// SPDX-License-Identifier: GPL-3.0-or-later
// The attention map as a QCustomPlot plottable (keys right, queries down), and the marks over it: selected rows and
// keys, pins and the cross-hair. The marks live on a layer of their own, so hovering never redraws the map.
#pragma once

#include <qcustomplot.h>

#include <functional>

#include "views/map/map_composer.h"

namespace headroom::views {

class AttentionMap : public QCPAbstractPlottable {
  Q_OBJECT
 public:
  AttentionMap(QCPAxis* key_axis, QCPAxis* query_axis, TileCache* cache);
  ~AttentionMap() override;

  void set_data(MapDataPtr primary, MapDataPtr secondary);
  void set_style(const MapStyle& style);
  const MapStyle& style() const { return picture_.style; }
  bool stale() const { return stale_; }  ///< the next replot composes anew
  void invalidate() { stale_ = true; }  ///< tiles or the theme's colours changed

  /// The image as last drawn: its level, and whether it is complete.
  const Composition& composition() const { return drawn_; }
  CellValue value_at(const MapDataPtr& data, MapPoint point) { return composer_.value_at(data, drawn_.level, point); }
  /// What the picture of the first map was drawn from.
  std::vector<GridPtr> visible_grids() { return composer_.grids_in(picture_.primary, drawn_.level, picture_.view); }
  /// Vertical positions against the image. QCustomPlot's own mapping of a reversed axis lies one pixel above it.
  double query_at(double y) const;
  /// Composes `view` at another resolution (export, minimap) with what is cached; what is missing is asked for in the
  /// name of `client`, in place of what that one asked for before (null: nothing is).
  Composition compose(QSize size, double pixel_ratio, const Viewport& view, const void* client);

  double selectTest(const QPointF& position, bool only_selectable, QVariant* details = nullptr) const override;
  QCPRange getKeyRange(bool& found, QCP::SignDomain domain = QCP::sdBoth) const override;
  QCPRange getValueRange(bool& found, QCP::SignDomain domain = QCP::sdBoth,
                         const QCPRange& key_range = QCPRange()) const override;

 protected:
  void draw(QCPPainter* painter) override;
  void drawLegendIcon(QCPPainter* painter, const QRectF& rect) const override;

 private:
  QPointer<TileCache> cache_;  ///< may go first when a window closes
  MapComposer composer_;
  MapPicture picture_;
  Composition drawn_;
  bool stale_ = true;
};

/// Hatches rows that the record did not keep, so that they are not read as zero. `place` maps a key and a query.
void hatch_missing_rows(QPainter& painter, const MapData& data,
                        const std::function<QPointF(double key, double query)>& place);
/// The keys that each query of a layer with a window sees, as an area over the axes.
void draw_band(QPainter& painter, const MapData& data, const Viewport& view,
               const std::function<QPointF(double key, double query)>& place);
double y_of_query(const QCPAxis& axis, double query);

class MapMarks : public QCPAbstractPlottable {
  Q_OBJECT
 public:
  MapMarks(QCPAxis* key_axis, QCPAxis* query_axis, const Selection* selection);
  void set_mirrored_hover(bool mirrored) { mirrored_hover_ = mirrored; }
  /// Tokens, ascending, that get a tick beside their row and their column.
  void set_found(std::vector<std::int64_t> tokens, std::int64_t current) {
    found_ = std::move(tokens);
    current_found_ = current;
  }

  double selectTest(const QPointF&, bool, QVariant* = nullptr) const override { return -1; }
  QCPRange getKeyRange(bool& found, QCP::SignDomain = QCP::sdBoth) const override { return found = false, QCPRange(); }
  QCPRange getValueRange(bool& found, QCP::SignDomain = QCP::sdBoth, const QCPRange& = QCPRange()) const override {
    return found = false, QCPRange();
  }

 protected:
  void draw(QCPPainter* painter) override;
  void drawLegendIcon(QCPPainter*, const QRectF&) const override {}
  QRect clipRect() const override;  ///< with the ticks outside

 private:
  void draw_found(QCPPainter* painter, const QRectF& area);
  const Selection* selection_;
  std::vector<std::int64_t> found_;
  std::int64_t current_found_ = -1;
  bool mirrored_hover_ = false;
};

/// A pin's chip: its number on a filled circle.
void draw_pin(QPainter& painter, QPointF centre, int number, double radius);

}  // namespace headroom::views
