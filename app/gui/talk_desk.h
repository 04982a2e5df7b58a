// SPDX-License-Identifier: GPL-3.0-or-later
// The talk in the window: opening, saving, adding views, checking, packing and exporting. What is slow runs beside the
// window. Presenting is TalkStage's.
#pragma once

#include <QObject>
#include <QPointer>
#include <QThreadPool>
#include <QTimer>
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <stop_token>

#include "gui/pages.h"
#include "gui/record_opener.h"
#include "views/talk/talk_book.h"
#include "views/talk/talk_check.h"

class QDockWidget;
class QWidget;

namespace headroom::views {
class BannerBar;
class TalkPanel;
}  // namespace headroom::views

namespace headroom::gui {

class SettingsStore;
class TalkPictures;

/// Of dialogs that ask for a talk.
QString talk_filter();
/// An error as the window shows it, file names in it as they are shown.
QString talk_error_words(const std::exception& error);

/// What the desk needs of the window.
struct TalkSurroundings {
  QWidget* window;
  SettingsStore* settings;
  views::Selection* selection;
  views::BannerBar* banners;
  const QVector<Page>* pages;
  views::TileProvider* tiles;
  std::function<int()> current_page;
  std::function<void(int index)> show_page;
  std::function<void()> show_dock;
  std::function<void()> present;
};

class TalkDesk : public QObject {
  Q_OBJECT
 public:
  explicit TalkDesk(TalkSurroundings around);
  ~TalkDesk() override;

  views::TalkBook& book() { return book_; }
  views::TalkPanel& panel() { return *panel_; }
  bool busy() const { return work_ != nullptr; }

  void new_talk();
  void choose_and_open();
  void open(const QString& file);
  /// Asks for a name where the talk has none.
  void save();
  void save_as();
  void save_to(const QString& file);
  void add_view();
  void update_step();
  /// Shows a step's view in the window, as it will be presented.
  void show_step(int step);
  void check();
  void pack();
  void pack_to(const QString& folder);
  void export_talk();
  /// FILE.pdf, FILE.html or a folder for pictures.
  void export_to(const QString& target);
  void stop_work();

  /// Whether a talk with steps is open.
  bool has_steps() const { return book_.count() > 0; }
  /// Opens the talk's records and sweeps; `then` is called when all are open or were refused.
  void with_records(std::function<void()> then);
  /// The step in the pages; empty where it is shown, else why it cannot be. Its records must be open.
  QString apply(int step);
  /// True where nothing unsaved is lost; else a question stands on the screen and `then` may follow.
  bool may_leave(std::function<void()> then);

 signals:
  void changed();  ///< what its actions may do

 private:
  struct Work;
  /// `work` off the window's thread, `done` on it with an error in words, or nothing.
  void start_work(const QString& words, std::function<void(std::stop_token, const views::TalkProgress&)> work,
                  std::function<void(const QString& problem)> done);
  void tell(const QString& key, const QString& title, const QString& text, bool good,
            const QString& show_folder_of = {});
  void discard_and_open(const QString& file);
  void set_live(int step, bool on);
  /// Else a message says why not.
  bool may_be_a_step(const Page& page);
  void record_here(const QString& path, const views::RecordPtr& record);
  void sweep_here(const QString& path, const views::SweepPtr& sweep);
  void record_missing(const QString& path, const Problem& problem);
  void finish_waiting();

  TalkSurroundings around_;
  views::TalkBook book_;
  views::TalkPanel* panel_;
  RecordOpener opener_;
  QThreadPool pool_;
  std::shared_ptr<Work> work_;
  QTimer tick_;
  QStringList missing_;               ///< why records and sweeps of the talk could not be opened
  std::function<void()> waiting_;     ///< for the talk's records and sweeps
  std::function<void()> after_save_;  ///< for the file
  QPointer<QWidget> question_;
  bool exporting_ = false, stop_export_ = false;
  std::unique_ptr<TalkPictures> pictures_;
};

}  // namespace headroom::gui
