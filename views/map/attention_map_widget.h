// SPDX-License-Identifier: GPL-3.0-or-later
// The map with its axes, marginals, colour scale and minimap. Usable on its own: the attention page shows one map, the
// compare page several. All that share a Selection look at the same region with the same colours.
#pragma once

#include <QElapsedTimer>
#include <QTimer>
#include <QWidget>
#include <optional>

#include "views/map/attention_map.h"
#include "views/common/exportable.h"
#include "views/common/page_command.h"

class QLabel;

namespace headroom::views {

class ColourBar;
class MapMarginal;
class Minimap;

class AttentionMapWidget : public QWidget, public Exportable {
  Q_OBJECT
 public:
  /// `cache` is shared between maps that show the same records; null: one of its own.
  explicit AttentionMapWidget(Selection* selection, TileCache* cache = nullptr, QWidget* parent = nullptr);
  ~AttentionMapWidget() override;

  /// Loads in the background and shows it; the old map stays until then.
  void set_source(const MapSource& source);
  /// A second map for difference (second minus first) or for the upper triangle. Both must be of the same tokens; where
  /// they are not, only the first is shown and the notice says why.
  void set_second_source(const MapSource& source, MapLayout layout);
  void clear_second_source();
  void set_layout(MapLayout layout);  ///< of the two maps that are there
  /// Shows data that is already there.
  void set_data(MapDataPtr primary, MapDataPtr secondary = nullptr);
  const MapDataPtr& data() const { return primary_; }
  const MapDataPtr& second_data() const { return secondary_; }

  const MapStyle& style_now() const { return map_->style(); }
  /// Changes how it is drawn. Colour range and viewport come from the Selection; lift has a range of its own.
  void set_mode(MapMode mode);
  void set_show_mean(bool mean);
  void set_hide_bands(bool hide);
  void set_overlay(OverlayFlags flags);
  /// Missed mass of a cell from which it is orange, in rows' worth.
  void set_missed_from(double mass);
  /// Cells of which a sparse method attended to no key are grey.
  void set_mask_unattended(bool mask);
  void set_marginals_visible(bool visible);
  void set_colour_bar_visible(bool visible);  ///< off where a neighbour has the same one
  void set_minimap_enabled(bool enabled);
  /// Colours from the 1st percentile to the maximum of what is visible.
  void fit_colours();
  void fit_view();  ///< the whole context

  TileCache* cache() const { return cache_; }
  /// There is a picture of some map on the screen, if a coarse one.
  /// The last frame had a place without even a coarse picture, though one can be had.
  bool is_blank() const { return !map_->composition().missing.empty() && map_->composition().empty_parts > 0; }
  bool is_drawn() const { return primary_ && !map_->stale() && !map_->composition().image.isNull(); }
  /// Everything that was asked for is drawn.
  bool settled() const;  ///< what is visible is drawn as sharp as it gets
  QCustomPlot* plot() const { return plot_; }
  /// What a pixel is: "one pair a cell", "max of 32x32 pairs", "thumbnail: …".
  QString badge() const { return badge(map_->composition()); }
  /// Why there is no map; empty where there is one.
  QString notice() const;
  /// The pair under a position of the plot, keys <= query; {-1, -1} outside.
  MapPoint pair_at(QPointF position, bool* mirrored = nullptr) const;
  CellValue value_at(MapPoint point, bool second = false) {
    return map_->value_at(second ? secondary_ : drawn_ranks_ ? ranks_ : primary_, point);
  }
  /// Colours are ranks: cells hold 1 / rank. Not where q and k are not known, or two maps are combined.
  bool shows_ranks() const { return drawn_ranks_; }
  /// Ticks at the edges beside these rows and columns: what was found in the text. `current` stands out; -1: none.
  void set_find_marks(std::vector<std::int64_t> tokens, std::int64_t current);
  bool hover_is_mirrored() const { return hover_mirrored_; }
  /// The pair that keys act on and the read-out describes: the one under the mouse, but while stepping by keys, or
  /// without a mouse, the selected one. A part that is not chosen, or chosen more than once, is -1.
  MapPoint cursor() const;
  /// "reading layer 7; still shown: layer 5"; empty where what is shown is what was asked for.
  QString stale_note() const;

