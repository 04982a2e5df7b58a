// SPDX-License-Identifier: GPL-3.0-or-later
// Two attention maps of one layer with zoom and colours locked: side by side, difference, diagonal split, or one in the
// place of the other while X is held. What may not be combined is refused with the reason.
#pragma once

#include <QWidget>

#include "views/compare/compare_data.h"

class QComboBox;
class QLabel;
class QPushButton;

namespace headroom::views {

class AttentionMapWidget;
class TileCache;
class TileProvider;

class CompareMaps : public QWidget {
  Q_OBJECT
 public:
  using Mode = CompareMode;

  explicit CompareMaps(Selection* selection, QWidget* parent = nullptr);

  void set_sides(const CompareSide& baseline, const CompareSide& candidate);
  void set_place(int layer, record::HeadSelector head);
  /// Kept in the Selection's display state.
  void set_mode(Mode mode);
  Mode mode() const { return mode_; }
  /// Flicker: shows the candidate while true.
  void hold(bool candidate);
  bool shows_candidate() const;
  /// Why the maps are not combined; empty where they are or need not be.
  QString refusal() const;
  AttentionMapWidget* first() const { return first_; }
  AttentionMapWidget* second() const { return second_; }
  bool settled() const;
  void set_tile_provider(TileProvider* provider);

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void keyReleaseEvent(QKeyEvent* event) override;
  void focusOutEvent(QFocusEvent* event) override;

 private:
  void update_maps();
  void arrange();
  QString side_title(const CompareSide& side) const;
  /// Whether its map greys keys that the method did not attend to, in words; empty for dense.
  QString shown_keys(const CompareSide& side) const;

  CompareSide baseline_, candidate_;
  int layer_ = 0;
  record::HeadSelector head_;
  Mode mode_ = Mode::side_by_side;
  bool held_ = false;
  Selection* selection_;
  TileCache* cache_;
  AttentionMapWidget *first_, *second_;
  QWidget *first_pane_, *second_pane_;
  QLabel *first_title_, *second_title_, *first_note_, *second_note_, *refusal_label_;
  QPushButton* hold_button_;
  QComboBox *mode_box_, *layer_box_, *head_box_;
  void fill_places();
};

}  // namespace headroom::views
