// SPDX-License-Identifier: Apache-2.0
// What full and sliding attention share: joint projection, biases, q/k norms, rotation, cache, gate and output.
// Weights: "qkv" [(Hq + 2 Hkv) d, width], q heads, then k, then v; with an output gate q's rows are [q | gate] head by
// head. "attention_output" [width, Hq d]. By option: "qkv_bias" [rows of qkv], "attention_output_bias" [width],
// "q_norm" and "k_norm" [d], "sinks" [Hq].
#pragma once

#include "model/kv_state.h"
#include "model/mixer.h"

namespace headroom::model {

class AttentionMixer : public Mixer {
 public:
  AttentionMixer(const ModelConfig& config, std::int64_t layer, TensorSet& weights);
  std::unique_ptr<LayerState> make_state(std::int64_t capacity) const override;
  std::unique_ptr<LayerPass> start(const Pass& pass, LayerState* state) const override;

 protected:
  /// [Hq, rows, d] in q's dtype. `query` holds the pass's own rows; `state` (null: none is kept) theirs already, too.
  virtual at::Tensor attend(const Pass& pass, const attention::LayerQuery& query, const KvState* state) const = 0;

  AttentionSpec spec_;
  at::Tensor sinks_;  ///< [Hq] fp32

 private:
  class Rows;

  double epsilon_;
  int num_layers_;
  at::Tensor qkv_, qkv_bias_, q_norm_, k_norm_, output_, output_bias_;
};

}  // namespace headroom::model
