// SPDX-License-Identifier: Apache-2.0
// A timed pass: prompt in, first token out, nothing recorded.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experiment/passes/stage_timer.h"
#include "model/decoder.h"
#include "record/types.h"

namespace headroom::experiment {

struct TimedPass {
  double ttft_ms = 0;  ///< ids on the host to the first token's id on the host
  StageTimes stages;
  std::optional<MachineLoad> load;  ///< while it ran
  std::vector<std::int64_t> peak_bytes;  ///< model::peak_bytes since the pass began, of each device of the decoder
};

/// `options` say what runs; their clock and observers are not used. `timer` is for the decoder's devices and layers.
TimedPass timed_pass(const model::Decoder& decoder, std::span<const std::int32_t> ids, model::PrefillOptions options,
                     StageTimer& timer);

/// Median and quartiles with linear interpolation between order statistics; `values` not empty.
record::Quartiles quartiles(std::vector<double> values);

/// TTFT, stages, layers' stages, the machine's load and peak memory of one method's passes (not empty).
void summarise(const std::vector<TimedPass>& passes, record::MethodSummary& summary);

}  // namespace headroom::experiment
