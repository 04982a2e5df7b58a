// SPDX-License-Identifier: GPL-3.0-or-later
// Compare: one baseline and up to four candidates of any open runs: how they were made, their answers, their numbers,
// their maps.
#pragma once

#include "views/common/page_base.h"
#include "views/common/page_command.h"
#include "views/compare/compare_data.h"

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
  const CompareSide& candidate() const { return candidates_.front(); }
  const std::vector<CompareSide>& candidates() const { return candidates_; }
  /// One step to undo. No more than most_candidates are taken; one that is there already or is not there is left out.
  void set_sides(const CompareSide& baseline, std::vector<CompareSide> candidates);
  void set_sides(const CompareSide& baseline, const CompareSide& candidate) {
    set_sides(baseline, std::vector<CompareSide>{candidate});
  }
  /// The first side that is not shown yet.
  void add_candidate();
  QVector<PageCommand> commands();
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
  double wanted_height(double width, double least_text) override;
  QString csv() const override;
  QString title() const override;
  QString scale_text() const override;
  QString aggregation_text() const override;

 protected:
  void refresh(unsigned mask) override;
  void restyle() override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void build();
  void fill_choices();
  void choose_defaults();
  void picked();
  void remove_candidate(std::size_t index);
  bool shows(const CompareSide& side) const;
  void show_summary();
  void draw_text(Figure& figure, bool with_answers) const;
  void share_width();
  void show_sides();
  void show_chart();
  void show_display();
  void arrange();
  QString side_name(const CompareSide& side) const;

  /// A choice of a candidate with its name and the button that takes it away.
  struct CandidateBox {
    QLabel* label = nullptr;
    QComboBox* box = nullptr;
    QToolButton* remove = nullptr;
  };

  CompareSide baseline_;
  std::vector<CompareSide> candidates_{CompareSide{}};  ///< never empty
  std::vector<CompareSide> sides_;                      ///< in the order of the choices
  std::vector<CompareQuantity> quantities_;
  std::vector<CompareSeries> series_;
  QString chart_problem_;  ///< why the chart is empty
  QString summary_text_;
  QComboBox *baseline_box_, *quantity_box_;
  std::vector<CandidateBox> candidate_boxes_;
  QToolButton *add_, *differences_only_;
  MetadataModel* metadata_;
  QTableView* table_;
  AnswerCards* answers_;
  QLabel* summary_;
  CompareMaps* maps_;
  CompareChart* chart_;
  QSplitter *columns_, *panes_;
  QWidget *left_, *right_;
  QToolButton* details_;  ///< narrow pages show either the details or the maps and numbers
  bool placed_ = false;
};

}  // namespace headroom::views
