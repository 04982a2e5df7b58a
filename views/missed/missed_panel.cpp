// SPDX-License-Identifier: GPL-3.0-or-later
// The panel's widgets, its scans and where its lines lead. What it says in words: missed_words.cpp.
#include "views/missed/missed_panel.h"

#include <QComboBox>
#include <QFile>
#include <QFileDialog>
#include <QFutureWatcher>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPainter>
#include <QProgressBar>
#include <QPushButton>
#include <QSaveFile>
#include <QSignalBlocker>
#include <QSpinBox>
#include <QStyledItemDelegate>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>
#include <QtConcurrent>
#include <algorithm>
#include <utility>

#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/pair_link.h"
#include "views/common/theme.h"
#include "views/common/workers.h"
#include "views/common/wrap_label.h"

namespace headroom::views {
namespace {

constexpr unsigned panel_interest = Selection::Runs | Selection::Method | Selection::Layer | Selection::Head |
                                    Selection::Queries | Selection::Keys | Selection::Display;

/// A pale bar behind a number: how much it is of the largest in its column.
class BarDelegate : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    const QVariant share = index.data(Qt::UserRole);
    if (share.isValid() && !(option.state & QStyle::State_Selected)) {
      const bool why = qobject_cast<const WhyModel*>(index.model()) != nullptr;
      QColor colour = why ? Theme::instance().method(index.data(WhyModel::look_role).toInt())
                      : index.data(MissedModel::missed_role).toBool() ? Theme::instance().missed()
                                                                      : Theme::instance().mass();
      colour.setAlpha(90);
      QRectF bar = QRectF(option.rect).adjusted(2, 2, -2, -2);
      const double width = bar.width() * std::clamp(share.toDouble(), 0.0, 1.0);
      bar.setLeft(bar.right() - width);  // the number stands at the right
      painter->fillRect(bar, colour);
    }
    QStyledItemDelegate::paint(painter, option, index);
  }

 protected:
  void initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const override {
    QStyledItemDelegate::initStyleOption(option, index);
    if (index.data(Qt::UserRole).isValid()) option->backgroundBrush = Qt::NoBrush;
  }
};

}  // namespace

MissedPanel::MissedPanel(Selection* selection, QWidget* parent)
    : QWidget(parent), selection_(selection), missed_(new MissedModel(this)), why_(new WhyModel(this)) {
  build();
  patience_.setSingleShot(true);
  patience_.setInterval(200);
  connect(&patience_, &QTimer::timeout, this, [this] {
    progress_->setVisible(running_);
    cancel_->setVisible(running_);
    // What stands below is still the last list.
    if (running_ && selection_->state().display.missed_question != MissedQuestion::why)
      headline_->setText(tr("Going through the rows …"));
  });
  connect(question_, &QComboBox::activated, this, [this](int index) {
    selection_->change([index](ViewState& s) { s.display.missed_question = static_cast<MissedQuestion>(index); });
  });
  connect(scope_, &QComboBox::activated, this, [this](int index) {
    selection_->change([index](ViewState& s) { s.display.missed_scope = static_cast<MissedScope>(index); });
  });
  connect(cancel_, &QToolButton::clicked, this, &MissedPanel::cancel);
  connect(table_, &QTableView::clicked, this, [this](const QModelIndex& index) { go_to_line(index.row()); });
  connect(table_, &QTableView::activated, this, [this](const QModelIndex& index) { go_to_line(index.row()); });
  connect(table_->horizontalHeader(), &QHeaderView::sortIndicatorChanged, this,
          [this](int section, Qt::SortOrder order) {
            if (table_->model() != missed_ || section < 0 || section >= missed_->columnCount()) return;
            sorted_by_ = missed_->column(section);
            order_ = order;
          });
  connect(position_, &QSpinBox::valueChanged, this, [this](int value) {
    selection_->change([value](ViewState& s) { s.display.answer_position = value - 1; },
                       QStringLiteral("answer token"));
  });
  connect(last_row_, &QPushButton::clicked, this, [this] { show_rows_of_answer(false); });
  connect(all_rows_, &QPushButton::clicked, this, [this] { show_rows_of_answer(true); });
  connect(csv_, &QPushButton::clicked, this, &MissedPanel::save_csv);
  const auto go_where_it_says = [this](const QString& link) {
    if (link == QLatin1String("again")) {
      asked_.reset();
      ask();
    } else if (link.startsWith(QLatin1String("method:"))) {
      selection_->change([id = link.mid(7)](ViewState& s) { s.method = id, s.display.answer_position = -1; });
    }
  };
  connect(headline_, &QLabel::linkActivated, this, go_where_it_says);
  connect(note_, &QLabel::linkActivated, this, go_where_it_says);
  connect(selection_, &Selection::changed, this, &MissedPanel::follow);
  connect(&Theme::instance(), &Theme::changed, this, [this] { table_->viewport()->update(); });
  follow(Selection::Everything);
}

