// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/compare/compare_page.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QResizeEvent>
#include <QScrollArea>
#include <QSignalBlocker>
#include <QSplitter>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>
#include <utility>

#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/give_way.h"
#include "views/common/theme.h"
#include "views/common/wrap_label.h"
#include "views/compare/compare_chart.h"
#include "views/compare/compare_maps.h"
#include "views/map/attention_map_widget.h"
#include "views/overview/answer_cards.h"

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
  const auto choice = [&](const QString& name, QLabel** label) {
    auto* box = new QComboBox(body());
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    box->setAccessibleName(name);
    QLabel* heading = make_heading(name, body());
    give_way({heading});
    bar->addWidget(heading);
    if (label) *label = heading;
    bar->addWidget(box);
    connect(box, &QComboBox::activated, this, &ComparePage::picked);
    return box;
  };
  baseline_box_ = choice(tr("Baseline"), nullptr);
  auto* swap = new QToolButton(body());
  swap->setText(QStringLiteral("⇄"));
  swap->setToolTip(tr("Swap baseline and candidate"));
  swap->setAccessibleName(tr("Swap baseline and candidate"));
  connect(swap, &QToolButton::clicked, this, [this] {
    std::vector<CompareSide> candidates = candidates_;
    const CompareSide baseline = std::exchange(candidates.front(), baseline_);
    set_sides(baseline, candidates);
  });
  bar->addWidget(swap);
  for (std::size_t i = 0; i < most_candidates; ++i) {
    CandidateBox one;
    one.box = choice(i == 0 ? tr("Candidate") : tr("Candidate %1").arg(i + 1), &one.label);
    one.remove = new QToolButton(body());
    one.remove->setText(QStringLiteral("✕"));
    one.remove->setAutoRaise(true);
    one.remove->setToolTip(tr("Take candidate %1 away").arg(i + 1));
    one.remove->setAccessibleName(one.remove->toolTip());
    connect(one.remove, &QToolButton::clicked, this, [this, i] { remove_candidate(i); });
    bar->addWidget(one.remove);
    candidate_boxes_.push_back(one);
  }
  add_ = new QToolButton(body());
  add_->setText(tr("+ Candidate"));
  add_->setToolTip(tr("Compares one more, four at most"));
  add_->setAccessibleName(tr("Add a candidate"));
  connect(add_, &QToolButton::clicked, this, &ComparePage::add_candidate);
  bar->addWidget(add_);
  details_ = new QToolButton(body());
  details_->setText(tr("Details and answers"));
  details_->setCheckable(true);
  connect(details_, &QToolButton::toggled, this, &ComparePage::arrange);
  bar->addWidget(details_);
  // The maps say themselves whose they are.
  give_way({baseline_box_, swap, add_, details_});
  for (const CandidateBox& one : candidate_boxes_) give_way({one.label, one.box, one.remove});
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
  // Fields wrap too. A model reset forgets how sections resize. After the view's own handling of it: queued.
  connect(metadata_, &MetadataModel::modelReset, this, &ComparePage::share_width, Qt::QueuedConnection);
  connect(columns_, &QSplitter::splitterMoved, this, &ComparePage::share_width, Qt::QueuedConnection);
  // Values take as many lines as they need in their column.
  table_->setWordWrap(true);
  table_->verticalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  connect(table_->horizontalHeader(), &QHeaderView::sectionResized, table_, &QTableView::resizeRowsToContents,
          Qt::QueuedConnection);
  left_column->addWidget(table_, 2);
  left_column->addWidget(make_heading(tr("Answers"), left));
  answers_ = new AnswerCards(left);
  answers_->set_vertical(true);
  answers_->set_on_panel(true);
  auto* answers_area = new QScrollArea(left);  // five answers may be longer than the page
  answers_area->setWidgetResizable(true);
  answers_area->setFrameShape(QFrame::NoFrame);
  answers_area->setFocusPolicy(Qt::NoFocus);
  answers_area->setWidget(answers_);
  answers_area->setMinimumHeight(fontMetrics().lineSpacing() * 5);
  left_column->addWidget(answers_area, 1);
  connect(differences_only_, &QToolButton::toggled, this, [this](bool only) {
    selection()->change([only](ViewState& state) { state.display.differences_only = only; });
    metadata_->set_differences_only(only);
  });

  auto* right = panes_ = new QSplitter(Qt::Vertical, columns_);
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
  summary_ = new WrapLabel(chart_pane);
  const auto muted = [this] { set_text_colour(summary_, Theme::instance().muted_text()); };
  connect(&Theme::instance(), &Theme::changed, summary_, muted);
  muted();
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

QVector<PageCommand> ComparePage::commands() {
  return maps_->commands();
}