  /// What keys do to the map. Valid as long as the widget.
  QVector<PageCommand> commands();
  void step_cursor(int rows, int keys);   ///< in visible cells
  void step_selected_key(int direction);  ///< to the previous or next key in the support of the row
  /// What is near is there at once, what is far is searched for in the background; another call or any other change of
  /// what is selected ends that.
  void next_missed();
  void toggle_pin();
  /// What one drag chooses at most: each is a mark of its own in text and session.
  static constexpr std::int64_t most_dragged_keys = 4096;
  void show_pair(MapPoint point);  ///< selects it and moves the view there where needed

  void render(QPainter& painter, const QRectF& target, const ExportOptions& options) override;
  bool ready() const override { return !loading_ && !cache_->busy(); }
  bool complete() const override { return is_pictured_ && pictured_.missing.empty(); }
  QString problem() const override;
  void exported() override;
  QString csv() const override;
  std::function<QString(std::stop_token)> csv_work() const override;
  QString title() const override;
  QString scale_text() const override;
  QString aggregation_text() const override;

 signals:
  void data_changed();
  void drawn();  ///< badge or values may have changed

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void changeEvent(QEvent* event) override;
  void showEvent(QShowEvent* event) override;
  void hideEvent(QHideEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void build_plot();
  void apply_theme();
  void follow_theme();  ///< at once, or when it is seen
  void fit_strip();  ///< the marginals' room, by the font
  void apply_style(MapStyle style);
  void apply_ranges();
  void selection_changed(unsigned mask);
  QString badge(const Composition& shown) const;
  int level_of_numbers() const;  ///< of the cells that a CSV holds: those of the picture
  void update_notice();
  void update_minimap();
  void tiles_arrived();  ///< draws them, soon
  void place_overlays();
  void fit_ticks();  ///< position labels that do not touch
  void zoom(double factor, QPointF centre_key_query, const QString& merge_key);
  void move_view(double key_tokens, double query_tokens, const QString& merge_key);
  void set_view(Viewport view, const QString& merge_key);
  void leave();  ///< the mouse is no longer over the map
  void stop_hovering();
  void follow_pointer();  ///< what lies under the mouse may have changed
  MapPoint strongest_in_cell(MapPoint point) const;
  void set_colour_range(double low, double high);
  bool is_where_search_began() const;
  void mouse_press(QMouseEvent* event);
  void mouse_move(QMouseEvent* event);
  void drag_keys(double x, const QString& merge_key);
  void mouse_release(QMouseEvent* event);
  void mouse_wheel(QWheelEvent* event);

  Selection* selection_;
  TileCache* cache_;
  QCustomPlot* plot_;
  AttentionMap* map_ = nullptr;
  MapMarks* marks_ = nullptr;
  QCPAxisRect* marginal_rect_ = nullptr;
  MapMarginal* marginal_ = nullptr;
  QCPLayer* marks_layer_ = nullptr;
  ColourBar* colour_bar_;
  Minimap* minimap_;
  QLabel *notice_, *stale_;
  MapSource wanted_, second_wanted_;
  MapLoader loader_, second_loader_;
  MapDataPtr primary_, secondary_;
  MapDataPtr ranks_;          ///< of the first; null where they cannot be known
  bool drawn_ranks_ = false;  ///< what is drawn is ranks_
  bool theme_stale_ = false;  ///< colours and fonts are from before it was hidden
  QElapsedTimer since_drawn_;
  QTimer arrivals_;                ///< until tiles that have arrived are drawn
  bool minimap_complete_ = false;  ///< nothing of it is drawn from coarser tiles than it should be
  MapLayout layout_ = MapLayout::single;
  bool loading_ = false, minimap_enabled_ = true, hover_mirrored_ = false;
  Composition pictured_;      ///< of the last render(), without its image
  bool is_pictured_ = false;  ///< that was of the data that are there now
  QString refusal_;  ///< why the second map is not shown
  std::optional<QPointF> pointer_;  ///< where the mouse is, over the plot
  bool stepping_ = false;           ///< keys have chosen the pair since the mouse last moved
  std::stop_source fitting_, searching_;
  std::int64_t search_query_ = -1;
  std::set<std::int64_t> search_keys_;
  // Drag state.
  bool pressed_ = false, dragging_ = false, selecting_rows_ = false, selecting_keys_ = false;
  std::set<std::int64_t> press_keys_;
  QPointF press_position_;
  MapPoint press_pair_;
  Viewport press_view_;
  quint64 drag_number_ = 0;
  QElapsedTimer last_wheel_;
};

}  // namespace headroom::views
