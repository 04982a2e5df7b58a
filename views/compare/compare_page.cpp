// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/compare/compare_page.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QResizeEvent>
#include <QSignalBlocker>
#include <QSplitter>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "views/overview/answer_cards.h"
#include "views/map/attention_map_widget.h"
#include "views/compare/compare_chart.h"
#include "views/compare/compare_maps.h"
#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

constexpr unsigned interest = Selection::Method | Selection::Layer | Selection::Head | Selection::Display;

/// A side as the state holds it: of the shown run it follows the Selection.
SideChoice choice_of(const CompareSide& side, const RecordPtr& shown) {
  return side.run == shown ? SideChoice{} : SideChoice{side.run, QString::fromStdString(side.method->id)};
}

}  // namespace

ComparePage::ComparePage(Selection* selection, QWidget* parent)
    : PageBase(selection, interest, parent), quantities_(compare_quantities()) {
  build();
  arrange();  // before the first layout: what is hidden when narrow must not widen the window
}

void ComparePage::build() {
  setAccessibleName(tr("Compare"));
  auto* column = new QVBoxLayout(body());
  column->setContentsMargins(16, 16, 16, 12);
  column->setSpacing(8);

  auto* bar = new FlowLayout(nullptr, 8, 6);
  const auto choice = [&](const QString& name) {
    auto* box = new QComboBox(body());
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    box->setAccessibleName(name);
    bar->addWidget(make_heading(name, body()));
    bar->addWidget(box);
    connect(box, &QComboBox::activated, this, &ComparePage::picked);
    return box;
  };
  baseline_box_ = choice(tr("Baseline"));
  auto* swap = new QToolButton(body());
  swap->setText(QStringLiteral("⇄"));
  swap->setToolTip(tr("Swap baseline and candidate"));
  swap->setAccessibleName(tr("Swap baseline and candidate"));
  connect(swap, &QToolButton::clicked, this, [this] { set_sides(candidate_, baseline_); });
  bar->addWidget(swap);
  candidate_box_ = choice(tr("Candidate"));
  details_ = new QToolButton(body());
  details_->setText(tr("Details and answers"));
  details_->setCheckable(true);
  connect(details_, &QToolButton::toggled, this, &ComparePage::arrange);
  bar->addWidget(details_);
  column->addLayout(bar);

  columns_ = new QSplitter(Qt::Horizontal, body());
  columns_->setChildrenCollapsible(false);
  left_ = new QWidget(columns_);
  QWidget* left = left_;
  auto* left_column = new QVBoxLayout(left);
  left_column->setContentsMargins(0, 0, 8, 0);
  left_column->setSpacing(8);
  auto* metadata_bar = new QHBoxLayout;
  metadata_bar->addWidget(make_heading(tr("How they were made"), left));
  metadata_bar->addStretch(1);
  differences_only_ = new QToolButton(left);
  differences_only_->setText(tr("Differences only"));
  differences_only_->setCheckable(true);
  metadata_bar->addWidget(differences_only_);
  left_column->addLayout(metadata_bar);
  metadata_ = new MetadataModel(this);
  table_ = new QTableView(left);
  style_table(table_);
  table_->setModel(metadata_);
  table_->setAccessibleName(tr("Baseline and candidate, field by field"));
  table_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  // Fields wrap too. A model reset forgets how sections resize. After the view's own handling of it: queued.
  share_width_ = [this] {
    table_->horizontalHeader()->setSectionResizeMode(0, QHeaderView::Fixed);
    table_->horizontalHeader()->resizeSection(0, table_->fontMetrics().horizontalAdvance("time to first token") + 12);
    for (const int section : {1, 2}) table_->horizontalHeader()->setSectionResizeMode(section, QHeaderView::Stretch);
  };
  connect(metadata_, &MetadataModel::modelReset, this, share_width_, Qt::QueuedConnection);
  share_width_();
  // Values take as many lines as they need in their column.
  table_->setWordWrap(true);
  table_->verticalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  connect(table_->horizontalHeader(), &QHeaderView::sectionResized, table_, &QTableView::resizeRowsToContents,
          Qt::QueuedConnection);
  left_column->addWidget(table_, 1);
  left_column->addWidget(make_heading(tr("Answers"), left));
  answers_ = new AnswerCards(left);
  answers_->set_vertical(true);
  answers_->set_on_panel(true);
  left_column->addWidget(answers_);
  connect(differences_only_, &QToolButton::toggled, this, [this](bool only) {
    selection()->change([only](ViewState& state) { state.display.differences_only = only; });
    metadata_->set_differences_only(only);
  });

  auto* right = new QSplitter(Qt::Vertical, columns_);
  right_ = right;
  right->setChildrenCollapsible(false);
  maps_ = new CompareMaps(selection(), right);
  auto* chart_pane = new QWidget(right);
  auto* chart_column = new QVBoxLayout(chart_pane);
  chart_column->setContentsMargins(0, 4, 0, 0);
  chart_column->setSpacing(4);
  auto* chart_bar = new QHBoxLayout;
  chart_bar->setSpacing(8);
  chart_bar->addWidget(make_heading(tr("Numbers"), chart_pane));
  quantity_box_ = new QComboBox(chart_pane);
  quantity_box_->setAccessibleName(tr("What the chart compares"));
  for (const auto& quantity : quantities_) quantity_box_->addItem(quantity.title());
  chart_bar->addWidget(quantity_box_);
  chart_bar->addStretch(1);
  chart_column->addLayout(chart_bar);
  summary_ = make_note(QString(), chart_pane);
  chart_column->addWidget(summary_);
  chart_ = new CompareChart(chart_pane);
  chart_->setMinimumHeight(130);
  chart_column->addWidget(chart_, 1);
  right->addWidget(maps_);
  right->addWidget(chart_pane);
  right->setStretchFactor(0, 3);
  right->setStretchFactor(1, 2);
  columns_->addWidget(left);
  columns_->addWidget(right);
  columns_->setStretchFactor(0, 0);
  columns_->setStretchFactor(1, 1);
  column->addWidget(columns_, 1);

  connect(quantity_box_, &QComboBox::currentIndexChanged, this, [this](int index) {
    selection()->change([index](ViewState& state) { state.display.compare_quantity = index; });
    show_chart();
  });
  connect(chart_, &CompareChart::chosen, this, [this](int layer, int head) {
    selection()->change(
        [&](ViewState& state) {
          state.layer = layer;
          if (head >= 0) state.head = {record::HeadSelector::Kind::head, head};
        },
        QStringLiteral("compare-place"));
  });
}

