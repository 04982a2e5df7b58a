// SPDX-License-Identifier: Apache-2.0
// The clocks behind StageClock: host time on the CPU, device events on a GPU. One timer measures one pass.
#pragma once

#include <c10/core/Device.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/stage_clock.h"

namespace headroom::experiment {

/// Milliseconds of one pass. `total` also holds what ran outside layers (layer -1).
struct StageTimes {
  std::array<double, num_stages> total{};              ///< by Stage
  std::vector<std::array<double, num_stages>> layers;  ///< [num_layers], by Stage
};

/// Score, selection and attention of every layer, in ms.
std::vector<double> attention_by_layer(const StageTimes& times);

/// A StageClock with a result. Stages may be begun any number of times; their times add up.
class StageTimer : public StageClock {
 public:
  /// Waits for the devices that were timed, sums up, and clears the timer for the next pass.
  virtual StageTimes finish() = 0;
};

/// For devices of the kind of `device`: spans are timed on the current stream of the current one. The CPU's counts host
/// time.
std::unique_ptr<StageTimer> make_stage_timer(c10::Device device, std::int64_t num_layers);

}  // namespace headroom::experiment
