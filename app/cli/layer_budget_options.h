// SPDX-License-Identifier: Apache-2.0
// --layer-budgets of `headroom run` and `headroom sweep`.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>

#include "base/layer_budgets.h"

namespace headroom::cli {

inline void add_layer_budget_options(CLI::App& command, std::string& file, std::string& list) {
  command.add_option("--layer-budgets", file,
                     "budget.json: a budget of its own for each layer, beside those of --budget; alone where --budget "
                     "is not given");
  command.add_option("--layer-list", list, "which of its lists: layers (by mass) or greedy")
      ->check(CLI::IsMember({"layers", "greedy"}))
      ->capture_default_str();
}

/// Into a RunSpec or SweepSpec; layers that the file lists as dense are added to its own.
template <typename Spec>
void read_layer_budgets(const CLI::App& command, const std::string& file, const std::string& list, bool budgets_given,
                        Spec& spec) {
  if (command.count("--layer-budgets") == 0) return;
  BudgetFile read = read_budget_file(file, list == "greedy" ? LayerList::greedy : LayerList::by_mass);
  for (const int layer : read.dense_layers)
    if (std::find(spec.dense_layers.begin(), spec.dense_layers.end(), layer) == spec.dense_layers.end())
      spec.dense_layers.push_back(layer);
  for (const int layer : spec.dense_layers) read.budgets.keys.erase(layer);  // what is dense selects nothing
  spec.layer_budgets = std::move(read.budgets);
  if (!budgets_given) spec.budgets.clear();
}

}  // namespace headroom::cli
