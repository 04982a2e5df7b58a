// SPDX-License-Identifier: GPL-3.0-or-later
// Attention maps of one layer with zoom and colours locked, a baseline and up to four candidates: side by side,
// difference, diagonal split, or a candidate in the baseline's place while X is held. What may not be combined is
// refused with the reason.
#pragma once

#include <QWidget>

#include "views/common/page_command.h"
#include "views/compare/compare_data.h"
#include "views/compare/compare_grid.h"

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

  void set_sides(const CompareSide& baseline, const std::vector<CompareSide>& candidates);
  void set_place(int layer, record::HeadSelector head);
  /// Kept in the Selection's display state.
  void set_mode(Mode mode);
  Mode mode() const { return mode_; }
  /// 0: all candidates, else this one alone. Kept in the Selection's display state.
  void set_chosen(int candidate);
  /// Flicker: shows a candidate while true, of several the next one each time.
  void hold(bool candidate);
  bool shows_candidate() const;
  /// Why none of the maps is combined; empty where one is or none need be.
  QString refusal() const;
  /// What X and the maps' own keys do.
  QVector<PageCommand> commands();
  AttentionMapWidget* first() const { return panes_[0].map; }
  AttentionMapWidget* second() const { return panes_[1].map; }
  /// Those that are shown, and where a candidate only flickers in, that one too: what a figure holds.
  std::vector<AttentionMapWidget*> pictured() const;
  const CompareGrid* grid() const { return grid_; }
  bool settled() const;
  void set_tile_provider(TileProvider* provider);

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void keyReleaseEvent(QKeyEvent* event) override;
  void focusOutEvent(QFocusEvent* event) override;

 private:
  /// What a pane shows: a side, or the baseline and a candidate in one map.
  struct Shown {
    int side = 0;  ///< 0 the baseline, i the i-th candidate
    bool combined = false;
    bool operator==(const Shown&) const = default;
  };
  std::vector<Shown> wanted() const;  ///< in the order of the panes; refused ones are left out
  bool combines() const { return mode_ == Mode::difference || mode_ == Mode::diagonal_split; }
  std::vector<int> compared() const;  ///< the candidates that are shown, all or the chosen one
  QString refusal_of(int candidate) const;
  const CompareSide& side(int index) const;
  void add_pane();
  void build_bar(QLayout* column);
  void update_maps();
  void arrange();
  QString side_title(const CompareSide& side) const;
  /// Whether its map greys keys that the method did not attend to, in words; empty for dense.
  QString shown_keys(const CompareSide& side) const;
  void fill_places();
  void fill_chosen();

  CompareSide baseline_;
  std::vector<CompareSide> candidates_;
  int layer_ = 0;
  record::HeadSelector head_;
  Mode mode_ = Mode::side_by_side;
  int chosen_ = 0, flickers_ = 0;  ///< candidates; flickers_: the one of the last hold()
  bool held_ = false;
  Selection* selection_;
  TileCache* cache_;
  CompareGrid* grid_;
  std::vector<MapPane> panes_;
  std::vector<Shown> shown_;
  QLabel* refusal_label_;
  QPushButton* hold_button_;
  QComboBox *mode_box_, *chosen_box_, *layer_box_, *head_box_;
};

}  // namespace headroom::views
