// SPDX-License-Identifier: GPL-3.0-or-later
// Drawing of the map and its marks.
#include "views/map/attention_map.h"

#include <algorithm>
#include <cmath>

#include "views/common/theme.h"

namespace headroom::views {

namespace {
constexpr int tick_room = 7;  // outside the map, for marks of what was found
}  // namespace


AttentionMap::AttentionMap(QCPAxis* key_axis, QCPAxis* query_axis, TileCache* cache)
    : QCPAbstractPlottable(key_axis, query_axis), cache_(cache), composer_(cache) {
  setSelectable(QCP::stNone);
  setAntialiased(false);
}

AttentionMap::~AttentionMap() {
  if (cache_) cache_->want(this, {});
}

void AttentionMap::set_data(MapDataPtr primary, MapDataPtr secondary) {
  picture_.primary = std::move(primary);
  picture_.secondary = std::move(secondary);
  composer_.clear();
  stale_ = true;
}

void AttentionMap::set_style(const MapStyle& style) {
  if (picture_.style == style) return;
  picture_.style = style;
  stale_ = true;
}

Composition AttentionMap::compose(QSize size, double pixel_ratio, const Viewport& view, const void* client) {
  MapPicture picture = picture_;
  picture.size = size;
  picture.pixel_ratio = pixel_ratio;
  picture.view = view;
  Composition result = composer_.compose(picture);
  std::erase_if(result.missing, [&](const TileCache::Request& request) { return !cache_->failure(request).isEmpty(); });
  if (client) cache_->want(client, result.missing);
  return result;
}

double AttentionMap::query_at(double y) const {
  const QRect area = mValueAxis->axisRect()->rect();
  return mValueAxis->range().lower + (y - area.top()) / std::max(1, area.height()) * mValueAxis->range().size();
}

double y_of_query(const QCPAxis& axis, double query) {
  const QRect area = axis.axisRect()->rect();
  return area.top() + (query - axis.range().lower) / axis.range().size() * area.height();
}

double AttentionMap::selectTest(const QPointF& position, bool, QVariant*) const {
  return mKeyAxis && mKeyAxis->axisRect()->rect().contains(position.toPoint()) ? 0 : -1;
}

QCPRange AttentionMap::getKeyRange(bool& found, QCP::SignDomain) const {
  found = picture_.primary != nullptr;
  return found ? QCPRange(0, static_cast<double>(picture_.primary->length)) : QCPRange();
}

QCPRange AttentionMap::getValueRange(bool& found, QCP::SignDomain domain, const QCPRange&) const {
  return getKeyRange(found, domain);
}

void AttentionMap::draw(QCPPainter* painter) {
  const QRect target = mKeyAxis->axisRect()->rect();
  if (target.isEmpty() || !picture_.primary) return;
  const double ratio = mParentPlot->bufferDevicePixelRatio();
  const QSize size(static_cast<int>(std::lround(target.width() * ratio)),
                   static_cast<int>(std::lround(target.height() * ratio)));
  const QCPRange keys = mKeyAxis->range(), queries = mValueAxis->range();
  const Viewport view{queries.lower, queries.upper, keys.lower, keys.upper};
  if (stale_ || size != picture_.size || !(view == picture_.view)) {
    picture_.size = size;
    picture_.pixel_ratio = ratio;
    picture_.view = view;
    drawn_ = composer_.compose(picture_);
    drawn_.image.setDevicePixelRatio(ratio);
    stale_ = false;
    cache_->want(this, drawn_.missing);
  }
  painter->drawImage(target.topLeft(), drawn_.image);

  const auto place = [&](double key, double query) {
    return QPointF(mKeyAxis->coordToPixel(key), y_of_query(*mValueAxis, query));
  };
  hatch_missing_rows(*painter, *picture_.primary, place);
  draw_band(*painter, *picture_.primary, view, place);
}

void draw_band(QPainter& painter, const MapData& data, const Viewport& view,
               const std::function<QPointF(double key, double query)>& place) {
  if (!data.has_band()) return;
  const auto length = static_cast<double>(data.length), window = static_cast<double>(data.window);
  const double begin = std::clamp(std::floor(view.query_begin), 0.0, length),
               end = std::clamp(std::ceil(view.query_end), begin, length);
  // Steps of a row each where they can be seen, straight edges where a row is less than a pixel.
  const double step = std::max(1.0, std::floor((end - begin) / 512));
  QPolygonF newest, oldest;
  for (double row = begin; row < end; row += step) {
    const double next = std::min(row + step, end);
    for (const double edge : {row, next}) {
      newest << place(row + 1, edge);
      oldest << place(std::max(0.0, row + 1 - window), edge);
    }
  }
  for (const QPointF& point : oldest) newest.prepend(point);
  QColor fill = Theme::instance().muted_text();
  fill.setAlpha(110);
  painter.setPen(Qt::NoPen);
  painter.setBrush(fill);
  painter.drawPolygon(newest);
}

void hatch_missing_rows(QPainter& painter, const MapData& data,
                        const std::function<QPointF(double key, double query)>& place) {
  if (!data.stream || data.stream->query_begin <= 0 || data.thumbnail) return;
  const double first = static_cast<double>(data.stream->query_begin);
  painter.setPen(Qt::NoPen);
  painter.setBrush(QBrush(Theme::instance().border(), Qt::BDiagPattern));
  painter.drawPolygon(QPolygonF{place(0, 0), place(0, first), place(first, first)});
}

void AttentionMap::drawLegendIcon(QCPPainter* painter, const QRectF& rect) const {
  QLinearGradient gradient(rect.topLeft(), rect.topRight());
  for (int i = 0; i <= 8; ++i) gradient.setColorAt(i / 8.0, QColor(cividis()[i * 255 / 8]));
  painter->fillRect(rect, gradient);
}

void draw_pin(QPainter& painter, QPointF centre, int number, double radius) {
  static const QRgb chips[] = {0xff0a5fbf, 0xff00876a, 0xff8f3f97, 0xff8a6210, 0xff454c55};
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(QPen(Qt::white, 1.5));
  painter.setBrush(QColor(chips[static_cast<std::size_t>(number - 1) % std::size(chips)]));
  painter.drawEllipse(centre, radius, radius);
  QFont font = painter.font();
  font.setBold(true);
  font.setPixelSize(std::max(8, static_cast<int>(radius * 1.2)));
  painter.setFont(font);
  painter.drawText(QRectF(centre.x() - radius, centre.y() - radius, 2 * radius, 2 * radius), Qt::AlignCenter,
                   QString::number(number));
  painter.restore();
}

MapMarks::MapMarks(QCPAxis* key_axis, QCPAxis* query_axis, const Selection* selection)
    : QCPAbstractPlottable(key_axis, query_axis), selection_(selection) {
  setSelectable(QCP::stNone);
}

QRect MapMarks::clipRect() const {
  return mKeyAxis ? mKeyAxis->axisRect()->rect().adjusted(-tick_room, -tick_room, tick_room, tick_room) : QRect();
}

void MapMarks::draw_found(QCPPainter* painter, const QRectF& area) {
  const Theme& theme = Theme::instance();
  const Viewport view{mValueAxis->range().lower, mValueAxis->range().upper, mKeyAxis->range().lower,
                      mKeyAxis->range().upper};
  painter->setPen(Qt::NoPen);
  // One tick a pixel at most, however many there are.
  const auto ticks = [&](double begin, double end, auto&& place) {
    double last = -1e9;
    const auto from = std::lower_bound(found_.begin(), found_.end(), static_cast<std::int64_t>(std::floor(begin)));
    for (auto at = from; at != found_.end() && static_cast<double>(*at) < end; ++at) {
      const double middle = static_cast<double>(*at) + 0.5;
      if (middle < begin || middle > end) continue;
      last = place(middle, last, *at == current_found_);
    }
  };
  ticks(view.key_begin, view.key_end, [&](double token, double last, bool current) {
    const double x = mKeyAxis->coordToPixel(token);
    if (x - last < 1 && !current) return last;
    painter->setBrush(current ? theme.accent() : theme.warning());
    painter->drawRect(QRectF(x - (current ? 2 : 1), area.top() - tick_room + 1, current ? 4 : 2, tick_room - 2));
    return x;
  });
  ticks(view.query_begin, view.query_end, [&](double token, double last, bool current) {
    const double y = y_of_query(*mValueAxis, token);
    if (y - last < 1 && !current) return last;
    painter->setBrush(current ? theme.accent() : theme.warning());
    painter->drawRect(QRectF(area.right() + 1, y - (current ? 2 : 1), tick_room - 2, current ? 4 : 2));
    return y;
  });
  painter->setBrush(Qt::NoBrush);
}

void MapMarks::draw(QCPPainter* painter) {
  const QRectF area = mKeyAxis->axisRect()->rect();
  draw_found(painter, area);
  const Theme& theme = Theme::instance();
  const ViewState& state = selection_->state();
  const auto x_of = [&](double key) { return mKeyAxis->coordToPixel(key); };
  const auto y_of = [&](double query) { return y_of_query(*mValueAxis, query); };
  painter->setAntialiasing(false);
  painter->setBrush(Qt::NoBrush);
  // A line that shows on dark and bright cells alike: a dark casing under a light core.
  const auto line = [&](QPointF a, QPointF b, QColor core) {
    QColor casing = theme.map_casing();
    casing.setAlpha(150);
    painter->setPen(QPen(casing, 3));
    painter->drawLine(a, b);
    painter->setPen(QPen(core, 1));
    painter->drawLine(a, b);
  };
  const QColor selected(0xff7fd0ff);

  if (state.query_end > state.query_begin) {
    const double top = y_of(static_cast<double>(state.query_begin)),
                 bottom = y_of(static_cast<double>(state.query_end));
    const auto row_line = [&](double y) {
      if (y >= area.top() && y <= area.bottom()) line({area.left(), y}, {area.right(), y}, selected);
    };
    if (bottom - top < 4) {
      row_line((top + bottom) / 2);
    } else {
      row_line(top);
      row_line(bottom);
    }
    // A marker on the left edge, visible when the row itself is a hair line.
    QPolygonF marker;
    const double middle = (std::max(top, area.top()) + std::min(bottom, area.bottom())) / 2;
    marker << QPointF(area.left() - 7, middle - 5) << QPointF(area.left(), middle)
           << QPointF(area.left() - 7, middle + 5);
    painter->setPen(Qt::NoPen);
    painter->setBrush(theme.accent());
    if (middle >= area.top() && middle <= area.bottom()) painter->drawPolygon(marker);
    painter->setBrush(Qt::NoBrush);
  }
  // Keys beside each other are one band with two edges.
  for (auto at = state.keys.begin(); at != state.keys.end();) {
    const std::int64_t first = *at;
    std::int64_t end = first + 1;
    for (++at; at != state.keys.end() && *at == end; ++at) ++end;
    const double left = x_of(static_cast<double>(first)), right = x_of(static_cast<double>(end));
    if (right < area.left() || left > area.right()) continue;
    if (right - left < 4) {
      line({(left + right) / 2, area.top()}, {(left + right) / 2, area.bottom()}, selected);
    } else {
      if (left >= area.left()) line({left, area.top()}, {left, area.bottom()}, selected);
      if (right <= area.right()) line({right, area.top()}, {right, area.bottom()}, selected);
    }
  }
  const MapPoint hover = selection_->hover();
  if (hover.query >= 0 || hover.key >= 0) {
    const std::int64_t across = mirrored_hover_ ? hover.query : hover.key,
                       down = mirrored_hover_ ? hover.key : hover.query;
    painter->setPen(QPen(QColor(255, 255, 255, 150), 1, Qt::DotLine));
    const auto inside = [](double at, double begin, double end) { return at >= begin && at <= end; };
    if (across >= 0 &&
        inside(x_of(static_cast<double>(across) + 0.5), area.left(), area.right())) {
      const double x = x_of(static_cast<double>(across) + 0.5);
      painter->drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
    }
    if (down >= 0 && inside(y_of(static_cast<double>(down) + 0.5), area.top(), area.bottom())) {
      const double y = y_of(static_cast<double>(down) + 0.5);
      painter->drawLine(QPointF(area.left(), y), QPointF(area.right(), y));
    }
  }
  for (std::size_t i = 0; i < state.pins.size(); ++i) {
    const QPointF at(x_of(static_cast<double>(state.pins[i].key) + 0.5),
                     y_of(static_cast<double>(state.pins[i].query) + 0.5));
    if (!area.contains(at)) continue;
    // The chip stands beside the pair it names, a short line leads to it.
    const QPointF chip(std::min(at.x() + 14, area.right() - 9), std::max(at.y() - 14, area.top() + 9));
    line(at, chip, Qt::white);
    draw_pin(*painter, chip, static_cast<int>(i) + 1, 8);
  }
}

}  // namespace headroom::views
