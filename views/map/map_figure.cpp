// SPDX-License-Identifier: GPL-3.0-or-later
// Export of the map as figure.
#include "views/map/map_figure.h"

#include <QGuiApplication>
#include <algorithm>
#include <cmath>

#include "views/common/colour_bar.h"
#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"
#include "views/map/map_axis.h"
#include "views/map/map_marginal.h"

namespace headroom::views {
namespace {

/// Steps of 1, 2 or 5 times a power of ten, at least one token.
double tick_step(double span, double wanted) {
  const double rough = std::max(1.0, span / std::max(1.0, wanted));
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough) return factor * power;
  return 10 * power;
}

constexpr int smallest_text = 7;

/// What a pixel is and what the overlay's marks mean: of those that there are in this picture.
QString caption_of(const MapFigure& figure, const Composition& shown) {
  QStringList captions;
  if (figure.badge) captions << figure.badge(shown);
  const OverlayFlags overlay = figure.map->style().overlay;
  const bool split = figure.map->style().layout == MapLayout::diagonal_split && figure.secondary;
  const auto has = [&](auto&& what) { return what(*figure.primary) || (split && what(*figure.secondary)); };
  const bool marks = has([](const MapData& data) { return data.has_overlay(); });
  if (overlay.missed && marks)
    captions << (shown.missed_by_count ? QObject::tr("orange: missed keys")
                                       : QObject::tr("orange: missed keys, where a cell misses ≥ %1 of a query's mass")
                                             .arg(format_scale_end(figure.map->style().missed_from, 2)));
  if (overlay.hit && marks) captions << QObject::tr("outlined: hits");
  if (overlay.wasted && marks && has([](const MapData& data) { return data.wasted != nullptr; }))
    captions << QObject::tr("hatched: wasted keys");
  captions.removeAll(QString());
  return captions.join(QStringLiteral("  ·  "));
}

}  // namespace

int map_text_size(double width) {
  // 13 of 744 units: beside the text of a figure 1200 units wide. Never so small that it cannot be read.
  return std::max(smallest_text, static_cast<int>(std::lround(width * 13 / 744)));
}