/// Fields are as wide as the longest common one; the sides share the rest, and where that is too little they scroll.
void ComparePage::share_width() {
  QHeaderView* header = table_->horizontalHeader();
  const int digit = table_->fontMetrics().horizontalAdvance('0');
  const int field = table_->fontMetrics().horizontalAdvance("time to first token") + 12;
  const int count = metadata_->columnCount() - 1, room = table_->viewport()->width() - field;
  header->setSectionResizeMode(QHeaderView::Fixed);
  header->resizeSection(0, field);
  const int width = std::max(room / std::max(1, count), 14 * digit);
  for (int i = 1; i <= count; ++i)
    header->resizeSection(i, i < count ? width : std::max(width, room - width * (count - 1)));
}

void ComparePage::set_tile_provider(TileProvider* provider) {
  maps_->set_tile_provider(provider);
}

bool ComparePage::settled() const {
  return PageBase::settled() && (!selection()->record() || maps_->settled());
}

void ComparePage::refresh(unsigned mask) {
  if (mask & (Selection::Runs | Selection::Method | Selection::Display)) {
    const CompareSide old_baseline = baseline_;
    const std::vector<CompareSide> old_candidates = candidates_;  // alive until the widgets have changed over
    choose_defaults();
    const bool same = baseline_ == old_baseline && candidates_ == old_candidates;
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
  show_summary();
  share_width();
  table_->resizeRowsToContents();
}

void ComparePage::resizeEvent(QResizeEvent* event) {
  PageBase::resizeEvent(event);
  arrange();
  QMetaObject::invokeMethod(this, &ComparePage::share_width, Qt::QueuedConnection);
  if (placed_ || left_->isHidden() || event->size().width() < 400) return;
  placed_ = true;
  const int left = std::clamp(event->size().width() * 3 / 10, 300, 460);
  columns_->setSizes({left, event->size().width() - left - 40});
}

void ComparePage::arrange() {
  // Two maps of useful size and 46 digits' width of details beside them.
  const int details = 46 * fontMetrics().horizontalAdvance('0');
  const bool narrow = width() < 540 + details || in_talk(this);
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
  CompareSide first = side(state.display.candidate, current->find_method(state.method.toStdString()));
  if (!baseline_.method && !current->methods().empty()) baseline_.method = &current->methods().front();
  if (!first.method || first == baseline_) {
    first = baseline_;
    for (const auto& method : current->methods())
      if (!(CompareSide{current, &method} == baseline_)) {
        first = {current, &method};
        break;
      }
  }
  candidates_ = {first};
  const DisplayState& display = state.display;
  for (const SideChoice* choice : {&display.candidate_2, &display.candidate_3, &display.candidate_4}) {
    const RecordPtr run = choice->run ? choice->run : current;
    const bool open = std::find(state.runs.begin(), state.runs.end(), run) != state.runs.end();
    const CompareSide more{run, open ? run->find_method(choice->method.toStdString()) : nullptr};
    if (more.method && !shows(more)) candidates_.push_back(more);
  }
}

bool ComparePage::shows(const CompareSide& side) const {
  return side == baseline_ || std::find(candidates_.begin(), candidates_.end(), side) != candidates_.end();
}

QString ComparePage::side_name(const CompareSide& side) const {
  const QString title = method_label(*side.run, *side.method);
  return selection()->state().runs.size() > 1 ? run_label(*side.run) + QStringLiteral(" · ") + title : title;
}

void ComparePage::fill_choices() {
  sides_.clear();
  for (const RecordPtr& run : selection()->state().runs)
    for (const auto& method : run->methods()) sides_.push_back({run, &method});
  const auto fill = [&](QComboBox* box, const CompareSide* chosen) {
    const QSignalBlocker block(box);
    box->clear();
    for (const CompareSide& side : sides_) {
      box->addItem(side_name(side));
      if (chosen && side == *chosen) box->setCurrentIndex(box->count() - 1);
    }
  };
  fill(baseline_box_, &baseline_);
  const std::size_t count = candidates_.size();
  for (std::size_t i = 0; i < candidate_boxes_.size(); ++i) {
    const CandidateBox& one = candidate_boxes_[i];
    fill(one.box, i < count ? &candidates_[i] : nullptr);
    one.label->setVisible(i < count);
    one.box->setVisible(i < count);
    one.remove->setVisible(i < count && count > 1);
  }
  candidate_boxes_.front().label->setText(count > 1 ? tr("Candidate 1") : tr("Candidate"));
  add_->setVisible(count < most_candidates);
  add_->setEnabled(sides_.size() > count + 1);
}

void ComparePage::picked() {
  const auto side = [&](const QComboBox* box) {
    const int index = box->currentIndex();
    return index >= 0 ? sides_[static_cast<std::size_t>(index)] : CompareSide{};
  };
  std::vector<CompareSide> candidates;
  for (std::size_t i = 0; i < candidates_.size(); ++i) candidates.push_back(side(candidate_boxes_[i].box));
  set_sides(side(baseline_box_), candidates);
}

void ComparePage::add_candidate() {
  if (candidates_.size() >= most_candidates) return;
  const auto next = std::find_if(sides_.begin(), sides_.end(), [&](const CompareSide& one) { return !shows(one); });
  if (next == sides_.end()) return;
  std::vector<CompareSide> candidates = candidates_;
  candidates.push_back(*next);
  set_sides(baseline_, candidates);
}

void ComparePage::remove_candidate(std::size_t index) {
  if (index >= candidates_.size() || candidates_.size() == 1) return;
  std::vector<CompareSide> candidates = candidates_;
  candidates.erase(candidates.begin() + static_cast<std::ptrdiff_t>(index));
  set_sides(baseline_, candidates);
}

void ComparePage::set_sides(const CompareSide& baseline, std::vector<CompareSide> candidates) {
  std::erase_if(candidates, [](const CompareSide& side) { return !side.method; });
  if (!baseline.method || candidates.empty()) return;
  const CompareSide old_baseline = baseline_;
  const std::vector<CompareSide> old_candidates = std::exchange(candidates_, {candidates.front()});
  baseline_ = baseline;
  for (const CompareSide& one : candidates)
    if (!shows(one) && candidates_.size() < most_candidates) candidates_.push_back(one);
  fill_choices();
  show_sides();
  const RecordPtr current = selection()->record();
  selection()->change([&](ViewState& state) {
    DisplayState& display = state.display;
    display.baseline = choice_of(baseline_, current);
    display.candidate = choice_of(candidates_.front(), current);
    SideChoice* const more[] = {&display.candidate_2, &display.candidate_3, &display.candidate_4};
    for (std::size_t i = 0; i < std::size(more); ++i) {
      *more[i] = {};
      if (i + 1 >= candidates_.size()) continue;
      const CompareSide& side = candidates_[i + 1];
      *more[i] = {side.run == current ? nullptr : side.run, QString::fromStdString(side.method->id)};
    }
    if (display.compare_chosen > static_cast<int>(candidates_.size())) display.compare_chosen = 0;
    if (baseline_.run == current) state.baseline = QString::fromStdString(baseline_.method->id);
    if (candidates_.front().run == current)
      state.method = QString::fromStdString(candidates_.front().method->id);
  });
}

void ComparePage::show_sides() {
  if (!baseline_.method || !candidate().method) return;
  metadata_->set_rows(compare_metadata(baseline_, candidates_));
  const bool runs = std::any_of(candidates_.begin(), candidates_.end(),
                                [&](const CompareSide& one) { return one.run != baseline_.run; });
  const auto run_of = [&](const CompareSide& side) { return runs ? run_label(*side.run) : QString(); };
  std::vector<AnswerEntry> answers{{baseline_.method, run_of(baseline_), true}};
  bool one_prompt = true;
  for (const CompareSide& one : candidates_) {
    const bool same = one.run == baseline_.run || one.run->tokens().ids == baseline_.run->tokens().ids;
    answers.push_back({one.method, run_of(one), same});
    one_prompt &= same;
  }
  answers_->set_answers(answers, one_prompt ? QString::fromStdString(baseline_.run->meta().task_reference).trimmed()
                                            : QString());
  maps_->set_sides(baseline_, candidates_);
  show_chart();
}

void ComparePage::show_chart() {
  const CompareQuantity& quantity = quantities_[static_cast<std::size_t>(std::max(0, quantity_box_->currentIndex()))];
  const std::vector<int> looks = distinct_looks(candidates_);
  QStringList notes;
  chart_problem_.clear();
  series_.clear();
  try {
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      series_.push_back({side_name(candidates_[i]), looks[i], compare_points(baseline_, candidates_[i], quantity)});
      notes << compare_summary(series_.back().points, quantity,
                               candidates_.size() > 1 ? series_.back().name : QString());
    }
  } catch (const std::exception& error) {
    series_.clear();
    notes = {chart_problem_ = tr("These numbers cannot be read: %1").arg(QString::fromUtf8(error.what()))};
  }
  summary_text_ = notes.join('\n');
  chart_->set_series(series_, quantity, side_name(baseline_));
  show_summary();
}

void ComparePage::show_summary() {
  const QString legend = chart_->legend_html(), note = summary_text_.toHtmlEscaped().replace('\n', "<br>");
  summary_->setText(legend + (candidates_.size() > 1 ? QStringLiteral("<br>") : QString()) + note);
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
  maps_->set_chosen(display.compare_chosen);
}

}  // namespace headroom::views
