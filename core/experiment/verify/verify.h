// SPDX-License-Identifier: Apache-2.0
// `headroom verify`: every path that a run can take against plain fp64 loops, on this machine and this device.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/progress.h"

namespace headroom::experiment {

struct VerifyRow {
  std::string path;   ///< e.g. "oracle p0.9, 16 rows a block", "dense, FlashAttention-2"
  std::string shape;  ///< e.g. "L 320, heads 9:3 of 64"
  std::string dtype;  ///< "bf16", "f32"
  double error = 0;   ///< largest difference from fp64
  double allowed =
      0;  ///< twice the error of the textbook computation in the same precision and on the same device, plus rounding
  std::string note = {};  ///< what failed, or why it did not run; empty where all is well
  bool ran = true;
  bool passed = true;
};

struct VerifyReport {
  std::string device, device_note;
  bool model_used = false;  ///< whether q, k and v of the default model were among the inputs
  std::vector<VerifyRow> rows;
  bool passed() const;
};

/// The references are computed in fp64 from the inputs as they are stored, never rounded on the way. Checked of each
/// policy: its output, its support (the reference's, up to keys whose scores differ by no more than twice what a
/// textbook computation of the scores in the same precision is off by, plus 1e-5), and that a second call
/// repeats it bit for bit. On the CPU the attention kernels of every instruction set that the machine runs. Of the
/// decoder: prefill, all positions' logits and decoding over the cache. Inputs are random with structure, and layers of
/// the default model where it is fetched. Throws device errors.
VerifyReport verify(const std::string& device, const JobContext& job,
                    const std::function<void(const VerifyRow&)>& on_row = {});
nlohmann::json to_json(const VerifyReport& report);

}  // namespace headroom::experiment
