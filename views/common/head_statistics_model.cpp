// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/head_statistics_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "views/common/format.h"

namespace headroom::views {
namespace {

constexpr double no_statistic = std::numeric_limits<double>::quiet_NaN();

}  // namespace

QString GridStatistic::format(double value) const {
  if (!std::isfinite(value)) return QStringLiteral("–");
  switch (unit) {
    case Unit::nats:
      return format_fixed(value, 2) + " nats";
    case Unit::keys:
      return format_fixed(value, value < 10 ? 1 : 0) + " keys";
    case Unit::share:
      return format_percent(value, 1);
  }
  return {};
}

QString GridStatistic::format_short(double value, double spread) const {
  if (!std::isfinite(value)) return {};
  switch (unit) {
    case Unit::nats:
      return format_fixed(value, 1);
    case Unit::keys:
      return format_fixed(value, 0);
    case Unit::share:
      // Percent without its sign; nearly all must not look like all.
      if (spread > 0.2) return value < 1 && value >= 0.995 ? QStringLiteral(">99") : format_fixed(value * 100, 0);
      return value < 1 && value >= 0.9995 ? QStringLiteral(">99.9") : format_fixed(value * 100, 1);
  }
  return {};
}

const std::vector<GridStatistic>& grid_statistics() {
  using Unit = GridStatistic::Unit;
  using Scale = GridStatistic::Scale;
  static const std::vector<GridStatistic> all = {
      {"entropy", "Entropy",
       "Entropy of each row of a head's own probabilities in nats, mean over rows. 0: one key has it all.", Unit::nats,
       false, false, Scale::linear},
      {"keys_for_95", "Keys for 95 % mass",
       "The fewest keys that hold 95 % of a head's own probability, mean over rows.", Unit::keys, false, false,
       Scale::log},
      {"sink_mass", "Sink mass", "Probability on the first 4 positions, mean over rows.", Unit::share, false, false,
       Scale::linear},
      {"local_mass", "Local mass", "Probability on the last 64 positions up to the query, mean over rows.", Unit::share,
       false, false, Scale::linear},
      {"learned_sink", "Learned sink",
       "Probability that a head's learned sink takes, mean over rows. It joins the softmax and is no key: the keys "
       "share what it leaves.",
       Unit::share, false, false, Scale::linear, true},
      {"captured_mass", "Captured mass at the budget",
       "Share of the head's own probabilities on the support that it attends with, mean over rows with more history "
       "than k. Coloured by the logarithm of what is left out.",
       Unit::share, true, false, Scale::log_of_rest},
      {"missed_mass", "Missed mass",
       "Probability on the keys of T − S: those among the k of most mass that the method did not choose. Mean over "
       "rows "
       "with more history than k; 0 for the oracle.",
       Unit::share, true, false, Scale::log},
      {"uncaptured_mass", "Uncaptured mass",
       "Probability on all keys outside the support, mean over rows with more history than k: 1 − captured mass, "
       "where no learned sink takes a share.",
       Unit::share, true, false, Scale::log},
      {"oracle_recall", "Oracle recall (per layer)",
       "|S ∩ T| / |T|, with T the top-k of the true mass of the same stream. One number a layer, the mean over its "
       "supports where heads have their own.",
       Unit::share, true, true, Scale::linear},
  };
  return all;
}

const GridStatistic* find_grid_statistic(const QString& key) {
  for (const auto& statistic : grid_statistics())
    if (key == QLatin1String(statistic.key)) return &statistic;
  return nullptr;
}

bool GridData::same_groups() const {
  const record::LayerMeta* first = nullptr;
  for (const auto& layer : sizes) {
    if (!layer.is_full()) continue;
    if (first && (layer.num_q_heads != first->num_q_heads || layer.num_kv_heads != first->num_kv_heads)) return false;
    first = &layer;
  }
  return true;
}

bool GridData::range(double& low, double& high) const {
  low = std::numeric_limits<double>::infinity();
  high = -low;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  return low <= high;
}

GridData load_grid(const record::RunRecord& record, const record::MethodSummary& method,
                   const GridStatistic& statistic) {
  const auto& meta = record.meta();
  GridData grid;
  grid.layers = static_cast<int>(meta.num_layers());
  grid.heads = static_cast<int>(meta.max_q_heads()) + 1;
  grid.sizes = meta.layers;
  grid.statistic = &statistic;
  grid.values.assign(static_cast<std::size_t>(grid.layers) * static_cast<std::size_t>(grid.heads), no_statistic);
  if (statistic.sparse_only && method.is_dense()) return grid;
  if (statistic.per_layer) {
    for (int layer = 0; layer < grid.layers; ++layer) {
      if (static_cast<std::size_t>(layer) >= method.oracle_recall_per_layer.size()) break;
      for (int head = 0; head < grid.heads; ++head)
        if (grid.has_cell(layer, head))
          grid.values[static_cast<std::size_t>(layer * grid.heads + head)] =
              method.oracle_recall_per_layer[static_cast<std::size_t>(layer)];
    }
    return grid;
  }
  const auto stored = record.head_statistics(method.id);
  if (!stored || stored->layers < grid.layers || stored->heads < grid.heads) return grid;
  const auto name = std::find(stored->names.begin(), stored->names.end(), statistic.key);
  if (name == stored->names.end()) return grid;
  const auto column = static_cast<std::size_t>(name - stored->names.begin());
  for (int layer = 0; layer < grid.layers; ++layer)
    for (int head = 0; head < grid.heads; ++head)
      grid.values[static_cast<std::size_t>(layer * grid.heads + head)] = stored->at(layer, head, column);
  return grid;
}

bool has_statistic(const record::RunRecord& record, const GridStatistic& statistic) {
  for (const record::MethodSummary& method : record.methods()) {
    const GridData grid = load_grid(record, method, statistic);
    if (std::ranges::any_of(grid.values, [](double value) { return std::isfinite(value); })) return true;
  }
  return false;
}

std::vector<int> ordered_layers(const GridData& data, LayerOrder order) {
  std::vector<int> layers(static_cast<std::size_t>(data.layers));
  std::iota(layers.begin(), layers.end(), 0);
  if (order == LayerOrder::layer) return layers;
  const auto value = [&](int layer) { return data.at(layer, data.heads - 1); };
  std::stable_sort(layers.begin(), layers.end(), [&](int a, int b) {
    const bool has_a = std::isfinite(value(a)), has_b = std::isfinite(value(b));
    if (has_a != has_b) return has_a;
    if (!has_a) return false;
    return order == LayerOrder::highest ? value(a) > value(b) : value(a) < value(b);
  });
  return layers;
}

void HeadStatisticsModel::set_data(std::shared_ptr<const GridData> data, std::vector<int> order) {
  beginResetModel();
  data_ = std::move(data);
  order_ = std::move(order);
  endResetModel();
}

int HeadStatisticsModel::layer_of_row(int row) const {
  return row >= 0 && row < static_cast<int>(order_.size()) ? order_[static_cast<std::size_t>(row)] : -1;
}

int HeadStatisticsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() || !data_ ? 0 : static_cast<int>(order_.size());
}

int HeadStatisticsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() || !data_ ? 0 : data_->heads + 1;
}

QVariant HeadStatisticsModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || !data_) return {};
  const int layer = layer_of_row(index.row());
  if (role == Qt::TextAlignmentRole && index.column() > 0) return QVariant(Qt::AlignRight | Qt::AlignVCenter);
  if (role != Qt::DisplayRole && role != Qt::EditRole) return {};
  if (index.column() == 0) {
    return QString::fromStdString(data_->size_of(layer).kind);
  }
  const int head = index.column() == 1 ? data_->heads - 1 : index.column() - 2;
  const double value = data_->at(layer, head);
  if (role == Qt::EditRole) return value;
  return data_->statistic->format(value);
}

QVariant HeadStatisticsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (role != Qt::DisplayRole) return {};
  if (orientation == Qt::Vertical) return tr("Layer %1").arg(layer_of_row(section));
  if (section == 0) return tr("Kind");
  if (section == 1) return tr("Head mean");
  return tr("Head %1").arg(section - 2);
}

}  // namespace headroom::views
