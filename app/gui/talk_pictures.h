// SPDX-License-Identifier: GPL-3.0-or-later
// Thumbnails of a talk's steps: taken from the page in the window while it shows the step, or, where the next view was
// chosen before that had settled, drawn by a page of its own that is never shown.
#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QTimer>
#include <deque>
#include <memory>
#include <optional>

#include "gui/figure_studio.h"
#include "views/talk/talk_file.h"

namespace headroom::views {
class TalkBook;
class TalkPanel;
}  // namespace headroom::views

namespace headroom::gui {

struct TalkSurroundings;

class TalkPictures : public QObject {
  Q_OBJECT
 public:
  /// All three must outlive this.
  TalkPictures(const TalkSurroundings& around, const views::TalkBook& book, views::TalkPanel& panel);
  ~TalkPictures() override;

  /// Of the step whose view the window shows or is about to: at once where it stands there already (`there`), else once
  /// nothing of it is on its way.
  void take(int step, bool there);

 private:
  struct Sitting {
    views::TalkStep step;
    int page = -1, tries = 0;
    FigureSubject subject;
  };
  void look();
  void miss();  ///< the window shows something else now
  void draw();

  const TalkSurroundings& around_;
  const views::TalkBook& book_;
  views::TalkPanel& panel_;
  QTimer timer_, late_timer_;
  std::optional<Sitting> sitting_;
  std::deque<Sitting> late_;  ///< the first is being drawn
  std::unique_ptr<FigureStudio> studio_;
  QElapsedTimer asked_;
};

}  // namespace headroom::gui
