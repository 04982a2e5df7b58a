// SPDX-License-Identifier: GPL-3.0-or-later
// What the Compare page sets side by side: two methods, of one run or of two.
#pragma once

#include <QAbstractTableModel>
#include <QString>
#include <vector>

#include "views/common/head_statistics_model.h"
#include "views/common/record_queries.h"

namespace headroom::views {

struct CompareSide {
  RecordPtr run;
  MethodPtr method = nullptr;
  bool operator==(const CompareSide&) const = default;
};

/// File name without suffix, or the model's name: what tells open runs apart.
QString run_label(const record::RunRecord& run);
/// Why the two maps of `layer` may not be subtracted or laid over each other; empty where they may.
QString map_refusal(const CompareSide& baseline, const CompareSide& candidate, int layer);

struct MetadataRow {
  QString field, baseline, candidate;
  bool differs() const { return baseline != candidate; }
};
std::vector<MetadataRow> compare_metadata(const CompareSide& baseline, const CompareSide& candidate);

class MetadataModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  void set_rows(std::vector<MetadataRow> rows);
  void set_differences_only(bool only);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override { return parent.isValid() ? 0 : 3; }
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  void choose();
  std::vector<MetadataRow> rows_;
  std::vector<std::size_t> shown_;
  bool only_ = false;
};

/// What the chart can draw: a number a layer, or a statistic of each head as a scatter.
struct CompareQuantity {
  enum class Kind { captured_mass, oracle_recall, output_drift, heads };
  Kind kind = Kind::captured_mass;
  const GridStatistic* statistic = nullptr;  ///< heads only
  QString title() const;
  QString format(double value) const;
  bool operator==(const CompareQuantity&) const = default;
};
std::vector<CompareQuantity> compare_quantities();

struct ComparePoint {
  int layer = 0, head = -1;            ///< head -1: the layer as a whole
  double baseline = 0, candidate = 0;  ///< NaN where a side has none
};
/// Throws input errors of damaged records.
std::vector<ComparePoint> compare_points(const CompareSide& baseline, const CompareSide& candidate,
                                         const CompareQuantity& quantity);
/// "mean difference −1.2 %, largest at layer 7: 97.0 % → 91.3 %", or what is missing.
QString compare_summary(const std::vector<ComparePoint>& points, const CompareQuantity& quantity);

}  // namespace headroom::views