MissedPanel::~MissedPanel() {
  stop_.request_stop();
}

void MissedPanel::build() {
  question_ = new QComboBox(this);
  question_->addItems({tr("Missed, by mass"), tr("Who reads this token?"), tr("Why did the answer change?")});
  question_->setAccessibleName(tr("What the list answers"));
  question_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  question_->setMinimumContentsLength(10);
  scope_ = new QComboBox(this);
  scope_->addItems({tr("of the selected rows"), tr("of the whole layer"), tr("of the answer's row")});
  scope_->setItemData(0, tr("The rows chosen in the map or the text, in the shown layer"), Qt::ToolTipRole);
  scope_->setItemData(1, tr("All rows of the shown layer"), Qt::ToolTipRole);
  scope_->setItemData(2,
                      tr("The prompt's last row, which predicts the answer's first token, in every layer that the "
                         "record holds exactly"),
                      Qt::ToolTipRole);
  scope_->setAccessibleName(tr("Whose missed keys"));
  scope_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  scope_->setMinimumContentsLength(10);
  headline_ = new TextLabel(this);
  headline_->setWordWrap(true);
  headline_->setTextFormat(Qt::RichText);
  headline_->setTextInteractionFlags(Qt::TextBrowserInteraction);
  headline_->setAccessibleName(tr("What the list adds up to"));
  progress_ = new QProgressBar(this);
  progress_->setRange(0, 1000);
  progress_->setTextVisible(false);
  progress_->setAccessibleName(tr("Rows looked at"));
  progress_->hide();
  cancel_ = new QToolButton(this);
  cancel_->setText(tr("Stop"));
  cancel_->setToolTip(tr("Stops; what was found by then is shown"));
  cancel_->hide();
  table_ = new QTableView(this);
  style_table(table_);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setSortingEnabled(true);
  table_->setItemDelegate(new BarDelegate(table_));
  table_->setTabKeyNavigation(false);
  table_->setAccessibleName(tr("Missed keys"));
  table_->setMinimumHeight(60);
  note_ = new TextLabel(this);
  note_->setWordWrap(true);
  note_->setTextFormat(Qt::RichText);
  note_->setTextInteractionFlags(Qt::TextBrowserInteraction);
  position_row_ = new QWidget(this);
  auto* position_layout = new QHBoxLayout(position_row_);
  position_layout->setContentsMargins(0, 0, 0, 0);
  position_ = new QSpinBox(position_row_);
  position_->setAccessibleName(tr("Token of the answer"));
  position_->setPrefix(tr("answer token "));
  position_layout->addWidget(position_);
  position_layout->addStretch(1);
  last_row_ = new QPushButton(this);
  last_row_->setObjectName("show_last_row");
  all_rows_ = new QPushButton(tr("… and all rows there"), this);
  all_rows_->setObjectName("show_all_rows");
  all_rows_->setToolTip(tr("What all rows of that layer missed, not the last one alone"));
  csv_ = new QPushButton(tr("CSV…"), this);
  csv_->setObjectName("missed_csv");
  csv_->setToolTip(tr("Writes the whole list as a table"));

  auto* work_row = new QHBoxLayout;
  work_row->setContentsMargins(0, 0, 0, 0);
  work_row->addWidget(progress_, 1);
  work_row->addWidget(cancel_);
  auto* foot = new QHBoxLayout;
  foot->setContentsMargins(0, 0, 0, 0);
  foot->addWidget(note_, 1);
  foot->addWidget(csv_, 0, Qt::AlignTop);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(8, 6, 8, 6);
  column->setSpacing(5);
  column->addWidget(question_);
  column->addWidget(scope_);
  column->addWidget(headline_);
  column->addLayout(work_row);
  column->addWidget(position_row_);
  column->addWidget(table_, 1);
  column->addWidget(last_row_);
  column->addWidget(all_rows_);
  column->addLayout(foot);
  setAccessibleName(tr("Missed keys"));
  fit();
}

