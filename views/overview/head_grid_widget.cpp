// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/overview/head_grid_widget.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>
#include <iterator>

#include "views/common/format.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"

namespace headroom::views {

struct HeadGridWidget::Layout {
  QRectF cells;  ///< heads only
  QRectF mean;   ///< the head-mean row
  QRectF bar;    ///< colour bar
  double cell_width = 0, cell_height = 0;
  QFont font;
  double line = 0;  ///< text height
};

HeadGridWidget::HeadGridWidget(QWidget* parent) : QWidget(parent) {
  setFocusPolicy(Qt::StrongFocus);
  setMouseTracking(true);
  setAccessibleName(tr("Layers and heads"));
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
  connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

QSize HeadGridWidget::sizeHint() const {
  // No taller than needed: the page gives what is left, and scrolls only where even the least does not fit.
  return {760, minimumSizeHint().height()};
}
QSize HeadGridWidget::minimumSizeHint() const {
  const int heads = data_ ? data_->heads : 10;
  return {360, std::clamp(heads * 11 + 70, 150, 420)};
}

void HeadGridWidget::set_data(std::shared_ptr<const GridData> grid, std::vector<int> order) {
  data_ = std::move(grid);
  order_ = std::move(order);
  column_of_layer_.assign(order_.size(), -1);
  for (std::size_t column = 0; column < order_.size(); ++column)
    column_of_layer_[static_cast<std::size_t>(order_[column])] = static_cast<int>(column);
  has_range_ = data_ && data_->range(low_, high_);
  std::vector<double> sorted;
  if (data_)
    std::copy_if(data_->values.begin(), data_->values.end(), std::back_inserter(sorted),
                 [](double value) { return std::isfinite(value); });
  std::sort(sorted.begin(), sorted.end());
  const std::size_t few = sorted.size() / 40;
  usual_low_ = sorted.empty() ? 0 : sorted[few];
  usual_high_ = sorted.empty() ? 1 : sorted[sorted.size() - 1 - few];
  if (has_range_ && high_ - low_ < 1e-12) {
    low_ -= std::max(1e-6, std::abs(low_) * 0.01);
    high_ += std::max(1e-6, std::abs(high_) * 0.01);
  }
  updateGeometry();
  update();
}

void HeadGridWidget::set_current(int layer, int head) {
  if (layer == layer_ && head == head_) return;
  layer_ = layer;
  head_ = head;
  if (data_) setAccessibleDescription(read_out(layer, head));
  update();
}

HeadGridWidget::Spread HeadGridWidget::spread() const {
  using Scale = GridStatistic::Scale;
  const Scale wanted = data_ && data_->statistic ? data_->statistic->scale : Scale::linear;
  Spread spread{wanted, usual_low_, usual_high_};
  if (wanted == Scale::log_of_rest) spread = {wanted, 1 - usual_high_, 1 - usual_low_};
  if (wanted == Scale::linear) return spread;
  // Zero has no logarithm, and four decades are as much as colours can tell.
  spread.low = std::max(spread.low, spread.high * 1e-4);
  if (!(spread.low > 0) || spread.high / spread.low < 4) return {Scale::linear, low_, high_};
  return spread;
}

double HeadGridWidget::fraction(double value) const {
  if (!has_range_ || !std::isfinite(value)) return 0;
  using Scale = GridStatistic::Scale;
  const Spread s = spread();
  const auto log = [&](double x) { return std::log(std::max(x, s.low) / s.low) / std::log(s.high / s.low); };
  const double f = s.scale == Scale::linear ? (value - s.low) / (s.high - s.low)
                   : s.scale == Scale::log  ? log(value)
                                            : 1 - log(1 - value);
  return std::clamp(f, 0.0, 1.0);
}

double HeadGridWidget::value_at(double f) const {
  using Scale = GridStatistic::Scale;
  const Spread s = spread();
  if (s.scale == Scale::linear) return s.low + f * (s.high - s.low);
  return s.scale == Scale::log ? s.low * std::pow(s.high / s.low, f) : 1 - s.low * std::pow(s.high / s.low, 1 - f);
}

QString HeadGridWidget::end_mark(double f) const {
  // Values beyond the ends of the scale have the colour of its end.
  const double room = 1e-9 * std::max(1.0, std::abs(high_));
  if (f >= 1 && value_at(1) < high_ - room) return QStringLiteral("≥ ");
  if (f <= 0 && value_at(0) > low_ + room) return QStringLiteral("≤ ");
  return {};
}

QColor HeadGridWidget::colour(double value) const {
  return QColor(cividis()[static_cast<int>(std::lround(fraction(value) * 255))]);
}

HeadGridWidget::Layout HeadGridWidget::layout(const QRectF& area, double unit, const QFont& font) const {
  Layout l;
  l.font = font;
  const QFontMetricsF metrics(font);
  l.line = metrics.height();
  const int heads = std::max(1, data_->heads - 1), layers = std::max(1, data_->layers);
  const double left = metrics.horizontalAdvance(QStringLiteral("mean")) + 24 * unit + l.line;
  const double right = metrics.horizontalAdvance(QStringLiteral("≥ 1,000 keys")) + 40 * unit;
  const double top = 2 * unit, bottom = 2 * l.line + 6 * unit, gap = 6 * unit;
  const double width = std::max(10 * unit, area.width() - left - right);
  const double height = std::max(10 * unit, area.height() - top - bottom - gap);
  l.cell_width = std::min(width / layers, 96 * unit);
  l.cell_height = std::min(height / (heads + 1), 48 * unit);
  // Whole pixels on screen keep the cells equal.
  if (l.cell_width > 4 * unit) l.cell_width = std::floor(l.cell_width / unit) * unit;
  if (l.cell_height > 4 * unit) l.cell_height = std::floor(l.cell_height / unit) * unit;
  l.cells = QRectF(area.left() + left, area.top() + top, l.cell_width * layers, l.cell_height * heads);
  l.mean = QRectF(l.cells.left(), l.cells.bottom() + gap, l.cells.width(), l.cell_height);
  l.bar = QRectF(l.cells.right() + 24 * unit, l.cells.top(), 12 * unit, l.mean.bottom() - l.cells.top());
  return l;
}

void HeadGridWidget::draw(QPainter& painter, const QRectF& area, double unit, bool interactive) const {
  if (!data_ || data_->layers == 0) return;
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing, false);
  const Layout l = layout(area, unit, painter.font());
  draw_cells(painter, l, unit);
  draw_bands(painter, l, unit);
  draw_brackets(painter, l, unit);
  draw_axes(painter, l, unit);
  draw_colour_bar(painter, l, unit);
  const auto outline = [&](int layer, int head, const QColor& colour, double width) {
    const QRectF box = cell(l, layer, head);
    if (box.isEmpty()) return;
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(Theme::instance().background(), width + 2 * unit, Qt::SolidLine, Qt::SquareCap, Qt::MiterJoin));
    painter.drawRect(box);
    painter.setPen(QPen(colour, width, Qt::SolidLine, Qt::SquareCap, Qt::MiterJoin));
    painter.drawRect(box);
  };
  if (interactive) outline(hover_layer_, hover_head_, Theme::instance().muted_text(), 1.5 * unit);
  outline(layer_, head_, Theme::instance().accent(), 2 * unit);
  painter.restore();
}

