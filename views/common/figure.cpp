// SPDX-License-Identifier: GPL-3.0-or-later
// Figures for export: laid out for a target of any size, text drawn as text.
#include <qcustomplot.h>

#include <QAbstractTextDocumentLayout>
#include <QPainter>
#include <QPicture>
#include <QTableView>
#include <QTextDocument>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "views/common/page_base.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

// A figure is laid out as if it were this many pixels wide on screen, then scaled to the target; with a least size of
// text it is laid out for fewer pixels, so that the smallest text, which is so many pixels high, comes out that large.
constexpr double design_width = 1200;
constexpr double smallest_design_text = 10;

double unit_of(const QRectF& target, const ExportOptions& options) {
  return std::max(target.width() / design_width, options.least_text / smallest_design_text);
}

void lay_out(QTextDocument& document, const QString& html, double size_factor, double width) {
  document.setDocumentMargin(0);
  QFont base = QGuiApplication::font();
  base.setPixelSize(static_cast<int>(14 * size_factor + 0.5));
  document.setDefaultFont(base);
  document.setTextWidth(width);
  document.setHtml(html);
}

}  // namespace

double draw_at_bottom(QPainter& painter, const QRectF& target, const QString& text) {
  if (text.isEmpty()) return 0;
  constexpr int how = Qt::AlignLeft | Qt::AlignBottom | Qt::TextWordWrap;
  const double height = QFontMetricsF(painter.font()).boundingRect(target, how, text).height();
  painter.drawText(QRectF(target.left(), target.bottom() - height, target.width(), height), how, text);
  return height;
}

Figure::Figure(QPainter& painter, const QRectF& target, const ExportOptions& options)
    : painter_(painter), unit_(unit_of(target, options)) {
  painter_.save();
  painter_.setRenderHint(QPainter::Antialiasing);
  const Theme& theme = Theme::instance();
  painter_.fillRect(target, theme.background());
  const double margin = std::min(24 * unit_, target.width() * 0.03);
  rest_ = target.adjusted(margin, margin, -margin, -margin);
  if (!options.provenance.isEmpty()) {
    painter_.setFont(font(0.75));
    painter_.setPen(theme.muted_text());
    rest_.setBottom(rest_.bottom() - draw_at_bottom(painter_, rest_, options.provenance) - 8 * unit_);
  }
}

Figure::~Figure() {
  painter_.restore();
}

QFont Figure::font(double factor, bool bold) const {
  QFont result = QGuiApplication::font();
  result.setPixelSize(std::max(1, static_cast<int>(14 * factor * unit_ + 0.5)));
  if (bold) result.setWeight(QFont::DemiBold);
  return result;
}

double Figure::line_of(const QString& text, double factor, bool bold, double spacing) {
  painter_.setFont(font(factor, bold));
  constexpr int how = Qt::AlignLeft | Qt::AlignTop | Qt::TextWordWrap;
  const QRectF room(rest_.left(), rest_.top(), rest_.width(), 1e5);
  const double height = QFontMetricsF(painter_.font()).boundingRect(room, how, text).height();
  painter_.drawText(QRectF(room.left(), room.top(), room.width(), height + 1), how, text);
  take_top(height + spacing * unit_);
  return height;
}

void Figure::title(const QString& text, const QString& caption) {
  painter_.setPen(Theme::instance().text());
  line_of(text, 1.5, true, 4);
  painter_.setPen(Theme::instance().muted_text());
  line_of(caption, 0.9, false, 10);
}

void Figure::heading(const QString& text) {
  painter_.setPen(Theme::instance().text());
  line_of(text, 1, true, 6);
}

double Figure::html_height(const QString& text, double size_factor) const {
  QTextDocument document;
  lay_out(document, text, size_factor, rest_.width() / unit_);
  return document.size().height() * unit_;
}

void Figure::html(const QString& text, double size_factor) {
  QTextDocument document;
  lay_out(document, text, size_factor, rest_.width() / unit_);
  painter_.save();
  painter_.translate(rest_.topLeft());
  painter_.scale(unit_, unit_);
  QAbstractTextDocumentLayout::PaintContext context;
  context.palette.setColor(QPalette::Text, Theme::instance().text());
  document.documentLayout()->draw(&painter_, context);
  painter_.restore();
  take_top(document.size().height() * unit_ + 8 * unit_);
}

void Figure::plot(QCustomPlot* plot, const QRectF& rect) {
  // QCustomPlot lays out for a pixel viewport: give it the size on screen that this rectangle stands for, then put it
  // back.
  const int width = std::max(50, static_cast<int>(rect.width() / unit_)),
            height = std::max(50, static_cast<int>(rect.height() / unit_));
  QPicture picture;
  {
    QCPPainter recorder(&picture);
    recorder.setMode(QCPPainter::pmVectorized);
    recorder.setMode(QCPPainter::pmNoCaching);
    plot->toPainter(&recorder, width, height);
  }
  painter_.save();
  painter_.translate(rect.topLeft());
  // Playing a picture scales it by the target's dots an inch over the picture's own; the painter's unit has that in it.
  const double dots = static_cast<double>(picture.logicalDpiX()) / painter_.device()->logicalDpiX();
  painter_.scale(unit_ * dots, unit_ * dots);
  painter_.drawPicture(0, 0, picture);
  painter_.restore();
}

