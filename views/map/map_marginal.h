// SPDX-License-Identifier: GPL-3.0-or-later
// The strip above the map: mass received by each key (logarithmic) and how often it is selected (0 … 1). Per pixel the
// largest value of its keys is drawn, so that a single key stays visible.
#pragma once

#include <qcustomplot.h>

#include <vector>

#include "views/map/map_data.h"

namespace headroom::views {

class MapMarginal : public QCPAbstractPlottable {
  Q_OBJECT
 public:
  MapMarginal(QCPAxis* key_axis, QCPAxis* value_axis);
  void set_data(MapDataPtr data) { data_ = std::move(data); }
  /// Of the line above the strip that says what it shows, in the size that goes with the map's `font`.
  static QFont label_font(QFont font);

  double selectTest(const QPointF&, bool, QVariant* = nullptr) const override { return -1; }
  QCPRange getKeyRange(bool& found, QCP::SignDomain = QCP::sdBoth) const override { return found = false, QCPRange(); }
  QCPRange getValueRange(bool& found, QCP::SignDomain = QCP::sdBoth, const QCPRange& = QCPRange()) const override {
    return found = false, QCPRange();
  }

 protected:
  void draw(QCPPainter* painter) override;
  void drawLegendIcon(QCPPainter*, const QRectF&) const override {}
  QRect clipRect() const override;  ///< with the line above the strip that says what it shows

 private:
  MapDataPtr data_;
};

/// The same strip on any painter (export).
void draw_marginal(QPainter& painter, const QRectF& area, const MapData& data, double key_begin, double key_end,
                   double pixel_ratio);

}  // namespace headroom::views
