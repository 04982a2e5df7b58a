// SPDX-License-Identifier: Apache-2.0
// The job kind "sweep": `sweep/start`, and `sweep/preflight` which starts nothing.
#pragma once

#include <functional>

#include "model/device.h"
#include "protocol/sweep_spec.h"
#include "serve_jobs.h"

namespace headroom::cli {

/// What a sweep needs and what its samples can say. `device` is what "auto" means. `busy`: whether other work is going
/// on, so that nothing is measured.
protocol::SweepNeeds sweep_needs(const protocol::SweepSpec& spec, const model::DeviceChoice& device, bool busy);

/// Parameters: {"spec": SweepSpec}; answered with {"preflight": SweepNeeds}. While it runs each finished row is told by
/// job/row; job/done's record is the sweep's file, its result {"rows", "complete"}. Cancelled, the record holds what
/// was finished. `device` and what `busy` asks outlive the kind.
JobKind make_sweep_kind(const model::DeviceChoice& device, std::function<bool()> busy);

}  // namespace headroom::cli
