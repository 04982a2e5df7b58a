// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/timing/timing_model.h"

#include <QFont>
#include <algorithm>

#include "record/speedup.h"
#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"
#include "views/overview/answer_sentence.h"
#include "views/timing/timing_plot.h"

namespace headroom::views {

std::optional<double> amdahl_bound(const record::MethodSummary& dense) {
  const double whole = dense.ttft.median, attention = dense.stages[static_cast<std::size_t>(Stage::attention)].median;
  if (dense.ttft.repeats <= 0 || whole <= 0 || attention <= 0 || attention >= whole) return std::nullopt;
  return whole / (whole - attention);
}

const record::Quartiles* libtorch_dense(const record::MethodSummary& dense) {
  for (const auto& baseline : dense.baselines)
    if (baseline.backend == "libtorch" && baseline.ttft.repeats > 0 && baseline.ttft.median > 0) return &baseline.ttft;
  return nullptr;
}

QString product_text(const record::MethodSummary& method, const record::MethodSummary& dense) {
  const auto* libtorch = libtorch_dense(dense);
  if (!libtorch || dense.ttft.median <= 0) return {};
  const double fastest = std::min(libtorch->median, dense.ttft.median);
  const auto times = [](double value) { return format_fixed(value, 2) + "x"; };
  if (method.id == dense.id) return times(libtorch->median / dense.ttft.median);
  if (method.role == MethodRole::reference)
    return QObject::tr("takes %1 of it").arg(format_percent(method.ttft.median / libtorch->median));
  if (!speedup_allowed(method, dense)) return {};
  return QObject::tr("%1 = %2 kernel × %3 sparsity")
      .arg(times(libtorch->median / method.ttft.median), times(libtorch->median / fastest),
           times(fastest / method.ttft.median));
}

QString speedup_text(const record::MethodSummary& method, const record::MethodSummary& baseline, bool timed_in_turn) {
  if (method.id == baseline.id) return QObject::tr("baseline");
  if (method.role == MethodRole::reference) return QObject::tr("none: a reference");
  if (!method.label.empty()) return QObject::tr("none, see note");
  if (nothing_sparse_ran(method)) return QObject::tr("none: nothing sparse ran");
  const auto speedup = record::speedup_over(method, baseline, timed_in_turn);
  if (!speedup) return QStringLiteral("–");
  QString text = format_fixed(speedup->ratio, 2) + "x";
  if (speedup->pairs > 1)
    text += QStringLiteral(" [%1–%2]").arg(format_fixed(speedup->low, 2), format_fixed(speedup->high, 2));
  if (speedup->passes == 1)
    text += QObject::tr(", a single pass");
  else if (speedup->pairs == 0)
    text += QObject::tr(", not timed in turn");
  if (speedup->disturbed) text += QObject::tr(", on a busy machine");
  return text;
}

void TimingModel::set_methods(const std::vector<MethodPtr>& methods, MethodPtr baseline, bool timed_in_turn) {
  beginResetModel();
  rows_.clear();
  titles_.clear();
  for (const MethodPtr method : methods) titles_ << method_title(*method) + method_setting(*method, methods);
  const auto section = [&](const QString& name) { rows_.push_back({name, {}, {}, {}}); };
  const auto row = [&](const QString& name, const QString& tip, auto&& text) {
    QStringList values;
    for (const MethodPtr method : methods) values << text(*method);
    const bool any = std::any_of(values.begin(), values.end(), [](const QString& v) { return !v.isEmpty(); });
    if (!any) return;
    for (QString& value : values)
      if (value.isEmpty()) value = QStringLiteral("–");
    rows_.push_back({name, values, tip, {}});
  };
  // A ratio that is no more than a hint does not look like one that holds.
  const auto grey_hints = [&](bool whether) {
    if (!baseline || !whether || rows_.empty()) return;
    for (const MethodPtr method : methods) {
      const auto speedup = record::speedup_over(*method, *baseline, timed_in_turn);
      rows_.back().faint.push_back(speedup && !speedup->firm());
    }
  };
  using Method = record::MethodSummary;
  section(tr("Time"));
  row(tr("time to first token"), tr("Median [first quartile–third quartile] of the timed passes"),
      [](const Method& m) { return m.ttft.repeats > 0 ? format_quartiles(m.ttft) : tr("not timed"); });
  row(tr("timed passes"), tr("Repeats after the warm-up passes"),
      [](const Method& m) { return QString::number(m.ttft.repeats); });
  row(tr("speedup over dense"),
      tr("Only for optimised, deployable paths. Dense and the method are timed in turn: the median of the pairs' "
         "ratios "
         "[quartiles]. Grey: a single pass, passes not taken in turn, or other work on the machine"),
      [&](const Method& m) { return baseline ? speedup_text(m, *baseline, timed_in_turn) : QString(); });
  grey_hints(!rows_.empty() && rows_.back().name == tr("speedup over dense"));
  row(tr("over LibTorch's dense"),
      tr("Kernel: LibTorch's dense / the fastest dense. Sparsity: the fastest dense / the method. The oracle is a "
         "reference and gets no speedup"),
      [&](const Method& m) { return baseline ? product_text(m, *baseline) : QString(); });
  grey_hints(rows_.back().name == tr("over LibTorch's dense"));
  row(tr("other work on the machine"), tr("Processors that other programs took while this was timed"),
      [](const Method& m) {
        return m.load && m.load->disturbed()
                   ? tr("%1 of %2 processors").arg(format_fixed(m.load->taken(), 1)).arg(m.load->cpus)
                   : QString();
      });
  row(tr("layers that ran dense"), tr("In timed passes, because sparse attention takes longer there"),
      [](const Method& m) { return m.is_dense() ? QString() : plan_counts_text(m); });
  section(tr("Stages, median"));
  for (std::size_t stage = 0; stage < num_stages; ++stage)
    row(stage_title(stage), {}, [stage](const Method& m) {
      return m.stages[stage].median > 0 ? format_quartiles(m.stages[stage]) : QString();
    });
  section(tr("What it costs in quality, as defined"));
  row(tr("density"), tr("Causal pairs attended / all causal pairs, over full layers"), [](const Method& m) {
    const auto plan = plan_counts(m);
    if (!plan || !plan->timing_only) return format_percent(m.density);
    return tr("%1 (timed passes: %2)").arg(format_percent(m.density), format_percent(m.timing_plan->density));
  });
  row(tr("captured mass, mean (worst layer)"), tr("Head-averaged mass on the support, over rows with history > k"),
      [](const Method& m) {
        return m.is_dense() ? QString()
                            : QStringLiteral("%1 (%2)").arg(format_percent(m.captured_mass_mean, 1),
                                                            format_percent(m.captured_mass_min, 1));
      });
  row(tr("oracle recall"), tr("|S ∩ T| / |T|, T the top-k of the true mass of the same stream"),
      [](const Method& m) { return m.oracle_recall_mean ? format_percent(*m.oracle_recall_mean, 1) : QString(); });
  row(tr("recall of the keys for 95 % mass"),
      tr("Of the keys of T that hold 95 % of the mass that T holds: where few keys suffice, the rest of T is "
         "arbitrary"),
      [](const Method& m) {
        return m.oracle_recall_95_mean ? format_percent(*m.oracle_recall_95_mean, 1) : QString();
      });
  row(tr("KL to dense"),
      tr("KL(dense ‖ method) of the next token, nats: mean over the positions of dense's answer (older records: the "
         "prompt's last position)"),
      [](const Method& m) { return kl_text(m); });
  row(tr("same top token"), {},
      [](const Method& m) { return m.top1_agrees ? (*m.top1_agrees ? tr("yes") : tr("no")) : QString(); });
  row(tr("task score, this prompt"), {},
      [](const Method& m) { return m.task_score ? format_fixed(*m.task_score, 0) : QString(); });
  row(tr("NLL of the reference"),
      tr("The task's answer read inside the sparse pass, nats a token. The score above is decoded dense after it"),
      [](const Method& m) { return reference_answer_text(m); });
  section(tr("How it ran"));
  row(tr("backend"), {}, [](const Method& m) { return QString::fromStdString(m.backend); });
  row(tr("note"), {}, [](const Method& m) { return QString::fromStdString(m.label); });
  row(tr("plan"), tr("Layers that ran dense"), [](const Method& m) { return QString::fromStdString(m.plan); });
  row(tr("peak memory"), {}, [](const Method& m) {
    return m.peak_bytes > 0 ? format_fixed(static_cast<double>(m.peak_bytes) / (1 << 20), 0) + " MiB" : QString();
  });
  endResetModel();
}

int TimingModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(rows_.size());
}
int TimingModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(titles_.size()) + 1;
}

