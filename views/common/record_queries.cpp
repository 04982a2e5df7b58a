// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/record_queries.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "views/common/format.h"

namespace headroom::views {

QString layer_text(const record::LayerMeta& layer) {
  if (layer.kind == "omitted") return QObject::tr("full attention, not in the imported file");
  const QString kind = QObject::tr("%1 attention").arg(QString::fromStdString(layer.kind));
  return layer.window > 0 ? QObject::tr("%1, %2 keys").arg(kind, format_count(layer.window)) : kind;
}

QString unsparsified_text(int layer, const record::LayerMeta& sizes) {
  if (sizes.kind == "omitted")
    return QObject::tr("Layer %1 is a full-attention layer that the imported file leaves out: there is no map of it.")
        .arg(layer);
  if (sizes.kind == "linear")
    return QObject::tr("Layer %1 is a linear-attention layer: it keeps a state of fixed size in place of keys, so that "
                       "there are no keys to choose from and no map. It runs unchanged in every method.")
        .arg(layer);
  const QString kind = QString::fromStdString(sizes.kind);
  const QString which = QObject::tr("Layer %1 is a %2-attention layer").arg(layer).arg(kind);
  if (sizes.window <= 0)
    return QObject::tr("%1: it is not sparsified, runs unchanged in every method and has no map.").arg(which);
  return QObject::tr("%1: a query sees itself and the %2 keys before it, the band. It is not sparsified and runs "
                     "unchanged in every method; how its mass lies inside the band is not recorded.")
      .arg(which, format_count(sizes.window - 1));
}

MethodPtr dense_of(const record::RunRecord& record) {
  for (const auto& method : record.methods())
    if (method.is_dense()) return &method;
  return nullptr;
}

MethodPtr baseline_of(const record::RunRecord& record, const ViewState& state) {
  if (const MethodPtr chosen = record.find_method(state.baseline.toStdString())) return chosen;
  return dense_of(record);
}

std::optional<double> budget_keys(const record::MethodSummary& method) {
  if (method.is_dense() || method.budget_tokens <= 0) return std::nullopt;
  if (method.budget && method.budget->kind == BudgetKind::mass) return std::nullopt;
  return static_cast<double>(method.budget_tokens);
}

std::vector<MethodPtr> methods_near_budget(const record::RunRecord& record, const ViewState& state) {
  std::vector<MethodPtr> chosen;
  const auto distance = [&](const record::MethodSummary& method) {
    if (QString::fromStdString(method.id) == state.method) return -1.0;
    const auto keys = budget_keys(method);
    const double ratio = keys ? std::abs(std::log(*keys / std::max(1.0, state.budget))) : 1e6;
    return ratio + 1e-6 * static_cast<double>(method.granularity);
  };
  for (const auto& method : record.methods()) {
    if (method.is_dense()) continue;
    const auto same = std::find_if(chosen.begin(), chosen.end(), [&](MethodPtr m) {
      return m->name == method.name && m->parameters == method.parameters;
    });
    if (same == chosen.end()) {
      chosen.push_back(&method);
    } else if (distance(method) < distance(**same)) {
      *same = &method;
    }
  }
  return chosen;
}

std::vector<Budget> budgets_of(const record::RunRecord& record) {
  std::vector<std::pair<double, Budget>> found;
  for (const auto& method : record.methods()) {
    if (method.is_dense() || !method.budget) continue;
    if (std::any_of(found.begin(), found.end(), [&](const auto& f) { return f.second == *method.budget; })) continue;
    const auto keys = budget_keys(method);
    found.emplace_back(keys ? *keys : 1e12 + method.budget->value, *method.budget);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Budget> budgets;
  for (const auto& [order, budget] : found) budgets.push_back(budget);
  return budgets;
}

std::optional<Budget> shown_budget(const record::RunRecord& record, const ViewState& state) {
  const MethodPtr chosen = record.find_method(state.method.toStdString());
  if (chosen && !chosen->is_dense() && chosen->budget) return chosen->budget;
  const auto near = methods_near_budget(record, state);
  MethodPtr best = nullptr;
  double distance = 0;
  for (const MethodPtr method : near) {
    const auto keys = budget_keys(*method);
    const double from = keys ? std::abs(std::log(*keys / std::max(1.0, state.budget))) : 1e6;
    if (!method->budget || (best && from >= distance)) continue;
    best = method;
    distance = from;
  }
  return best ? best->budget : std::nullopt;
}

std::vector<MethodPtr> methods_at_budget(const record::RunRecord& record, const ViewState& state) {
  std::vector<MethodPtr> chosen;
  const auto budget = shown_budget(record, state);
  const auto is_chosen = [&](MethodPtr m) { return QString::fromStdString(m->id) == state.method; };
  for (const auto& method : record.methods()) {
    if (method.is_dense() || method.budget != budget) continue;
    const auto same = std::find_if(chosen.begin(), chosen.end(), [&](MethodPtr m) {
      return m->name == method.name && m->parameters == method.parameters;
    });
    if (same == chosen.end())
      chosen.push_back(&method);
    else if (is_chosen(&method) || (!is_chosen(*same) && method.granularity < (*same)->granularity))
      *same = &method;
  }
  return chosen;
}

QString budget_text(const Budget& budget) {
  switch (budget.kind) {
    case BudgetKind::tokens:
      return QObject::tr("%1 keys").arg(format_count(std::llround(budget.value)));
    case BudgetKind::fraction:
      return QObject::tr("%1 of the prompt").arg(format_percent(budget.value));
    case BudgetKind::mass:
      return QObject::tr("%1 of the mass").arg(format_percent(budget.value));
  }
  return {};
}

bool same_prompt(const record::RunRecord& a, const record::RunRecord& b) {
  const auto& one = a.meta();
  const auto& two = b.meta();
  const bool same_model = !one.model_sha256.empty() && !two.model_sha256.empty() ? one.model_sha256 == two.model_sha256
                                                                                 : one.model_name == two.model_name;
  return same_model && a.tokens().ids == b.tokens().ids;
}

std::optional<PlanCounts> plan_counts(const record::MethodSummary& method) {
  if (!method.timing_plan) return std::nullopt;
  PlanCounts counts;
  counts.dense = method.timing_plan->count(record::LayerRun::dense);
  counts.full = counts.dense + method.timing_plan->count(record::LayerRun::sparse);
  counts.timing_only = method.timing_plan->density > method.density + 1e-9;
  return counts;
}

bool nothing_sparse_ran(const record::MethodSummary& method) {
  return !method.is_dense() && method.timing_plan && method.timing_plan->dense_throughout();
}

QString plan_counts_text(const record::MethodSummary& method) {
  const auto counts = plan_counts(method);
  if (!counts || method.is_dense() || counts->dense == 0) return {};
  if (counts->dense == counts->full)
    return counts->full == 1 ? QObject::tr("dense in its one full layer")
                             : QObject::tr("dense in all %1 layers").arg(counts->full);
  return QObject::tr("%1 of %2 layers dense").arg(counts->dense).arg(counts->full);
}

QString kl_text(const record::MethodSummary& method) {
  const auto kl = method.answer_kl();
  if (!kl) return {};
  const QString nats = QObject::tr("%1 nats").arg(format_number(*kl));
  if (!method.forced) return QObject::tr("%1 at the last position").arg(nats);
  if (method.forced->positions == 1) return QObject::tr("%1 over 1 position").arg(nats);
  return QObject::tr("%1 over %2 positions").arg(nats).arg(method.forced->positions);
}

QString reference_answer_text(const record::MethodSummary& method) {
  if (!method.reference_answer) return {};
  const auto& reference = *method.reference_answer;
  return QObject::tr("%1 nats, %2 of %3 tokens likeliest")
      .arg(format_number(reference.nll_mean))
      .arg(reference.top1_agrees)
      .arg(reference.tokens);
}

double density_of(std::int64_t length, double budget) {
  const double l = static_cast<double>(std::max<std::int64_t>(1, length));
  const double k = std::clamp(budget, 1.0, l);
  return (k * (k + 1) / 2 + (l - k) * k) / (l * (l + 1) / 2);
}

double budget_of_density(std::int64_t length, double density) {
  // k (2L + 1 - k) / 2 = density L (L + 1) / 2, the smaller root.
  const double l = static_cast<double>(std::max<std::int64_t>(1, length)), b = 2 * l + 1;
  const double root = b * b - 4 * std::clamp(density, 0.0, 1.0) * l * (l + 1);
  return std::clamp((b - std::sqrt(std::max(0.0, root))) / 2, 1.0, l);
}

RecallCurves recall_curves(const record::RunRecord& record, const record::MassCurves& curves, int layer) {
  RecallCurves out;
  const auto points = curves.budgets.size();
  if (points == 0 || curves.heads < 1) return out;
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < points; ++i) {
    if (i > 0 && curves.budgets[i] <= curves.budgets[i - 1]) continue;  // short prompts repeat budgets
    if (curves.budgets[i] >= record.length()) break;  // no row has more history: a mean over nothing
    kept.push_back(i);
    out.budgets.push_back(static_cast<double>(curves.budgets[i]));
  }
  const double infinity = std::numeric_limits<double>::infinity();
  out.mean.assign(kept.size(), 0);
  out.p10.assign(kept.size(), infinity);
  out.low.assign(kept.size(), infinity);
  out.worst_head.assign(kept.size(), infinity);
  int count = 0;
  for (std::int64_t l = 0; l < curves.layers; ++l) {
    if (layer >= 0 && l != layer) continue;
    if (!record.meta().is_full(l)) continue;
    const std::int64_t mean_head = curves.heads - 1;
    if (!std::isfinite(curves.at(l, mean_head, 0)[0])) continue;
    ++count;
    for (std::size_t j = 0; j < kept.size(); ++j) {
      const std::size_t i = kept[j];
      const double mean = curves.at(l, mean_head, 0)[i];
      out.mean[j] += mean;
      // Percentiles of layers have no mean that means anything: the worst layer's is kept.
      out.p10[j] = std::min<double>(out.p10[j], curves.at(l, mean_head, 1)[i]);
      out.low[j] = std::min<double>(out.low[j], layer >= 0 ? curves.at(l, mean_head, 2)[i] : mean);
      for (std::int64_t head = 0; head < record.meta().layer(l).num_q_heads; ++head)
        out.worst_head[j] = std::min<double>(out.worst_head[j], curves.at(l, head, 0)[i]);
    }
  }
  if (count == 0) return {};
  for (std::size_t j = 0; j < kept.size(); ++j) {
    out.mean[j] /= count;
    if (!std::isfinite(out.worst_head[j])) out.worst_head[j] = out.low[j];
  }
  return out;
}

double interpolate(const std::vector<double>& budgets, const std::vector<double>& values, double budget) {
  if (budgets.empty()) return std::numeric_limits<double>::quiet_NaN();
  if (budget <= budgets.front()) return values.front();
  if (budget >= budgets.back()) return values.back();
  const auto upper =
      static_cast<std::size_t>(std::upper_bound(budgets.begin(), budgets.end(), budget) - budgets.begin());
  const double f = std::log(budget / budgets[upper - 1]) / std::log(budgets[upper] / budgets[upper - 1]);
  return values[upper - 1] + f * (values[upper] - values[upper - 1]);
}

std::optional<double> budget_for(const std::vector<double>& budgets, const std::vector<double>& values, double target) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    // Stored as float: 1 may come back a rounding below.
    if (values[i] < target - 1e-6) continue;
    if (i == 0) return budgets[0];
    const double rise = values[i] - values[i - 1];
    const double f = rise > 0 ? std::clamp((target - values[i - 1]) / rise, 0.0, 1.0) : 1.0;
    return std::min(budgets[i], std::ceil(budgets[i - 1] * std::pow(budgets[i] / budgets[i - 1], f) - 1e-6));
  }
  return std::nullopt;
}

