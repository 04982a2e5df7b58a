// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/compare/compare_data.h"

#include <QDateTime>
#include <QFont>
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/method.h"
#include "base/utf8.h"
#include "views/common/format.h"

namespace headroom::views {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

QString text(const std::string& value) {
  return QString::fromStdString(value);
}
QString yes_no(const std::optional<bool>& value) {
  return !value ? QStringLiteral("–") : *value ? QObject::tr("yes") : QObject::tr("no");
}

double at(const std::vector<double>& values, int layer) {
  return static_cast<std::size_t>(layer) < values.size() ? values[static_cast<std::size_t>(layer)] : nan;
}

}  // namespace

QString run_label(const record::RunRecord& run) {
  const QString name = QString::fromStdString(escape_invalid_utf8(run.path().stem().native()));
  return name.isEmpty() ? model_label(run.meta()) : name;
}

QString map_refusal(const CompareSide& baseline, const CompareSide& candidate, int layer) {
  if (!baseline.run || !candidate.run) return QObject::tr("Two methods are needed.");
  if (baseline == candidate) return QObject::tr("Baseline and candidate are the same: there is nothing to compare.");
  const auto& a = baseline.run->tokens().ids;
  const auto& b = candidate.run->tokens().ids;
  if (a != b) {
    const auto split = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    const auto first = split.first - a.begin();
    return QObject::tr(
               "The tokens of the two runs differ from position %1 on (%2 against %3 tokens), so a pair of positions "
               "is not "
               "the same pair of tokens in both maps. Side by side still shows each.")
        .arg(format_count(first), format_count(static_cast<std::int64_t>(a.size())),
             format_count(static_cast<std::int64_t>(b.size())));
  }
  const auto &one = baseline.run->meta(), &two = candidate.run->meta();
  if (!one.has_layer(layer) || !two.has_layer(layer))
    return QObject::tr("One of the models has no layer %1.").arg(layer);
  if (one.layer(layer).num_q_heads != two.layer(layer).num_q_heads)
    return QObject::tr("The models have different numbers of heads (%1 against %2).")
        .arg(one.layer(layer).num_q_heads)
        .arg(two.layer(layer).num_q_heads);
  if (one.layer(layer).num_kv_heads != two.layer(layer).num_kv_heads)
    return QObject::tr("The models have different numbers of KV heads (%1 against %2).")
        .arg(one.layer(layer).num_kv_heads)
        .arg(two.layer(layer).num_kv_heads);
  if (one.layer(layer).kind != two.layer(layer).kind)
    return QObject::tr("Layer %1 is of different kinds (%2 against %3).")
        .arg(layer)
        .arg(QString::fromStdString(one.layer(layer).kind), QString::fromStdString(two.layer(layer).kind));
  return {};
}

bool MetadataRow::differs() const {
  return std::any_of(values.begin(), values.end(), [&](const QString& value) { return value != values.front(); });
}

