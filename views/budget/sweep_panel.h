// SPDX-License-Identifier: GPL-3.0-or-later
// The Budget page's view of a sweep: what each method and budget scored, where the points go, verdicts, and its
// samples, one of which can be recorded to see its maps. Every figure is the summary's.
#pragma once

#include <QWidget>
#include <optional>

#include "views/common/page_base.h"

class QComboBox;
class QLabel;
class QPushButton;
class QSortFilterProxyModel;
class QStandardItem;
class QStandardItemModel;
class QTableView;
class QTabWidget;

namespace headroom::views {

class GapWaterfall;
class SweepPlot;

class SweepPanel : public QWidget {
  Q_OBJECT
 public:
  explicit SweepPanel(Selection* selection, QWidget* parent = nullptr);

  void refresh();
  void restyle();
  SweepPlot* plot() const { return plot_; }
  GapWaterfall* waterfall() const { return waterfall_; }
  QString csv() const;
  void render(Figure& figure);

 signals:
  /// Of the shown sweep: the row's index in its record.
  void record_sample_requested(int row);
  void new_sweep_requested();
  /// The same sweep with seeds that were not used.
  void confirm_requested();

 private:
  struct Scope {
    record::SweepScope scope = record::SweepScope::macro;
    std::size_t task = 0;
  };
  void build();
  QWidget* build_top();
  QWidget* build_tables();
  void fill_choices();
  void show_facts();
  void show_points();
  void show_gaps();
  void show_methods();
  void show_samples();
  void show_sample();
  std::optional<Scope> scope() const;  ///< none where the sweep has no such cell yet
  QString scope_text() const;
  std::int64_t length() const;
  int quantity() const;
  std::vector<const record::SweepCell*> cells() const;  ///< of the scope and length, dense first
  const record::SweepGap* gap(record::GapKind kind, const std::optional<std::size_t>& task) const;
  QString verdicts_html() const;
  template <typename Edit>
  void change_look(Edit&& edit) {
    selection_->change([&](ViewState& state) { edit(state.sweep_look); });
  }

  Selection* selection_;
  SweepPtr sweep_;
  QComboBox *sweeps_, *task_, *length_, *quantity_, *axis_, *budget_, *method_;
  QLabel *facts_, *alarms_, *legend_, *verdicts_, *answers_, *sample_note_;
  QPushButton *new_sweep_, *record_, *confirm_;
  SweepPlot* plot_;
  GapWaterfall* waterfall_;
  QTabWidget* tabs_;
  QTableView *methods_table_, *gaps_table_, *samples_table_;
  QStandardItemModel *methods_, *gaps_, *samples_;
  QSortFilterProxyModel *sorted_methods_, *sorted_gaps_, *sorted_samples_;
  int chosen_sample_ = -1;  ///< index of a row of the record
};

}  // namespace headroom::views
