// SPDX-License-Identifier: GPL-3.0-or-later
// The layers x heads numbers behind the Overview's grid: one chosen statistic of one method's stream, as plain data and
// as an item model for tables and screen readers.
#pragma once

#include <QAbstractTableModel>
#include <QString>
#include <memory>
#include <vector>

#include "record/run_record.h"

namespace headroom::views {

/// A statistic that the grid can show.
struct GridStatistic {
  enum class Unit { nats, keys, share };
  /// How its colours are spread. log_of_rest: by the logarithm of 1 − value, since most captured masses lie near 1.
  enum class Scale { linear, log, log_of_rest };
  const char* key;  ///< name in HeadStatistics, or "oracle_recall"
  const char* title;
  const char* definition;
  Unit unit;
  bool sparse_only;                                         ///< makes no sense for dense
  bool per_layer;                                           ///< one value a layer: the support is shared by all heads
  Scale scale;
  bool of_some_models = false;  ///< offered only where the record has such numbers
  QString format(double value) const;                       ///< with unit
  QString format_short(double value, double spread) const;  ///< for a cell; fewer decimals the wider the values spread
};
const std::vector<GridStatistic>& grid_statistics();
const GridStatistic* find_grid_statistic(const QString& key);

/// Values of one statistic. heads = RunMeta::max_q_heads() + 1, the last is the head mean. NaN where a layer has no
/// such number.
struct GridData {
  int layers = 0, heads = 0;
  std::vector<record::LayerMeta> sizes;  ///< [layers]
  std::vector<double> values;            ///< [layers, heads]
  const GridStatistic* statistic = nullptr;
  double at(int layer, int head) const { return values[static_cast<std::size_t>(layer * heads + head)]; }
  const record::LayerMeta& size_of(int layer) const { return sizes[static_cast<std::size_t>(layer)]; }
  bool is_full(int layer) const { return size_of(layer).is_full(); }
  int mean() const { return heads - 1; }
  /// Heads of a layer that have a cell; 0 where it is not full.
  int heads_of(int layer) const { return is_full(layer) ? static_cast<int>(size_of(layer).num_q_heads) : 0; }
  bool has_cell(int layer, int head) const {
    return is_full(layer) && head >= 0 && (head < heads_of(layer) || head == mean());
  }
  /// Whether all full layers share their KV heads alike: then one bracket stands for all.
  bool same_groups() const;
  /// Smallest and largest finite value of single heads; false where there is none.
  bool range(double& low, double& high) const;
  /// KV head that a query head belongs to.
  int group_of(int layer, int head) const { return head / static_cast<int>(size_of(layer).group_size()); }
};
/// Throws input errors of damaged records. Where the record has no such statistic for the method, every value is NaN.
GridData load_grid(const record::RunRecord& record, const record::MethodSummary& method,
                   const GridStatistic& statistic);
/// Whether some head has such a number in some stream of the record.
bool has_statistic(const record::RunRecord& record, const GridStatistic& statistic);

enum class LayerOrder { layer, highest, lowest };
/// Layers in the order they are drawn; by value means by the head mean. Layers without a value come last.
std::vector<int> ordered_layers(const GridData& data, LayerOrder order);

/// Rows are layers, columns: kind, head mean, head 0 … Hq - 1.
class HeadStatisticsModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  void set_data(std::shared_ptr<const GridData> data, std::vector<int> order);
  int layer_of_row(int row) const;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  std::shared_ptr<const GridData> data_;
  std::vector<int> order_;
};

}  // namespace headroom::views
