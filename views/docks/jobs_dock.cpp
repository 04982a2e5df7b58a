// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/docks/jobs_dock.h"
#include "views/common/format.h"

#include <QEvent>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QProgressBar>
#include <QPushButton>
#include <QScrollArea>
#include <QVBoxLayout>
#include <algorithm>

namespace headroom::views {
namespace {

constexpr int max_finished_cards = 20;
constexpr int shown_answer = 240;  // characters: two lines of a wide dock

QString duration(double seconds) {
  const auto s = static_cast<qint64>(std::clamp(seconds, 0.0, 1e7));
  if (s < 60) return QObject::tr("%1 s").arg(s);
  if (s < 3600) return QObject::tr("%1 min %2 s").arg(s / 60).arg(s % 60);
  return QObject::tr("%1 h %2 min").arg(s / 3600).arg(s / 60 % 60);
}

QString progress_line(const JobInfo& job) {
  switch (job.state) {
    case JobInfo::State::done:
      return QObject::tr("Done. %1").arg(job.message);
    case JobInfo::State::failed:
      return QObject::tr("Failed: %1").arg(job.message);
    case JobInfo::State::cancelled:
      return QObject::tr("Cancelled. %1").arg(job.message);
    case JobInfo::State::cancelling:
      return QObject::tr("Cancelling…");
    case JobInfo::State::away:
      return QObject::tr("Goes on without this window: %1").arg(job.message);
    case JobInfo::State::running:
      break;
  }
  QStringList parts{job.phase.isEmpty() ? QObject::tr("Waiting for the engine") : job.phase};
  if (job.layer >= 0) parts << QObject::tr("layer %1").arg(job.layer);
  if (job.tokens_per_s > 0) parts << QObject::tr("%1 tokens/s").arg(number_locale().toString(job.tokens_per_s, 'f', 0));
  if (job.eta_s) parts << QObject::tr("about %1 left").arg(duration(*job.eta_s));
  return parts.join(" · ");
}

/// An answer that grows: its end, in one paragraph; empty while none is generated.
QString answer_line(const JobInfo& job) {
  if (job.state != JobInfo::State::running || job.answer.isEmpty()) return {};
  const QString text = job.answer.simplified();
  const bool cut = text.size() > shown_answer;
  return QObject::tr("So far: %1").arg(cut ? "…" + last_characters(text, shown_answer) : text);
}

/// A place to scroll in that is high enough for a card with the results of three methods, however large its text.
class LinesHigh : public QScrollArea {
 public:
  explicit LinesHigh(QWidget* parent) : QScrollArea(parent) { fit(); }

 protected:
  void changeEvent(QEvent* event) override {
    QScrollArea::changeEvent(event);
    if (event->type() == QEvent::FontChange) fit();
  }

 private:
  void fit() { setMinimumHeight(fontMetrics().lineSpacing() * least_lines + least_gaps); }
  static constexpr int least_lines = 7, least_gaps = 36;  // title of two lines, state, heading, rows; what lies between
};

}  // namespace

/// One job: title and state, bar, buttons, and the methods that are finished.
class JobCard : public QWidget {
 public:
  JobCard(const QString& id, JobsDock* dock) : QWidget(dock), id_(id) {
    setObjectName("job:" + id);
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(8, 6, 8, 6);
    outer->setSpacing(4);
    auto* row = new QHBoxLayout;
    title_ = new QLabel(this);
    QFont bold;  // says its weight alone
    bold.setBold(true);
    title_->setFont(bold);
    title_->setTextFormat(Qt::PlainText);
    title_->setObjectName("job_title");
    title_->setWordWrap(true);
    line_ = new QLabel(this);
    line_->setObjectName("job_line");
    line_->setTextFormat(Qt::PlainText);
    line_->setWordWrap(true);
    line_->setTextInteractionFlags(Qt::TextSelectableByMouse);
    bar_ = new QProgressBar(this);
    bar_->setMaximumWidth(220);
    bar_->setTextVisible(true);
    bar_->setObjectName("job_bar");
    cancel_ = new QPushButton(QObject::tr("Cancel"), this);
    cancel_->setObjectName("job_cancel");
    kill_ = new QPushButton(QObject::tr("Stop the engine"), this);
    kill_->setObjectName("job_kill");
    kill_->setToolTip(QObject::tr("The engine has not stopped yet. Ending it loses this job; open records stay."));
    open_ = new QPushButton(QObject::tr("Show record"), this);
    // The title and what can be done; below them, over the whole width, what is to be read.
    row->addWidget(title_, 1);
    for (QWidget* widget : std::initializer_list<QWidget*>{bar_, cancel_, kill_, open_})
      row->addWidget(widget, 0, Qt::AlignTop);
    outer->addLayout(row);
    outer->addWidget(line_);
    answer_ = new QLabel(this);
    answer_->setObjectName("job_answer");
    answer_->setAccessibleName(QObject::tr("Answer so far"));
    answer_->setTextFormat(Qt::PlainText);
    answer_->setWordWrap(true);
    answer_->setForegroundRole(QPalette::PlaceholderText);
    answer_->hide();
    outer->addWidget(answer_);

    results_ = new QWidget(this);
    results_->setAccessibleName(QObject::tr("Methods finished so far"));
    grid_ = new QGridLayout(results_);
    grid_->setContentsMargins(0, 2, 0, 0);
    grid_->setHorizontalSpacing(24);
    grid_->setVerticalSpacing(2);
    grid_->setColumnStretch(5, 1);
    add_row({QObject::tr("Finished method"), QObject::tr("Pairs attended"), QObject::tr("TTFT"),
             QObject::tr("Mass captured"), QObject::tr("KL to dense, nats")},
            true);
    results_->hide();
    outer->addWidget(results_);

    QObject::connect(cancel_, &QPushButton::clicked, dock, [this, dock] { emit dock->cancel_requested(id_); });
    QObject::connect(kill_, &QPushButton::clicked, dock, [this, dock] { emit dock->kill_requested(id_); });
    QObject::connect(open_, &QPushButton::clicked, dock, [this, dock] { emit dock->open_requested(message_); });
  }

