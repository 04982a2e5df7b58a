// SPDX-License-Identifier: GPL-3.0-or-later
// What stands beside the shown curves on the Budget page.
#pragma once

#include <QString>
#include <cstdint>

#include "views/common/record_queries.h"

namespace headroom::views {

/// The curves of another stream or of another run beside those of the shown one: of these the mean alone is drawn.
struct BesideCurve {
  QString name;   ///< "Oracle top-k, 512 keys", "notes, 4,012 tokens"
  int look = -1;  ///< of a method: its colour; -1: another run's
  RecallCurves curves;
  std::int64_t length = 1;  ///< of its prompt
};

}  // namespace headroom::views
