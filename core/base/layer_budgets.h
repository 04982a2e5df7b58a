// SPDX-License-Identifier: Apache-2.0
// A budget of its own for each full layer: what budget.json carries (docs/budgets.md), and what a run can be told.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace headroom {

/// The "kind" of budget.json.
inline constexpr const char* layer_budgets_kind = "headroom layer budgets";
inline constexpr std::int64_t max_layer_keys = 1'000'000'000;

struct LayerBudgets {
  std::string source;                 ///< the file that they come from, without its folders; for people
  std::string model_sha256;           ///< of the model that they were chosen for; empty: not known
  std::map<int, std::int64_t> keys;   ///< by layer, each at least 1; not empty

  bool operator==(const LayerBudgets&) const = default;
  /// "0:128 1:96 2:512", layers rising: what a record has among its method's parameters.
  std::string text() const;
  /// Keys a layer, rounded up.
  std::int64_t mean() const;
  std::int64_t least() const;
  std::int64_t most() const;
};

/// A budget file, with the layers that it lists as dense.
struct BudgetFile {
  LayerBudgets budgets;
  std::vector<int> dense_layers;
};
/// Which of a file's two lists: each layer's smallest budget that keeps a mass, or a total shared out greedily.
enum class LayerList { by_mass, greedy };
/// budget.json of `headroom export --view plan` or of the window. Throws input errors that name file and field.
BudgetFile read_budget_file(const std::filesystem::path& file, LayerList list = LayerList::by_mass);

/// {"source", "model_sha256", "layers": [{"layer", "budget"}]}.
nlohmann::json to_json(const LayerBudgets& budgets);
/// Reads that, and budget.json, whose other fields are passed over. Throws errors that name `place` and the field: no
/// layers, one twice, a number out of range.
LayerBudgets layer_budgets_from_json(const nlohmann::json& json, const std::string& place);

}  // namespace headroom
