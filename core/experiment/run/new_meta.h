// SPDX-License-Identifier: Apache-2.0
// What every new record says of itself and of its model's layers.
#pragma once

#include <vector>

#include "model/model_config.h"
#include "record/types.h"

namespace headroom::experiment {

/// With a number of its own, the time, this program's version and its threads.
record::RunMeta new_meta();

std::vector<record::LayerMeta> layers_of(const model::ModelConfig& config);

}  // namespace headroom::experiment
