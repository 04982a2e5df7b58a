// SPDX-License-Identifier: Apache-2.0
#include "base/budget.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace headroom {
namespace {

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

bool parse_number(std::string_view text, double& value) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

}  // namespace

std::int64_t Budget::tokens_for(std::int64_t length) const {
  if (kind == BudgetKind::tokens) return static_cast<std::int64_t>(value);
  // The small slack keeps 10 % of 4000 at 400 although 0.1 has no exact binary form.
  return static_cast<std::int64_t>(std::ceil(value * static_cast<double>(length) - 1e-9));
}

Budget parse_budget(std::string_view text) {
  Budget budget;
  bool valid = false;
  if (text.starts_with('p')) {
    budget.kind = BudgetKind::mass;
    valid = parse_number(text.substr(1), budget.value) && budget.value > 0 && budget.value <= 1;
  } else if (text.ends_with('%')) {
    budget.kind = BudgetKind::fraction;
    valid = parse_number(text.substr(0, text.size() - 1), budget.value) && budget.value > 0 && budget.value <= 100;
    budget.value /= 100;
  } else {
    valid = parse_number(text, budget.value) && budget.value >= 1 && budget.value <= 1e9 &&
            budget.value == std::floor(budget.value);
  }
  if (!valid) {
    throw usage_error("budget \"" + std::string(text) +
                      "\" is not understood: expected keys (512), percent of the prompt (10%) or mass (p0.95)");
  }
  return budget;
}

std::string to_string(const Budget& budget) {
  switch (budget.kind) {
    case BudgetKind::tokens: return short_number(budget.value);
    case BudgetKind::fraction: return short_number(budget.value * 100) + "%";
    case BudgetKind::mass: return "p" + short_number(budget.value);
  }
  return {};
}

std::string budget_tag(const Budget& budget) {
  switch (budget.kind) {
    case BudgetKind::tokens: return "k" + short_number(budget.value);
    case BudgetKind::fraction: return "f" + short_number(budget.value * 100);
    case BudgetKind::mass: return "p" + short_number(budget.value);
  }
  return {};
}

}  // namespace headroom
