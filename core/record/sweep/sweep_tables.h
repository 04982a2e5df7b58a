// SPDX-License-Identifier: Apache-2.0
// The numbers of a sweep as tables, for `headroom export` and for the window's CSV.
#pragma once

#include <string>

#include "record/sweep/sweep_plan.h"
#include "record/sweep/sweep_summary.h"
#include "record/table.h"

namespace headroom::record {

/// One line a length, task or macro mean, and method: score, difference from dense with its interval, density, verdict,
/// KL.
Table sweep_table(const SweepRecord& record, const SweepSummary& summary);
/// One line a bar: gap, points, interval.
Table waterfall_table(const SweepRecord& record, const SweepSummary& summary);
/// One line a sample and method, calibration included: everything that was stored but the layers' distances.
Table rows_table(const SweepRecord& record);
/// One line a layer: its budget by mass and by the greedy allocation.
Table plan_table(const SweepRecord& record, const SweepPlan& plan);

/// sweep, waterfall, rows and plan by name; throws a usage error for others.
Table sweep_view(const SweepRecord& record, const SweepSummary& summary, const std::string& view,
                 const PlanRequest& plan);

}  // namespace headroom::record
