// SPDX-License-Identifier: GPL-3.0-or-later
// What Overview, Budget, Timing and Compare share: reacting only to the changes they draw, and only while visible;
// plots and headings in one style; figures for export.
#pragma once

#include <QFont>
#include <QString>
#include <QWidget>
#include <algorithm>
#include <functional>
#include <vector>

#include "views/common/exportable.h"
#include "views/common/selection.h"

class QAbstractItemModel;
class QCPAxis;
class QCPAxisRect;
class QCPGraph;
class QCPScatterStyle;
class QCustomPlot;
class QComboBox;
class QLabel;
class QPainter;
class QStackedLayout;
class QTableView;

namespace headroom::views {

/// A widget drawn from the Selection. Changes outside `interest` are ignored, those that come while hidden are kept
/// until shown. With no record open an explanation stands in the page's place.
class PageBase : public QWidget {
  Q_OBJECT
 public:
  PageBase(Selection* selection, unsigned interest, QWidget* parent);
  /// Nothing is waiting to be drawn.
  virtual bool settled() const { return pending_ == 0; }
  /// Draws what is pending now, hidden or not (export, tests).
  void refresh_now();

 protected:
  /// Bits of Selection::Change; Everything for the first time.
  virtual void refresh(unsigned mask) = 0;
  /// Whether there is anything to show; else an explanation stands in the page's place.
  virtual bool has_content() const { return selection_->record() != nullptr; }
  /// Colours or fonts changed.
  virtual void restyle() = 0;
  QWidget* body() const { return body_; }
  Selection* selection() const { return selection_; }
  void set_empty_text(const QString& title, const QString& text);
  void showEvent(QShowEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void note(unsigned mask);

  Selection* selection_;
  unsigned interest_, pending_;
  bool styled_ = false;
  QStackedLayout* stack_;
  QWidget* body_;
  QLabel* empty_;
};

/// Semi-bold section heading.
QLabel* make_heading(const QString& text, QWidget* parent);
/// Small text in the muted colour that follows the theme and wraps.
QLabel* make_note(const QString& text, QWidget* parent);
/// A drop-down as wide as its longest choice. `name` is its accessible name, `id` its object name.
QComboBox* make_choice(const QString& name, const char* id, QWidget* parent);
/// Fills a spin box or similar with the panel's colour: on the pages' background its frame alone is too faint.
void style_field(QWidget* field);
/// Puts `colour` on a label's text through its palette.
void set_text_colour(QWidget* widget, const QColor& colour);

/// Background, fonts and pens of every axis rect and legend from the Theme.
void style_plot(QCustomPlot* plot);
void style_axis(QCPAxis* axis);
/// Markers without lines that are drawn whole where they lie on the edge of the axes, which end at 100 %. The plot owns
/// it.
QCPGraph* add_markers(QCPAxis* key_axis, QCPAxis* value_axis);
/// The marker of a method by its look: the same shape and colour on every page, filled or open.
QCPScatterStyle method_marker(int look, double size, bool filled);
/// The character that comes nearest to the marker, for legends.
QString method_mark(int look, bool filled);
void style_table(QTableView* table);
/// Rows to the font, columns to their contents, those behind the first no wider than `most` pixels (0: as they are).
void fit_table(QTableView* table, int most = 0);
/// One cell of a CSV line, quoted as RFC 4180 asks.
QString csv_cell(const QString& text);
/// A tool tip that shows these words as they are: those of a file must not be read as markup.
QString plain_tip(const QString& text);

/// Lines of `text` at the bottom of `target`, in the painter's font and colour, wrapped; returns the height they took.
double draw_at_bottom(QPainter& painter, const QRectF& target, const QString& text);

/// A picture of a page: title, caption, body, provenance.
class Figure {
 public:
  Figure(QPainter& painter, const QRectF& target, const ExportOptions& options);
  ~Figure();
  Figure(const Figure&) = delete;
  Figure& operator=(const Figure&) = delete;
  void title(const QString& text, const QString& caption);
  void html(const QString& text, double size_factor = 1);
  double html_height(const QString& text, double size_factor = 1) const;
  void heading(const QString& text);
  /// What is left for the body, above the provenance line.
  QRectF rest() const { return rest_; }
  void take_top(double height) { rest_.setTop(rest_.top() + height); }
  double unit() const { return unit_; }  ///< painter units of one screen pixel in this figure
  void plot(QCustomPlot* plot, const QRectF& rect);
  double table_row() const { return 20 * unit_; }
  /// Columns behind the first stand in blocks of at most so many, fewer in a narrow figure, one block below the other.
  static constexpr int most_columns = 6;
  void table(const QTableView& table, const QRectF& rect, const std::function<bool(int row)>& skip = {});
  /// What table() takes in a figure of this width.
  double table_height(const QTableView& table, const std::function<bool(int row)>& skip = {}) const;
  QPainter& painter() { return painter_; }

 private:
  QFont font(double factor, bool bold = false) const;
  /// Wrapped lines at the top of the rest; returns their height. `spacing` below them is in units.
  double line_of(const QString& text, double factor, bool bold, double spacing);
  std::vector<std::vector<int>> table_blocks(const QTableView& view, const std::function<bool(int row)>& skip) const;
  /// Returns where the block ends.
  double table_block(const QAbstractItemModel& model, const std::vector<int>& columns, const QRectF& rect,
                     const std::function<bool(int row)>& skip);
  QPainter& painter_;
  QRectF rest_;
  double unit_;
};

/// Height that `draw` takes of a figure of this width, with room for a caption below.
double figure_height(double width, double least_text, const std::function<void(Figure&)>& draw);

}  // namespace headroom::views
