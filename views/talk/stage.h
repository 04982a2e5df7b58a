// SPDX-License-Identifier: GPL-3.0-or-later
// What a talk shows beside the pages while it is presented: caption and number for the audience, a line that says how
// to leave, and a window with notes, next step and clock for the speaker.
#pragma once

#include <QElapsedTimer>
#include <QLabel>
#include <QTimer>
#include <QWidget>

namespace headroom::views {

/// Below the page.
class StageBar : public QWidget {
  Q_OBJECT
 public:
  explicit StageBar(QWidget* parent = nullptr);
  void show_step(const QString& title, const QString& caption, int number, int count);
  /// What the picture is of, where the page's controls do not say it.
  void show_view(const QString& words);
  /// Which of a live run and its recorded twin is on the screen; empty: the step has no live run.
  void show_source(const QString& words);
  /// Why the step cannot be shown; empty: it is.
  void show_problem(const QString& words);
  QString title() const { return title_->text(); }
  QString caption() const { return caption_->text(); }
  QString number() const { return number_->text(); }
  QString source() const { return source_->text(); }
  QString problem() const { return problem_->text(); }

 protected:
  bool event(QEvent* event) override;
  void changeEvent(QEvent* event) override;
  void paintEvent(QPaintEvent* event) override;

 private:
  void restyle();
  QLabel *title_, *caption_, *view_, *number_, *source_, *problem_;
};

/// A line over the page that goes by itself.
class FadingHint : public QLabel {
  Q_OBJECT
 public:
  explicit FadingHint(QWidget* parent);
  void show_for(const QString& text, int milliseconds);

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  QTimer stay_, fade_;
  qreal opacity_ = 1;
};

/// For the speaker alone: on the other screen, or as a window.
class SpeakerWindow : public QWidget {
  Q_OBJECT
 public:
  explicit SpeakerWindow(QWidget* parent = nullptr);
  struct Shown {
    QString title, caption, notes, next_title, next_caption, source;
    int number = 0, count = 0;
  };
  void show_step(const Shown& shown);
  void restart_clock();
  QString notes() const { return notes_->text(); }
  QString next() const { return next_->text(); }
  QString clock() const { return clock_->text(); }

 signals:
  /// Keys go where the talk is: this window has none of its own.
  void key_pressed(QKeyEvent* event);
  void closed();

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void closeEvent(QCloseEvent* event) override;

 private:
  void tick();
  QLabel *title_, *caption_, *notes_, *next_, *clock_, *number_;
  QElapsedTimer since_;
  QTimer timer_;
};

}  // namespace headroom::views