void MissedPanel::fit() {
  table_->verticalHeader()->setDefaultSectionSize(fontMetrics().height() + 6);
  progress_->setFixedHeight(std::max(6, fontMetrics().height() / 2));
  setMinimumWidth(std::min(30 * fontMetrics().horizontalAdvance('0'), 320));  // large text may not push the page out
  if (!table_->model()) return;
  QHeaderView* header = table_->horizontalHeader();
  const int columns = table_->model()->columnCount();
  for (int i = 0; i < columns; ++i) {
    const bool text = table_->model() == why_ ? i == 0 : missed_->column(i) == MissedModel::Column::token;
    header->setSectionResizeMode(i, text ? QHeaderView::Stretch : QHeaderView::Interactive);
    if (text) continue;
    const QString title = table_->model()->headerData(i, Qt::Horizontal, Qt::DisplayRole).toString();
    // Its title with the sorting mark, or the widest number that can stand there: what is left is the token's.
    const RecordPtr record = selection_->record();
    const bool mass = table_->model() == why_ || missed_->column(i) == MissedModel::Column::mass;
    const bool says = table_->model() == missed_ && missed_->column(i) == MissedModel::Column::says;
    const QString widest = mass ? QStringLiteral("< 0.0001")
                           : says ? reader_text(ReaderSays::left_out)
                                  : format_count(record ? record->length() : 1000);
    const int numbers = fontMetrics().horizontalAdvance(widest);
    const int wide = std::min(fontMetrics().horizontalAdvance(title) + 18, 14 * fontMetrics().averageCharWidth());
    table_->setColumnWidth(i, std::max(wide, numbers + 10));
  }
}

void MissedPanel::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  if (pending_mask_ != 0) follow(std::exchange(pending_mask_, 0u));
}

void MissedPanel::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::FontChange && table_) fit();
}

void MissedPanel::follow(unsigned mask) {
  if (!(mask & panel_interest)) return;
  if (!isVisible()) {
    pending_mask_ |= mask;
    return;
  }
  show_question();
  ask();
}

void MissedPanel::show_question() {
  const DisplayState& display = selection_->state().display;
  const QSignalBlocker blockers[] = {QSignalBlocker(question_), QSignalBlocker(scope_)};
  question_->setCurrentIndex(static_cast<int>(display.missed_question));
  scope_->setCurrentIndex(static_cast<int>(display.missed_scope));
  const bool why = display.missed_question == MissedQuestion::why;
  scope_->setVisible(display.missed_question == MissedQuestion::missed);
  for (QWidget* part : {position_row_, static_cast<QWidget*>(last_row_), static_cast<QWidget*>(all_rows_)})
    part->setVisible(why);
  QAbstractItemModel* const model = why ? static_cast<QAbstractItemModel*>(why_) : missed_;
  if (table_->model() != model) {
    const QSignalBlocker block(table_->horizontalHeader());
    table_->setModel(model);
    table_->horizontalHeader()->setSortIndicator(-1, Qt::DescendingOrder);
    fit();
  }
  csv_->setVisible(!why);
  table_->setAccessibleName(why ? tr("Likeliest next tokens")
                            : display.missed_question == MissedQuestion::readers ? tr("Queries that read the key")
                                                                                 : tr("Missed keys"));
  if (why) show_why();
}

MissedRequest MissedPanel::wanted_request() const {
  const ViewState& state = selection_->state();
  MissedRequest request;
  request.record = selection_->record();
  if (!request.record) return request;
  request.method = state.method;
  request.head = state.head;
  request.question = state.display.missed_question;
  // What the answer hangs on is what the answer's row missed.
  const bool why = request.question == MissedQuestion::why;
  request.scope = why ? MissedScope::answer : state.display.missed_scope;
  // Fields that a question does not turn on stay as they are, so that choosing a line begins no new scan.
  if (request.question == MissedQuestion::readers) {
    request.layer = state.layer;
    request.scope = MissedScope::rows;
    request.key = state.keys.empty() ? -1 : *state.keys.begin();
    return request;
  }
  request.question = MissedQuestion::missed;
  const bool by_layer = !layers_with_supports(*request.record, request.method.toStdString()).empty();
  request.layer = request.scope == MissedScope::answer && by_layer ? -1 : state.layer;
  if (request.scope == MissedScope::rows) request.query_begin = state.query_begin, request.query_end = state.query_end;
  return request;
}

void MissedPanel::ask() {
  MissedRequest request = wanted_request();
  if (asked_ && *asked_ == request) {
    if (!running_) show_headline();
    return;
  }
  asked_ = std::move(request);
  cancelled_ = false;
  if (running_) {
    stop_.request_stop();
    again_ = true;
    return;
  }
  start();
}

