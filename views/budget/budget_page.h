// SPDX-License-Identifier: GPL-3.0-or-later
// Budget: how much mass a budget keeps (at once, from stored curves), what was really measured, and budgets per layer.
#pragma once

#include <memory>
#include <optional>

#include "base/layer_budgets.h"
#include "views/budget/beside_curve.h"
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
class QTabBar;
class QVBoxLayout;

namespace headroom::views {

class BudgetPlot;
class ShipPanel;
class ShownPart;
class SweepPanel;

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
  bool settled() const override;
  double wanted_height(double width, double least_text) override;
  bool ready() const override { return settled(); }
  QString source_text() const override;
  QString problem() const override { return record_ && part() == 0 ? problem_ : QString(); }
  SweepPanel* sweep_panel() const { return sweep_; }
  ShipPanel* ship_panel() const { return ship_; }
  QString csv() const override;
  QString title() const override;

 signals:
  void run_budget_requested(int keys);
  void new_sweep_requested();
  /// The shown sweep with seeds that it did not use.
  void confirm_sweep_requested();
  /// A row of the shown sweep's record: its prompt is to be run and recorded.
  void record_sample_requested(int row);
  void write_budgets_requested(const QByteArray& json, const QString& name);
  void run_layer_budgets_requested(const headroom::LayerBudgets& budgets);

 protected:
  void refresh(unsigned mask) override;
  void restyle() override;
  bool has_content() const override;

 private:
  void build();
  void build_run();
  QWidget* build_side();
  QWidget* build_nothing();
  int part() const;  ///< of the page: 0 the run, 1 the sweep, 2 a number to ship
  void show_part();
  QByteArray budgets_json() const;
  void draw_text(Figure& figure) const;
  int side_width() const;
  void fill_choices();
  void load_curves();
  void load_beside(int layer);
  /// The open runs whose prompts stand in one plot and one table: those of the shown one's model, where that is chosen;
  /// else the shown one alone.
  std::vector<RecordPtr> runs_together() const;
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
  std::vector<BesideCurve> beside_;
  BudgetReadOut read_out_;
  QString problem_;

  QTabBar* tabs_;
  ShownPart* parts_;
  QWidget* run_body_;
  QLabel* nothing_;
  SweepPanel* sweep_;
  ShipPanel* ship_;
  QComboBox *unit_, *stream_, *scope_, *axis_;
  QSlider* slider_;
  QDoubleSpinBox *spin_, *target_;
  QPushButton* run_;
  QWidget* side_ = nullptr;
  BudgetPlot* plot_;
  QLabel *legend_, *headline_, *source_, *one_prompt_, *total_, *knee_cost_;
  struct Row {
    QLabel *name, *value;
  };
  Row mean_, p10_, low_, worst_head_, knee_, for_90_, for_95_, for_99_;
  QTableView *table_, *measured_table_;
  QStandardItemModel *model_, *measured_;
  QSortFilterProxyModel* sorted_;
};

}  // namespace headroom::views
