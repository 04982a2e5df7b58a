// SPDX-License-Identifier: Apache-2.0
// The one place that says whether two times may be divided, and how.
#pragma once

#include <optional>

#include "record/types.h"

namespace headroom::record {

/// How many times faster a method is than a baseline of the same run.
struct Speedup {
  double ratio = 0;         ///< median over the pairs; of earlier versions' runs the ratio of the medians
  double low = 0, high = 0; ///< quartiles over the pairs; the ratio itself where there are none
  int pairs = 0;            ///< passes that were taken in turn; 0: the run did not take them in turn
  int passes = 0;           ///< the fewer timed passes of the two
  bool disturbed = false;   ///< other work took processors while one of the two was timed
  /// More than one pass each, in turn, on a machine that did nothing else: anything less is a hint.
  bool firm() const { return pairs > 1 && !disturbed; }
};

/// None where nothing may be claimed: of the baseline itself, of references, of labelled (not optimised) paths, where
/// every layer ran dense in the timed passes, and where either was not timed.
std::optional<Speedup> speedup_over(const MethodSummary& method, const MethodSummary& baseline, bool timed_in_turn);

}  // namespace headroom::record
