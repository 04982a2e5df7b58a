// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/clipped_device.h"

#include <QPaintEngine>
#include <QPainter>
#include <QPainterPath>
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace headroom::gui {
namespace {

/// The part of a line inside `clip`; false where there is none.
bool cut_line(const QRectF& clip, QPointF& a, QPointF& b) {
  const QPointF step = b - a;
  double from = 0, to = 1;
  const auto edge = [&](double direction, double distance) {
    if (direction == 0) return distance >= 0;
    const double at = distance / direction;
    if (direction < 0) from = std::max(from, at);
    if (direction > 0) to = std::min(to, at);
    return from <= to;
  };
  if (!std::isfinite(step.x()) || !std::isfinite(step.y())) return false;
  if (!edge(-step.x(), a.x() - clip.left()) || !edge(step.x(), clip.right() - a.x()) ||
      !edge(-step.y(), a.y() - clip.top()) || !edge(step.y(), clip.bottom() - a.y()))
    return false;
  const QPointF begin = a;
  a = begin + from * step;
  b = begin + to * step;
  return true;
}

}  // namespace

class ClippedDevice::Engine : public QPaintEngine {
 public:
  explicit Engine(QPainter& target) : QPaintEngine(AllFeatures), target_(target), base_(target.worldTransform()) {}
  bool begin(QPaintDevice*) override { return true; }
  bool end() override { return true; }
  Type type() const override { return User; }

  void updateState(const QPaintEngineState& now) override {
    const DirtyFlags dirty = now.state();
    if (dirty & DirtyPen) target_.setPen(now.pen());
    if (dirty & DirtyBrush) target_.setBrush(now.brush());
    if (dirty & DirtyBrushOrigin) target_.setBrushOrigin(now.brushOrigin());
    if (dirty & DirtyFont) target_.setFont(now.font());
    if (dirty & DirtyOpacity) target_.setOpacity(now.opacity());
    if (dirty & DirtyHints) {
      target_.setRenderHints(target_.renderHints(), false);
      target_.setRenderHints(now.renderHints(), true);
    }
    if (dirty & DirtyTransform) {
      transform_ = now.transform();
      target_.setWorldTransform(transform_ * base_);
    }
    if (dirty & DirtyClipEnabled) enabled_ = now.isClipEnabled();
    if (dirty & (DirtyClipRegion | DirtyClipPath)) {
      const QRectF asked = dirty & DirtyClipPath ? now.clipPath().boundingRect()
                                                 : QRectF(now.clipRegion().boundingRect());
      const QRectF mapped = transform_.mapRect(asked);
      switch (now.clipOperation()) {
        case Qt::NoClip:
          clip_.reset();
          break;
        case Qt::ReplaceClip:
          clip_ = mapped;
          break;
        case Qt::IntersectClip:
          clip_ = clip_ ? clip_->intersected(mapped) : mapped;
      }
      enabled_ = true;
    }
  }

  void drawPath(const QPainterPath& path) override {
    const QRectF clip = local_clip();
    if (clip.isNull() || clip.contains(path.controlPointRect())) return target_.drawPath(path);
    const QPen pen = target_.pen();
    const QBrush brush = target_.brush();
    if (brush.style() != Qt::NoBrush) {
      QPainterPath inside;
      inside.addRect(clip);
      target_.setPen(Qt::NoPen);
      target_.drawPath(path.intersected(inside));
      target_.setPen(pen);
    }
    if (pen.style() == Qt::NoPen) return;
    for (const QPolygonF& line : path.toSubpathPolygons()) draw_cut(clip, line.constData(), line.size());
  }

  void drawPolygon(const QPointF* points, int count, PolygonDrawMode mode) override {
    if (mode == PolylineMode) {
      const QRectF clip = local_clip();
      if (clip.isNull()) return target_.drawPolyline(points, count);
      return draw_cut(clip, points, count);
    }
    QPainterPath path;
    path.addPolygon(QPolygonF(QList<QPointF>(points, points + count)));
    path.closeSubpath();
    path.setFillRule(mode == WindingMode ? Qt::WindingFill : Qt::OddEvenFill);
    drawPath(path);
  }

  void drawPixmap(const QRectF& place, const QPixmap& pixmap, const QRectF& part) override {
    drawImage(place, pixmap.toImage(), part, Qt::AutoColor);
  }

  void drawImage(const QRectF& place, const QImage& image, const QRectF& part, Qt::ImageConversionFlags how) override {
    const QRectF clip = local_clip();
    if (clip.isNull() || clip.contains(place)) return target_.drawImage(place, image, part, how);
    const QRectF seen = place.intersected(clip);
    if (seen.isEmpty()) return;
    const double x = part.width() / place.width(), y = part.height() / place.height();
    const QRectF cut(part.left() + (seen.left() - place.left()) * x, part.top() + (seen.top() - place.top()) * y,
                     seen.width() * x, seen.height() * y);
    target_.drawImage(seen, image, cut, how);
  }

  void drawTextItem(const QPointF& at, const QTextItem& item) override {
    const QRectF clip = local_clip();
    const QRectF place(at.x(), at.y() - item.ascent(), item.width(), item.ascent() + item.descent());
    if (!clip.isNull() && !clip.intersects(place)) return;  // letters are not cut: all or none
    const QFont before = target_.font();
    target_.setFont(item.font());
    target_.drawText(at, item.text());
    target_.setFont(before);
  }

 private:
  /// In the units that are drawn in; null: none, or one that does not lie straight.
  QRectF local_clip() const {
    if (!clip_ || !enabled_ || !transform_.isInvertible() || transform_.type() > QTransform::TxScale) return {};
    const QRectF clip = transform_.inverted().mapRect(*clip_);
    return clip.isEmpty() ? QRectF(clip.topLeft(), QSizeF(1e-9, 1e-9)) : clip;
  }
  void draw_cut(const QRectF& clip, const QPointF* points, qsizetype count) {
    const QBrush brush = target_.brush();
    target_.setBrush(Qt::NoBrush);
    QList<QPointF> run;
    const auto finish = [&] {
      if (run.size() > 1) target_.drawPolyline(run.constData(), static_cast<int>(run.size()));
      run.clear();
    };
    for (qsizetype i = 0; i + 1 < count; ++i) {
      QPointF a = points[i], b = points[i + 1];
      if (!cut_line(clip, a, b)) {
        finish();
        continue;
      }
      if (run.isEmpty() || run.back() != a) {
        finish();
        run << a;
      }
      run << b;
    }
    finish();
    target_.setBrush(brush);
  }

  QPainter& target_;
  const QTransform base_;
  QTransform transform_;
  std::optional<QRectF> clip_;  ///< in the device's units
  bool enabled_ = false;
};

ClippedDevice::ClippedDevice(QPainter& target, QSizeF size) : FigureDevice(size), engine_(std::make_unique<Engine>(target)) {}
ClippedDevice::~ClippedDevice() = default;

QPaintEngine* ClippedDevice::paintEngine() const {
  return engine_.get();
}

}  // namespace headroom::gui
