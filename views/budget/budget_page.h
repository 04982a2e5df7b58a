// SPDX-License-Identifier: GPL-3.0-or-later
// Budget: how much mass a budget keeps (at once, from stored curves), what was really measured, and budgets per layer.
#pragma once

#include <memory>
#include <optional>

#include "views/common/page_base.h"
#include "views/common/record_queries.h"

class QComboBox;
class QDoubleSpinBox;
class QLabel;
class QPushButton;
class QSlider;
class QSortFilterProxyModel;
class QStandardItemModel;
class QTableView;
class QVBoxLayout;

namespace headroom::views {

class BudgetPlot;

/// What the page prints at the chosen budget.
struct BudgetReadOut {
  double budget = 0, density = 0, mean = 0, p10 = 0, low = 0, worst_head = 0;
  std::optional<double> knee, for_90, for_95, for_99;
};

/// What one prompt can say of the three gaps, as rich text: hints, not gaps.
QString one_prompt_html(const record::RunRecord& record, const ViewState& state);

class BudgetPage : public PageBase, public Exportable {
  Q_OBJECT
 public:
  explicit BudgetPage(Selection* selection, QWidget* parent = nullptr);

  const BudgetReadOut& read_out() const { return read_out_; }
  BudgetPlot* plot() const { return plot_; }
  void focus_budget();  ///< the slider takes the keys
  /// The per-layer table as it is sorted, with a header line.
  QString suggestions_csv() const;

  void render(QPainter& painter, const QRectF& target, const ExportOptions& options) override;
  double wanted_height(double width, double least_text) override;
  bool ready() const override { return settled(); }
  QString problem() const override { return record_ ? problem_ : QString(); }
  QString csv() const override;
  QString title() const override;

 signals:
  void run_budget_requested(int keys);

 protected:
  void refresh(unsigned mask) override;
  void restyle() override;

 private:
  void build();
  void draw_text(Figure& figure) const;
  QWidget* build_side();
  int side_width() const;
  void fill_choices();
  void load_curves();
  void show_markers();
  void show_budget();
  void show_suggestions();
  void set_budget(double keys);
  void end_drag();
  BudgetUnit unit() const;
  void show_display();
  template <typename Edit>
  void change_display(Edit&& edit, const QString& merge_key = {}) {
    selection()->change([&](ViewState& state) { edit(state.display); }, merge_key);
  }
  double unit_value(double keys) const;
  double keys_of(double value) const;
  double slider_value(int position) const;
  int slider_position(double value) const;
  void configure_unit();

  RecordPtr record_;
  std::shared_ptr<const record::MassCurves> stored_;
  RecallCurves curves_;
  BudgetReadOut read_out_;
  QString problem_;

  QComboBox *unit_, *stream_, *scope_, *axis_;
  QSlider* slider_;
  QDoubleSpinBox *spin_, *target_;
  QPushButton* run_;
  QWidget* side_ = nullptr;
  BudgetPlot* plot_;
  QLabel *legend_, *headline_, *source_, *one_prompt_, *total_;
  struct Row {
    QLabel *name, *value;
  };
  Row mean_, p10_, low_, worst_head_, knee_, for_90_, for_95_, for_99_;
  QTableView* table_;
  QStandardItemModel* model_;
  QSortFilterProxyModel* sorted_;
};

}  // namespace headroom::views
