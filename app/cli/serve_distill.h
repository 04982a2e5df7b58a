// SPDX-License-Identifier: Apache-2.0
// The job kind "distill": `distill/start` trains an indexer; job/progress carries step, KL and held-out recall in
// words.
#pragma once

#include "serve_jobs.h"

namespace headroom::cli {

/// Parameters: {"spec": DistillSpec}. job/done's result is {"indexer": path, "held_out": figures}.
JobKind make_distill_kind();

}  // namespace headroom::cli
