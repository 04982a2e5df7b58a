// SPDX-License-Identifier: GPL-3.0-or-later
// The talk that is open: its steps, its file, and every change as a step that can be undone.
#pragma once

#include <QObject>
#include <QString>
#include <QUndoStack>
#include <functional>
#include <vector>

#include "views/common/selection.h"
#include "views/talk/talk_file.h"

namespace headroom::views {

/// The texts of a step that people write.
enum class StepText { title, caption, notes };

class TalkBook : public QObject {
  Q_OBJECT
 public:
  explicit TalkBook(QObject* parent = nullptr);

  const Talk& talk() const { return talk_; }
  int count() const { return static_cast<int>(talk_.steps.size()); }
  /// Of the talk's records, null where one is not open (yet).
  const std::vector<RecordPtr>& records() const { return open_; }
  /// Of the talk's sweeps, the same.
  const std::vector<SweepPtr>& sweeps() const { return open_sweeps_; }
  QString file() const { return file_; }  ///< empty: not saved yet
  bool is_open() const { return is_open_; }
  bool changed_since_saved() const { return !undo_.isClean(); }
  QUndoStack& undo_stack() { return undo_; }
  /// The step that is chosen; -1 where there is none.
  int current() const { return current_; }
  void set_current(int step);

  /// An empty talk, or one that was read; nothing to undo.
  void start(Talk talk, const QString& file);
  void close();
  /// A record of the talk is open now; it stays with it.
  void set_record(std::size_t number, RecordPtr record);
  void set_sweep(std::size_t number, SweepPtr sweep);
  /// What was saved is what is there; the file's name and the hashes that were taken.
  void saved(const QString& file, const Talk& talk);
  /// The hashes that `talk` has, of files that both name.
  void take_hashes_of(const Talk& talk);

  /// A step of the view as it is, behind the chosen one; it is chosen then.
  void add(const ViewState& state, const QString& page, std::int64_t first_token, const QString& title);
  /// The chosen step shows the view as it is from now on; its words stay.
  void update(const ViewState& state, const QString& page, std::int64_t first_token);
  void remove(int step);
  void move(int step, int to);  ///< `to`: its number afterwards
  /// Letters typed one after another into one field are one step to undo.
  void set_text(int step, StepText field, const QString& text);
  void set_title(const QString& title);
  void set_live(int step, std::optional<nlohmann::json> spec);

 signals:
  void changed();  ///< steps or their texts
  void current_changed();
  void state_changed();  ///< another file, another talk, saved or not

 private:
  friend class TalkChange;
  void push(Talk next, const QString& words, int current, int merge_id = -1);
  void take(const Talk& talk, int current);
  /// The step's view with numbers of this talk's records and sweep; adds those that it lacks, which are open.
  void put_view(Talk& talk, TalkStep& step, const ViewState& state);

  Talk talk_;
  std::vector<RecordPtr> open_;        ///< [talk_.records]
  std::vector<SweepPtr> open_sweeps_;  ///< [talk_.sweeps]
  QString file_;
  bool is_open_ = false;
  int current_ = -1;
  QUndoStack undo_;
};

}  // namespace headroom::views
