// SPDX-License-Identifier: Apache-2.0
// What policies outside this folder share with those inside: option checks and their description.
#pragma once

#include "attention/policy.h"

namespace headroom::attention {

/// Throws usage errors: budget missing, out of range or of a refused kind; granularity; forced keys.
void validate_options(const PolicyOptions& options, bool allow_mass_budget);

/// `shares_scores`: rows of a block add their scores, so that supports depend on later tokens where granularity > 1.
PolicyInfo sparse_policy_info(const PolicyOptions& options, bool shares_scores);

}  // namespace headroom::attention