void ComparePage::set_tile_provider(TileProvider* provider) {
  maps_->set_tile_provider(provider);
}

bool ComparePage::settled() const {
  return PageBase::settled() && (!selection()->record() || maps_->settled());
}

void ComparePage::refresh(unsigned mask) {
  if (mask & (Selection::Runs | Selection::Method | Selection::Display)) {
    const CompareSide old_baseline = baseline_,
                      old_candidate = candidate_;  // alive until the widgets have changed over
    choose_defaults();
    const bool same = baseline_ == old_baseline && candidate_ == old_candidate;
    if (mask & (Selection::Runs | Selection::Method) || !same) {
      fill_choices();
      show_sides();
    }
    show_display();
  }
  const ViewState& state = selection()->state();
  if (mask & (Selection::Runs | Selection::Layer | Selection::Head)) {
    maps_->set_place(state.layer, state.head);
    chart_->set_current(state.layer, state.head.kind == record::HeadSelector::Kind::head ? state.head.index : -1);
  }
}

void ComparePage::restyle() {
  chart_->restyle();
  summary_->setText(chart_->legend_html() + summary_text_.toHtmlEscaped());
  share_width_();
  table_->resizeRowsToContents();
}

void ComparePage::resizeEvent(QResizeEvent* event) {
  PageBase::resizeEvent(event);
  arrange();
  if (placed_ || left_->isHidden() || event->size().width() < 400) return;
  placed_ = true;
  const int left = std::clamp(event->size().width() * 3 / 10, 300, 460);
  columns_->setSizes({left, event->size().width() - left - 40});
}

void ComparePage::arrange() {
  // Two maps of useful size and 46 digits' width of details beside them.
  const int details = 46 * fontMetrics().horizontalAdvance('0');
  const bool narrow = width() < 540 + details;
  details_->setVisible(narrow);
  left_->setVisible(!narrow || details_->isChecked());
  right_->setVisible(!narrow || !details_->isChecked());
  left_->setMinimumWidth(narrow ? 0 : details);
}

