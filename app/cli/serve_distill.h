// SPDX-License-Identifier: Apache-2.0
// The job kind "distill": `distill/start` trains an indexer; job/progress carries step, KL and held-out recall in
// words.
#pragma once

#include "model/device.h"
#include "serve_jobs.h"

namespace headroom::cli {

/// Parameters: {"spec": DistillSpec}. The answer's "device" says in words what it trains on; job/done's result is
/// {"indexer": path, "held_out": figures}. `device`, which outlives the kind, is what "auto" means.
JobKind make_distill_kind(const model::DeviceChoice& device);

}  // namespace headroom::cli
