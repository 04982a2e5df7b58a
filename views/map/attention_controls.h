// SPDX-License-Identifier: GPL-3.0-or-later
// The controls above the map: method, layer, heads, colours, overlay. They change the Selection and show what it says.
#pragma once

#include <QWidget>

#include "views/map/map_composer.h"

class QCheckBox;
class QComboBox;
class QLabel;
class QSlider;
class QToolButton;

namespace headroom::views {

class AttentionControls : public QWidget {
  Q_OBJECT
 public:
  explicit AttentionControls(Selection* selection, QWidget* parent = nullptr);

  /// What of the overlay is shown: what is asked for and what the map has.
  OverlayFlags overlay() const;
  /// Which overlay classes the shown map has, or why it has none; whether missed keys say something there; the number
  /// beside "hide" (negative: unknown).
  void set_map_facts(bool has_overlay, bool has_wasted, bool missed_matters, const QString& overlay_note,
                     double hidden_mass);
  /// To the neighbouring layer of full attention, or to the next head; wraps around.
  void step_layer(int direction);
  void step_head(int direction);

  /// What a talk or a figure can do without stands behind "…" where all of it would take more than a fifth of the
  /// page's `height` at this width.
  void fit(int width, int height);
  bool folded() const { return folded_; }
  /// Shows all, until the page is of another size.
  Q_INVOKABLE void unfold();

 signals:
  void fit_asked();
  void fit_colours_asked();

 private:
  void set_folded(bool folded);
  void fill_all();
  void fill_layers();
  void fill_heads();
  void show_state();
  void show_display();
  void apply_theme();
  template <typename Edit>
  void change_display(Edit&& edit, const QString& merge_key = {}) {
    selection_->change([&](ViewState& state) { edit(state.display); }, merge_key);
  }

  Selection* selection_;
  QComboBox *method_, *layer_, *head_, *mode_, *cell_;
  QToolButton *hit_, *missed_, *wasted_;
  QSlider* missed_from_;
  QLabel* missed_from_text_;
  bool missed_matters_ = false;
  QCheckBox *hide_, *minimap_;
  QLabel *hidden_mass_, *layer_legend_;
  QToolButton *fit_, *fit_colours_;
  QToolButton* more_;
  QVector<QWidget*> foldable_;
  bool folded_ = false;
  QSize fitted_;  ///< of what fit() was last asked
  RecordPtr filled_;
  QString filled_method_;
  record::LayerMeta filled_heads_;  ///< whose heads the list holds
};

}  // namespace headroom::views
