// SPDX-License-Identifier: Apache-2.0
// What a decoder is built from: a family's names and the mixers and MLPs that there are.
#pragma once

#include <vector>

#include "model/family.h"
#include "model/mixer.h"
#include "model/mlp.h"

namespace headroom::model {

struct Parts {
  Family family;
  std::vector<MixerType> mixers = mixer_types();
  std::vector<MlpType> mlps = mlp_types();
};

}  // namespace headroom::model
