// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/recorded_figure.h"

#include <QPaintEngine>
#include <QPainter>
#include <QPainterPath>
#include <functional>
#include <utility>
#include <vector>

namespace headroom::gui {
namespace {

/// The same font with everything said, and shared with nobody. Fonts of rich text leave to the document's font what their
/// format does not say, and a painter would fill that in from its device's font: other sizes at places made for these.
/// And what copies of a font share is loaded anew by each thread that uses one, under the other's hands.
QFont own_font(const QFont& font) {
  QFont own(font.families(), -1, font.weight());
  if (font.pixelSize() > 0)
    own.setPixelSize(font.pixelSize());
  else
    own.setPointSizeF(font.pointSizeF());
  own.setStyle(font.style());
  own.setStretch(font.stretch());
  own.setStyleHint(font.styleHint(), font.styleStrategy());
  own.setFixedPitch(font.fixedPitch());
  own.setKerning(font.kerning());
  own.setLetterSpacing(font.letterSpacingType(), font.letterSpacing());
  return own;
}

}  // namespace

class RecordedFigure::Engine : public QPaintEngine {
 public:
  /// `base`: the transform that the painter had before.
  using Step = std::function<void(QPainter& painter, const QTransform& base)>;

  Engine() : QPaintEngine(AllFeatures) {}
  bool begin(QPaintDevice*) override { return true; }
  bool end() override { return true; }
  Type type() const override { return User; }
  const std::vector<Step>& steps() const { return steps_; }

  void updateState(const QPaintEngineState& now) override {
    const DirtyFlags dirty = now.state();
    if (dirty & DirtyPen) keep([pen = now.pen()](QPainter& to) { to.setPen(pen); });
    if (dirty & DirtyBrush) keep([brush = now.brush()](QPainter& to) { to.setBrush(brush); });
    if (dirty & DirtyBrushOrigin) keep([at = now.brushOrigin()](QPainter& to) { to.setBrushOrigin(at); });
    if (dirty & DirtyBackground) keep([brush = now.backgroundBrush()](QPainter& to) { to.setBackground(brush); });
    if (dirty & DirtyBackgroundMode)
      keep([mode = now.backgroundMode()](QPainter& to) { to.setBackgroundMode(mode); });
    if (dirty & DirtyFont) keep([font = own_font(now.font())](QPainter& to) { to.setFont(font); });
    if (dirty & DirtyOpacity) keep([opacity = now.opacity()](QPainter& to) { to.setOpacity(opacity); });
    if (dirty & DirtyCompositionMode)
      keep([mode = now.compositionMode()](QPainter& to) { to.setCompositionMode(mode); });
    if (dirty & DirtyHints)
      keep([hints = now.renderHints()](QPainter& to) {
        to.setRenderHints(to.renderHints(), false);
        to.setRenderHints(hints, true);
      });
    // Before the clip, which is in the units of the transform that came with it.
    if (dirty & DirtyTransform)
      steps_.push_back([transform = now.transform()](QPainter& to, const QTransform& base) {
        to.setWorldTransform(transform * base);
      });
    if (dirty & DirtyClipRegion)
      keep([region = now.clipRegion(), how = now.clipOperation()](QPainter& to) { to.setClipRegion(region, how); });
    if (dirty & DirtyClipPath)
      keep([path = now.clipPath(), how = now.clipOperation()](QPainter& to) { to.setClipPath(path, how); });
    if (dirty & DirtyClipEnabled) keep([on = now.isClipEnabled()](QPainter& to) { to.setClipping(on); });
  }

  void drawPath(const QPainterPath& path) override {
    keep([path](QPainter& to) { to.drawPath(path); });
  }

  void drawPolygon(const QPointF* points, int count, PolygonDrawMode mode) override {
    keep([shape = QPolygonF(QList<QPointF>(points, points + count)), mode](QPainter& to) {
      if (mode == PolylineMode)
        to.drawPolyline(shape);
      else if (mode == ConvexMode)
        to.drawConvexPolygon(shape);
      else
        to.drawPolygon(shape, mode == WindingMode ? Qt::WindingFill : Qt::OddEvenFill);
    });
  }
  void drawPolygon(const QPoint* points, int count, PolygonDrawMode mode) override {
    const QPolygonF shape(QPolygon(QList<QPoint>(points, points + count)));
    drawPolygon(shape.constData(), count, mode);
  }

  void drawRects(const QRectF* rects, int count) override {
    keep([list = QList<QRectF>(rects, rects + count)](QPainter& to) { to.drawRects(list); });
  }
  void drawRects(const QRect* rects, int count) override {
    keep([list = QList<QRect>(rects, rects + count)](QPainter& to) { to.drawRects(list); });
  }
  void drawLines(const QLineF* lines, int count) override {
    keep([list = QList<QLineF>(lines, lines + count)](QPainter& to) { to.drawLines(list); });
  }
  void drawLines(const QLine* lines, int count) override {
    keep([list = QList<QLine>(lines, lines + count)](QPainter& to) { to.drawLines(list); });
  }
  void drawEllipse(const QRectF& area) override {
    keep([area](QPainter& to) { to.drawEllipse(area); });
  }
  void drawEllipse(const QRect& area) override { drawEllipse(QRectF(area)); }
  void drawPoints(const QPointF* points, int count) override {
    keep([list = QPolygonF(QList<QPointF>(points, points + count))](QPainter& to) { to.drawPoints(list); });
  }
  void drawPoints(const QPoint* points, int count) override {
    const QPolygonF list(QPolygon(QList<QPoint>(points, points + count)));
    drawPoints(list.constData(), count);
  }

  /// A pixmap belongs to the window's thread, an image does not.
  void drawPixmap(const QRectF& place, const QPixmap& pixmap, const QRectF& part) override {
    drawImage(place, pixmap.toImage(), part, Qt::AutoColor);
  }
  void drawTiledPixmap(const QRectF& place, const QPixmap& pixmap, const QPointF& shift) override {
    keep([place, image = pixmap.toImage(), shift](QPainter& to) {
      QBrush brush(image);
      const QPointF origin = to.brushOrigin();
      to.setBrushOrigin(place.topLeft() - shift);
      to.fillRect(place, brush);
      to.setBrushOrigin(origin);
    });
  }
  void drawImage(const QRectF& place, const QImage& image, const QRectF& part, Qt::ImageConversionFlags how) override {
    keep([place, image, part, how](QPainter& to) { to.drawImage(place, image, part, how); });
  }

  void drawTextItem(const QPointF& at, const QTextItem& item) override {
    // Lines under and through the text come as lines of their own.
    keep([at, font = own_font(item.font()), text = item.text()](QPainter& to) {
      const QFont before = to.font();
      to.setFont(font);
      to.drawText(at, text);
      to.setFont(before);
    });
  }

 private:
  template <typename Paint>
  void keep(Paint&& paint) {
    steps_.push_back([paint = std::forward<Paint>(paint)](QPainter& to, const QTransform&) { paint(to); });
  }

  std::vector<Step> steps_;
};

RecordedFigure::RecordedFigure(QSizeF size) : FigureDevice(size), engine_(std::make_unique<Engine>()) {}
RecordedFigure::~RecordedFigure() = default;

QPaintEngine* RecordedFigure::paintEngine() const {
  return engine_.get();
}

void RecordedFigure::play(QPainter& painter) const {
  painter.save();
  const QTransform base = painter.worldTransform();
  for (const Engine::Step& step : engine_->steps()) step(painter, base);
  painter.restore();
}

}  // namespace headroom::gui
