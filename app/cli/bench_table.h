// SPDX-License-Identifier: Apache-2.0
// What `headroom bench` prints for people: a block a length, at most 120 columns wide.
#pragma once

#include <string>
#include <vector>

#include "experiment/bench/bench.h"

namespace headroom::cli {

/// Rows of one length, not empty.
std::string bench_table(const std::vector<experiment::BenchRow>& rows);
/// Machine, model and what the columns mean.
std::string bench_footer(const experiment::BenchReport& report);

}  // namespace headroom::cli
