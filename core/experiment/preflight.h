// SPDX-License-Identifier: Apache-2.0
// What a run will need and leave, said before it starts: memory, disk, rough time, what the record will keep.
#pragma once

#include "experiment/prepared_run.h"
#include "protocol/messages.h"

namespace headroom::experiment {

/// Estimates; nothing is loaded onto the device. Warnings say what does not fit and what would.
protocol::Preflight preflight(const PreparedRun& run);

/// The part that is worth refusing: throws device errors where weights and working memory exceed what the device has
/// free.
void refuse_what_cannot_fit(const protocol::Preflight& preflight);

}  // namespace headroom::experiment
