// SPDX-License-Identifier: Apache-2.0
// Sliding-window attention: a query sees its own position and the window - 1 before it. Always dense, in chunks of rows
// over the keys of their windows alone. The cache keeps every position.
#include "model/attention_mixer.h"
#include "model/window_attention.h"

namespace headroom::model {
namespace {

class SlidingAttention final : public AttentionMixer {
 public:
  using AttentionMixer::AttentionMixer;

 private:
  at::Tensor attend(const Pass& pass, const attention::LayerQuery& query, const KvState* state) const override {
    const StageScope scope(pass.clock, Stage::attention, query.layer);
    return attend_over_past(query.q, state ? state->k() : query.k, state ? state->v() : query.v, pass.past, spec_,
                            sinks_, pass.job);
  }
};

std::unique_ptr<Mixer> make_sliding(const ModelConfig& config, std::int64_t layer, TensorSet& weights) {
  return std::make_unique<SlidingAttention>(config, layer, weights);
}

}  // namespace

MixerType entry_sliding() {
  return {LayerKind::sliding, &make_sliding};
}

}  // namespace headroom::model
