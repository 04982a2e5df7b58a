// SPDX-License-Identifier: Apache-2.0
// A table of plain values and its forms as CSV, JSON and LaTeX. No view of the window and no command formats its own.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace headroom::record {

/// Nothing, a truth value, a whole number, a real number (float prints shorter than double), a text (UTF-8).
using Cell = std::variant<std::monostate, bool, std::int64_t, float, double, std::string>;

struct Table {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  ///< run, model, layer …: where the numbers come from
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;  ///< as many cells as columns
};

/// RFC 4180 with a header line; nothing and NaN are empty, numbers read back exactly.
std::string to_csv(const Table& table);
/// {title, facts: {…}, columns: […], rows: [{column: value}]}; nothing and NaN are null.
std::string to_json(const Table& table);
/// A booktabs tabular with four significant digits; facts as comments.
std::string to_tex(const Table& table);

}  // namespace headroom::record