void HeadGridWidget::draw_cells(QPainter& painter, const Layout& l, double unit) const {
  const Theme& theme = Theme::instance();
  QFont small = l.font;
  if (small.pixelSize() > 0) {
    small.setPixelSize(std::max(1, static_cast<int>(small.pixelSize() * 0.8)));
  } else {
    small.setPointSizeF(small.pointSizeF() * 0.8);
  }
  const QFontMetricsF metrics(small);
  double widest = 0;
  for (const double value : data_->values)
    widest = std::max(widest, metrics.horizontalAdvance(data_->statistic->format_short(value, high_ - low_)));
  const bool numbers = l.cell_width >= widest + 5 * unit && l.cell_height >= metrics.height() + unit;
  const auto fill = [&](const QRectF& box, double value) {
    const QRectF inner = box.adjusted(0, 0, -unit, -unit);
    if (!std::isfinite(value)) {
      painter.fillRect(inner, theme.panel());
      painter.fillRect(inner, QBrush(theme.border(), Qt::Dense6Pattern));
      return;
    }
    const QColor background = colour(value);
    painter.fillRect(inner, background);
    if (!numbers) return;
    painter.setFont(small);
    painter.setPen(qGray(background.rgb()) > 128 ? QColor(0xff101418) : QColor(0xfff6f8fa));
    painter.drawText(inner, Qt::AlignCenter, data_->statistic->format_short(value, high_ - low_));
  };
  for (const int layer : order_) {
    if (!data_->is_full(layer)) continue;
    const int heads = data_->heads_of(layer);
    if (data_->statistic->per_layer) {
      // One value for the whole layer: one tall cell, so that it does not look like a number per head.
      fill(cell(l, layer, 0).united(cell(l, layer, heads - 1)), data_->at(layer, data_->mean()));
    } else {
      for (int head = 0; head < heads; ++head) fill(cell(l, layer, head), data_->at(layer, head));
    }
    fill(cell(l, layer, data_->mean()), data_->at(layer, data_->mean()));
  }
}

