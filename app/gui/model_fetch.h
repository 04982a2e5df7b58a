// SPDX-License-Identifier: GPL-3.0-or-later
// Offers to fetch a model that is missing here: scripts/fetch-model does it, and says first which terms there are to
// accept.
#pragma once

#include <QProcess>
#include <QWidget>

class QLabel;
class QPlainTextEdit;
class QPushButton;

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

 private:
  void start(bool accepted);
  void ended();
  void show_state(const QString& text, const QString& button);

  QProcess process_;
  QString model_, program_;
  bool accepted_ = false, terms_shown_ = false;
  QLabel* text_;
  QPlainTextEdit* terms_;
  QPushButton* go_;
};

}  // namespace headroom::gui
