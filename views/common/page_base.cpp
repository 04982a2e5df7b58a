// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/page_base.h"

#include <qcustomplot.h>

#include <QComboBox>
#include <QEvent>
#include <QHeaderView>
#include <QLabel>
#include <QPainterPath>
#include <QStackedLayout>
#include <QTableView>
#include <QTextDocument>
#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/method.h"
#include "views/common/format.h"
#include "views/common/theme.h"
#include "views/common/wrap_label.h"

namespace headroom::views {
namespace {

struct Mark {
  QCPScatterStyle::ScatterShape shape;
  const char *filled, *open;
  std::span<const QPointF> corners = {};  ///< of ssCustom, in a square of 6 around 0
};
constexpr QPointF right_corners[] = {{-2.5, -3}, {3, 0}, {-2.5, 3}};
constexpr QPointF left_corners[] = {{2.5, -3}, {-3, 0}, {2.5, 3}};
constexpr QPointF star_corners[] = {{0, -3.2},    {0.72, -1},   {3, -1},   {1.16, 0.38},  {1.86, 2.6},
                                    {0, 1.24},    {-1.86, 2.6}, {-1.16, 0.38}, {-3, -1}, {-0.72, -1}};
constexpr QPointF spark_corners[] = {{0, -3.2}, {0.9, -0.9}, {3.2, 0},  {0.9, 0.9},
                                     {0, 3.2},  {-0.9, 0.9}, {-3.2, 0}, {-0.9, -0.9}};
constexpr QPointF low_right_corners[] = {{2.8, -2.8}, {2.8, 2.8}, {-2.8, 2.8}};
constexpr QPointF low_left_corners[] = {{-2.8, -2.8}, {-2.8, 2.8}, {2.8, 2.8}};
constexpr std::array<Mark, num_method_looks> marks = {{{QCPScatterStyle::ssStar, "✱", "✱"},
                                                       {QCPScatterStyle::ssCircle, "●", "○"},
                                                       {QCPScatterStyle::ssDiamond, "◆", "◇"},
                                                       {QCPScatterStyle::ssSquare, "■", "□"},
                                                       {QCPScatterStyle::ssTriangle, "▲", "△"},
                                                       {QCPScatterStyle::ssTriangleInverted, "▼", "▽"},
                                                       {QCPScatterStyle::ssCross, "✕", "✕"},
                                                       {QCPScatterStyle::ssPlus, "✚", "✚"},
                                                       {QCPScatterStyle::ssCrossCircle, "⊗", "⊗"},
                                                       {QCPScatterStyle::ssPlusCircle, "⊕", "⊕"},
                                                       {QCPScatterStyle::ssCrossSquare, "⊠", "⊠"},
                                                       {QCPScatterStyle::ssPlusSquare, "⊞", "⊞"},
                                                       {QCPScatterStyle::ssCustom, "▶", "▷", right_corners},
                                                       {QCPScatterStyle::ssCustom, "◀", "◁", left_corners},
                                                       {QCPScatterStyle::ssCustom, "★", "☆", star_corners},
                                                       {QCPScatterStyle::ssCustom, "✦", "✧", spark_corners},
                                                       {QCPScatterStyle::ssCustom, "◢", "◿", low_right_corners},
                                                       {QCPScatterStyle::ssCustom, "◣", "◺", low_left_corners}}};

const Mark& mark_of(int look) {
  return marks[static_cast<std::size_t>(std::clamp(look, 0, num_method_looks - 1))];
}

class MarkerGraph : public QCPGraph {
 public:
  MarkerGraph(QCPAxis* key_axis, QCPAxis* value_axis) : QCPGraph(key_axis, value_axis) {
    setLineStyle(QCPGraph::lsNone);
    setSelectable(QCP::stNone);
  }

 protected:
  QRect clipRect() const override { return QCPGraph::clipRect().adjusted(-8, -8, 8, 8); }
};

}  // namespace

PageBase::PageBase(Selection* selection, unsigned interest, QWidget* parent)
    : QWidget(parent), selection_(selection), interest_(interest | Selection::Runs), pending_(Selection::Everything) {
  stack_ = new QStackedLayout(this);
  stack_->setContentsMargins(0, 0, 0, 0);
  body_ = new QWidget(this);
  empty_ = new TextLabel(this);
  empty_->setAlignment(Qt::AlignCenter);
  empty_->setWordWrap(true);
  empty_->setMargin(32);
  empty_->setTextFormat(Qt::RichText);
  stack_->addWidget(empty_);
  stack_->addWidget(body_);
  set_empty_text(tr("No run is open"),
                 tr("Open a record with <b>Open run…</b>, drop a <i>.h5</i> file here, or start <b>New run…</b>."));
  connect(selection_, &Selection::changed, this, &PageBase::note);
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    styled_ = false;
    if (isVisible()) note(0);
  });
}

void PageBase::set_empty_text(const QString& title, const QString& text) {
  empty_->setText(QStringLiteral("<p style=\"font-size:large\"><b>%1</b></p><p>%2</p>").arg(title, text));
}

void PageBase::note(unsigned mask) {
  pending_ |= mask & interest_;
  if (isVisible()) refresh_now();
}

void PageBase::refresh_now() {
  if (pending_) {
    const unsigned mask = std::exchange(pending_, 0u);
    const bool open = has_content();
    stack_->setCurrentWidget(open ? body_ : empty_);
    if (open) refresh(mask);
  }
  // Only what refresh() has drawn has a style: what the selection holds by now may not have been announced yet.
  if (stack_->currentWidget() == body_ && !std::exchange(styled_, true)) restyle();
}

