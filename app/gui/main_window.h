// SPDX-License-Identifier: GPL-3.0-or-later
// The frame: rail, pages, docks, messages. It connects the parts; what each part does lives in a file of its own.
#pragma once

#include <QMainWindow>
#include <QSet>
#include <QTimer>
#include <map>
#include <memory>

#include "gui/commands.h"
#include "gui/engine_client.h"
#include "gui/engine_tiles.h"
#include "gui/exact_layers.h"
#include "gui/job_tracker.h"
#include "gui/layout_store.h"
#include "gui/page_fonts.h"
#include "gui/pages.h"
#include "gui/record_opener.h"
#include "gui/record_watch.h"
#include "gui/sample_records.h"
#include "gui/session_store.h"
#include "gui/store_mirror.h"
#include "gui/sweep_follower.h"

class QDockWidget;
class QLabel;
class QStackedWidget;
class QToolBar;
class QToolButton;
class QVBoxLayout;

namespace headroom::views {
class BannerBar;
class FadingHint;
class JobsDock;
class MissedPanel;
class RunsDock;
class StageBar;
}  // namespace headroom::views

namespace headroom::gui {

class Actions;
class HintBar;
class PageRail;
class TalkDesk;
class TalkStage;
struct NewRunRequest;
struct ReturningSession;

struct StartOptions {
  QStringList records;     ///< shown at start; none: the last session's, else the bundled one
  QString engine;          ///< program to use in place of the settings' one
  bool use_engine = true;  ///< off for pictures
  bool quiet = false;      ///< no hints, notices or saved layout (pictures)
  QSize size{1440, 900};   ///< where no layout was saved; not more than the screen has
};

class MainWindow : public QMainWindow {
  Q_OBJECT
 public:
  MainWindow(SettingsStore& settings, StartOptions options);
  ~MainWindow() override;

  views::Selection& selection() { return selection_; }
  const QVector<Page>& pages() const { return pages_; }
  Actions& actions() { return *actions_; }
  views::BannerBar& banners() { return *banners_; }
  EngineClient& engine() { return engine_; }
  JobTracker& jobs() { return jobs_; }
  void show_page(int index);
  int current_page() const;
  /// A record is opened, a model or prompt starts a new run: what dropping a file does.
  void open_path(const QString& path);
  void open_record(const QString& path);
  void start_engine();
  /// Shows the dock of missed keys with one of its questions.
  void ask_missed(views::MissedQuestion question);
  views::MissedPanel& missed_panel() { return *missed_; }
  /// Runs the shown record's job again so that `layer` is kept whole, if the engine can; else the New run dialog says
  /// what is needed.
  void record_layer_exactly(int layer);
  /// Ends the one that there is. Where that would lose jobs, a banner asks first.
  void restart_engine();
  /// On this window's screen, and the talk where one with steps is open.
  void set_presenting(bool on);
  bool presenting() const { return presenting_; }
  /// F5: asks which screen where there are several.
  void present();
  TalkDesk& talks() { return *talks_; }
  TalkStage& stage() { return *stage_; }
  void set_text_scale(int percent);
  /// All that the palette lists now.
  QVector<Command> commands();