void HeadGridWidget::draw_bands(QPainter& painter, const Layout& l, double unit) const {
  const Theme& theme = Theme::instance();
  const QFontMetricsF metrics(l.font);
  painter.setFont(l.font);
  const auto kind_at = [&](int column) { return data_->size_of(order_[static_cast<std::size_t>(column)]).kind; };
  for (int begin = 0, end = 0; begin < data_->layers; begin = end) {
    // Neighbours of one kind make one band.
    for (end = begin + 1; end < data_->layers && kind_at(end) == kind_at(begin);) ++end;
    if (data_->is_full(order_[static_cast<std::size_t>(begin)])) continue;
    const QRectF band(l.cells.left() + begin * l.cell_width, l.cells.top(), (end - begin) * l.cell_width - unit,
                      l.mean.bottom() - l.cells.top() - unit);
    painter.fillRect(band, theme.panel());
    painter.fillRect(band, QBrush(theme.border(), Qt::BDiagPattern));
    const record::LayerMeta& sizes = data_->size_of(order_[static_cast<std::size_t>(begin)]);
    QString kind = QString::fromStdString(sizes.kind);
    const auto alike = [&](int column) {
      return data_->size_of(order_[static_cast<std::size_t>(column)]).window == sizes.window;
    };
    // With its window, where that is the same for all and there is room to say it.
    if (bool same = sizes.window > 0; same) {
      for (int column = begin; column < end; ++column) same &= alike(column);
      const QString whole = tr("%1, %2 keys").arg(kind, format_count(sizes.window));
      const double room = metrics.horizontalAdvance(whole) + 6 * unit;
      if (same && (band.width() >= room || (band.width() >= l.line * 0.9 && band.height() >= room))) kind = whole;
    }
    const double width = metrics.horizontalAdvance(kind) + 6 * unit;
    const bool upright = band.width() < width;
    if ((upright && (band.width() < l.line * 0.9 || band.height() < width)) || band.height() < l.line) continue;
    painter.save();
    painter.translate(band.center());
    if (upright) painter.rotate(-90);
    const QRectF box(-width / 2, -l.line / 2, width, l.line);
    painter.fillRect(box, theme.panel());
    painter.setPen(theme.muted_text());
    painter.drawText(box, Qt::AlignCenter, kind);
    painter.restore();
  }
}

// Query heads that share a KV head stand in one bracket: left of the grid where all layers share alike, else at the
// left edge of each layer's own cells.
void HeadGridWidget::draw_brackets(QPainter& painter, const Layout& l, double unit) const {
  const Theme& theme = Theme::instance();
  const auto bracket = [&](const record::LayerMeta& layer, double x, double hook, const QPen& pen) {
    if (layer.group_size() == 1) return;
    painter.setPen(pen);
    for (std::int64_t group = 0; group < layer.num_kv_heads; ++group) {
      const double height = static_cast<double>(layer.group_size()) * l.cell_height;
      const double top = l.cells.top() + static_cast<double>(group) * height + 2 * unit;
      const double bottom = top + height - 5 * unit;
      painter.drawLine(QPointF(x, top), QPointF(x, bottom));
      painter.drawLine(QPointF(x, top), QPointF(x + hook, top));
      painter.drawLine(QPointF(x, bottom), QPointF(x + hook, bottom));
    }
  };
  const bool same = data_->same_groups();
  for (const int layer : order_) {
    if (!data_->is_full(layer)) continue;
    const record::LayerMeta& size = data_->size_of(layer);
    if (same) return bracket(size, l.cells.left() - 9 * unit, 4 * unit, QPen(theme.muted_text(), 1.5 * unit));
    for (const QPen& pen : {QPen(theme.map_casing(), 3 * unit), QPen(theme.map_outline(), unit)})
      bracket(size, cell(l, layer, 0).left() + unit, std::min(4 * unit, l.cell_width / 3), pen);
  }
}

