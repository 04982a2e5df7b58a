// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/talk_stage.h"

#include <QApplication>
#include <QDateTime>
#include <QKeyEvent>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QScreen>
#include <algorithm>
#include <functional>

#include "base/error.h"
#include "gui/file_names.h"
#include "gui/job_tracker.h"
#include "gui/new_run_dialog.h"
#include "gui/talk_desk.h"
#include "views/common/format.h"
#include "views/common/view_state_json.h"
#include "views/map/map_data.h"

namespace headroom::gui {
namespace {

/// Whoever types means the field.
bool types_text(const QWidget* widget) {
  if (const auto* line = qobject_cast<const QLineEdit*>(widget)) return !line->isReadOnly();
  if (const auto* text = qobject_cast<const QPlainTextEdit*>(widget)) return !text->isReadOnly();
  return false;
}

QString made_on(const record::RunRecord& record) {
  const QDateTime time = QDateTime::fromString(QString::fromStdString(record.meta().created), Qt::ISODate);
  const QString device = views::short_device(record.meta().device);
  if (!time.isValid()) return device;
  const QString day = views::number_locale().toString(time.toLocalTime(), "d MMM yyyy");
  return device.isEmpty() ? day : day + ", " + device;
}

}  // namespace

TalkStage::TalkStage(TalkDesk& desk, views::Selection& selection, EngineClient& engine, JobTracker& jobs,
                     views::StageBar* bar, QWidget* window)
    : QObject(window), desk_(desk), selection_(selection), engine_(engine), jobs_(jobs), bar_(bar), window_(window) {
  bar_->hide();
  // Other steps, other numbers; runs that are still at work are then the window's to tell of.
  connect(&desk_.book(), &views::TalkBook::changed, this, [this] {
    if (!active()) live_.clear();
  });
  connect(&jobs_, &JobTracker::changed, this, &TalkStage::job_changed);
  connect(&jobs_, &JobTracker::finished, this, [this](const QString& id, const QString& path) {
    for (auto& [step, live] : live_) {
      if (live.job != id || live.state != Live::State::running) continue;
      live.path = path;
      live.state = path.isEmpty() ? Live::State::failed : Live::State::opening;
      if (path.isEmpty())
        live.words = tr("Live run stopped");
      else
        opener_.open(path);
    }
    describe();
  });
  connect(&jobs_, &JobTracker::failed, this, [this](const QString& id, const Problem& problem) {
    for (auto& [step, live] : live_)
      if (live.job == id) {
        live.state = Live::State::failed;
        live.words = tr("Live run failed: %1").arg(problem.message);
      }
    describe();
  });
  connect(&opener_, &RecordOpener::opened, this, [this](const QString& path, const views::RecordPtr& record) {
    for (auto& [step, live] : live_) {
      if (live.path != path || live.state != Live::State::opening) continue;
      live.state = Live::State::done;
      live.record = record;
      if (step != step_) continue;
      live.shown = true;
      show();
    }
  });
  connect(&opener_, &RecordOpener::failed, this, [this](const QString& path, const Problem& problem) {
    for (auto& [step, live] : live_)
      if (live.path == path) {
        live.state = Live::State::failed;
        live.words = tr("Live run cannot be shown: %1").arg(problem.message);
      }
    describe();
  });
}

TalkStage::~TalkStage() {
  delete speaker_;
}

void TalkStage::begin(QScreen* notes) {
  if (!desk_.has_steps()) return;
  step_ = std::max(0, desk_.book().current());
  bar_->show();
  qApp->installEventFilter(this);
  show();
  if (notes) {
    toggle_notes();
    speaker_->setGeometry(notes->availableGeometry());
    speaker_->showMaximized();
    window_->activateWindow();
  }
}

void TalkStage::end() {
  if (!active()) return;
  qApp->removeEventFilter(this);
  step_ = -1;
  bar_->hide();
  if (speaker_) speaker_->close();
  selection_.end_merge();
}

TalkStage::Live* TalkStage::live() {
  const auto at = live_.find(step_);
  return at == live_.end() ? nullptr : &at->second;
}

bool TalkStage::shows_live() const {
  const auto at = live_.find(step_);
  return at != live_.end() && at->second.shown;
}

bool TalkStage::owns_job(const QString& id) const {
  return std::any_of(live_.begin(), live_.end(), [&](const auto& one) { return one.second.job == id; });
}

void TalkStage::go_to(int step) {
  if (!active()) return;
  step_ = std::clamp(step, 0, desk_.book().count() - 1);
  desk_.book().set_current(step_);
  show();
}

void TalkStage::show() {
  problem_ = desk_.apply(step_);
  if (Live* one = live(); one && one->shown && one->record && problem_.isEmpty()) show_live(*one);
  describe();
}

void TalkStage::show_live(const Live& live) {
  selection_.change(
      [&](views::ViewState& state) {
        const views::RecordPtr before = state.runs[static_cast<std::size_t>(state.current)];
        if (std::find(state.runs.begin(), state.runs.end(), live.record) == state.runs.end())
          state.runs.push_back(live.record);
        state.current =
            static_cast<int>(std::find(state.runs.begin(), state.runs.end(), live.record) - state.runs.begin());
        for (views::SideChoice* side : {&state.display.baseline, &state.display.candidate})
          if (side->run == before) side->run = live.record;
      },
      QStringLiteral("talk"));
}

QString TalkStage::view_words() const {
  const views::ViewState& state = selection_.state();
  const views::RecordPtr record = selection_.record();
  if (!record || !record->meta().has_layer(state.layer)) return {};
  const record::MethodSummary* method = record->find_method(state.method.toStdString());
  const auto scale = [&]() -> QString {
    switch (state.display.mode) {
      case views::MapMode::rank:
        return tr("rank of p in its row, where the record knows it");
      case views::MapMode::lift:
        return tr("lift over an even share from %1 to %2")
            .arg(views::format_scale_end(state.display.lift_min), views::format_scale_end(state.display.lift_max));
      case views::MapMode::probability:
        break;
    }
    return tr("attention probability from %1 to %2")
        .arg(views::format_scale_end(state.colour_min), views::format_scale_end(state.colour_max));
  };
  return tr("%1 · layer %2, %3 · %4")
      .arg(method ? views::method_label(*record, *method) : state.method)
      .arg(state.layer)
      .arg(views::head_name(record->meta().layer(state.layer), state.head), scale());
}

QString TalkStage::source_words() const {
  const auto& step = desk_.book().talk().steps[static_cast<std::size_t>(step_)];
  if (!step.live) return {};
  const auto at = live_.find(step_);
  if (at == live_.end()) return tr("Recorded · L runs it live");
  const Live& live = at->second;
  switch (live.state) {
    case Live::State::running:
    case Live::State::opening:
      return tr("Recorded · live run at work %1").arg(live.words);
    case Live::State::failed:
      return tr("Recorded · %1").arg(live.words);
    case Live::State::done:
      break;
  }
  if (live.shown) return tr("Live, %1 · T: recorded").arg(made_on(*live.record));
  const views::RecordPtr record = selection_.record();
  return record ? tr("Recorded, %1 · T: live").arg(made_on(*record)) : tr("Recorded · T: live");
}

void TalkStage::describe() {
  if (!active() || step_ >= desk_.book().count()) return;
  const auto& steps = desk_.book().talk().steps;
  const auto& step = steps[static_cast<std::size_t>(step_)];
  const QString source = source_words();
  bar_->show_step(step.title, step.caption, step_ + 1, desk_.book().count());
  bar_->show_source(source);
  bar_->show_view(step.page == "attention" && problem_.isEmpty() ? view_words() : QString());
  bar_->show_problem(problem_.isEmpty() ? QString() : tr("This step cannot be shown: %1").arg(problem_));
  if (!speaker_) return;
  views::SpeakerWindow::Shown shown{step.title, step.caption, step.notes, {},
                                    {},         source,       step_ + 1,  desk_.book().count()};
  if (step_ + 1 < desk_.book().count()) {
    shown.next_title = steps[static_cast<std::size_t>(step_ + 1)].title;
    shown.next_caption = steps[static_cast<std::size_t>(step_ + 1)].caption;
  }
  speaker_->show_step(shown);
}

void TalkStage::toggle_notes() {
  if (speaker_ && speaker_->isVisible()) {
    speaker_->close();
    return;
  }
  if (!speaker_) {
    speaker_ = new views::SpeakerWindow;
    connect(speaker_, &views::SpeakerWindow::key_pressed, this, [this](QKeyEvent* event) { take_key(*event, true); });
  }
  describe();
  speaker_->show();
  speaker_->raise();
}

void TalkStage::start_live() {
  if (!active()) return;
  const auto& step = desk_.book().talk().steps[static_cast<std::size_t>(step_)];
  if (!step.live) return;
  if (Live* one = live(); one && (one->state == Live::State::running || one->state == Live::State::opening)) return;
  Live begun;
  if (engine_.state() != EngineClient::State::ready) {
    begun.state = Live::State::failed;
    begun.words = tr("no engine is ready");
  } else {
    try {
      protocol::RunSpec spec = protocol::run_spec_from_json(*step.live);
      spec.out = new_record_path().toStdString();
      place_on_engine(spec, engine_);
      begun.job = jobs_.start_run(spec);
    } catch (const Error& error) {
      begun.state = Live::State::failed;
      begun.words = shown_path(name_from_bytes(error.what()));
    }
  }
  live_[step_] = begun;
  describe();
}

void TalkStage::toggle_twin() {
  Live* one = live();
  if (!one || one->state != Live::State::done) return;
  one->shown = !one->shown;
  show();
}

void TalkStage::job_changed(const views::JobInfo& job) {
  for (auto& [step, live] : live_)
    if (live.job == job.id && live.state == Live::State::running && job.fraction)
      live.words = tr("%1 %").arg(static_cast<int>(100 * *job.fraction));
  describe();
}

struct TalkStage::StageKey {
  QVector<int> keys;
  QString name, what;
  std::function<void(TalkStage&)> run;
};

const QVector<TalkStage::StageKey>& TalkStage::stage_keys() {
  static const QVector<StageKey> table = {
      {{Qt::Key_Right, Qt::Key_PageDown, Qt::Key_Space},
       tr("→, PgDown, Space"),
       tr("Next step"),
       [](TalkStage& stage) { stage.go_to(stage.step_ + 1); }},
      {{Qt::Key_Left, Qt::Key_PageUp, Qt::Key_Backspace},
       tr("←, PgUp, Backspace"),
       tr("Step before"),
       [](TalkStage& stage) { stage.go_to(stage.step_ - 1); }},
      {{Qt::Key_Home}, tr("Home"), tr("First step"), [](TalkStage& stage) { stage.go_to(0); }},
      {{Qt::Key_End},
       tr("End"),
       tr("Last step"),
       [](TalkStage& stage) { stage.go_to(stage.desk_.book().count() - 1); }},
      {{Qt::Key_N}, tr("N"), tr("Notes, shown or hidden"), [](TalkStage& stage) { stage.toggle_notes(); }},
      {{Qt::Key_L}, tr("L"), tr("Start the step's live run"), [](TalkStage& stage) { stage.start_live(); }},
      {{Qt::Key_T},
       tr("T"),
       tr("Between the live run and the recorded one"),
       [](TalkStage& stage) { stage.toggle_twin(); }},
      {{Qt::Key_Escape}, tr("Esc"), tr("Leave"), [](TalkStage& stage) { emit stage.leave_requested(); }},
  };
  return table;
}

QVector<PageKey> presenting_keys() {
  QVector<PageKey> list;
  for (const TalkStage::StageKey& one : TalkStage::stage_keys()) list << PageKey{one.name, one.what};
  return list;
}

bool TalkStage::take_key(const QKeyEvent& event, bool act) {
  if (event.modifiers() & ~(Qt::KeypadModifier | Qt::ShiftModifier)) return false;
  for (const StageKey& one : stage_keys()) {
    if (!one.keys.contains(event.key())) continue;
    if (act) one.run(*this);
    return true;
  }
  return false;
}

bool TalkStage::eventFilter(QObject* object, QEvent* event) {
  const bool press = event->type() == QEvent::KeyPress;
  if (!active() || (!press && event->type() != QEvent::ShortcutOverride)) return QObject::eventFilter(object, event);
  auto* widget = qobject_cast<QWidget*>(object);
  // Menus, dialogs and fields have their own keys.
  if (!widget || widget->window() != window_ || QApplication::activePopupWidget() || types_text(widget))
    return QObject::eventFilter(object, event);
  if (!take_key(*static_cast<QKeyEvent*>(event), press)) return QObject::eventFilter(object, event);
  event->accept();
  return true;
}

}  // namespace headroom::gui
