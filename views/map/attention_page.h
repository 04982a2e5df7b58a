// SPDX-License-Identifier: GPL-3.0-or-later
// The Attention page: controls, map with read-out, and the prompt text beside or below it.
#pragma once

#include <QWidget>
#include <functional>
#include <memory>

#include "views/common/exportable.h"
#include "views/common/page_command.h"
#include "views/common/selection.h"

class QLabel;
class QPushButton;
class QSplitter;

namespace headroom::views {

class AttentionControls;
class AttentionMapWidget;
class MapReadout;
class PromptPanel;
class TileProvider;
struct MapData;

/// Whether the map misses so much mass that orange is shown where nobody chose otherwise.
bool missed_matters(const MapData& map);

class AttentionPage : public QWidget, public Exportable {
  Q_OBJECT
 public:
  explicit AttentionPage(Selection* selection, QWidget* parent = nullptr);
  ~AttentionPage() override;

  /// Answers for layers that the record does not hold; null: none. Must outlive the page or be reset.
  void set_tile_provider(TileProvider* provider);

  AttentionMapWidget* map() const { return map_; }
  PromptPanel* prompt() const { return prompt_; }
  MapReadout* readout() const { return readout_; }
  AttentionControls* controls() const { return controls_; }

  /// Whether the shown layer, where the record does not hold it exactly, could be recorded so.
  enum class ExactOffer { none, possible, recording };
  void set_exact_offer(std::function<ExactOffer(const RecordPtr& record, int layer)> offer);
  void refresh_exact_offer();  ///< the answer may be another one now
  bool exact_offer_stands() const { return offered_ == ExactOffer::possible; }

  bool settled() const;  ///< map, overlay and text are drawn
  /// The prompt text with its marks as a figure of its own. What it is coloured by is the map's, which is loaded for
  /// it.
  Exportable& text_figure();
  /// What the page's keys do. Valid as long as the page.
  QVector<PageCommand> commands();
  void focus_find();   ///< Ctrl+F of the window
  void focus_go_to();  ///< Ctrl+G of the window

  void render(QPainter& painter, const QRectF& target, const ExportOptions& options) override;
  double wanted_height(double width, double least_text) override;
  bool ready() const override;
  bool complete() const override;
  QString problem() const override;
  void exported() override;
  QString csv() const override;
  std::function<QString(std::stop_token)> csv_work() const override;
  QString title() const override;
  QString scale_text() const override;
  QString aggregation_text() const override;

 signals:
  void exact_layer_asked(int layer);
  void exact_offer_changed();

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void showEvent(QShowEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void selection_changed(unsigned mask);
  void update_source();
  void map_data_changed();
  void show_display();
  void show_hint();
  /// Of the page, what is seen: one that scrolls is higher.
  int seen_height() const;
  void fit_controls();

  Selection* selection_;
  AttentionControls* controls_;
  AttentionMapWidget* map_;
  MapReadout* readout_;
  PromptPanel* prompt_;
  QSplitter* splitter_;
  QWidget* exact_bar_;
  QLabel *exact_text_, *hint_;
  QPushButton* exact_button_;
  std::function<ExactOffer(const RecordPtr&, int)> offer_;
  ExactOffer offered_ = ExactOffer::none;
  class TextFigure;
  std::unique_ptr<TextFigure> text_figure_;
  bool with_text_ = false;    ///< of the last render()
  bool source_stale_ = true;  ///< hidden pages load nothing
};

}  // namespace headroom::views