void PageBase::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  refresh_now();
}

void PageBase::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::FontChange) {
    styled_ = false;
    if (isVisible()) refresh_now();
  }
}

QLabel* make_heading(const QString& text, QWidget* parent) {
  auto* label = new TextLabel(text, parent);
  QFont font;  // says its weight alone: the size stays that of what it lies in
  font.setWeight(QFont::DemiBold);
  label->setFont(font);
  return label;
}

QLabel* make_note(const QString& text, QWidget* parent) {
  auto* label = new TextLabel(text, parent);
  label->setWordWrap(true);
  const auto recolour = [label] { set_text_colour(label, Theme::instance().muted_text()); };
  QObject::connect(&Theme::instance(), &Theme::changed, label, recolour);
  recolour();
  return label;
}

QComboBox* make_choice(const QString& name, const char* id, QWidget* parent) {
  auto* made = new QComboBox(parent);
  made->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  made->setAccessibleName(name);
  made->setObjectName(id);
  return made;
}

void style_field(QWidget* field) {
  const auto recolour = [field] {
    QPalette palette = field->palette();
    palette.setColor(QPalette::Base, Theme::instance().panel());
    field->setPalette(palette);
  };
  QObject::connect(&Theme::instance(), &Theme::changed, field, recolour);
  recolour();
}

void set_text_colour(QWidget* widget, const QColor& colour) {
  QPalette palette = widget->palette();
  palette.setColor(QPalette::WindowText, colour);
  palette.setColor(QPalette::Text, colour);
  widget->setPalette(palette);
}

void style_axis(QCPAxis* axis) {
  const Theme& theme = Theme::instance();
  QFont font = axis->parentPlot()->font();
  axis->setBasePen(QPen(theme.border()));
  axis->setTickPen(QPen(theme.border()));
  axis->setSubTickPen(Qt::NoPen);
  axis->setTickLabelColor(theme.muted_text());
  axis->setLabelColor(theme.text());
  axis->setTickLabelFont(font);
  axis->setLabelFont(font);
  axis->setSelectableParts(QCPAxis::spNone);
  axis->grid()->setVisible(true);
  axis->grid()->setPen(QPen(theme.grid(), 1));
  axis->grid()->setZeroLinePen(Qt::NoPen);
  axis->grid()->setSubGridVisible(false);
}

void style_plot(QCustomPlot* plot) {
  const Theme& theme = Theme::instance();
  plot->setBackground(theme.background());
  // Painted with whatever else has changed in the window: an immediate repaint takes all of that into the same event.
  plot->setPlottingHint(QCP::phImmediateRefresh, false);
  QLocale locale = number_locale();  // else QCustomPlot's tick labels follow the user's
  locale.setNumberOptions(QLocale::OmitGroupSeparator);
  plot->setLocale(locale);
  for (QCPAxisRect* rect : plot->axisRects()) {
    rect->setBackground(theme.background());
    for (QCPAxis* axis : rect->axes()) style_axis(axis);
  }
  if (plot->legend) {
    plot->legend->setBrush(Qt::NoBrush);
    plot->legend->setBorderPen(Qt::NoPen);
    plot->legend->setTextColor(theme.text());
    plot->legend->setFont(plot->font());
    plot->legend->setIconSize(28, QFontMetrics(plot->font()).height());
  }
}

QCPGraph* add_markers(QCPAxis* key_axis, QCPAxis* value_axis) {
  return new MarkerGraph(key_axis, value_axis);
}

QCPScatterStyle method_marker(int look, double size, bool filled) {
  const QColor colour = Theme::instance().method(look);
  const QPen pen(colour, 2);
  const QBrush brush = filled ? QBrush(colour) : QBrush(Theme::instance().background());
  const Mark& mark = mark_of(look);
  if (mark.shape != QCPScatterStyle::ssCustom) return QCPScatterStyle(mark.shape, pen, brush, size);
  QPainterPath path;
  path.addPolygon(QPolygonF(QList<QPointF>(mark.corners.begin(), mark.corners.end())));
  path.closeSubpath();
  return QCPScatterStyle(path, pen, brush, size);
}

QString method_mark(int look, bool filled) {
  return QString::fromUtf8(filled ? mark_of(look).filled : mark_of(look).open);
}

void style_table(QTableView* table) {
  table->setShowGrid(false);
  table->setAlternatingRowColors(true);
  table->setSelectionBehavior(QAbstractItemView::SelectRows);
  table->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table->setWordWrap(false);
  table->setFrameShape(QFrame::NoFrame);
  table->setCornerButtonEnabled(false);
  table->verticalHeader()->hide();
  table->horizontalHeader()->setHighlightSections(false);
  table->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  table->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
  table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
}

void fit_table(QTableView* table, int most) {
  table->verticalHeader()->setDefaultSectionSize(table->fontMetrics().height() + 8);
  table->resizeColumnsToContents();
  const int columns = table->model() && most > 0 ? table->model()->columnCount() : 0;
  for (int column = 1; column < columns; ++column)
    table->setColumnWidth(column, std::min(table->columnWidth(column), most));
}

QString plain_tip(const QString& text) {
  return Qt::mightBeRichText(text) ? Qt::convertFromPlainText(text) : text;
}

QString csv_cell(const QString& text) {
  if (!text.contains(',') && !text.contains('"') && !text.contains('\n') && !text.contains('\r')) return text;
  return '"' + QString(text).replace("\"", "\"\"") + '"';
}

}  // namespace headroom::views