std::optional<double> knee(const std::vector<double>& budgets, const std::vector<double>& values) {
  if (budgets.size() < 3 || values.back() - values.front() < 1e-6) return std::nullopt;
  const double span = std::log(budgets.back() / budgets.front());
  double best = 0;
  std::optional<double> at;
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    const double x = std::log(budgets[i] / budgets.front()) / span;
    const double height = (values[i] - values.front()) / (values.back() - values.front()) - x;
    if (height > best) {
      best = height;
      at = budgets[i];
    }
  }
  return at;
}

std::vector<LayerBudget> suggested_budgets(const record::RunRecord& record, const record::MassCurves& curves,
                                           double target) {
  std::vector<LayerBudget> out;
  for (std::int64_t layer = 0; layer < curves.layers; ++layer) {
    const RecallCurves one = recall_curves(record, curves, static_cast<int>(layer));
    if (one.empty()) continue;
    LayerBudget entry;
    entry.layer = static_cast<int>(layer);
    const auto budget = budget_for(one.budgets, one.mean, target);
    entry.reached = budget.has_value();
    entry.budget = budget.value_or(one.budgets.back());
    entry.density = density_of(record.length(), entry.budget);
    entry.worst_head = interpolate(one.budgets, one.worst_head, entry.budget);
    out.push_back(entry);
  }
  return out;
}

}  // namespace headroom::views