void HeadGridWidget::draw_axes(QPainter& painter, const Layout& l, double unit) const {
  const Theme& theme = Theme::instance();
  const int heads = data_->heads - 1;
  painter.setFont(l.font);
  painter.setPen(theme.muted_text());
  const QFontMetricsF metrics(l.font);
  const double labels_right = l.cells.left() - 14 * unit;
  const int head_step = std::max(1, static_cast<int>(std::ceil(l.line / std::max(1.0, l.cell_height))));
  for (int head = 0; head < heads; head += head_step)
    painter.drawText(QRectF(labels_right - 80 * unit, l.cells.top() + head * l.cell_height, 80 * unit,
                            std::max(l.cell_height, l.line)),
                     Qt::AlignRight | (head_step > 1 ? Qt::AlignTop : Qt::AlignVCenter), QString::number(head));
  painter.drawText(QRectF(labels_right - 80 * unit, l.mean.top(), 80 * unit, l.mean.height()),
                   Qt::AlignRight | Qt::AlignVCenter, tr("mean"));
  painter.setPen(theme.muted_text());
  const double widest = metrics.horizontalAdvance(QString::number(data_->layers)) + 4 * unit;
  const int step = std::max(1, static_cast<int>(std::ceil(widest / std::max(1.0, l.cell_width))));
  for (int column = 0; column < data_->layers; column += step)
    painter.drawText(QRectF(l.cells.left() + column * l.cell_width, l.mean.bottom() + 2 * unit,
                            std::max(l.cell_width, widest), l.line),
                     (step > 1 ? Qt::AlignLeft : Qt::AlignHCenter) | Qt::AlignTop,
                     QString::number(order_[static_cast<std::size_t>(column)]));
  painter.drawText(QRectF(l.cells.left(), l.mean.bottom() + 2 * unit + l.line, l.cells.width(), l.line),
                   Qt::AlignHCenter | Qt::AlignTop, tr("layer"));
  painter.save();
  painter.translate(labels_right - metrics.horizontalAdvance(QStringLiteral("mean")) - 4 * unit, l.cells.center().y());
  painter.rotate(-90);
  painter.drawText(QRectF(-100 * unit, -l.line, 200 * unit, l.line), Qt::AlignHCenter | Qt::AlignBottom, tr("head"));
  painter.restore();
}

void HeadGridWidget::draw_colour_bar(QPainter& painter, const Layout& l, double unit) const {
  if (!has_range_) return;
  const Theme& theme = Theme::instance();
  // Bands rather than a gradient with 256 stops: the same in every vector format.
  constexpr int bands = 64;
  for (int i = 0; i < bands; ++i) {
    const double top = l.bar.bottom() - (i + 1) * l.bar.height() / bands;
    painter.fillRect(QRectF(l.bar.left(), top, l.bar.width(), l.bar.height() / bands + 0.5 * unit),
                     QColor(cividis()[std::min(255, i * 256 / bands + 2)]));
  }
  painter.setFont(l.font);
  painter.setPen(theme.muted_text());
  const int ticks = l.bar.height() > 8 * l.line ? 4 : 2;
  for (int i = 0; i <= ticks; ++i) {
    const double f = static_cast<double>(i) / ticks;
    const double y = l.bar.bottom() - f * l.bar.height();
    painter.drawLine(QPointF(l.bar.right(), y), QPointF(l.bar.right() + 4 * unit, y));
    const double text_top = std::clamp(y - l.line / 2, l.bar.top() - 2 * unit, l.bar.bottom() - l.line + 2 * unit);
    painter.drawText(QRectF(l.bar.right() + 7 * unit, text_top, 200 * unit, l.line), Qt::AlignLeft | Qt::AlignVCenter,
                     end_mark(f) + data_->statistic->format(value_at(f)));
  }
}

QRectF HeadGridWidget::cell(const Layout& l, int layer, int head) const {
  if (layer < 0 || layer >= data_->layers || !data_->has_cell(layer, head)) return {};
  const double y = head == data_->mean() ? l.mean.top() : l.cells.top() + head * l.cell_height;
  return {l.cells.left() + column_of_layer_[static_cast<std::size_t>(layer)] * l.cell_width, y, l.cell_width,
          l.cell_height};
}

QRectF HeadGridWidget::cell_rect(int layer, int head) const {
  return data_ ? cell(layout(rect(), 1, font()), layer, head) : QRectF();
}