void ComparePage::choose_defaults() {
  const ViewState& state = selection()->state();
  const RecordPtr current = selection()->record();
  // A side of another run was chosen on this page and stays; one of the shown run follows the Selection.
  const auto side = [&](const SideChoice& choice, MethodPtr usual) -> CompareSide {
    const bool open = std::find(state.runs.begin(), state.runs.end(), choice.run) != state.runs.end();
    const MethodPtr method =
        open && choice.run != current ? choice.run->find_method(choice.method.toStdString()) : nullptr;
    return method ? CompareSide{choice.run, method} : CompareSide{current, usual};
  };
  baseline_ = side(state.display.baseline, baseline_of(*current, state));
  candidate_ = side(state.display.candidate, current->find_method(state.method.toStdString()));
  if (!baseline_.method && !current->methods().empty()) baseline_.method = &current->methods().front();
  if (candidate_.method && !(candidate_ == baseline_)) return;
  candidate_ = baseline_;
  for (const auto& method : current->methods())
    if (!(CompareSide{current, &method} == baseline_)) {
      candidate_ = {current, &method};
      break;
    }
}

QString ComparePage::side_name(const CompareSide& side) const {
  const QString title = method_label(*side.run, *side.method);
  return selection()->state().runs.size() > 1 ? run_label(*side.run) + QStringLiteral(" · ") + title : title;
}

void ComparePage::fill_choices() {
  const QSignalBlocker block_baseline(baseline_box_), block_candidate(candidate_box_);
  sides_.clear();
  baseline_box_->clear();
  candidate_box_->clear();
  for (const RecordPtr& run : selection()->state().runs)
    for (const auto& method : run->methods()) {
      const CompareSide side{run, &method};
      sides_.push_back(side);
      for (QComboBox* box : {baseline_box_, candidate_box_}) box->addItem(side_name(side));
      if (side == baseline_) baseline_box_->setCurrentIndex(baseline_box_->count() - 1);
      if (side == candidate_) candidate_box_->setCurrentIndex(candidate_box_->count() - 1);
    }
}

void ComparePage::picked() {
  const auto side = [&](const QComboBox* box) {
    const int index = box->currentIndex();
    return index >= 0 ? sides_[static_cast<std::size_t>(index)] : CompareSide{};
  };
  set_sides(side(baseline_box_), side(candidate_box_));
}

void ComparePage::set_sides(const CompareSide& baseline, const CompareSide& candidate) {
  if (!baseline.method || !candidate.method) return;
  const CompareSide old_baseline = baseline_, old_candidate = candidate_;
  baseline_ = baseline;
  candidate_ = candidate;
  fill_choices();
  show_sides();
  const RecordPtr current = selection()->record();
  selection()->change([&](ViewState& state) {
    state.display.baseline = choice_of(baseline_, current);
    state.display.candidate = choice_of(candidate_, current);
    if (baseline_.run == current) state.baseline = QString::fromStdString(baseline_.method->id);
    if (candidate_.run == current) state.method = QString::fromStdString(candidate_.method->id);
  });
}

void ComparePage::show_sides() {
  if (!baseline_.method || !candidate_.method) return;
  metadata_->set_rows(compare_metadata(baseline_, candidate_));
  const bool two_runs = baseline_.run != candidate_.run;
  const bool one_prompt = !two_runs || baseline_.run->tokens().ids == candidate_.run->tokens().ids;
  answers_->set_answers(
      {{baseline_.method, two_runs ? run_label(*baseline_.run) : QString(), true},
       {candidate_.method, two_runs ? run_label(*candidate_.run) : QString(), one_prompt}},
      one_prompt ? QString::fromStdString(baseline_.run->meta().task_reference).trimmed() : QString());
  maps_->set_sides(baseline_, candidate_);
  show_chart();
}

