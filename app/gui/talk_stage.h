// SPDX-License-Identifier: GPL-3.0-or-later
// Presenting a talk: stepping by keys, the caption, the speaker's window, and live runs with their recorded twins.
#pragma once

#include <QObject>
#include <QPointer>
#include <map>

#include "gui/command_palette.h"
#include "gui/engine_client.h"
#include "gui/record_opener.h"
#include "views/docks/jobs_dock.h"
#include "views/talk/stage.h"

class QKeyEvent;
class QScreen;

namespace headroom::gui {

class JobTracker;
class TalkDesk;

/// What the keys do while a talk is presented, from the table that they run.
QVector<PageKey> presenting_keys();

class TalkStage : public QObject {
  Q_OBJECT
 public:
  /// `bar` stands below the pages and is hidden while nothing is presented.
  TalkStage(TalkDesk& desk, views::Selection& selection, EngineClient& engine, JobTracker& jobs, views::StageBar* bar,
            QWidget* window);
  ~TalkStage() override;

  bool active() const { return step_ >= 0; }
  int step() const { return step_; }
  views::SpeakerWindow* speaker() const { return speaker_; }
  /// From the chosen step on. `notes`: the screen for the speaker's window; null: none until N is pressed.
  void begin(QScreen* notes);
  void end();
  void go_to(int step);
  void toggle_notes();
  /// Starts the step's live run; what comes of it is told on the stage.
  void start_live();
  /// Between the live run and the recorded one.
  void toggle_twin();
  bool shows_live() const;
  /// Whether a job was started here: the stage tells of it, and the window need not.
  bool owns_job(const QString& id) const;

 signals:
  void leave_requested();

 protected:
  bool eventFilter(QObject* object, QEvent* event) override;

 private:
  friend QVector<PageKey> presenting_keys();
  struct StageKey;
  static const QVector<StageKey>& stage_keys();
  struct Live {
    enum class State { running, opening, done, failed } state = State::running;
    QString job, path, words;  ///< words: how far, or why it failed
    views::RecordPtr record;
    bool shown = false;
  };
  bool take_key(const QKeyEvent& event, bool act);
  void show();
  void show_live(const Live& live);
  void describe();
  QString source_words() const;
  QString view_words() const;  ///< of the Attention page, whose controls are hidden
  Live* live();
  void job_changed(const views::JobInfo& job);

  TalkDesk& desk_;
  views::Selection& selection_;
  EngineClient& engine_;
  JobTracker& jobs_;
  views::StageBar* bar_;
  QWidget* window_;
  QPointer<views::SpeakerWindow> speaker_;
  RecordOpener opener_;
  std::map<int, Live> live_;  ///< by step
  int step_ = -1;
  QString problem_;
};

}  // namespace headroom::gui
