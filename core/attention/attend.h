// SPDX-License-Identifier: Apache-2.0
// Prefill attention of one full layer under a policy (METHOD.md, "Sparse prefill of one full layer"): the policy chooses
// supports, the backend attends, run of rows by run of rows.
#pragma once

#include <ATen/core/Tensor.h>

#include "attention/backend.h"
#include "attention/policy.h"
#include "attention/support.h"

namespace headroom::attention {

/// Returns [Hq, L, d] in q's dtype. Times its work as score, select and attention on `clock`; hands supports to `sink`
/// where it is set (dense never calls it). Polls `job` between runs of rows. Supports and outputs of our own kernels do
/// not depend on the number of threads.
at::Tensor attend(const Policy& policy, const Backend& backend, const LayerQuery& query, StageClock& clock,
                  const SupportSink& sink, const JobContext& job);
/// The same for a layer that is prepared already.
at::Tensor attend(const Policy& policy, const PreparedLayer& layer, StageClock& clock, const SupportSink& sink,
                  const JobContext& job);

}  // namespace headroom::attention