std::vector<MetadataRow> compare_metadata(const CompareSide& baseline, const std::vector<CompareSide>& candidates) {
  std::vector<MetadataRow> rows;
  std::vector<CompareSide> sides{baseline};
  sides.insert(sides.end(), candidates.begin(), candidates.end());
  if (candidates.empty() || std::any_of(sides.begin(), sides.end(), [](const auto& s) { return !s.run || !s.method; }))
    return rows;
  const auto add = [&](const QString& field, auto&& value) {
    MetadataRow row{field, {}};
    for (const CompareSide& side : sides) row.values.push_back(value(side));
    if (std::all_of(row.values.begin(), row.values.end(), [](const QString& v) { return v.isEmpty(); })) return;
    for (QString& one : row.values)
      if (one.isEmpty()) one = QStringLiteral("–");
    rows.push_back(row);
  };
  using Side = const CompareSide&;
  const auto meta = [&](const QString& field, auto&& value) {
    add(field, [&](Side s) { return QString(value(s.run->meta())); });
  };
  const auto method = [&](const QString& field, auto&& value) {
    add(field, [&](Side s) { return QString(value(*s.method)); });
  };
  using Meta = record::RunMeta;
  using Method = record::MethodSummary;
  add(QObject::tr("method"), [](Side s) { return method_label(*s.run, *s.method); });
  method(QObject::tr("keys a query"),
         [](const Method& m) { return m.budget_tokens > 0 ? format_count(m.budget_tokens) : QString(); });
  method(QObject::tr("density"), [](const Method& m) { return format_percent(m.density); });
  method(QObject::tr("support for"), [](const Method& m) { return scope_text(m.scope); });
  add(QObject::tr("parameters"), [](Side s) {
    QStringList list;
    for (const auto& [name, value] : s.method->parameters) list << text(name).replace('_', ' ') + ' ' + text(value);
    return list.join(QStringLiteral(", "));
  });
  method(QObject::tr("granularity"), [](const Method& m) { return QString::number(m.granularity); });
  method(QObject::tr("captured mass"), [](const Method& m) { return format_percent(m.captured_mass_mean, 1); });
  method(QObject::tr("worst layer"), [](const Method& m) { return format_percent(m.captured_mass_min, 1); });
  method(QObject::tr("oracle recall"),
         [](const Method& m) { return m.oracle_recall_mean ? format_percent(*m.oracle_recall_mean, 1) : QString(); });
  method(QObject::tr("recall of the keys for 95 % mass"), [](const Method& m) {
    return m.oracle_recall_95_mean ? format_percent(*m.oracle_recall_95_mean, 1) : QString();
  });
  method(QObject::tr("KL to dense"), [](const Method& m) { return kl_text(m); });
  method(QObject::tr("same top token"), [](const Method& m) { return yes_no(m.top1_agrees); });
  method(QObject::tr("task score"),
         [](const Method& m) { return m.task_score ? format_fixed(*m.task_score, 0) : QString(); });
  method(QObject::tr("NLL of the reference"), [](const Method& m) { return reference_answer_text(m); });
  method(QObject::tr("time to first token"),
         [](const Method& m) { return m.ttft.repeats > 0 ? format_quartiles(m.ttft) : QString(); });
  method(QObject::tr("backend"), [](const Method& m) { return text(m.backend); });
  method(QObject::tr("note"), [](const Method& m) { return text(m.label); });
  method(QObject::tr("plan"), [](const Method& m) { return text(m.plan); });
  method(QObject::tr("causal selection"), [](const Method& m) { return yes_no(m.causal); });
  add(QObject::tr("run"), [](Side s) { return run_label(*s.run); });
  meta(QObject::tr("run id"), [](const Meta& m) { return text(m.run_id); });
  meta(QObject::tr("made"), [](const Meta& m) {
    const QDateTime made = QDateTime::fromString(text(m.created), Qt::ISODate);
    return made.isValid() ? number_locale().toString(made.toLocalTime(), "d MMM yyyy, HH:mm:ss") : text(m.created);
  });
  meta(QObject::tr("model"), [](const Meta& m) { return model_label(m); });
  meta(QObject::tr("model hash"), [](const Meta& m) { return text(m.model_sha256.substr(0, 12)); });
  meta(QObject::tr("adapter"), [](const Meta& m) {
    if (m.adapter_sha256.empty()) return QString();
    return QStringLiteral("%1, %2").arg(text(m.adapter_name), text(m.adapter_sha256.substr(0, 12)));
  });
  meta(QObject::tr("hash of the base"), [](const Meta& m) { return text(m.base_sha256.substr(0, 12)); });
  meta(QObject::tr("device"), [](const Meta& m) { return text(m.device); });
  meta(QObject::tr("numbers"), [](const Meta& m) { return text(m.dtype); });
  add(QObject::tr("prompt tokens"), [](Side s) { return format_count(s.run->length()); });
  add(QObject::tr("prompt"), [&](Side s) {
    if (s.run == baseline.run) return QObject::tr("as shown in Attention");
    return s.run->tokens().ids == baseline.run->tokens().ids ? QObject::tr("as shown in Attention")
                                                             : QObject::tr("another");
  });
  meta(QObject::tr("task"), [](const Meta& m) { return text(m.task); });
  meta(QObject::tr("layers · heads · KV heads"), [](const Meta& m) {
    return QStringLiteral("%1 · %2").arg(m.num_layers()).arg(heads_text(m, QStringLiteral(" · ")));
  });
  meta(QObject::tr("indexer"), [](const Meta& m) { return text(m.indexer_sha256.substr(0, 12)); });
  meta(QObject::tr("indexer trained at"), [](const Meta& m) {
    return m.indexer_trained_length > 0 ? format_count(m.indexer_trained_length) + " tokens" : QString();
  });
  meta(QObject::tr("program"), [](const Meta& m) { return text(m.program_version); });
  return rows;
}