QVariant TimingModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const Row& row = rows_[static_cast<std::size_t>(index.row())];
  if (role == Qt::DisplayRole) return index.column() == 0 ? row.name : row.values.value(index.column() - 1);
  if (role == Qt::ToolTipRole) return row.tip.isEmpty() ? data(index, Qt::DisplayRole) : QVariant(row.tip);
  if (role == Qt::ForegroundRole && index.column() > 0 &&
      static_cast<std::size_t>(index.column()) <= row.faint.size() &&
      row.faint[static_cast<std::size_t>(index.column()) - 1])
    return Theme::instance().muted_text();
  if (role == Qt::FontRole && row.values.isEmpty()) {
    QFont font;
    font.setWeight(QFont::DemiBold);
    return font;
  }
  return {};
}

QVariant TimingModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (role != Qt::DisplayRole || orientation != Qt::Horizontal) return {};
  return section == 0 ? QString() : titles_.value(section - 1);
}

QString TimingModel::value(const QString& row, int method) const {
  for (const Row& entry : rows_)
    if (entry.name == row) return entry.values.value(method);
  return {};
}

bool TimingModel::is_stage(int row) const {
  for (int i = row; i >= 0; --i)
    if (rows_[static_cast<std::size_t>(i)].values.isEmpty())
      return rows_[static_cast<std::size_t>(i)].name == tr("Stages, median");
  return false;
}

QString TimingModel::csv() const {
  QString text = QStringLiteral("section,quantity");
  for (const QString& title : titles_) text += ',' + csv_cell(title);
  text += "\r\n";
  QString section;
  for (const Row& row : rows_) {
    if (row.values.isEmpty()) {
      section = row.name;
      continue;
    }
    text += csv_cell(section) + ',' + csv_cell(row.name);
    for (const QString& value : row.values) text += ',' + csv_cell(value);
    text += "\r\n";
  }
  return text;
}

}  // namespace headroom::views
