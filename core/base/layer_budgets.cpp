// SPDX-License-Identifier: Apache-2.0
#include "base/layer_budgets.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/input_file.h"
#include "base/json_fields.h"

namespace headroom {
namespace {

constexpr std::size_t max_budget_layers = 4096, max_budget_file = 4 << 20;

}  // namespace

std::string LayerBudgets::text() const {
  std::string text;
  for (const auto& [layer, count] : keys)
    text += (text.empty() ? "" : " ") + std::to_string(layer) + ":" + std::to_string(count);
  return text;
}

std::int64_t LayerBudgets::mean() const {
  std::int64_t sum = 0;
  for (const auto& [layer, count] : keys) sum += count;
  const auto layers = static_cast<std::int64_t>(keys.size());
  return layers > 0 ? (sum + layers - 1) / layers : 0;
}

std::int64_t LayerBudgets::least() const {
  std::int64_t least = max_layer_keys;
  for (const auto& [layer, count] : keys) least = std::min(least, count);
  return least;
}

std::int64_t LayerBudgets::most() const {
  std::int64_t most = 0;
  for (const auto& [layer, count] : keys) most = std::max(most, count);
  return most;
}

BudgetFile read_budget_file(const std::filesystem::path& file, LayerList list) {
  const std::string place = file.string();
  const auto json = parse_json(
      read_input_file(file, {"a file of budgets (budget.json)", "is too large for a file of budgets", max_budget_file}),
      place);
  Fields fields(json, place);
  if (const std::string kind = fields.string("kind"); kind != layer_budgets_kind)
    fields.fail("kind", std::string(layer_budgets_kind), kind);
  BudgetFile result;
  result.budgets = layer_budgets_from_json(list == LayerList::greedy ? fields.object("greedy") : json, place);
  result.budgets.source = file.filename().string() + (list == LayerList::greedy ? " (greedy)" : "");
  result.budgets.model_sha256 = fields.string_or("model_sha256", {}, 128);
  if (fields.has("dense_layers"))
    for (const std::int64_t layer : fields.integers("dense_layers", max_budget_layers, 0, 4095))
      result.dense_layers.push_back(static_cast<int>(layer));
  return result;
}

nlohmann::json to_json(const LayerBudgets& budgets) {
  nlohmann::json layers = nlohmann::json::array();
  for (const auto& [layer, count] : budgets.keys) layers.push_back({{"layer", layer}, {"budget", count}});
  return {{"source", budgets.source}, {"model_sha256", budgets.model_sha256}, {"layers", layers}};
}

LayerBudgets layer_budgets_from_json(const nlohmann::json& json, const std::string& place) {
  Fields fields(json, place);
  LayerBudgets budgets;
  budgets.source = fields.string_or("source", {});
  budgets.model_sha256 = fields.string_or("model_sha256", {}, 128);
  const auto& layers = fields.array("layers", max_budget_layers);
  if (layers.empty()) fields.fail("layers", "at least one layer", "none");
  for (const auto& entry : layers) {
    Fields one(entry, place + ": layers");
    const int layer = static_cast<int>(one.integer("layer", 0, 4095));
    const std::int64_t keys = one.integer("budget", 1, max_layer_keys);
    if (!budgets.keys.emplace(layer, keys).second)
      fields.fail("layers", "each layer once", "layer " + std::to_string(layer) + " twice");
  }
  return budgets;
}

}  // namespace headroom
