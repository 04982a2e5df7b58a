// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/overview/overview_page.h"

#include <QComboBox>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPainter>
#include <QScrollArea>
#include <QSignalBlocker>
#include <QStackedWidget>
#include <QTableView>
#include <QToolButton>
#include <QToolTip>
#include <QVBoxLayout>

#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/give_way.h"
#include "views/common/head_statistics_model.h"
#include "views/common/theme.h"
#include "views/common/wrap_label.h"
#include "views/overview/answer_cards.h"
#include "views/overview/answer_sentence.h"
#include "views/overview/head_grid_widget.h"

namespace headroom::views {
namespace {

constexpr unsigned interest =
    Selection::Method | Selection::Layer | Selection::Head | Selection::Budget | Selection::Display;

void clear(QLayout* layout) {
  while (QLayoutItem* item = layout->takeAt(0)) {
    if (item->layout()) clear(item->layout());
    delete item->widget();
    delete item;
  }
}

AnswerSentence sentence_at(const record::RunRecord& record, const std::vector<MethodPtr>& shown, std::size_t index,
                           const record::MethodSummary& baseline) {
  return answer_sentence(record, *shown[index], baseline, {index == 0, index + 1 == shown.size()});
}

}  // namespace

OverviewPage::OverviewPage(Selection* selection, QWidget* parent) : PageBase(selection, interest, parent) {
  build();
}
OverviewPage::~OverviewPage() = default;

void OverviewPage::build() {
  setAccessibleName(tr("Overview"));
  auto* outer = new QVBoxLayout(body());
  outer->setContentsMargins(0, 0, 0, 0);
  auto* scroll = new QScrollArea(body());
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll->setObjectName("whole_page");  // presented, all of it is to be seen
  outer->addWidget(scroll);
  auto* content = new QWidget(scroll);
  content->setBackgroundRole(QPalette::Base);
  content->setAutoFillBackground(true);
  scroll->setWidget(content);
  auto* column = new QVBoxLayout(content);
  column->setContentsMargins(16, 16, 16, 16);
  column->setSpacing(8);

  budget_bar_ = new QWidget(content);
  auto* budget_row = new QHBoxLayout(budget_bar_);
  budget_row->setContentsMargins(0, 0, 0, 0);
  budget_row->setSpacing(8);
  budget_ = new QComboBox(budget_bar_);
  budget_->setAccessibleName(tr("Budget that the page is of"));
  budget_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  budget_note_ = make_note(QString(), budget_bar_);
  budget_row->addWidget(make_heading(tr("Budget"), budget_bar_));
  budget_row->addWidget(budget_);
  budget_row->addWidget(budget_note_, 1);
  column->addWidget(budget_bar_);
  sentences_ = new QVBoxLayout;
  sentences_->setSpacing(6);
  column->addLayout(sentences_);
  column->addSpacing(4);
  answers_heading_ = make_heading(tr("Answers"), content);
  answers_heading_->setWordWrap(true);
  column->addWidget(answers_heading_);
  answers_ = new AnswerCards(content);
  answers_->set_why(true);
  connect(answers_, &AnswerCards::why_asked, this, &OverviewPage::why_asked);
  column->addWidget(answers_);
  column->addSpacing(8);

  auto* bar = new FlowLayout(nullptr, 8, 6);
  bar->addWidget(make_heading(tr("Layers and heads"), content));
  statistic_ = new QComboBox(content);
  statistic_->setAccessibleName(tr("Statistic"));
  stream_ = new QComboBox(content);
  stream_->setAccessibleName(tr("Stream: which method's run the numbers are from"));
  order_ = new QComboBox(content);
  order_->setAccessibleName(tr("Order of layers"));
  order_->addItem(tr("By layer"));
  order_->addItem(tr("Highest first"));
  order_->addItem(tr("Lowest first"));
  as_table_ = new QToolButton(content);
  as_table_->setText(tr("Table"));
  as_table_->setCheckable(true);
  as_table_->setToolTip(tr("Show the numbers as a table"));
  for (QComboBox* box : {statistic_, stream_, order_}) {
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    bar->addWidget(box);
  }
  bar->addWidget(as_table_);
  give_way({budget_bar_, order_, as_table_});
  column->addLayout(bar);
  definition_ = make_note(QString(), content);
  column->addWidget(definition_);
  read_out_ = new TextLabel(content);
  read_out_->setWordWrap(true);
  read_out_->setAccessibleName(tr("Value under the pointer"));
  column->addWidget(read_out_);
  give_way({definition_, read_out_});

  views_ = new QStackedWidget(content);
  grid_ = new HeadGridWidget(views_);
  model_ = new HeadStatisticsModel(this);
  table_ = new QTableView(views_);
  style_table(table_);
  table_->verticalHeader()->show();
  table_->setModel(model_);
  table_->setAccessibleName(tr("Layers and heads as a table"));
  views_->addWidget(grid_);
  views_->addWidget(table_);
  column->addWidget(views_, 1);

  const auto change_display = [this](auto&& edit) {
    this->selection()->change([&](ViewState& state) { edit(state.display); });
  };
  connect(statistic_, &QComboBox::currentIndexChanged, this, [this, change_display] {
    change_display([this](DisplayState& d) { d.grid_statistic = statistic_->currentData().toString(); });
  });
  connect(order_, &QComboBox::currentIndexChanged, this,
          [change_display](int index) { change_display([index](DisplayState& d) { d.layer_order = index; }); });
  connect(budget_, &QComboBox::activated, this, &OverviewPage::choose_budget);
  connect(stream_, &QComboBox::activated, this, [this](int index) {
    const QString id = stream_->itemData(index).toString();
    this->selection()->change([&](ViewState& state) { state.method = id; });
  });
  connect(as_table_, &QToolButton::toggled, this,
          [change_display](bool on) { change_display([on](DisplayState& d) { d.grid_table = on; }); });
  connect(grid_, &HeadGridWidget::current_changed, this, &OverviewPage::choose);
  connect(grid_, &HeadGridWidget::activated, this, &OverviewPage::open_head);
  connect(grid_, &HeadGridWidget::hovered, this, &OverviewPage::show_read_out);
  connect(table_, &QTableView::activated, this, [this](const QModelIndex& index) {
    if (!grid_data_ || index.column() < 1) return;
    emit open_head(model_->layer_of_row(index.row()), index.column() == 1 ? grid_data_->heads - 1 : index.column() - 2);
  });
}

const record::MethodSummary* OverviewPage::stream() const {
  if (!record_) return nullptr;
  if (const auto* method = record_->find_method(selection()->state().method.toStdString())) return method;
  return record_->methods().empty() ? nullptr : &record_->methods().front();
}

void OverviewPage::refresh(unsigned mask) {
  const bool new_run = mask & Selection::Runs;
  const RecordPtr held = record_;  // until the widgets have let go of its summaries
  record_ = selection()->record();
  const auto at_budget = methods_at_budget(*record_, selection()->state());
  if (new_run || at_budget != shown_ || mask & (Selection::Method | Selection::Display)) {
    shown_ = at_budget;
    fill_budgets();
    show_sentences();
    show_answers();
  }
  if (new_run || mask & (Selection::Method | Selection::Display)) {
    if (new_run) fill_statistics();
    if (new_run || mask & Selection::Method) fill_streams();
    show_display();
    show_grid();
  } else if (mask & (Selection::Layer | Selection::Head)) {
    show_current();
  }
}

void OverviewPage::arrange() {
  answers_->set_vertical(width() < answers_->count() * 28 * fontMetrics().averageCharWidth());
}

void OverviewPage::resizeEvent(QResizeEvent* event) {
  PageBase::resizeEvent(event);
  arrange();
}

void OverviewPage::restyle() {
  arrange();
  show_sentences();
  show_read_out(-1, -1);
}

void OverviewPage::show_display() {
  const DisplayState& display = selection()->state().display;
  const QSignalBlocker block_statistic(statistic_), block_order(order_), block_table(as_table_);
  statistic_->setCurrentIndex(std::max(0, statistic_->findData(display.grid_statistic)));
  order_->setCurrentIndex(display.layer_order);
  as_table_->setChecked(display.grid_table);
  views_->setCurrentIndex(display.grid_table ? 1 : 0);
}

QString OverviewPage::short_label(MethodPtr method) const {
  return method_name(*method) + method_setting(*method, shown_);
}

void OverviewPage::show_sentences() {
  clear(sentences_);
  const record::MethodSummary* baseline = record_ ? dense_of(*record_) : nullptr;
  if (!record_->meta().complete)
    sentences_->addWidget(make_note(tr("This run was stopped early: what was finished is shown."), this));
  if (shown_.empty() || !baseline) {
    auto* label =
        new QLabel(tr("This run holds the dense model alone. A new run with the oracle or the indexer shows what a "
                      "budget keeps."),
                   this);
    label->setWordWrap(true);
    sentences_->addWidget(label);
    return;
  }
  if (selection()->state().display.all_budgets && budgets_.size() > 1) {
    auto* table = new TextLabel(all_budgets_html(), this);
    table->setTextFormat(Qt::RichText);
    table->setWordWrap(true);
    table->setTextInteractionFlags(Qt::TextSelectableByMouse);
    table->setAccessibleName(tr("All budgets"));
    sentences_->addWidget(table);
    return;
  }
  QFont large = font();
  large.setPointSizeF(font().pointSizeF() * 1.2);
  QFont chip_font = large;
  chip_font.setWeight(QFont::DemiBold);
  int chip_width = 0;
  for (const MethodPtr method : shown_)
    chip_width = std::max(chip_width, QFontMetrics(chip_font).horizontalAdvance(short_label(method)) + 16);
  for (std::size_t i = 0; i < shown_.size(); ++i) {
    const AnswerSentence sentence = sentence_at(*record_, shown_, i, *baseline);
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    auto* chip = make_heading(short_label(shown_[i]), this);
    chip->setFont(chip_font);
    chip->setFixedWidth(chip_width);
    set_text_colour(chip, Theme::instance().method(shown_[i]->look));
    row->addWidget(chip, 0, Qt::AlignTop);
    auto* label = new TextLabel(sentence.html(Theme::instance().accent()), this);
    label->setFont(large);
    label->setWordWrap(true);
    label->setTextFormat(Qt::RichText);
    label->setTextInteractionFlags(Qt::TextBrowserInteraction);
    label->setAccessibleName(method_label(*record_, *shown_[i]) + ": " + sentence.text());
    connect(label, &QLabel::linkActivated, this, &OverviewPage::link_activated);
    connect(label, &QLabel::linkHovered, label, [label, sentence](const QString& link) {
      if (link.isEmpty()) {
        QToolTip::hideText();
      } else {
        QToolTip::showText(QCursor::pos(), "<qt>" + sentence.definition(link).toHtmlEscaped() + "</qt>", label);
      }
    });
    row->addWidget(label, 1);
    sentences_->addLayout(row);
  }
}

QString OverviewPage::answer_text() const {
  QStringList lines;
  const record::MethodSummary* baseline = record_ ? dense_of(*record_) : nullptr;
  for (std::size_t i = 0; baseline && i < shown_.size(); ++i)
    lines << short_label(shown_[i]) + ": " + sentence_at(*record_, shown_, i, *baseline).text();
  return lines.join('\n');
}

void OverviewPage::show_answers() {
  const record::MethodSummary* baseline = dense_of(*record_);
  std::vector<AnswerEntry> entries;
  if (baseline) entries.push_back({baseline, {}});
  bool any = baseline && !baseline->answer.empty();
  for (const MethodPtr method : shown_) {
    entries.push_back({method, {}});
    any = any || !method->answer.empty();
  }
  if (!any) entries.clear();
  answers_heading_->setVisible(any);
  answers_->setVisible(any);
  const QString reference = QString::fromStdString(record_->meta().task_reference).trimmed();
  // A short reference stands in the heading and leaves its room to the answers.
  const bool brief = reference.size() <= 60 && !reference.contains('\n');
  answers_->set_answers(std::move(entries), brief ? QString() : reference);
  arrange();
  const QString task = QString::fromStdString(record_->meta().task);
  QString heading = task.isEmpty() ? tr("Answers") : tr("Answers · task %1").arg(task);
  if (brief && !reference.isEmpty()) heading += tr(" · it asks for %1").arg(reference);
  answers_heading_->setText(heading);
}

void OverviewPage::fill_statistics() {
  const QSignalBlocker blocker(statistic_);
  statistic_->clear();
  for (const auto& statistic : grid_statistics()) {
    try {
      if (statistic.of_some_models && !has_statistic(*record_, statistic)) continue;
    } catch (const std::exception&) {
      continue;  // show_grid() says what is damaged
    }
    statistic_->addItem(QString::fromUtf8(statistic.title), QString::fromUtf8(statistic.key));
  }
}

void OverviewPage::fill_streams() {
  const QSignalBlocker blocker(stream_);
  stream_->clear();
  for (const auto& method : record_->methods())
    stream_->addItem(tr("%1 stream").arg(method_label(*record_, method)), QString::fromStdString(method.id));
  if (const auto* method = stream()) stream_->setCurrentIndex(stream_->findData(QString::fromStdString(method->id)));
}

void OverviewPage::show_grid() {
  const auto* method = stream();
  const GridStatistic* statistic = find_grid_statistic(statistic_->currentData().toString());
  if (!record_ || !method || !statistic) return;
  QString note = QString::fromUtf8(statistic->definition);
  grid_problem_.clear();
  try {
    grid_data_ = std::make_shared<const GridData>(load_grid(*record_, *method, *statistic));
  } catch (const std::exception& error) {
    auto empty = std::make_shared<GridData>();
    empty->statistic = statistic;
    grid_data_ = empty;
    note = grid_problem_ = tr("These numbers cannot be read: %1").arg(QString::fromUtf8(error.what()));
  }
  if (statistic->sparse_only && method->is_dense())
    note =
        tr("Dense attends to every key, so there is nothing to capture or miss. Choose another stream or statistic. ") +
        note;
  definition_->setText(note);
  const auto order = ordered_layers(*grid_data_, static_cast<LayerOrder>(std::max(0, order_->currentIndex())));
  grid_->set_data(grid_data_, order);
  grid_->setAccessibleName(tr("%1, %2 stream, layers to the right, heads down")
                               .arg(QString::fromUtf8(statistic->title), method_label(*record_, *method)));
  model_->set_data(grid_data_, order);
  if (as_table_->isChecked()) fit_table(table_);
  show_current();
}

void OverviewPage::show_current() {
  if (!grid_data_) return;
  const ViewState& state = selection()->state();
  int head = grid_data_->mean();
  if (state.head.kind == record::HeadSelector::Kind::head) head = state.head.index;
  if (state.head.kind == record::HeadSelector::Kind::group && state.layer < grid_data_->layers)
    head = state.head.index * static_cast<int>(grid_data_->size_of(state.layer).group_size());
  grid_->set_current(state.layer, head);
  show_read_out(-1, -1);
}

void OverviewPage::show_read_out(int layer, int head) {
  const bool hovering = layer >= 0;
  if (!hovering) {
    layer = grid_->current_layer();
    head = grid_->current_head();
  }
  QString text = grid_->read_out(layer, head);
  if (!hovering && !text.isEmpty()) text = tr("Selected: %1   (Enter opens it in Attention)").arg(text);
  read_out_->setText(text);
  set_text_colour(read_out_, hovering ? Theme::instance().text() : Theme::instance().muted_text());
}

void OverviewPage::choose(int layer, int head) {
  const int mean = grid_data_ ? grid_data_->heads - 1 : -1;
  selection()->change(
      [&](ViewState& state) {
        state.layer = layer;
        state.head.kind = head == mean ? record::HeadSelector::Kind::mean : record::HeadSelector::Kind::head;
        state.head.index = head == mean ? 0 : head;
      },
      QStringLiteral("overview-cell"));
}

QString OverviewPage::title() const {
  return tr("Overview");
}

QString OverviewPage::csv() const {
  if (!grid_data_ || !grid_data_->statistic) return {};
  QString text = QStringLiteral("layer,kind,head,%1\r\n").arg(QString::fromUtf8(grid_data_->statistic->key));
  for (int layer = 0; layer < grid_data_->layers; ++layer) {
    for (int head = 0; head < grid_data_->heads; ++head) {
      const double value = grid_data_->at(layer, head);
      if (!std::isfinite(value)) continue;
      text += QStringLiteral("%1,%2,%3,%4\r\n")
                  .arg(layer)
                  .arg(csv_cell(QString::fromStdString(grid_data_->size_of(layer).kind)),
                       head == grid_data_->heads - 1 ? QStringLiteral("mean") : QString::number(head),
                       QString::number(value, 'g', 9));
    }
  }
  return text;
}

void OverviewPage::draw_text(Figure& figure) const {
  figure.title(title(), run_caption(record_->meta(), record_->length()));
  const record::MethodSummary* baseline = dense_of(*record_);
  const bool all = selection()->state().display.all_budgets && budgets_.size() > 1;
  if (all) figure.html(all_budgets_html());
  for (std::size_t i = 0; baseline && !all && i < shown_.size(); ++i)
    figure.html(QStringLiteral("<b style=\"color:%1\">%2</b>&nbsp; %3")
                    .arg(Theme::instance().method(shown_[i]->look).name(), short_label(shown_[i]).toHtmlEscaped(),
                         sentence_at(*record_, shown_, i, *baseline).html(Theme::instance().text())),
                shown_.size() > 6 ? 1 : 1.2);
  if (!answers_->isHidden()) {
    figure.heading(answers_heading_->text());
    figure.html(answers_->html(), 0.95);
  }
  if (!grid_data_ || grid_data_->layers == 0) return;
  figure.heading(
      tr("%1 by layer and head, %2").arg(QString::fromUtf8(grid_data_->statistic->title), stream_->currentText()));
}

double OverviewPage::wanted_height(double width, double least_text) {
  refresh_now();
  if (!record_) return 0;
  return figure_height(width, least_text, [this](Figure& figure) {
    draw_text(figure);
    // Cells of which each can be told from the next, with the axis below.
    if (grid_data_ && grid_data_->layers > 0)
      figure.take_top(std::clamp(grid_data_->heads * 16 + 60, 200, 900) * figure.unit());
  });
}

void OverviewPage::render(QPainter& painter, const QRectF& target, const ExportOptions& options) {
  refresh_now();
  Figure figure(painter, target, options);
  if (!record_) return figure.title(title(), tr("No run is open"));
  draw_text(figure);
  if (!grid_data_ || grid_data_->layers == 0) return;
  QFont text = QGuiApplication::font();
  // The grid's smallest text is 0.8 of this.
  text.setPixelSize(
      std::max({1, static_cast<int>(13 * figure.unit()),
                options.least_text > 0 ? static_cast<int>(std::ceil((options.least_text + 1) / 0.8)) : 0}));
  painter.setFont(text);
  grid_->draw(painter, figure.rest(), figure.unit(), false);
}

}  // namespace headroom::views