bool HeadGridWidget::hit(const QPointF& position, int& layer, int& head) const {
  if (!data_ || data_->layers == 0) return false;
  const Layout l = layout(rect(), 1, font());
  const int column = static_cast<int>(std::floor((position.x() - l.cells.left()) / l.cell_width));
  if (column < 0 || column >= data_->layers) return false;
  layer = order_[static_cast<std::size_t>(column)];
  head = data_->mean();
  if (!data_->is_full(layer)) return position.y() >= l.cells.top() && position.y() <= l.mean.bottom();
  if (l.mean.contains(position)) return true;
  if (!l.cells.contains(position)) return false;
  head = static_cast<int>((position.y() - l.cells.top()) / l.cell_height);
  return head < data_->heads_of(layer);
}

QString HeadGridWidget::read_out(int layer, int head) const {
  if (!data_ || layer < 0 || layer >= data_->layers || head < 0 || head >= data_->heads) return {};
  const GridStatistic& statistic = *data_->statistic;
  if (!data_->is_full(layer))
    return tr("Layer %1: %2; runs unchanged in every method").arg(layer).arg(layer_text(data_->size_of(layer)));
  if (!data_->has_cell(layer, head)) return {};
  const double value = data_->at(layer, head);
  QString place =
      head == data_->mean() ? tr("Layer %1, head mean").arg(layer) : tr("Layer %1, head %2").arg(layer).arg(head);
  if (head != data_->mean() && data_->size_of(layer).group_size() > 1)
    place += tr(" (KV head %1)").arg(data_->group_of(layer, head));
  if (statistic.per_layer) place = tr("Layer %1, all heads").arg(layer);
  const QString text = std::isfinite(value) ? statistic.format(value) : tr("no such number in this record");
  return tr("%1: %2 %3").arg(place, QString::fromUtf8(statistic.title).section(" (", 0, 0).toLower(), text);
}

void HeadGridWidget::move_to(int layer, int head) {
  set_current(layer, head);
  emit current_changed(layer, head);
}

void HeadGridWidget::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.fillRect(rect(), Theme::instance().background());
  painter.setFont(font());
  draw(painter, rect(), 1, true);
}

void HeadGridWidget::mousePressEvent(QMouseEvent* event) {
  int layer, head;
  if (event->button() == Qt::LeftButton && hit(event->position(), layer, head) && data_->is_full(layer))
    move_to(layer, head);
}

void HeadGridWidget::mouseDoubleClickEvent(QMouseEvent* event) {
  int layer, head;
  if (event->button() == Qt::LeftButton && hit(event->position(), layer, head) && data_->is_full(layer))
    emit activated(layer, head);
}

void HeadGridWidget::mouseMoveEvent(QMouseEvent* event) {
  int layer = -1, head = -1;
  if (!hit(event->position(), layer, head)) layer = head = -1;
  if (layer == hover_layer_ && head == hover_head_) return;
  hover_layer_ = layer;
  hover_head_ = head;
  emit hovered(layer, head);
  update();
}

void HeadGridWidget::leaveEvent(QEvent*) {
  if (hover_layer_ < 0) return;
  hover_layer_ = hover_head_ = -1;
  emit hovered(-1, -1);
  update();
}

void HeadGridWidget::move_by_columns(int from, int step, int head) {
  for (int column = from; column >= 0 && column < data_->layers; column += step) {
    const int layer = order_[static_cast<std::size_t>(column)];
    if (!data_->is_full(layer)) continue;
    return move_to(layer, head == data_->mean() ? head : std::min(head, data_->heads_of(layer) - 1));
  }
}

void HeadGridWidget::keyPressEvent(QKeyEvent* event) {
  if (!data_ || data_->layers == 0) return QWidget::keyPressEvent(event);
  const int layer = std::clamp(layer_, 0, data_->layers - 1), head = std::clamp(head_, 0, data_->mean());
  const int column = column_of_layer_[static_cast<std::size_t>(layer)];
  const int heads = data_->heads_of(layer), mean = data_->mean();
  switch (event->key()) {
    case Qt::Key_Left:
      return move_by_columns(column - 1, -1, head);
    case Qt::Key_Right:
      return move_by_columns(column + 1, 1, head);
    case Qt::Key_Home:
      return move_by_columns(0, 1, head);
    case Qt::Key_End:
      return move_by_columns(data_->layers - 1, -1, head);
    case Qt::Key_Up:
      if (heads > 0) move_to(layer, std::max(0, (head == mean ? heads : head) - 1));
      return;
    case Qt::Key_Down:
      if (heads > 0) move_to(layer, head + 1 < heads ? head + 1 : mean);
      return;
    case Qt::Key_Return:
    case Qt::Key_Enter:
      if (data_->has_cell(layer, head)) emit activated(layer, head);
      return;
    default:
      QWidget::keyPressEvent(event);
  }
}

}  // namespace headroom::views