void MetadataModel::set_rows(std::vector<MetadataRow> rows) {
  beginResetModel();
  rows_ = std::move(rows);
  sides_ = rows_.empty() ? 2 : static_cast<int>(rows_.front().values.size());
  choose();
  endResetModel();
}

void MetadataModel::set_differences_only(bool only) {
  if (only == only_) return;
  beginResetModel();
  only_ = only;
  choose();
  endResetModel();
}

void MetadataModel::choose() {
  shown_.clear();
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (!only_ || rows_[i].differs()) shown_.push_back(i);
}

int MetadataModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(shown_.size());
}

QVariant MetadataModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const MetadataRow& row = rows_[shown_[static_cast<std::size_t>(index.row())]];
  if (role == Qt::DisplayRole || role == Qt::ToolTipRole) {
    QString words = index.column() == 0 ? row.field : row.values[static_cast<std::size_t>(index.column() - 1)];
    // A number keeps its unit on the same line.
    if (role == Qt::DisplayRole && index.column() > 0 && words.size() <= 12 && !words.isEmpty() && words[0].isDigit())
      words.replace(' ', QChar::Nbsp);
    return words;
  }
  if (role == Qt::FontRole && row.differs() && index.column() > 0) {
    QFont font;
    font.setWeight(QFont::DemiBold);
    return font;
  }
  return {};
}

QVariant MetadataModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (role != Qt::DisplayRole || orientation != Qt::Horizontal) return {};
  if (section < 2) return section == 0 ? QString() : tr("Baseline");
  return sides_ == 2 ? tr("Candidate") : tr("Candidate %1").arg(section - 1);
}

QString CompareQuantity::title() const {
  switch (kind) {
    case Kind::captured_mass:
      return QObject::tr("Captured mass, per layer");
    case Kind::oracle_recall:
      return QObject::tr("Oracle recall, per layer");
    case Kind::output_drift:
      return QObject::tr("Output drift (mean row), per layer");
    case Kind::heads:
      return QObject::tr("%1, per head").arg(QString::fromUtf8(statistic->title));
  }
  return {};
}

QString CompareQuantity::format(double value) const {
  if (kind == Kind::heads) return statistic->format(value);
  return kind == Kind::output_drift ? format_number(value) : format_percent(value, 1);
}

std::vector<CompareQuantity> compare_quantities() {
  using Kind = CompareQuantity::Kind;
  std::vector<CompareQuantity> all = {
      {Kind::captured_mass, nullptr}, {Kind::oracle_recall, nullptr}, {Kind::output_drift, nullptr}};
  for (const auto& statistic : grid_statistics())
    if (!statistic.per_layer && !statistic.of_some_models) all.push_back({Kind::heads, &statistic});
  return all;
}

