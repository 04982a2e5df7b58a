// SPDX-License-Identifier: GPL-3.0-or-later
// Places maps so that what is drawn in each is a square and all are of one size, as large as the room allows.
#pragma once

#include <QElapsedTimer>
#include <QLabel>
#include <QTimer>
#include <QWidget>
#include <vector>

namespace headroom::views {

class AttentionMapWidget;

/// A map under its title and a note.
struct MapPane {
  QWidget* widget = nullptr;
  QLabel *title = nullptr, *note = nullptr;
  AttentionMapWidget* map = nullptr;
};

class CompareGrid : public QWidget {
  Q_OBJECT
 public:
  explicit CompareGrid(QWidget* parent = nullptr);
  /// The grid's own from then on. Hidden ones take no room.
  void add_pane(const MapPane& pane);
  /// After panes were shown or hidden, or their titles have changed.
  void place();
  int side() const { return side_; }  ///< of the squares, in pixels
  QSize minimumSizeHint() const override;

 protected:
  void resizeEvent(QResizeEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  struct Slot {
    MapPane pane;
    QSize around;  ///< what axes and scale of this map take
  };
  void measure(std::size_t index);
  void arrange();
  std::vector<Slot> slots_;
  int side_ = 0, rounds_ = 0;
  int tries_left_ = 0;  ///< of measuring again after too many rounds
  QTimer again_;
  QElapsedTimer last_measured_;
};

}  // namespace headroom::views
