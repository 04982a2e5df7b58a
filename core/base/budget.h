// SPDX-License-Identifier: Apache-2.0
// A budget: the most keys in a row's support (METHOD.md, "Words").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace headroom {

enum class BudgetKind {
  tokens,    ///< k keys a row
  fraction,  ///< of the prompt length, rounded up; the same k for every row
  mass       ///< the smallest set that reaches this mass, per row
};

struct Budget {
  BudgetKind kind = BudgetKind::tokens;
  double value = 0;  ///< tokens: whole number >= 1; fraction and mass: in (0, 1]

  bool operator==(const Budget&) const = default;
  /// Keys a row for a prompt of `length` tokens; kind must not be mass.
  std::int64_t tokens_for(std::int64_t length) const;
};

/// Reads "512", "10%", "p0.95". Throws usage errors that name what was expected.
Budget parse_budget(std::string_view text);
/// "512", "10%", "p0.95".
std::string to_string(const Budget& budget);
/// The part of a method id: "k512", "f10" for 10 %, "p0.95".
std::string budget_tag(const Budget& budget);

}  // namespace headroom