std::vector<ComparePoint> compare_points(const CompareSide& baseline, const CompareSide& candidate,
                                         const CompareQuantity& quantity) {
  std::vector<ComparePoint> points;
  if (!baseline.run || !candidate.run || !baseline.method || !candidate.method) return points;
  using Kind = CompareQuantity::Kind;
  if (quantity.kind == Kind::heads) {
    const GridData a = load_grid(*baseline.run, *baseline.method, *quantity.statistic);
    const GridData b = load_grid(*candidate.run, *candidate.method, *quantity.statistic);
    for (int layer = 0; layer < std::min(a.layers, b.layers); ++layer)
      for (int head = 0; head < std::min(a.heads, b.heads) - 1; ++head)
        if (std::isfinite(a.at(layer, head)) && std::isfinite(b.at(layer, head)))
          points.push_back({layer, head, a.at(layer, head), b.at(layer, head)});
    return points;
  }
  const auto value = [&](const record::MethodSummary& method, int layer) {
    if (quantity.kind == Kind::captured_mass)
      // Dense attends to everything: its captured mass is 1 by definition, not a measurement worth a line.
      return method.is_dense() ? nan : at(method.captured_mass_per_layer, layer);
    return at(quantity.kind == Kind::oracle_recall ? method.oracle_recall_per_layer : method.output_l2_per_layer,
              layer);
  };
  const auto layers = std::max(baseline.run->meta().num_layers(), candidate.run->meta().num_layers());
  for (int layer = 0; layer < layers; ++layer) {
    const ComparePoint point{layer, -1, value(*baseline.method, layer), value(*candidate.method, layer)};
    if (std::isfinite(point.baseline) || std::isfinite(point.candidate)) points.push_back(point);
  }
  return points;
}

QString compare_summary(const std::vector<ComparePoint>& points, const CompareQuantity& quantity,
                        const QString& name) {
  const QString candidate = name.isEmpty() ? QObject::tr("Candidate") : name;
  double sum = 0, widest = -1, total = 0;
  int both = 0, single = 0;
  const ComparePoint* at_widest = nullptr;
  for (const auto& point : points) {
    if (std::isfinite(point.candidate)) {
      total += point.candidate;
      ++single;
    }
    if (!std::isfinite(point.baseline) || !std::isfinite(point.candidate)) continue;
    ++both;
    sum += point.candidate - point.baseline;
    if (std::abs(point.candidate - point.baseline) > widest) {
      widest = std::abs(point.candidate - point.baseline);
      at_widest = &point;
    }
  }
  if (both == 0) {
    if (single > 0)
      return name.isEmpty()
                 ? QObject::tr("Only the candidate has this number (mean %1): it has no meaning for dense.")
                       .arg(quantity.format(total / single))
                 : QObject::tr("%1: mean %2; the baseline has no such number.")
                       .arg(name, quantity.format(total / single));
    return name.isEmpty()
               ? QObject::tr(
                     "Neither side has this number: it has no meaning for dense, or the record does not hold it.")
               : QObject::tr("%1: no such number, for dense it has no meaning.").arg(name);
  }
  const double mean = sum / both;
  const bool share = quantity.kind == CompareQuantity::Kind::heads
                         ? quantity.statistic->unit == GridStatistic::Unit::share
                         : quantity.kind != CompareQuantity::Kind::output_drift;
  const QString sign = mean < 0 ? QStringLiteral("−") : QStringLiteral("+");
  const QString difference = share ? QObject::tr("%1%2 points").arg(sign, format_fixed(std::abs(mean) * 100, 2))
                                   : sign + quantity.format(std::abs(mean));
  const QString place = at_widest->head < 0
                            ? QObject::tr("layer %1").arg(at_widest->layer)
                            : QObject::tr("layer %1, head %2").arg(at_widest->layer).arg(at_widest->head);
  return QObject::tr("%1 − baseline: mean %2; widest at %3, %4 → %5.")
      .arg(candidate, difference, place, quantity.format(at_widest->baseline), quantity.format(at_widest->candidate));
}

std::vector<int> distinct_looks(const std::vector<CompareSide>& candidates) {
  // Each look belongs to the first that has it; the others get looks that none of them has.
  std::vector<int> own, looks;
  for (const CompareSide& side : candidates) own.push_back(side.method ? side.method->look : 0);
  const auto has = [](const std::vector<int>& list, int look) {
    return std::find(list.begin(), list.end(), look) != list.end();
  };
  for (int look : own) {
    if (has(looks, look))
      for (look = 0; look + 1 < num_method_looks && (has(own, look) || has(looks, look));) ++look;
    looks.push_back(look);
  }
  return looks;
}

}  // namespace headroom::views
