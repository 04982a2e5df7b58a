// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/map/map_axis.h"

#include <algorithm>
#include <cmath>

#include "views/docks/inspector_dock.h"
#include "views/map/map_data.h"

namespace headroom::views {
namespace {

constexpr double token_label_characters = 9;  // of a token's label, as wide as digits

MapTicker* map_ticker(const QCPAxis* axis) {
  return static_cast<MapTicker*>(axis->ticker().data());
}

}  // namespace

double token_label_width(const QFontMetricsF& metrics, std::int64_t length) {
  return metrics.horizontalAdvance(grouped(length)) + metrics.averageCharWidth() * token_label_characters;
}

QString token_axis_label(const record::TokenTable& tokens, std::int64_t token, const QFontMetricsF& metrics,
                         double width) {
  // The position stays whole, the token takes what is left.
  const QString number = grouped(token) + QLatin1Char(' ');
  const double left = std::max(0.0, width - metrics.horizontalAdvance(number));
  return number + metrics.elidedText(visible_token(tokens, token, 32), Qt::ElideRight, left);
}

void MapTicker::set_tokens(RecordPtr record, const QFont& font, double width) {
  tokens_ = std::move(record);
  font_ = font;
  width_ = width;
}

double MapTicker::getTickStep(const QCPRange& range) {
  if (tokens_) return 1;
  const double least = range.size() / tickCount(), power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double step : {1.0, 2.0, 5.0})
    if (step * power >= least) return std::max(1.0, step * power);
  return std::max(1.0, 10 * power);
}

int MapTicker::getSubTickCount(double step) {
  return tokens_ || step < 5 ? 0 : QCPAxisTicker::getSubTickCount(step);
}

QVector<double> MapTicker::createTickVector(double step, const QCPRange& range) {
  if (!tokens_) return QCPAxisTicker::createTickVector(step, range);
  QVector<double> ticks;  // the middle of each token that is more than half visible
  const double last = std::min(range.upper, static_cast<double>(tokens_->length()));
  for (double token = std::max(0.0, std::floor(range.lower)); token + 0.5 < last && ticks.size() < 1000; ++token)
    if (token + 0.5 >= range.lower) ticks.append(token + 0.5);
  return ticks;
}

QString MapTicker::getTickLabel(double tick, const QLocale&, QChar, int) {
  if (!tokens_) return grouped(std::llround(tick));
  return token_axis_label(tokens_->tokens(), static_cast<std::int64_t>(std::floor(tick)), QFontMetricsF(font_), width_);
}

void build_map_axes(QCPAxis* keys, QCPAxis* queries) {
  for (QCPAxis* axis : {keys, queries}) {
    axis->setTicker(QSharedPointer<QCPAxisTicker>(new MapTicker));
    axis->grid()->setVisible(false);
    axis->setLabelPadding(3);
  }
}

bool shows_tokens(const QCPAxis* axis) {
  return map_ticker(axis)->shows_tokens();
}

void fit_map_axes(QCPAxis* keys, QCPAxis* queries, QSize plot, const QFont& font, const RecordPtr& record) {
  const QFontMetricsF metrics(font);
  // Of the longest number that there is, wherever one looks.
  const QString last =
      grouped(record ? record->length() : std::llround(std::max(keys->range().upper, queries->range().upper)));
  const double digits = metrics.horizontalAdvance(last);
  const double label = digits + metrics.averageCharWidth() * token_label_characters;
  const double slanted = label * std::sin(-token_label_slant * M_PI / 180) + metrics.height() * 0.6;
  // By the plot's size, which labels do not change: else they would come and go by turns.
  const double width = plot.width() - label - 20, height = plot.height() - slanted - 90;
  const bool room = record && width > 4 * label && height > 8 * metrics.height();
  const double line = metrics.height();
  const bool key_tokens = room && width / keys->range().size() >= line * 1.02;
  const bool query_tokens = room && height / queries->range().size() >= line * 1.02;
  const RecordPtr none;
  map_ticker(keys)->set_tokens(key_tokens ? record : none, font, label);
  map_ticker(queries)->set_tokens(query_tokens ? record : none, font, label);
  keys->setTickLabelRotation(key_tokens ? token_label_slant : 0);
  map_ticker(keys)->set_room(
      static_cast<int>((plot.width() - 2 * digits) / (digits + 2 * metrics.averageCharWidth() + 8)));
  map_ticker(queries)->set_room(static_cast<int>(plot.height() / (4 * metrics.height())));
  // Labels differ in length from token to token: the margins must not follow them.
  QCPAxisRect* rect = keys->axisRect();
  QMargins least;
  const double caption = metrics.height() + 8;
  if (query_tokens) least.setLeft(static_cast<int>(std::ceil(label + caption + 10)));
  if (key_tokens) least.setBottom(static_cast<int>(std::ceil(slanted + caption + 10)));
  if (key_tokens) least.setLeft(std::max(least.left(), static_cast<int>(std::ceil(label * 0.5))));
  if (rect->minimumMargins() != least) rect->setMinimumMargins(least);
}

}  // namespace headroom::views
