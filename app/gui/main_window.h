// SPDX-License-Identifier: GPL-3.0-or-later
// The frame: rail, pages, docks, messages. It connects the parts; what each part does lives in a file of its own.
#pragma once

#include <QMainWindow>
#include <QSet>
#include <QTimer>
#include <memory>

#include "gui/commands.h"
#include "gui/engine_client.h"
#include "gui/engine_tiles.h"
#include "gui/job_tracker.h"
#include "gui/layout_store.h"
#include "gui/pages.h"
#include "gui/record_opener.h"
#include "gui/record_watch.h"
#include "gui/session_store.h"

class QDockWidget;
class QLabel;
class QStackedWidget;
class QToolBar;
class QToolButton;

namespace headroom::views {
class BannerBar;
class JobsDock;
class RunsDock;
}  // namespace headroom::views

namespace headroom::gui {

class Actions;
class HintBar;
class PageRail;
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
  /// Ends the one that there is. Where that would lose jobs, a banner asks first.
  void restart_engine();
  void set_presenting(bool on);
  bool presenting() const { return presenting_; }
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
  void connect_actions();
  void connect_engine();
  void job_changed(const views::JobInfo& job);
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
  void show_notices();
  void show_palette();
  void show_keys();
  void escape();

  SettingsStore& settings_;
  StartOptions options_;
  views::Selection selection_;
  RecordOpener opener_;
  RecordWatch watch_;
  EngineClient engine_;
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
  QVector<QDockWidget*> docks_;
  QToolBar* toolbar_ = nullptr;
  QToolButton* chip_ = nullptr;
  QToolButton* scale_button_ = nullptr;
  QLabel* summary_ = nullptr;
  qreal base_point_size_ = 10;
  QSet<QString> finished_runs_;  ///< records that are opened because their run has ended
  bool presenting_ = false;
  bool shown_once_ = false;
  enum class Closing { no, when_done, stopping, now } closing_ = Closing::no;
  QSet<QString> jobs_shown_;       ///< for which the dock has opened itself, once each
  bool jobs_dock_opened_ = false;  ///< by itself: then it also goes by itself
  QTimer jobs_dock_timer_;
  QByteArray state_before_presenting_;
};

}  // namespace headroom::gui
