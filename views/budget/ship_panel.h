// SPDX-License-Identifier: GPL-3.0-or-later
// A number to ship: the smallest budget that was run and meets two targets, from a sweep with its interval or from the
// open runs as an indication; and budgets for each layer that can be written to a file and run.
#pragma once

#include <QByteArray>
#include <QFutureWatcher>
#include <QWidget>
#include <optional>

#include "base/layer_budgets.h"
#include "record/sweep/number_to_ship.h"
#include "views/common/page_base.h"

class QComboBox;
class QDoubleSpinBox;
class QLabel;
class QPushButton;
class QSortFilterProxyModel;
class QStandardItem;
class QStandardItemModel;
class QTableView;

namespace headroom::views {

/// Budgets for each full layer from the mass curves of open runs of one model and target share: by layer what the most
/// demanding prompt needs. Empty where no run holds curves.
record::RunBudgets layer_budgets_of(const std::vector<RecordPtr>& runs, double mass);
/// What a run is told of them.
LayerBudgets to_layer_budgets(const std::vector<record::LayerBudget>& layers, const std::string& model_sha256,
                              const std::string& source);

class ShipPanel : public QWidget {
  Q_OBJECT
 public:
  explicit ShipPanel(Selection* selection, QWidget* parent = nullptr);

  void refresh();
  void restyle();
  /// The budgets by layer are there, or there are none to come.
  bool settled() const { return !planning_.isRunning(); }
  QString headline() const;
  QAbstractItemModel* model() const;
  QString csv() const;
  void render(Figure& figure);

 signals:
  void write_budgets_requested(const QByteArray& json, const QString& name);
  void run_layer_budgets_requested(const headroom::LayerBudgets& budgets);
  void confirm_requested();

 private:
  struct Plan {
    SweepPtr sweep;
    double mass = 0;
    std::int64_t length = 0;
    std::optional<record::SweepPlan> plan;
    QString problem;
  };
  struct Families {
    QString key, name;
    std::vector<std::size_t> methods;  ///< of the sweep
  };
  void build();
  QWidget* build_layers();
  bool from_runs() const;
  std::vector<RecordPtr> runs() const;  ///< open ones of the shown run's model
  std::int64_t length() const;
  std::vector<Families> families() const;
  std::optional<Families> family() const;
  void fill_choices();
  void show_sweep();
  void show_runs();
  void show_layers();
  void begin_plan();
  void fill_layers(const std::vector<record::LayerBudget>& layers);
  void write_file();
  /// A method of the sweep as open runs and bench results of the same model at this length know it.
  struct Known {
    RecordPtr run;
    const record::MethodSummary* method = nullptr;  ///< of that run; null where none has it
    std::optional<record::Speedup> speedup;         ///< over dense of that run
    std::optional<double> ttft;                     ///< median, ms
    QString timed_in;                               ///< "name, 4,012 tokens"
  };
  Known known_of(const record::SweepMethod& method) const;
  template <typename Edit>
  void change_look(Edit&& edit, const QString& merge_key = {}) {
    selection_->change([&](ViewState& state) { edit(state); }, merge_key);
  }

  Selection* selection_;
  SweepPtr sweep_;
  Plan plan_;
  QFutureWatcher<Plan> planning_;
  record::RunBudgets run_budgets_;
  std::vector<record::LayerBudget> shown_layers_;
  QComboBox *source_, *family_, *task_, *length_, *list_;
  QDoubleSpinBox *keep_, *worst_, *mass_;
  QLabel *keep_of_, *headline_, *note_, *layers_note_;
  QPushButton *confirm_, *write_, *run_;
  QTableView *table_, *layers_table_;
  QStandardItemModel *model_, *layers_;
  QSortFilterProxyModel* sorted_;
};

}  // namespace headroom::views