  void update_from(const JobInfo& job) {
    message_ = job.message;
    running_ = job.state == JobInfo::State::running || job.state == JobInfo::State::cancelling;
    title_->setText(job.title);
    line_->setText((QStringList(progress_line(job)) + job.notices).join('\n'));
    const QString answer = answer_line(job);
    answer_->setText(answer);
    answer_->setVisible(!answer.isEmpty());
    bar_->setVisible(running_);
    // One bar for all phases; what says nothing of the whole shows its phase alone.
    double part = job.fraction.value_or(-1);
    if (!job.fraction && job.total > 0) part = static_cast<double>(job.done) / static_cast<double>(job.total);
    bar_->setRange(0, part >= 0 ? 1000 : 0);
    if (part >= 0) bar_->setValue(static_cast<int>(1000.0 * std::clamp(part, 0.0, 1.0)));
    cancel_->setVisible(job.state == JobInfo::State::running);
    kill_->setVisible(job.state == JobInfo::State::cancelling && job.offer_kill);
    open_->setVisible(job.state == JobInfo::State::done && !job.message.isEmpty());
    show_partial(job.partial);
  }

  const QString& id() const { return id_; }
  bool running() const { return running_; }

 private:
  void add_row(const QStringList& cells, bool heading) {
    const int row = grid_->rowCount();
    for (int column = 0; column < cells.size(); ++column) {
      auto* label = new QLabel(cells[column], results_);
      label->setTextFormat(Qt::PlainText);
      label->setForegroundRole(heading ? QPalette::PlaceholderText : QPalette::WindowText);
      grid_->addWidget(label, row, column, (column == 0 ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
    }
  }

  void show_partial(const QVector<PartialResult>& partial) {
    const auto number = [](std::optional<double> value, char format, int digits, const QString& unit) {
      return value ? number_locale().toString(*value, format, digits) + unit : QString("–");
    };
    for (; shown_ < partial.size(); ++shown_) {
      const PartialResult& p = partial[shown_];
      const QString captured = p.captured_mass ? number(*p.captured_mass * 100, 'f', 1, " %") : QString("–");
      add_row({p.id, number(p.density * 100, 'f', 1, " %"), number(p.ttft_ms, 'f', 0, " ms"), captured,
               number(p.kl_to_dense, 'g', 3, {})},
              false);
    }
    results_->setVisible(!partial.isEmpty());
  }

  QString id_, message_;
  bool running_ = true;
  QLabel *title_, *line_, *answer_;
  QProgressBar* bar_;
  QPushButton *cancel_, *kill_, *open_;
  QWidget* results_;
  QGridLayout* grid_;
  int shown_ = 0;  ///< rows of results_
};

JobsDock::JobsDock(QWidget* parent) : QWidget(parent) {
  auto* outer = new QVBoxLayout(this);
  outer->setContentsMargins(0, 0, 0, 0);
  auto* area = new LinesHigh(this);
  area->setWidgetResizable(true);
  area->setFrameShape(QFrame::NoFrame);
  auto* content = new QWidget(area);
  layout_ = new QVBoxLayout(content);
  layout_->setContentsMargins(0, 0, 0, 0);
  layout_->setSpacing(0);

  empty_ = new QWidget(content);
  auto* row = new QHBoxLayout(empty_);
  auto* label = new QLabel(
      tr("Nothing is running. Runs appear here with their progress, and their results stay in their records."), empty_);
  label->setWordWrap(true);
  auto* start = new QPushButton(tr("New run…"), empty_);
  row->addWidget(label, 1);
  row->addWidget(start);
  connect(start, &QPushButton::clicked, this, &JobsDock::new_run_requested);
  layout_->addWidget(empty_);
  layout_->addStretch();
  area->setWidget(content);
  outer->addWidget(area);
}

void JobsDock::show_job(const JobInfo& job) {
  auto found = std::find_if(cards_.begin(), cards_.end(), [&](JobCard* card) { return card->id() == job.id; });
  if (found == cards_.end()) {
    remove_finished();
    auto* card = new JobCard(job.id, this);
    cards_.append(card);
    layout_->insertWidget(0, card);
    found = cards_.end() - 1;
  }
  (*found)->update_from(job);
  empty_->setVisible(cards_.isEmpty());
}

bool JobsDock::anything_running() const {
  return std::any_of(cards_.begin(), cards_.end(), [](const JobCard* card) { return card->running(); });
}

void JobsDock::remove_finished() {
  for (int i = 0; i < cards_.size() && cards_.size() >= max_finished_cards;) {
    if (cards_[i]->running()) {
      ++i;
    } else {
      cards_.takeAt(i)->deleteLater();
    }
  }
}

}  // namespace headroom::views
