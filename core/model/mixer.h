// SPDX-License-Identifier: Apache-2.0
// The first part of a layer: what mixes its tokens. A new mixer is one new file in mixers/ that defines
// `MixerType entry_<file>()`; the decoder's loop, which keeps norms and residuals, knows none of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "attention/policy.h"
#include "base/progress.h"
#include "base/stage_clock.h"
#include "model/model_config.h"
#include "model/row_kernels.h"
#include "model/state.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace headroom::model {

/// Attention of a full layer over the whole prompt, as the run's methods choose it: [Hq, L, d] in q's dtype.
using FullAttend = std::function<at::Tensor(const attention::LayerQuery& query)>;

/// What the layers of one pass share: rows 0 … rows - 1 of it are positions past … past + rows - 1.
struct Pass {
  std::int64_t past = 0, rows = 0;
  int layer = 0;
  StageClock& clock;
  const JobContext& job;
  Workspace& room;
  RopeTables& ropes;                   ///< of the pass's positions
  const FullAttend* attend = nullptr;  ///< null in all layers but full ones, and where no method is asked: dense
};

/// One layer of one pass. Calls come in the order of the declarations; pieces of rows from several threads at once.
class LayerPass {
 public:
  virtual ~LayerPass() = default;
  /// `normed`: rows first … of the layer's input [rows, width] after its norm.
  virtual void project(std::int64_t worker, std::int64_t first, const at::Tensor& normed) = 0;
  /// Mixes all rows. `normed` [Pass::rows, width]: all that project() saw. Times its own work, polls the job.
  virtual void mix(const at::Tensor& normed) = 0;
  /// Rows first … of what the mixer gives, into `out` [rows, width].
  virtual void output(std::int64_t worker, std::int64_t first, at::Tensor out) = 0;
};

class Mixer {
 public:
  virtual ~Mixer() = default;
  /// For at most `capacity` positions.
  virtual std::unique_ptr<LayerState> make_state(std::int64_t capacity) const = 0;
  /// `state`: of the positions before; takes those of this pass in. Null: nothing came before, nothing is remembered.
  /// `pass` and `state` outlive the result.
  virtual std::unique_ptr<LayerPass> start(const Pass& pass, LayerState* state) const = 0;
};

struct MixerType {
  LayerKind kind;
  /// Takes the mixer's weights out of the layer's.
  std::unique_ptr<Mixer> (*make)(const ModelConfig& config, std::int64_t layer, TensorSet& weights);
};
/// All that are implemented.
std::vector<MixerType> mixer_types();

}  // namespace headroom::model
