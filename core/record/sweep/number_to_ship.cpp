// SPDX-License-Identifier: Apache-2.0
#include "record/sweep/number_to_ship.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/json_fields.h"
#include "base/layer_budgets.h"

namespace headroom::record {
namespace {

/// "0:128 1:96" of a method's parameters; what is not understood is left out.
std::map<int, std::int64_t> layer_keys_of(const SweepMethod& method) {
  std::map<int, std::int64_t> keys;
  const auto found = method.parameters.find("layer_budgets");
  if (found == method.parameters.end()) return keys;
  const char* at = found->second.data();
  const char* const end = at + found->second.size();
  while (at < end) {
    int layer = 0;
    std::int64_t count = 0;
    const auto first = std::from_chars(at, end, layer);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') break;
    const auto second = std::from_chars(first.ptr + 1, end, count);
    if (second.ec != std::errc()) break;
    keys[layer] = count;
    at = second.ptr == end ? end : second.ptr + 1;
  }
  return keys;
}

std::int64_t longest_prompt_at(const SweepRecord& record, std::int64_t length) {
  std::int64_t tokens = 1;
  for (const SweepRow& row : record.rows)
    if (row.sample.length == length) tokens = std::max(tokens, row.tokens);
  return tokens;
}

/// The smallest from which on all larger ones meet it, too: one that meets it by luck below one that does not is none.
template <typename Budgets, typename Meets>
std::optional<std::size_t> smallest_of(const Budgets& budgets, const Meets& meets) {
  std::optional<std::size_t> chosen;
  for (std::size_t i = budgets.size(); i-- > 0 && meets(budgets[i]);) chosen = i;
  return chosen;
}

/// Smallest k of a curve that reaches `wanted`: straight in log k between its points, the next whole key.
std::optional<double> reach(const std::vector<double>& budgets, const std::vector<double>& values, double wanted) {
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    if (!(values[i] >= wanted)) continue;
    if (i == 0 || !(values[i] > values[i - 1])) return budgets[i];
    const double share = (wanted - values[i - 1]) / (values[i] - values[i - 1]);
    return std::ceil(budgets[i - 1] * std::pow(budgets[i] / budgets[i - 1], std::clamp(share, 0.0, 1.0)) - 1e-9);
  }
  return std::nullopt;
}

}  // namespace

std::optional<LayerBudget> worst_layer_of(const MethodSummary& method) {
  std::optional<LayerBudget> worst;
  for (std::size_t layer = 0; layer < method.captured_mass_per_layer.size(); ++layer) {
    const double mass = method.captured_mass_per_layer[layer];
    if (std::isnan(mass) || (worst && worst->mass <= mass)) continue;
    worst = LayerBudget{static_cast<int>(layer), method.budget_tokens, mass};
  }
  return worst;
}

SweepShip number_to_ship(const SweepRecord& record, const SweepSummary& summary, SweepScope scope, std::size_t task,
                         std::int64_t length, const std::vector<std::size_t>& methods, const ShipTarget& target,
                         const OwnWorstLayer& own_worst) {
  SweepShip ship;
  const std::int64_t tokens = longest_prompt_at(record, length);
  for (std::size_t i = 0; i < summary.cells.size(); ++i) {
    const SweepCell& cell = summary.cells[i];
    if (cell.scope != scope || cell.length != length || (scope == SweepScope::task && cell.task != task)) continue;
    if (std::find(methods.begin(), methods.end(), cell.method) == methods.end()) continue;
    const SweepMethod& method = record.meta.methods[cell.method];
    if (!method.budget) continue;
    SweepShipBudget one;
    one.cell = i;
    const bool scored = cell.score && cell.dense_score && *cell.dense_score > 0;
    ship.scored = ship.scored || scored;
    one.kept = scored ? *cell.score / *cell.dense_score : cell.exact;
    one.keeps = one.kept >= target.keep;
    if (method.budget->kind != BudgetKind::mass)
      one.worst = worst_layer_at(record, length, method.budget->tokens_for(tokens), layer_keys_of(method));
    if (own_worst) one.own_worst = own_worst(cell.method);
    const auto& decides = one.own_worst ? one.own_worst : one.worst;
    one.worst_keeps = decides && decides->mass >= target.worst_layer;
    ship.budgets.push_back(one);
  }
  std::stable_sort(ship.budgets.begin(), ship.budgets.end(), [&](const auto& a, const auto& b) {
    return summary.cells[a.cell].density < summary.cells[b.cell].density;
  });
  ship.chosen = smallest_of(ship.budgets, [](const auto& one) { return one.meets(); });
  return ship;
}

