// SPDX-License-Identifier: Apache-2.0
#include "model/attention_mixer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sigmoid.h>

#include "base/error.h"
#include "model/cuda_rows.h"

namespace headroom::model {

using attention::LayerQuery;

class AttentionMixer::Rows final : public LayerPass {
 public:
  Rows(const AttentionMixer& mixer, const Pass& pass, KvState* state)
      : mixer_(mixer), spec_(mixer.spec_), pass_(pass), state_(state), table_(pass.ropes.table(spec_.rope)) {
    query_.layer = pass.layer;
    query_.num_layers = mixer.num_layers_;
    query_.scale = spec_.scale;
    query_.rope_base = spec_.rope.base;
    query_.sinks = mixer.sinks_;
    query_.q = pass.room.whole("q", {spec_.num_q_heads, pass.rows, spec_.head_dim});
    query_.k = pass.room.whole("k", {spec_.num_kv_heads, pass.rows, spec_.head_dim});
    query_.v = pass.room.whole("v", {spec_.num_kv_heads, pass.rows, spec_.head_dim});
    if (spec_.output_gate) gate_ = pass.room.whole("attention_gate", {pass.rows, q_width()});
  }

  void project(std::int64_t worker, std::int64_t first, const at::Tensor& normed) override {
    const std::int64_t rows = normed.size(0), d = spec_.head_dim, kv_width = 2 * spec_.num_kv_heads * d;
    at::Tensor qkv = pass_.room.piece("qkv", worker, rows, mixer_.qkv_.size(0));
    at::mm_out(qkv, normed, mixer_.qkv_.t());
    if (spec_.qkv_bias) qkv.add_(mixer_.qkv_bias_);
    const RopeTable places = {table_.cosine.narrow(0, first, rows), table_.sine.narrow(0, first, rows)};
    cuda_rows::HeadRows heads{
        .qkv = qkv,
        .q_norm = mixer_.q_norm_,
        .k_norm = mixer_.k_norm_,
        .table = places,
        .q = query_.q,
        .k = query_.k,
        .v = query_.v,
        .gate = {},
        .first_row = first,
        .epsilon = mixer_.epsilon_,
    };
    if (spec_.output_gate) heads.gate = gate_.narrow(0, first, rows);
    if (cuda_rows::split_heads(heads)) return;
    if (spec_.output_gate) {
      const at::Tensor pairs = qkv.narrow(1, 0, 2 * q_width()).view({rows, spec_.num_q_heads, 2, d});
      gate_.narrow(0, first, rows).view({rows, spec_.num_q_heads, d}).copy_(pairs.select(2, 1));
      const at::Tensor packed = pass_.room.piece("qkv_without_gate", worker, rows, q_width() + kv_width);
      packed.narrow(1, 0, q_width()).view({rows, spec_.num_q_heads, d}).copy_(pairs.select(2, 0));
      packed.narrow(1, q_width(), kv_width).copy_(qkv.narrow(1, 2 * q_width(), kv_width));
      qkv = packed;
    }
    if (spec_.qk_norm) {
      norm_heads(qkv, 0, spec_.num_q_heads, mixer_.q_norm_);
      norm_heads(qkv, spec_.num_q_heads, spec_.num_kv_heads, mixer_.k_norm_);
    }
    rope_split(qkv, places, first, query_.q, query_.k, query_.v);
  }

  void mix(const at::Tensor& normed) override {
    if (state_) {
      const StageScope scope(pass_.clock, Stage::other, pass_.layer);
      state_->append(pass_.past, query_.k, query_.v);
    }
    query_.x = normed;
    attended_ = mixer_.attend(pass_, query_, state_).transpose(0, 1);
    query_ = {};
  }

  void output(std::int64_t worker, std::int64_t first, at::Tensor out) override {
    const std::int64_t rows = out.size(0);
    at::mm_out(out, gated_heads(worker, first, rows), mixer_.output_.t());
    if (spec_.output_bias) out.add_(mixer_.output_bias_);
  }

 private:
  at::Tensor gated_heads(std::int64_t worker, std::int64_t first, std::int64_t rows) const {
    const at::Tensor attended = attended_.narrow(0, first, rows);
    if (!spec_.output_gate) return attended.reshape({rows, q_width()});
    const at::Tensor gate = gate_.narrow(0, first, rows);
    if (attended.is_cuda()) {
      const at::Tensor out = pass_.room.piece("gated_heads", worker, rows, q_width());
      if (cuda_rows::gate_heads(attended, gate, out)) return out;
    }
    return attended.reshape({rows, q_width()}).mul(at::sigmoid(gate));
  }
  std::int64_t q_width() const { return spec_.num_q_heads * spec_.head_dim; }
  void norm_heads(const at::Tensor& qkv, std::int64_t first, std::int64_t count, const at::Tensor& weight) const {
    const std::int64_t d = spec_.head_dim;
    const at::Tensor heads = qkv.narrow(1, first * d, count * d);
    const at::Tensor rows = heads.reshape({-1, d}).contiguous();
    const at::Tensor normed = at::empty(rows.sizes(), rows.options());
    rms_norm(rows, weight, mixer_.epsilon_, normed);
    heads.copy_(normed.view(heads.sizes()));
  }

  const AttentionMixer& mixer_;
  const AttentionSpec& spec_;
  const Pass& pass_;
  KvState* state_;
  RopeTable table_;
  LayerQuery query_;
  at::Tensor gate_;      // [rows, Hq d]
  at::Tensor attended_;  // [rows, Hq, d]
};

AttentionMixer::AttentionMixer(const ModelConfig& config, std::int64_t layer, TensorSet& weights)
    : spec_(config.layer(layer).attention),
      epsilon_(config.norm.epsilon),
      num_layers_(static_cast<int>(config.num_layers())) {
  const std::int64_t d = spec_.head_dim, q_width = spec_.num_q_heads * d;
  const std::int64_t rows = q_width * (spec_.output_gate ? 2 : 1) + 2 * spec_.num_kv_heads * d;
  qkv_ = weights.take("qkv", {rows, config.width});
  output_ = weights.take("attention_output", {config.width, q_width});
  q_norm_ = weights.take_if(spec_.qk_norm, "q_norm", {d});
  k_norm_ = weights.take_if(spec_.qk_norm, "k_norm", {d});
  const auto in_dtype = [&](const at::Tensor& bias) { return bias.defined() ? bias.to(qkv_.scalar_type()) : bias; };
  qkv_bias_ = in_dtype(weights.take_if(spec_.qkv_bias, "qkv_bias", {rows}));
  output_bias_ = in_dtype(weights.take_if(spec_.output_bias, "attention_output_bias", {config.width}));
  sinks_ = weights.take_if(spec_.sinks, "sinks", {spec_.num_q_heads});
  if (sinks_.defined()) sinks_ = sinks_.to(at::kFloat);
}

std::unique_ptr<LayerState> AttentionMixer::make_state(std::int64_t capacity) const {
  return std::make_unique<KvState>(capacity, spec_.num_kv_heads, spec_.head_dim, qkv_.options());
}

std::unique_ptr<LayerPass> AttentionMixer::start(const Pass& pass, LayerState* state) const {
  auto* const cache = dynamic_cast<KvState*>(state);
  if (state && !cache) throw Error(ErrorKind::internal, "the state of an attention layer is not a cache");
  return std::make_unique<Rows>(*this, pass, cache);
}

}  // namespace headroom::model