void MissedPanel::start() {
  again_ = false;
  if (!asked_->record) {
    take({});
    return;
  }
  running_ = true;
  stop_ = std::stop_source();
  progress_->setValue(0);
  patience_.start();
  table_->setEnabled(false);
  auto* watcher = new QFutureWatcher<MissedResult>(this);
  connect(watcher, &QFutureWatcherBase::progressValueChanged, progress_, &QProgressBar::setValue);
  connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher] {
    watcher->deleteLater();
    running_ = false;
    if (again_) return start();
    take(watcher->result());
  });
  watcher->setFuture(QtConcurrent::run(
      &workers(),
      [](QPromise<MissedResult>& promise, const MissedRequest& request, const std::stop_token& stop) {
        give_way_to_window();
        promise.setProgressRange(0, 1000);
        promise.addResult(scan_missed(request, stop, [&promise](int permille) { promise.setProgressValue(permille); }));
      },
      *asked_, stop_.get_token()));
}

void MissedPanel::cancel() {
  if (!running_) return;
  cancelled_ = true;
  stop_.request_stop();
}

void MissedPanel::take(MissedResult result) {
  patience_.stop();
  progress_->hide();
  cancel_->hide();
  table_->setEnabled(true);
  missed_->set_result(std::move(result));
  show_result();
}

void MissedPanel::show_result() {
  if (table_->model() == missed_) {
    fit();
    int column = missed_->index_of(sorted_by_);
    if (column < 0) column = missed_->index_of(MissedModel::Column::mass);
    const bool as_made = missed_->column(column) == MissedModel::Column::mass && order_ == Qt::DescendingOrder;
    const Qt::SortOrder order = order_;
    {
      const QSignalBlocker block(table_->horizontalHeader());
      table_->horizontalHeader()->setSortIndicator(column, order);
    }
    if (!as_made) missed_->sort(column, order);  // as one has chosen, for another list too
    if (const int row = missed_->row_of_key(selection_->state().keys.empty() ? -1 : *selection_->state().keys.begin());
        row >= 0 && table_->selectionModel())
      table_->selectionModel()->setCurrentIndex(missed_->index(row, 0),
                                                QItemSelectionModel::Rows | QItemSelectionModel::ClearAndSelect);
  }
  csv_->setEnabled(missed_->rowCount() > 0);
  show_headline();
}

void MissedPanel::go_to_line(int row) {
  if (table_->model() != missed_ || running_) return;
  const MissedPlace place = missed_->place(row);
  if (place.query < 0) return;
  const MissedRequest& request = missed_->result().request;
  const bool keep_rows = !missed_->of_readers() && request.scope == MissedScope::rows;
  look_at_pair(*selection_, {place.query, place.key}, place.layer, keep_rows, QStringLiteral("missed line"));
  emit place_chosen();
}

void MissedPanel::show_rows_of_answer(bool all_rows) {
  const RecordPtr record = selection_->record();
  if (!record || record->length() == 0) return;
  const auto& found = missed_->result().missed_in;
  const auto most =
      std::max_element(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  std::optional<int> layer;
  if (most != found.end()) layer = most->first;
  const std::int64_t row = record->length() - 1;
  selection_->end_merge();
  selection_->change([&](ViewState& state) {
    if (layer) state.layer = *layer;
    state.query_begin = row, state.query_end = row + 1;
    state.keys.clear();
    state.display.missed_question = MissedQuestion::missed;
    state.display.missed_scope = all_rows ? MissedScope::layer : MissedScope::rows;
    state.display.missed = true;
    reveal_pair(state, {row, -1}, record->length());
  });
  emit place_chosen();
}

QString MissedPanel::csv() const {
  return missed_->rowCount() > 0 ? MissedModel::csv(missed_->result(), facts()) : QString();
}

QString MissedPanel::write_csv(const QString& file) {
  QSaveFile out(file);
  QString problem;
  const QByteArray bytes = csv().toUtf8();
  if (!out.open(QIODevice::WriteOnly) || out.write(bytes) != bytes.size() || !out.commit())
    problem = tr("%1 was not written: %2").arg(file, out.errorString());
  note_->setText(problem.isEmpty() ? tr("Saved: %1").arg(file.toHtmlEscaped()) : problem.toHtmlEscaped());
  note_->show();
  return problem;
}

void MissedPanel::save_csv() {
  auto* dialog = new QFileDialog(this, tr("Save the list"), QStringLiteral("missed-keys.csv"),
                                 tr("Tables (*.csv);;All files (*)"));
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setDefaultSuffix(QStringLiteral("csv"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  connect(dialog, &QFileDialog::fileSelected, this, [this](const QString& file) { write_csv(file); });
  dialog->open();
}

}  // namespace headroom::views