 protected:
  void showEvent(QShowEvent* event) override;
  void closeEvent(QCloseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void changeEvent(QEvent* event) override;
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  void build_docks();
  void build_status_bar();
  void build_missed_dock();
  void connect_researcher();  ///< main_window_researcher.cpp
  void exact_offer_changed();
  void exact_run_done(const views::RecordPtr& record, const ExactLayers::Wanted& wanted);
  void connect_actions();
  void connect_engine();
  void job_changed(const views::JobInfo& job);
  void ask_about_part(const QString& job, const QString& name, qint64 bytes);
  void show_jobs_dock(const QString& job);
  void put_jobs_dock_away();
  /// Whether the window may close now; else a question stands on the screen, or the window closes later by itself.
  bool may_close();
  void ask_before_closing();
  void close_when_done();
  void close_and_keep_jobs();
  void stop_and_close();
  void close_now();
  void open_first_record();
  void add_samples();
  void try_sample(const SampleRecord& sample);
  // The last session (main_window_session.cpp).
  void watch_session();
  void save_session();
  /// False where nothing of it can be opened.
  bool return_to_session();
  /// Null: it was not opened. False where the record is none that the session waits for.
  bool record_returned(const QString& path, const views::RecordPtr& record);
  void finish_return();
  void record_opened(const QString& path, const views::RecordPtr& record, int layer);
  /// A run of ours is done: said, and shown when one asks; what is looked at stays.
  void announce_run(const QString& path, const views::RecordPtr& record, int layer);
  void record_failed(const QString& path, const Problem& problem);
  void record_changed(const views::RecordPtr& record, record::FileChange change);
  void engine_died(const Problem& problem);
  void job_failed(const Problem& problem, const std::optional<protocol::RunSpec>& spec);
  void distill(const std::string& model, const std::optional<std::string>& adapter);
  void indexer_ready(const QString& path);
  void follow_selection(unsigned mask);
  void refresh_chip();
  void refresh_recent();
  void refresh_scale();
  void new_run(const NewRunRequest& request);
  void run_budget(int tokens);
  void start_run(const protocol::RunSpec& spec);
  // Sweeps and budgets by layer: main_window_sweeps.cpp
  void connect_sweeps();
  void sweep_opened(const QString& path, const views::SweepPtr& sweep);
  void announce_sweep(const views::SweepPtr& sweep);
  void show_sweep(const views::SweepPtr& sweep);
  void bench_opened(const QString& path, const views::BenchPtr& bench);
  void new_sweep(const std::optional<protocol::SweepSpec>& spec);
  void confirm_sweep();
  void record_sample(int row);
  void write_budgets(const QByteArray& json, const QString& name);
  void run_layer_budgets(const LayerBudgets& budgets);
  void show_runs_table();
  /// Path or short name of the model that a sweep was made with, where this window knows it.
  std::optional<std::string> model_of(const views::OpenSweep& sweep) const;
  std::optional<std::string> prompts_of(const views::OpenSweep& sweep);
  void say(const QString& key, const QString& title, const QString& text, bool warning = false);
  void show_notices();
  void show_palette();
  void show_keys();
  void escape();

  SettingsStore& settings_;
  SampleRecords samples_;
  StartOptions options_;
  views::Selection selection_;
  RecordOpener opener_;
  SweepFollower follower_;
  RecordWatch watch_;
  EngineClient engine_;
  StoreMirror far_store_{engine_};
  JobTracker jobs_;
  EngineTiles tiles_;
  LayoutStore layout_;
  SessionStore session_;
  std::shared_ptr<ReturningSession> returning_;  ///< while its records are opened
  QTimer session_timer_;
  Actions* actions_ = nullptr;
  QVector<Page> pages_;
  QStackedWidget* stack_ = nullptr;
  PageRail* rail_ = nullptr;
  QToolBar* rail_bar_ = nullptr;
  views::BannerBar* banners_ = nullptr;
  HintBar* hints_ = nullptr;
  views::RunsDock* runs_ = nullptr;
  views::JobsDock* jobs_view_ = nullptr;
  views::MissedPanel* missed_ = nullptr;
  QDockWidget* missed_dock_ = nullptr;
  ExactLayers exact_layers_;
  QVector<QDockWidget*> docks_;
  QToolBar* toolbar_ = nullptr;
  QToolButton* chip_ = nullptr;
  QToolButton* scale_button_ = nullptr;
  QLabel* summary_ = nullptr;
  PageFonts page_fonts_;
  qreal base_point_size_ = 10;
  QSet<QString> quiet_sweeps_;  ///< opened beside the first record, not shown by themselves
  QHash<QString, bool> returning_benches_;  ///< of the last session; true: the one that was shown
  QSet<QString> sample_runs_;    ///< runs of a sweep's sample: their maps are what one waits for
  QHash<QString, QString> prompt_places_, model_places_;  ///< by a sweep's path: where its prompts and model lie
  QSet<QString> finished_runs_;  ///< records that are opened because their run has ended
  std::map<QString, ExactLayers::Wanted> exact_runs_;  ///< … of "record this layer exactly", by their record's path
  bool shown_once_ = false;
  enum class Closing { no, when_done, stopping, now } closing_ = Closing::no;
  QSet<QString> jobs_shown_;       ///< for which the dock has opened itself, once each
  bool jobs_dock_opened_ = false;  ///< by itself: then it also goes by itself
  QTimer jobs_dock_timer_;

  // Talks and presenting (main_window_present.cpp)
  void build_talks(QVBoxLayout* column);
  void connect_talks();
  void refresh_talk_actions();
  void show_talk_dock();
  void present_on(QScreen* stage, QScreen* notes);
  void begin_presenting(QScreen* stage, QScreen* notes);
  void leave_presenting();
  /// The largest text, up to 1.75 times the usual, at which everything fits the screen.
  void fit_presented_text();
  /// Smaller, where a page turned out longer than fit_presented_text() could know.
  void shrink_presented_text();
  void set_font_percent(double percent);
  TalkDesk* talks_ = nullptr;
  TalkStage* stage_ = nullptr;
  views::StageBar* stage_bar_ = nullptr;
  views::FadingHint* leave_hint_ = nullptr;
  bool presenting_ = false;
  QTimer shrink_timer_;
  QByteArray state_before_presenting_, geometry_before_presenting_;
  QRect place_before_presenting_;
  Qt::WindowStates shown_before_presenting_;
};

}  // namespace headroom::gui
