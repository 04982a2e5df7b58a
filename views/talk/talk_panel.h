// SPDX-License-Identifier: GPL-3.0-or-later
// The Talk dock: the steps as a list, the words of the chosen one, and what can be done with the whole.
#pragma once

#include <QHash>
#include <QPixmap>
#include <QWidget>
#include <vector>

#include "views/talk/talk_book.h"
#include "views/talk/talk_check.h"

class QCheckBox;
class QLabel;
class QLineEdit;
class QListWidget;
class QListWidgetItem;
class QPlainTextEdit;
class QProgressBar;
class QToolButton;

namespace headroom::views {

class TalkPanel : public QWidget {
  Q_OBJECT
 public:
  explicit TalkPanel(TalkBook* book, QWidget* parent = nullptr);

  QListWidget* steps() const { return steps_; }
  QListWidget* faults() const { return faults_; }
  QLineEdit* title_field() const { return title_; }
  QPlainTextEdit* caption_field() const { return caption_; }
  QPlainTextEdit* notes_field() const { return notes_; }
  QCheckBox* live_box() const { return live_; }
  /// How the step looks, at any size; kept for as long as it shows the same. Steps without one say which page they are
  /// of.
  /// Of all steps that show what this one does, wherever they stand by now.
  void set_picture(const TalkStep& step, const QPixmap& picture);
  bool has_picture(const TalkStep& step) const;
  bool has_picture(int step) const;
  /// The result of Check talk; `done` words it where there are none.
  void show_faults(const std::vector<TalkFault>& faults);
  void forget_faults();
  /// What runs in the background, "Checking… 41 %"; empty: nothing.
  void show_work(const QString& words);

 signals:
  void add_requested();
  void update_requested();
  void show_requested(int step);  ///< double click, Enter
  void live_requested(int step, bool on);
  void check_requested();
  void pack_requested();
  void export_requested();
  void present_requested();
  void work_stopped();

 protected:
  bool eventFilter(QObject* object, QEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void fill();
  QSize picture_size() const;  ///< of a thumbnail, 16:9, by the text's size
  QPixmap blank_picture(const QString& page) const;
  void show_step();
  QToolButton* button(const QString& text, const QString& hint, class QLayout* row);

  TalkBook* book_;
  QLabel *heading_, *empty_, *live_words_, *work_, *verdict_;
  QListWidget *steps_, *faults_;
  QWidget *fields_, *work_row_;
  QLineEdit *name_, *title_;  ///< of the talk, of the step
  QPlainTextEdit *caption_, *notes_;
  QCheckBox* live_;
  QToolButton *add_, *update_, *up_, *down_, *remove_, *undo_, *redo_, *check_, *pack_, *export_, *present_ = nullptr;
  bool filling_ = false;
  QHash<QByteArray, QPixmap> pictures_;  ///< of steps by what they show
};

/// Short words of what a live step would run: model, prompt, methods, budgets.
QString live_words(const nlohmann::json& spec);

}  // namespace headroom::views
