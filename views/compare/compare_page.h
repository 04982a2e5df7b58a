// SPDX-License-Identifier: GPL-3.0-or-later
// Compare: one baseline, one candidate, of any open runs: how they were made, their answers, their numbers, their maps.
#pragma once

#include "views/compare/compare_data.h"
#include "views/common/page_base.h"

class QComboBox;
class QLabel;
class QSplitter;
class QTableView;
class QToolButton;

namespace headroom::views {

class AnswerCards;
class CompareChart;
class CompareMaps;
class TileProvider;

class ComparePage : public PageBase, public Exportable {
  Q_OBJECT
 public:
  explicit ComparePage(Selection* selection, QWidget* parent = nullptr);

  const CompareSide& baseline() const { return baseline_; }
  const CompareSide& candidate() const { return candidate_; }
  void set_sides(const CompareSide& baseline, const CompareSide& candidate);
  CompareMaps* maps() const { return maps_; }
  CompareChart* chart() const { return chart_; }
  MetadataModel* metadata() const { return metadata_; }
  QString summary() const;
  bool settled() const override;
  /// Answers for layers that the records do not hold; null: none.
  void set_tile_provider(TileProvider* provider);

  bool ready() const override { return settled(); }
  bool complete() const override;
  QString problem() const override;
  void exported() override;
  void render(QPainter& painter, const QRectF& target, const ExportOptions& options) override;
  QString csv() const override;
  QString title() const override;
  QString scale_text() const override;

 protected:
  void refresh(unsigned mask) override;
  void restyle() override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void build();
  void fill_choices();
  void choose_defaults();
  void picked();
  void show_sides();
  void show_chart();
  void show_display();
  void arrange();
  QString side_name(const CompareSide& side) const;

  CompareSide baseline_, candidate_;
  std::vector<CompareSide> sides_;  ///< in the order of the choices
  std::vector<CompareQuantity> quantities_;
  std::vector<ComparePoint> points_;
  QString chart_problem_;  ///< why the chart is empty
  QString summary_text_;
  QComboBox *baseline_box_, *candidate_box_, *quantity_box_;
  QToolButton* differences_only_;
  MetadataModel* metadata_;
  QTableView* table_;
  AnswerCards* answers_;
  QLabel* summary_;
  CompareMaps* maps_;
  CompareChart* chart_;
  QSplitter* columns_;
  std::function<void()> share_width_;
  QWidget *left_, *right_;
  QToolButton* details_;  ///< narrow pages show either the details or the maps and numbers
  bool placed_ = false;
};

}  // namespace headroom::views
