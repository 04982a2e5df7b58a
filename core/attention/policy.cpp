// SPDX-License-Identifier: Apache-2.0
#include "attention/policy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/sha256.h"

namespace headroom::attention {
namespace {

constexpr std::array<std::int64_t, 7> granularities = {1, 4, 8, 16, 32, 64, 128};

/// The shortest text that reads back as the same number: "4", "0.05".
std::string number_text(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

const PolicyParameter* find_parameter(const PolicyTraits& traits, std::string_view name) {
  const auto found = std::find_if(traits.parameters.begin(), traits.parameters.end(),
                                  [&](const PolicyParameter& parameter) { return parameter.name == name; });
  return found == traits.parameters.end() ? nullptr : &*found;
}

void check_budget(const PolicyTraits& traits, const std::optional<Budget>& budget) {
  const std::string method = "method " + std::string(traits.name);
  if (traits.is_dense()) {
    if (budget) throw usage_error(method + " takes no budget");
    return;
  }
  if (!budget)
    throw usage_error(method + " needs a budget, e.g. 512" + (traits.takes_mass_budget ? ", 10% or p0.95" : " or 10%"));
  if (budget->kind == BudgetKind::mass && !traits.takes_mass_budget)
    throw usage_error(method + " takes a budget in tokens or percent, not " + to_string(*budget) +
                      ": it has no mass to reach");
  const double value = budget->value;
  if (!(budget->kind == BudgetKind::tokens ? value >= 1 && value <= 1e9 : value > 0 && value <= 1))
    throw usage_error("budget of " + method + " is out of range");
}

void check_parameters(const PolicyTraits& traits, const PolicySettings& settings) {
  for (const auto& [name, value] : settings.parameters) {
    const PolicyParameter* parameter = find_parameter(traits, name);
    if (!parameter) {
      std::string known;
      for (const PolicyParameter& one : traits.parameters) known += (known.empty() ? "" : ", ") + std::string(one.name);
      throw Error(ErrorKind::usage, "method " + std::string(traits.name) + " has no parameter of this name",
                  {"--methods", known.empty() ? "no parameters" : known, name});
    }
    if (!(value >= parameter->least && value <= parameter->most))
      throw Error(ErrorKind::usage, "parameter " + name + " of method " + std::string(traits.name) + " is out of range",
                  {"--methods", number_text(parameter->least) + " to " + number_text(parameter->most),
                   number_text(value)});
    if (parameter->whole && value != std::floor(value))
      throw Error(ErrorKind::usage, "parameter " + name + " of method " + std::string(traits.name) + " is not whole",
                  {"--methods", "a whole number", number_text(value)});
  }
}

}  // namespace

std::int64_t SelectionRule::tokens(std::int64_t length) const {
  return budget.kind == BudgetKind::mass ? 0 : std::min(budget.tokens_for(length), length);
}

WrittenKeys::Writer WrittenKeys::by_row(
    std::function<std::int64_t(std::int64_t, std::int64_t, std::int32_t*)> keys_of) {
  return [keys_of = std::move(keys_of)](std::int64_t group, const kernels::cpu::RowSupports& rows) {
    for (std::int64_t row = rows.begin; row < rows.end; ++row)
      rows.counts[row - rows.begin] =
          static_cast<std::int32_t>(keys_of(group, row, rows.indices + (row - rows.begin) * rows.width));
  };
}

Policy::Policy(PolicyTraits traits, PolicySettings settings)
    : traits_(std::move(traits)), settings_(std::move(settings)) {
  check_budget(traits_, settings_.budget);
  if (std::find(granularities.begin(), granularities.end(), settings_.granularity) == granularities.end())
    throw usage_error("granularity must be 1, 4, 8, 16, 32, 64 or 128, not " + std::to_string(settings_.granularity));
  if (settings_.granularity != 1 && !traits_.takes_granularity)
    throw usage_error("method " + std::string(traits_.name) + " has granularity 1: its rows share nothing");
  if (settings_.granularity < traits_.least_granularity)
    throw usage_error("method " + std::string(traits_.name) + " has blocks of at least " +
                      std::to_string(traits_.least_granularity) + " rows: granularity " +
                      std::to_string(settings_.granularity) + " is too small");
  check_parameters(traits_, settings_);
  if (settings_.layer_budgets && (!settings_.budget || settings_.budget->kind != BudgetKind::tokens))
    throw usage_error("method " + std::string(traits_.name) + " takes budgets by layer in tokens alone");
  if (traits_.needs_index && !settings_.index)
    throw usage_error("method " + std::string(traits_.name) + " needs an indexer: distil one or name its file");
  if (traits_.needs_dense_stream && !settings_.dense_stream)
    throw usage_error("method " + std::string(traits_.name) +
                      " takes its keys from a dense run over the same prompt, which is not made here: use headroom run");
}

double Policy::parameter(std::string_view name) const {
  if (const auto found = settings_.parameters.find(name); found != settings_.parameters.end()) return found->second;
  const PolicyParameter* known = find_parameter(traits_, name);
  if (!known)
    throw Error(ErrorKind::internal, std::string(traits_.name) + " has no parameter " + std::string(name));
  return known->value;
}

std::map<std::string, std::string> Policy::parameter_texts() const {
  std::map<std::string, std::string> texts;
  for (const PolicyParameter& one : traits_.parameters) texts[std::string(one.name)] = number_text(parameter(one.name));
  if (settings_.layer_budgets) texts["layer_budgets"] = settings_.layer_budgets->text();
  return texts;
}

std::string Policy::id() const {
  std::string id(traits_.name);
  if (is_dense()) return id;
  id += "-" + budget_tag(*settings_.budget) + "-g" + std::to_string(settings_.granularity);
  for (const PolicyParameter& one : traits_.parameters)
    if (parameter(one.name) != one.value) id += "-" + std::string(one.name) + number_text(parameter(one.name));
  if (settings_.layer_budgets) id += "-layers" + fingerprint().substr(0, 6);
  constexpr std::size_t longest = 64;  // what a record takes as a name
  if (id.size() > longest) id = id.substr(0, longest - 13) + "-" + fingerprint().substr(0, 12);
  return id;
}

std::string Policy::fingerprint() const {
  std::string all(traits_.name);
  if (settings_.budget) all += "|" + to_string(*settings_.budget);
  all += "|" + std::to_string(settings_.granularity);
  for (const auto& [name, value] : parameter_texts()) all += "|" + name + "=" + value;
  if (traits_.needs_index) all += "|" + settings_.index->fingerprint();
  return sha256(std::span(reinterpret_cast<const std::uint8_t*>(all.data()), all.size())).substr(0, 16);
}

void Policy::check_length(std::int64_t length) const {
  if (!settings_.budget || settings_.budget->kind == BudgetKind::mass) return;
  const std::int64_t k =
      settings_.layer_budgets ? settings_.layer_budgets->least() : settings_.budget->tokens_for(length);
  const ForcedKeys forced = forced_keys();
  if (k >= length || forced.sinks + forced.local <= k) return;
  throw Error(ErrorKind::usage, "the keys that method " + std::string(traits_.name) + " forces in exceed its budget",
              {settings_.layer_budgets ? "budgets of each layer" : "--budget " + to_string(*settings_.budget),
               "at least " + std::to_string(forced.sinks + forced.local) + " keys a query (" +
                   std::to_string(forced.sinks) + " sinks, " + std::to_string(forced.local) + " local)",
               std::to_string(k)});
}

ForcedKeys Policy::forced_keys() const {
  ForcedKeys forced;
  const auto count = [&](std::string_view name, std::int64_t absent) {
    return find_parameter(traits_, name) ? static_cast<std::int64_t>(parameter(name)) : absent;
  };
  forced.sinks = count("sinks", forced.sinks);
  forced.local = count("local", forced.local);
  return forced;
}

Budget Policy::budget_of(int layer) const {
  if (settings_.layer_budgets) {
    const auto found = settings_.layer_budgets->keys.find(layer);
    if (found == settings_.layer_budgets->keys.end())
      throw Error(ErrorKind::internal, "layer " + std::to_string(layer) + " has no budget");
    return {BudgetKind::tokens, static_cast<double>(found->second)};
  }
  return *settings_.budget;
}

std::int64_t Policy::tokens_of(int layer, std::int64_t length) const {
  if (is_dense()) return 0;
  const Budget budget = budget_of(layer);
  return budget.kind == BudgetKind::mass ? 0 : budget.tokens_for(length);
}

std::int64_t Policy::most_tokens(std::int64_t length) const {
  if (settings_.layer_budgets) return settings_.layer_budgets->most();
  return settings_.budget && settings_.budget->kind != BudgetKind::mass ? settings_.budget->tokens_for(length) : 0;
}

SelectionRule Policy::rule(const LayerQuery& query) const {
  return {budget_of(query.layer), settings_.granularity, forced_keys()};
}

Selection Policy::all_keys(const LayerQuery& query) const {
  return WrittenKeys{.write = {},
                     .most = query.length(),
                     .whole_rows = query.length(),
                     .groups = num_support_groups(traits_.scope, query.num_q_heads(), query.num_kv_heads())};
}

PolicyParameter sinks_parameter(double value) {
  return {"sinks", value, 0, 1e9, "first positions that are always in the support; they count against the budget",
          true};
}

PolicyParameter local_parameter(double value) {
  return {"local", value, 1, 1e9, "last positions up to the query that are always in the support; its own is one", true};
}

}  // namespace headroom::attention
