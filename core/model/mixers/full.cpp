// SPDX-License-Identifier: Apache-2.0
// Full causal attention: the one mixer that is sparsified. Over a prompt it asks the run's method; rows that come after
// one attend densely over the cache (METHOD.md: "decoding after prefill is dense").
#include <ATen/ops/scaled_dot_product_attention.h>

#include "model/attention_mixer.h"
#include "model/window_attention.h"

namespace headroom::model {
namespace {

class FullAttention final : public AttentionMixer {
 public:
  using AttentionMixer::AttentionMixer;

 private:
  at::Tensor attend(const Pass& pass, const attention::LayerQuery& query, const KvState* state) const override {
    if (pass.past == 0 && pass.attend) return (*pass.attend)(query);
    const StageScope scope(pass.clock, Stage::attention, query.layer);
    if (pass.past > 0) return attend_over_past(query.q, state->k(), state->v(), pass.past, spec_, sinks_, pass.job);
    if (sinks_.defined()) return attend_over_past(query.q, query.k, query.v, 0, spec_, sinks_, pass.job);
    return at::scaled_dot_product_attention(query.q.unsqueeze(0), query.k.unsqueeze(0), query.v.unsqueeze(0), {}, 0.0,
                                            true, query.scale, query.num_q_heads() != query.num_kv_heads())
        .squeeze(0);
  }
};

std::unique_ptr<Mixer> make_full(const ModelConfig& config, std::int64_t layer, TensorSet& weights) {
  return std::make_unique<FullAttention>(config, layer, weights);
}

}  // namespace

MixerType entry_full() {
  return {LayerKind::full, &make_full};
}

}  // namespace headroom::model
