// SPDX-License-Identifier: GPL-3.0-or-later
// Offers to fetch a model that is missing here: scripts/fetch-model does it, and says first which terms there are to
// accept.
#pragma once

#include <QProcess>
#include <QWidget>

class QLabel;
class QProgressBar;
class QPushButton;
class QTextBrowser;

namespace headroom::gui {

class ModelFetch : public QWidget {
  Q_OBJECT
 public:
  explicit ModelFetch(QWidget* parent = nullptr);
  ~ModelFetch() override;

  /// The short name that a message says has not been fetched; empty where it says nothing of the kind.
  static QString missing_model(const QString& message);
  /// Shows the offer, or what it has come to; hides it for an empty name.
  void offer(const QString& model);
  bool running() const { return process_.state() != QProcess::NotRunning; }

 signals:
  /// The model is there now.
  void fetched(const QString& model);

 protected:
  void resizeEvent(QResizeEvent* event) override;

 private:
  void start(bool accepted);
  void ended();
  void show_state(const QString& text, const QString& button);
  void show_terms(const QString& text);
  /// Scrolls to what has come of a click: the fields above it may fill a low window.
  void come_into_sight();
  void hear();  ///< what the script says while it is at work

  QProcess process_;
  QString model_, program_;
  QByteArray said_;  ///< by the script, the last of it
  bool accepted_ = false, terms_shown_ = false;
  bool clicked_ = false;  ///< what is shown came of a click, and is to be in sight
  QLabel* text_;
  QTextBrowser* terms_;
  QProgressBar* bar_;
  QPushButton* go_;
};

}  // namespace headroom::gui