RunShip number_to_ship(const std::vector<ShipPrompt>& prompts, const ShipTarget& target,
                       const std::function<bool(const MethodSummary&)>& matches) {
  RunShip ship;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto& methods = *prompts[i].methods;
    const auto dense = std::find_if(methods.begin(), methods.end(), [](const auto& one) { return one.is_dense(); });
    for (const MethodSummary& method : methods) {
      if (!method.budget || !matches(method)) continue;
      auto found = std::find_if(ship.budgets.begin(), ship.budgets.end(),
                                [&](const auto& one) { return one.budget == *method.budget; });
      if (found == ship.budgets.end()) {
        ship.budgets.push_back({*method.budget, std::vector<RunShipCell>(prompts.size()), 0, 0, false});
        found = ship.budgets.end() - 1;
      }
      RunShipCell& cell = found->prompts[i];
      if (cell.method) continue;
      cell.method = &method;
      if (dense != methods.end()) cell.speedup = speedup_over(method, *dense, prompts[i].timed_in_turn);
      // A budget that covers the prompt keeps everything: there is no row with a longer history to tell of.
      const bool all = method.budget_tokens >= prompts[i].tokens;
      cell.keeps = all || method.captured_mass_mean >= target.keep;
      cell.worst_keeps = all || method.captured_mass_min >= target.worst_layer;
      ++found->run;
      found->density += method.density;
    }
  }
  for (RunShipBudget& one : ship.budgets) {
    if (one.run > 0) one.density /= static_cast<double>(one.run);
    one.meets = one.run == std::ssize(prompts) &&
                std::all_of(one.prompts.begin(), one.prompts.end(),
                            [](const RunShipCell& cell) { return cell.keeps && cell.worst_keeps; });
  }
  std::stable_sort(ship.budgets.begin(), ship.budgets.end(),
                   [](const auto& a, const auto& b) { return a.density < b.density; });
  // Budgets that some prompts were not run at say nothing of all of them, nor against a smaller one.
  for (std::size_t i = ship.budgets.size(); i-- > 0;) {
    if (ship.budgets[i].run < std::ssize(prompts)) continue;
    if (!ship.budgets[i].meets) break;
    ship.chosen = i;
  }
  double bound = 0;
  for (const ShipPrompt& prompt : prompts) {
    const auto mean = reach(prompt.budgets, prompt.mean, target.keep);
    const auto worst = reach(prompt.budgets, prompt.worst, target.worst_layer);
    if (!mean || !worst) return ship;
    bound = std::max({bound, *mean, *worst});
  }
  if (!prompts.empty()) ship.bound = static_cast<std::int64_t>(bound);
  return ship;
}

nlohmann::json to_json(const RunBudgets& budgets) {
  nlohmann::json layers = nlohmann::json::array();
  for (const LayerBudget& one : budgets.layers)
    layers.push_back({{"layer", one.layer}, {"budget", one.keys}, {"mass", json_number(one.mass)}});
  const nlohmann::json indexer =
      budgets.indexer_sha256.empty() ? nlohmann::json(nullptr) : nlohmann::json(budgets.indexer_sha256);
  return {{"kind", layer_budgets_kind},
          {"version", 1},
          {"model", budgets.model},
          {"model_sha256", budgets.model_sha256},
          {"indexer_sha256", indexer},
          {"length", budgets.length},
          {"mass", budgets.mass},
          {"layers", layers},
          {"dense_layers", budgets.dense_layers},
          {"evidence",
           {{"runs", budgets.sources},
            {"curves",
             {{"samples", budgets.sources.size()},
              {"held_out", false},
              {"longest_prompt", budgets.length},
              {"source", "mass of dense attention; nothing measured by a task"}}}}}};
}

}  // namespace headroom::record