Composition draw_map_figure(QPainter& painter, const QRectF& target, const ExportOptions& options,
                            const MapFigure& figure) {
  const Theme& theme = Theme::instance();
  painter.save();
  QFont plain = QGuiApplication::font();
  const int text_size = options.text_size > 0 ? std::max(1, static_cast<int>(std::lround(options.text_size)))
                                              : map_text_size(target.width());
  plain.setPixelSize(std::max(text_size, static_cast<int>(std::ceil(options.least_text))));
  QFont bold = plain;
  bold.setBold(true);
  painter.setFont(plain);
  const QFontMetricsF metrics(plain);
  const double line = metrics.height(), gap = line * 0.4, scale = plain.pixelSize() / 13.0;
  painter.setPen(theme.text());
  painter.setFont(bold);
  painter.drawText(QRectF(target.left(), target.top(), target.width(), line * 1.2), Qt::AlignLeft | Qt::AlignVCenter,
                   QFontMetricsF(bold).elidedText(figure.title, Qt::ElideRight, target.width()));
  painter.setFont(plain);
  painter.setPen(theme.muted_text());
  double bottom = target.bottom();
  if (const double height = draw_at_bottom(painter, target, options.provenance); height > 0) bottom -= height + gap / 2;

  Composition shown;
  if (!figure.primary || !figure.notice.isEmpty()) {
    painter.setPen(theme.text());
    painter.drawText(QRectF(target.left(), target.top() + line * 2, target.width(), bottom - target.top() - line * 2),
                     Qt::AlignCenter | Qt::TextWordWrap, figure.notice);
    painter.restore();
    return shown;
  }
  // The caption is written last, when it is known what was drawn; its room does not depend on the words.
  const QRectF caption_room(target.left(), target.top(), target.width(), bottom - target.top());
  bottom -= line * 2.2;
  const Viewport view = figure.selection->state().viewport;
  const double digits = metrics.horizontalAdvance(grouped(figure.primary->length));
  // Zoomed in to single tokens the axes say which they are, where a line of text fits each.
  const RecordPtr& record = figure.primary->source.record;
  const double token_label = token_label_width(metrics, figure.primary->length);
  const double slanted = token_label * std::sin(-token_label_slant * M_PI / 180) + line * 0.6;
  const double least = line * 1.02;
  const double across = target.width() - token_label - line * 5, down = bottom - target.top() - line * 8 - slanted;
  const bool key_tokens = record && across / (view.key_end - view.key_begin) >= least;
  const bool query_tokens = record && down / (view.query_end - view.query_begin) >= least;
  const double left = (query_tokens ? token_label
                       : key_tokens ? std::max(digits, token_label * 0.5)
                                    : digits) +
                      line * 1.9;
  const double below = key_tokens ? slanted - line : 0;  // more than numbers take
  const double right = 24 * scale + metrics.horizontalAdvance(QStringLiteral("−1e-6")) + line * 0.4;
  const double strip = line * 2.2;
  QRectF marginal(target.left() + left, target.top() + line * 2.7, target.width() - left - right, strip);
  QRectF area(marginal.left(), marginal.bottom() + gap, marginal.width(),
              bottom - below - line * 2.9 - marginal.bottom() - gap);
  if (options.square) {
    area.setSize(QSizeF(1, 1) * std::min(area.width(), area.height()));
    marginal.setWidth(area.width());
  }
  if (area.width() < 3 * line || area.height() < 3 * line) {
    shown.blank = true;
    painter.restore();
    return shown;
  }
  draw_marginal(painter, marginal, *figure.primary, view.key_begin, view.key_end, options.image_scale);
  const QSize pixels(static_cast<int>(std::ceil(area.width() * options.image_scale)),
                     static_cast<int>(std::ceil(area.height() * options.image_scale)));
  shown = figure.map->compose(pixels, options.image_scale, view, figure.client);
  painter.drawImage(area, shown.image);
  const auto place = [&](double key, double query) {
    return QPointF(area.left() + (key - view.key_begin) / (view.key_end - view.key_begin) * area.width(),
                   area.top() + (query - view.query_begin) / (view.query_end - view.query_begin) * area.height());
  };
  painter.save();
  painter.setClipRect(area, Qt::IntersectClip);
  hatch_missing_rows(painter, *figure.primary, place);
  painter.restore();

  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(theme.border(), 0));
  painter.drawRect(area);
  painter.drawRect(marginal);
  const auto axis = [&](double begin, double end, double extent, double label_extent, const auto& draw) {
    const double step = tick_step(end - begin, extent / label_extent);
    for (double tick = std::ceil(begin / step) * step; tick <= end; tick += step)
      draw((tick - begin) / (end - begin) * extent, grouped(std::llround(tick)));
  };
  const auto each_token = [&](double begin, double end, const auto& draw) {
    const auto last = std::min(end, static_cast<double>(figure.primary->length));
    for (double token = std::max(0.0, std::floor(begin)); token + 0.5 < last; ++token)
      if (token + 0.5 >= begin)
        draw(token + 0.5, token_axis_label(record->tokens(), std::llround(token), metrics, token_label));
  };
  painter.setPen(theme.text());
  if (key_tokens)
    each_token(view.key_begin, view.key_end, [&](double middle, const QString& text) {
      painter.save();
      painter.translate(place(middle, 0).x(), area.bottom() + 4 * scale);
      painter.rotate(token_label_slant);
      painter.drawText(QRectF(-token_label - line * 0.2, -line / 2, token_label, line),
                       Qt::AlignRight | Qt::AlignVCenter, text);
      painter.restore();
    });
  if (query_tokens)
    each_token(view.query_begin, view.query_end, [&](double middle, const QString& text) {
      painter.drawText(
          QRectF(area.left() - 6 * scale - token_label, place(0, middle).y() - line / 2, token_label, line),
          Qt::AlignRight | Qt::AlignVCenter, text);
    });
  if (!key_tokens)
    axis(view.key_begin, view.key_end, area.width(), metrics.horizontalAdvance(grouped(figure.primary->length)) * 1.8,
         [&](double at, const QString& text) {
           painter.setPen(QPen(theme.border(), 0));
           painter.drawLine(QPointF(area.left() + at, area.bottom()),
                            QPointF(area.left() + at, area.bottom() + 4 * scale));
           painter.setPen(theme.text());
           painter.drawText(QRectF(area.left() + at - 60 * scale, area.bottom() + 5 * scale, 120 * scale, line),
                            Qt::AlignHCenter | Qt::AlignTop, text);
         });
  if (!query_tokens)
    axis(view.query_begin, view.query_end, area.height(), line * 2.2, [&](double at, const QString& text) {
      painter.setPen(QPen(theme.border(), 0));
      painter.drawLine(QPointF(area.left() - 4 * scale, area.top() + at), QPointF(area.left(), area.top() + at));
      painter.setPen(theme.text());
      painter.drawText(QRectF(area.left() - 126 * scale, area.top() + at - line / 2, 120 * scale, line),
                       Qt::AlignRight | Qt::AlignVCenter, text);
    });
  painter.setPen(theme.muted_text());
  painter.drawText(QRectF(area.left(), area.bottom() + 7 * scale + line * 1.15 + below, area.width(), line),
                   Qt::AlignCenter, key_tokens ? QObject::tr("key position and token") : QObject::tr("key position"));
  painter.save();
  painter.translate(target.left() + line * 0.5, area.center().y());
  painter.rotate(-90);
  painter.drawText(QRectF(-area.height() / 2, -line / 2, area.height(), line), Qt::AlignCenter,
                   query_tokens ? QObject::tr("query position and token") : QObject::tr("query position"));
  painter.restore();
  QString strip_label = QObject::tr("mass received (log)");
  if (!figure.primary->selection_frequency.empty())
    strip_label += QObject::tr(", line: share of queries that select the key");
  const double strip_room = marginal.right() - target.left();  // left of the strip there is nothing else
  painter.drawText(QRectF(target.left(), marginal.top() - line * 1.05, strip_room, line), Qt::AlignRight,
                   metrics.elidedText(strip_label, Qt::ElideRight, strip_room));

  const MapStyle& style = figure.map->style();
  draw_colour_bar(painter, QRectF(area.right() + 8 * scale, area.top(), 12 * scale, area.height()), style.colour_min,
                  style.colour_max, style.layout == MapLayout::difference,
                  style.ranks);
  painter.setPen(theme.muted_text());
  draw_at_bottom(painter, caption_room, caption_of(figure, shown));
  painter.setClipRect(area, Qt::IntersectClip);
  const auto& pins = figure.selection->state().pins;
  for (std::size_t i = 0; i < pins.size(); ++i) {
    draw_pin(painter, place(static_cast<double>(pins[i].key) + 0.5, static_cast<double>(pins[i].query) + 0.5),
             static_cast<int>(i) + 1, line * 0.5);
  }
  painter.restore();
  return shown;
}

}  // namespace headroom::views
