// SPDX-License-Identifier: GPL-3.0-or-later
// The map's axes: round positions while a token is narrower than a line of text, the tokens themselves where each has
// room for its own label. Labels are never printed over each other.
#pragma once

#include <qcustomplot.h>

#include "views/common/selection.h"

namespace headroom::views {

class MapTicker : public QCPAxisTicker {
 public:
  /// So many labels fit where positions are shown.
  void set_room(int labels) { setTickCount(std::clamp(labels, 1, 6)); }
  /// Labels are the tokens of `record`, cut to `width` pixels in `font`; null: positions.
  void set_tokens(RecordPtr record, const QFont& font, double width);
  bool shows_tokens() const { return tokens_ != nullptr; }

 protected:
  double getTickStep(const QCPRange& range) override;
  int getSubTickCount(double step) override;
  QString getTickLabel(double tick, const QLocale& locale, QChar format, int precision) override;
  QVector<double> createTickVector(double step, const QCPRange& range) override;

 private:
  RecordPtr tokens_;
  QFont font_;
  double width_ = 0;
};

/// Of keys, in degrees: read from below left.
inline constexpr double token_label_slant = -60;
/// What a label of a token needs at most, on a prompt of `length` tokens.
double token_label_width(const QFontMetricsF& metrics, std::int64_t length);
/// "250 the": the position whole, the token cut to what is left of `width`.
QString token_axis_label(const record::TokenTable& tokens, std::int64_t token, const QFontMetricsF& metrics,
                         double width);

/// Gives both axes of a map their tickers.
void build_map_axes(QCPAxis* keys, QCPAxis* queries);
/// Chooses positions or tokens for what is visible now, and room for them that does not change while one pans. `plot`
/// is the size of the whole plot.
void fit_map_axes(QCPAxis* keys, QCPAxis* queries, QSize plot, const QFont& font, const RecordPtr& record);
bool shows_tokens(const QCPAxis* axis);

}  // namespace headroom::views