std::vector<std::vector<int>> Figure::table_blocks(const QTableView& view,
                                                   const std::function<bool(int row)>& skip) const {
  const QAbstractItemModel& model = *view.model();
  const QFontMetricsF metrics(font(0.85, true));
  std::vector<int> columns;
  std::vector<double> widths;
  for (int column = 0; column < model.columnCount(); ++column) {
    if (column > 0 && view.isColumnHidden(column)) continue;
    double width = metrics.horizontalAdvance(model.headerData(column, Qt::Horizontal).toString());
    for (int row = 0; row < model.rowCount(); ++row)
      if (!skip || !skip(row))
        width = std::max(width, metrics.horizontalAdvance(model.index(row, column).data().toString()));
    columns.push_back(column);
    widths.push_back(width + 16 * unit_);
  }
  if (columns.empty()) return {};
  // As many columns as have their full width, at least one and no more than can be taken in; then blocks of about the
  // same width rather than full ones and a narrow rest.
  const double room = rest_.width() - std::min(widths.front(), rest_.width() / 3);
  const double widest = columns.size() > 1 ? *std::max_element(widths.begin() + 1, widths.end()) : 1;
  const int most = std::clamp(static_cast<int>(room / std::max(1.0, std::min(widest, room / 2))), 1, most_columns);
  const int count = static_cast<int>(columns.size()) - 1, number = std::max(1, (count + most - 1) / most);
  std::vector<std::vector<int>> blocks;
  for (int block = 0; block < number; ++block) {
    std::vector<int> shown{columns.front()};
    shown.insert(shown.end(), columns.begin() + 1 + block * count / number,
                 columns.begin() + 1 + (block + 1) * count / number);
    blocks.push_back(shown);
  }
  return blocks;
}

double Figure::table_height(const QTableView& view, const std::function<bool(int row)>& skip) const {
  if (!view.model()) return 0;
  int rows = 1;
  for (int row = 0; row < view.model()->rowCount(); ++row) rows += skip && skip(row) ? 0 : 1;
  const auto blocks = static_cast<double>(table_blocks(view, skip).size());
  return (blocks * (rows + 1) - 1) * table_row();
}

void Figure::table(const QTableView& view, const QRectF& rect, const std::function<bool(int row)>& skip) {
  if (!view.model()) return;
  QRectF rest = rect;
  for (const std::vector<int>& shown : table_blocks(view, skip))
    rest.setTop(table_block(*view.model(), shown, rest, skip) + table_row());
}

double Figure::table_block(const QAbstractItemModel& model, const std::vector<int>& columns, const QRectF& rect,
                           const std::function<bool(int row)>& skip) {
  const Theme& theme = Theme::instance();
  const QFont plain = font(0.85), bold = font(0.85, true);
  const QFontMetricsF metrics(bold);
  const double row_height = table_row(), gap = 16 * unit_;
  const auto cell = [&](int row, int column, int role) { return model.index(row, column).data(role); };
  std::vector<double> widths;
  for (const int column : columns) {
    double width = metrics.horizontalAdvance(model.headerData(column, Qt::Horizontal).toString());
    for (int row = 0; row < model.rowCount(); ++row)
      if (!skip || !skip(row))
        width = std::max(width, metrics.horizontalAdvance(cell(row, column, Qt::DisplayRole).toString()));
    widths.push_back(width + gap);
  }
  // The names of the fields stay whole; values share what they leave.
  const double first = std::min(widths.front(), rect.width() / 3);
  const double others = std::accumulate(widths.begin() + 1, widths.end(), 0.0);
  const double squeeze = others > rect.width() - first ? (rect.width() - first) / others : 1;
  double y = rect.top();
  for (int row = -1; row < model.rowCount() && y + row_height <= rect.bottom() + 1; ++row) {
    if (row >= 0 && skip && skip(row)) continue;
    double x = rect.left();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const double width = i == 0 ? first : widths[i] * squeeze;
      const QString text = row < 0 ? model.headerData(columns[i], Qt::Horizontal).toString()
                                   : cell(row, columns[i], Qt::DisplayRole).toString();
      const QVariant set_font = row < 0 ? QVariant() : cell(row, columns[i], Qt::FontRole);
      const bool strong = row < 0 || (set_font.isValid() && set_font.value<QFont>().weight() > QFont::Medium);
      painter_.setFont(strong ? bold : plain);
      const QVariant colour = row < 0 ? QVariant() : cell(row, columns[i], Qt::ForegroundRole);
      painter_.setPen(row < 0 ? theme.muted_text() : colour.isValid() ? colour.value<QColor>() : theme.text());
      const QRectF box(x, y, width - gap / 2, row_height);
      painter_.drawText(box, Qt::AlignLeft | Qt::AlignVCenter,
                        QFontMetricsF(painter_.font()).elidedText(text, Qt::ElideRight, box.width()));
      x += width;
    }
    painter_.setPen(QPen(theme.grid(), unit_));
    y += row_height;
    painter_.drawLine(QPointF(rect.left(), y), QPointF(std::min(x, rect.right()), y));
  }
  return y;
}

double figure_height(double width, double least_text, const std::function<void(Figure&)>& draw) {
  constexpr double plenty = 1e5;
  ExportOptions options;
  options.least_text = least_text;
  QImage nothing(1, 1, QImage::Format_ARGB32_Premultiplied);
  QPainter painter(&nothing);
  Figure figure(painter, QRectF(0, 0, width, plenty), options);
  draw(figure);
  // The caption below may take several lines where the figure is narrow.
  const double lines = 1 + std::ceil(900 * figure.unit() / width);
  return plenty - figure.rest().height() + (16 + 14 * lines) * figure.unit();
}

}  // namespace headroom::views