void ComparePage::show_chart() {
  const CompareQuantity& quantity = quantities_[static_cast<std::size_t>(std::max(0, quantity_box_->currentIndex()))];
  QString note;
  chart_problem_.clear();
  try {
    points_ = compare_points(baseline_, candidate_, quantity);
    note = compare_summary(points_, quantity);
  } catch (const std::exception& error) {
    points_.clear();
    note = chart_problem_ = tr("These numbers cannot be read: %1").arg(QString::fromUtf8(error.what()));
  }
  summary_text_ = note;
  chart_->set_points(points_, quantity, side_name(baseline_), side_name(candidate_), candidate_.method->look);
  summary_->setText(chart_->legend_html() + note.toHtmlEscaped());
}

void ComparePage::show_display() {
  const DisplayState& display = selection()->state().display;
  {
    const QSignalBlocker block_only(differences_only_), block_quantity(quantity_box_);
    differences_only_->setChecked(display.differences_only);
    if (quantity_box_->currentIndex() != display.compare_quantity &&
        display.compare_quantity < quantity_box_->count()) {
      quantity_box_->setCurrentIndex(display.compare_quantity);
      show_chart();
    }
  }
  metadata_->set_differences_only(display.differences_only);
  maps_->set_mode(display.compare_mode);
}

QString ComparePage::scale_text() const {
  return maps_->refusal().isEmpty() ? maps_->first()->scale_text() : QString();
}

bool ComparePage::complete() const {
  if (!baseline_.method || !maps_->refusal().isEmpty()) return true;
  const bool two = maps_->mode() == CompareMaps::Mode::side_by_side;
  return maps_->first()->complete() && (!two || maps_->second()->complete());
}

QString ComparePage::problem() const {
  if (!baseline_.method) return {};
  if (!chart_problem_.isEmpty()) return chart_problem_;
  if (!maps_->refusal().isEmpty()) return {};  // the picture says so in the maps' place
  QString why = maps_->first()->problem();
  if (why.isEmpty() && maps_->mode() == CompareMaps::Mode::side_by_side) why = maps_->second()->problem();
  return why;
}

void ComparePage::exported() {
  maps_->first()->exported();
  maps_->second()->exported();
}

QString ComparePage::summary() const {
  return summary_text_;
}
QString ComparePage::title() const {
  return tr("Compare");
}

QString ComparePage::csv() const {
  if (!baseline_.method || !candidate_.method) return {};
  QString text = QStringLiteral("layer,head,baseline %1,candidate %2\r\n")
                     .arg(QString::fromStdString(baseline_.method->id), QString::fromStdString(candidate_.method->id));
  const auto number = [](double value) { return std::isfinite(value) ? QString::number(value, 'g', 9) : QString(); };
  for (const auto& point : points_)
    text += QStringLiteral("%1,%2,%3,%4\r\n")
                .arg(point.layer)
                .arg(point.head < 0 ? QString() : QString::number(point.head), number(point.baseline),
                     number(point.candidate));
  return text;
}

void ComparePage::render(QPainter& painter, const QRectF& target, const ExportOptions& options) {
  refresh_now();
  Figure figure(painter, target, options);
  if (!selection()->record() || !baseline_.method) return figure.title(title(), tr("No run is open"));
  figure.title(tr("%1 against %2").arg(side_name(candidate_), side_name(baseline_)),
               run_caption(baseline_.run->meta(), baseline_.run->length()));
  figure.html(answers_->html(), 0.9);
  const QRectF rest = figure.rest();
  const double unit = figure.unit();
  const QString why = maps_->refusal();
  const double map_height = why.isEmpty() ? rest.height() * 0.58 : 0;
  if (why.isEmpty()) {
    const bool two = maps_->mode() == CompareMaps::Mode::side_by_side;
    const double width = two ? (rest.width() - 16 * unit) / 2 : rest.width();
    ExportOptions inner = options;
    inner.provenance.clear();
    inner.text_size = 13 * unit;
    maps_->first()->render(painter, QRectF(rest.left(), rest.top(), width, map_height), inner);
    if (two)
      maps_->second()->render(painter, QRectF(rest.left() + width + 16 * unit, rest.top(), width, map_height), inner);
    figure.take_top(map_height + 12 * unit);
  } else {
    figure.html(tr("<b>Maps not combined.</b> %1").arg(why.toHtmlEscaped()), 0.9);
  }
  figure.heading(quantity_box_->currentText());
  figure.html(summary_->text(), 0.9);
  figure.plot(chart_, figure.rest());
}

}  // namespace headroom::views
