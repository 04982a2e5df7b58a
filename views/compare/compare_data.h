// SPDX-License-Identifier: GPL-3.0-or-later
// What the Compare page sets side by side: a baseline and up to four candidates, methods of one run or of several.
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

inline constexpr std::size_t most_candidates = 4;

/// File name without suffix, or the model's name: what tells open runs apart.
QString run_label(const record::RunRecord& run);
/// Why the two maps of `layer` may not be subtracted or laid over each other; empty where they may.
QString map_refusal(const CompareSide& baseline, const CompareSide& candidate, int layer);

struct MetadataRow {
  QString field;
  std::vector<QString> values;  ///< the baseline's, then one of each candidate
  bool differs() const;
};
/// No rows where a side is not there.
std::vector<MetadataRow> compare_metadata(const CompareSide& baseline, const std::vector<CompareSide>& candidates);

class MetadataModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  void set_rows(std::vector<MetadataRow> rows);
  void set_differences_only(bool only);
  int rowCount(const QModelIndex& parent = {}) const override;
  /// The field, the baseline, and one column of each candidate.
  int columnCount(const QModelIndex& parent = {}) const override { return parent.isValid() ? 0 : 1 + sides_; }
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  void choose();
  std::vector<MetadataRow> rows_;
  std::vector<std::size_t> shown_;
  int sides_ = 2;
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
/// "Candidate − baseline: mean −1.2 points; widest at layer 7, 97.0 % → 91.3 %.", or what is missing. `name`: the
/// candidate's, where there are several.
QString compare_summary(const std::vector<ComparePoint>& points, const CompareQuantity& quantity,
                        const QString& name = {});

/// One candidate against the baseline, in the chart.
struct CompareSeries {
  QString name;
  int look = 0;  ///< colour and marker
  std::vector<ComparePoint> points;
};
/// The candidates' looks, where two have the same one the later gets one that is free: they stand in one chart.
std::vector<int> distinct_looks(const std::vector<CompareSide>& candidates);

}  // namespace headroom::views
