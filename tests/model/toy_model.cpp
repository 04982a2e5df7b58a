// SPDX-License-Identifier: Apache-2.0
#include "model/toy_model.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <functional>
#include <limits>

namespace headroom::test {
namespace {

using at::Tensor;
using model::AttentionSpec;
using model::LayerKind;
using model::LayerSpec;
using model::ModelConfig;

constexpr std::int64_t width = 32;

// The stand-in for a recurrent mixer.
class DecayState final : public model::LayerState {
 public:
  std::unique_ptr<model::LayerState> clone() const override {
    auto copy = std::make_unique<DecayState>();
    copy->sum = sum.clone();
    return copy;
  }
  Tensor sum = at::zeros({width}, at::kFloat);
};

class Decay final : public model::Mixer {
 public:
  explicit Decay(model::TensorSet& weights)
      : in_(weights.take("decay_in", {width, width})), out_(weights.take("decay_out", {width, width})) {}
  std::unique_ptr<model::LayerState> make_state(std::int64_t) const override { return std::make_unique<DecayState>(); }
  std::unique_ptr<model::LayerPass> start(const model::Pass& pass, model::LayerState* state) const override {
    return std::make_unique<Rows>(*this, pass, dynamic_cast<DecayState*>(state));
  }

 private:
  class Rows final : public model::LayerPass {
   public:
    Rows(const Decay& mixer, const model::Pass& pass, DecayState* state)
        : mixer_(mixer), pass_(pass), state_(state), sums_(pass.room.whole("decay", {pass.rows, width})) {}
    void project(std::int64_t, std::int64_t first, const Tensor& normed) override {
      sums_.narrow(0, first, normed.size(0)).copy_(at::mm(normed, mixer_.in_.t()));
    }
    void mix(const Tensor&) override {
      const StageScope scope(pass_.clock, Stage::linear_attention, pass_.layer);
      Tensor sum = state_ ? state_->sum : at::zeros({width}, at::kFloat);
      for (std::int64_t row = 0; row < pass_.rows; ++row) {
        sum = sum.mul(0.5).add(sums_[row].to(at::kFloat));
        sums_[row].copy_(sum);
      }
      if (state_) state_->sum = sum;
    }
    void output(std::int64_t, std::int64_t first, Tensor out) override {
      at::mm_out(out, sums_.narrow(0, first, out.size(0)), mixer_.out_.t());
    }

   private:
    const Decay& mixer_;
    const model::Pass& pass_;
    DecayState* state_;
    Tensor sums_;
  };

  Tensor in_, out_;
};

std::unique_ptr<model::Mixer> make_decay(const ModelConfig&, std::int64_t, model::TensorSet& weights) {
  return std::make_unique<Decay>(weights);
}

template <bool plus_one>
model::ModelPlan plan(const checkpoint::Checkpoint&, const ModelConfig& config) {
  model::ModelPlan plan;
  plan.ends["embedding"] = {{{"embedding", config.vocabulary}}, width};
  plan.ends["output_norm"] = {{{"output_norm", width}}, 0, plus_one};
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    const auto& [kind, attention, mlp, delta] = config.layer(i);
    model::TensorPlans& layer = plan.layers.emplace_back();
    const auto add = [&](const std::string& role, std::int64_t rows, std::int64_t columns) {
      layer[role] = {{{std::to_string(i) + "." + role, rows}}, columns, plus_one && role.ends_with("norm")};
    };
    add("mixer_norm", width, 0);
    add("mlp_norm", width, 0);
    if (config.norm.after) add("mixer_after_norm", width, 0);
    if (config.norm.after) add("mlp_after_norm", width, 0);
    add("gate_up", 2 * mlp.width, width);
    add("down", width, mlp.width);
    if (kind == LayerKind::linear) {
      add("decay_in", width, width);
      add("decay_out", width, width);
      continue;
    }
    const std::int64_t d = attention.head_dim, q_width = attention.num_q_heads * d;
    const std::int64_t rows = q_width * (attention.output_gate ? 2 : 1) + 2 * attention.num_kv_heads * d;
    add("qkv", rows, width);
    add("attention_output", width, q_width);
    if (attention.qkv_bias) add("qkv_bias", rows, 0);
    if (attention.output_bias) add("attention_output_bias", width, 0);
    if (attention.qk_norm) add("q_norm", d, 0);
    if (attention.qk_norm) add("k_norm", d, 0);
    if (attention.sinks) add("sinks", attention.num_q_heads, 0);
  }
  return plan;
}

Tensor norm(const Tensor& x, const Tensor& weight) {
  return x.mul(at::rsqrt(x.pow(2).mean(-1, true).add(1e-5))).mul(weight);
}

// [L, H, d]: halves of the first dims of each head.
Tensor rotate(const Tensor& heads, const model::RopeSpec& rope) {
  if (rope.dims == 0) return heads;
  const std::int64_t half = rope.dims / 2, d = heads.size(2);
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < half; ++i) {
    const double factor = rope.factors.empty() ? 1 : rope.factors[static_cast<std::size_t>(i)];
    frequencies.push_back(std::pow(rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dims)) / factor);
  }
  const Tensor angles = at::outer(at::arange(heads.size(0), at::kDouble), at::tensor(frequencies)).unsqueeze(1);
  const Tensor a = heads.narrow(2, 0, half), b = heads.narrow(2, half, half), c = angles.cos().mul(rope.magnitude),
               s = angles.sin().mul(rope.magnitude);
  return at::cat({a.mul(c).sub(b.mul(s)), b.mul(c).add(a.mul(s)), heads.narrow(2, rope.dims, d - rope.dims)}, 2);
}

Tensor attention(const Tensor& x, const AttentionSpec& spec, const std::function<Tensor(const char*)>& weight) {
  const std::int64_t length = x.size(0), d = spec.head_dim, hq = spec.num_q_heads, hkv = spec.num_kv_heads;
  const std::int64_t per_q = spec.output_gate ? 2 * d : d;
  Tensor qkv = at::mm(x, weight("qkv").t());
  if (spec.qkv_bias) qkv = qkv.add(weight("qkv_bias"));
  const Tensor q_gate = qkv.narrow(1, 0, hq * per_q).view({length, hq, per_q});
  Tensor q = q_gate.narrow(2, 0, d), k = qkv.narrow(1, hq * per_q, hkv * d).view({length, hkv, d});
  if (spec.qk_norm) q = norm(q, weight("q_norm"));
  if (spec.qk_norm) k = norm(k, weight("k_norm"));
  const auto by_head = [&](const Tensor& heads) {
    return heads.repeat_interleave(hq / heads.size(1), 1).transpose(0, 1);
  };
  const Tensor v = by_head(qkv.narrow(1, (hq * per_q) + hkv * d, hkv * d).view({length, hkv, d}));
  Tensor logits = at::matmul(by_head(rotate(q, spec.rope)), by_head(rotate(k, spec.rope)).transpose(1, 2));
  logits = logits.mul(spec.scale);
  if (spec.soft_cap > 0) logits = logits.div(spec.soft_cap).tanh().mul(spec.soft_cap);
  const Tensor place = at::arange(length), distance = place.unsqueeze(1).sub(place);
  logits = logits.masked_fill(distance.lt(0), -std::numeric_limits<double>::infinity());
  if (spec.window > 0) logits = logits.masked_fill(distance.ge(spec.window), -std::numeric_limits<double>::infinity());
  if (spec.sinks) logits = at::cat({logits, weight("sinks").view({hq, 1, 1}).expand({hq, length, 1})}, 2);
  Tensor out = at::matmul(at::softmax(logits, 2).narrow(2, 0, length), v).transpose(0, 1);
  if (spec.output_gate) out = out.mul(at::sigmoid(q_gate.narrow(2, d, d)));
  out = at::mm(out.reshape({length, hq * d}), weight("attention_output").t());
  return spec.output_bias ? out.add(weight("attention_output_bias")) : out;
}

Tensor decay(const Tensor& x, const std::function<Tensor(const char*)>& weight) {
  const Tensor in = at::mm(x, weight("decay_in").t());
  std::vector<Tensor> sums = {in[0]};
  for (std::int64_t row = 1; row < x.size(0); ++row) sums.push_back(sums.back().mul(0.5).add(in[row]));
  return at::mm(at::stack(sums), weight("decay_out").t());
}

}  // namespace

LayerSpec toy_layer(LayerKind kind, std::int64_t window) {
  LayerSpec layer;
  layer.kind = kind;
  layer.mlp.width = 24;
  layer.delta = {.key_heads = 1, .value_heads = 1, .key_dim = 1, .value_dim = 1, .kernel = 2};  // nobody reads it
  if (kind == LayerKind::linear) return layer;
  AttentionSpec& spec = layer.attention;
  spec.num_q_heads = 4;
  spec.num_kv_heads = 2;
  spec.head_dim = spec.rope.dims = 8;
  spec.rope.base = 100;
  spec.scale = 1 / std::sqrt(8.0);
  spec.window = window;
  return layer;
}

ModelConfig toy_config(std::vector<LayerSpec> layers) {
  ModelConfig config;
  config.architecture = config.name = "toy";
  config.width = width;
  config.vocabulary = 61;
  config.context_length = 2000;
  config.tied_output = true;
  config.layers = std::move(layers);
  return config;
}

model::Family toy_family(bool plus_one) {
  return {"toy", {}, {}, nullptr, plus_one ? &plan<true> : &plan<false>};
}

model::Parts toy_parts(bool plus_one) {
  model::Parts parts{toy_family(plus_one)};
  std::erase_if(parts.mixers, [](const model::MixerType& type) { return type.kind == LayerKind::linear; });
  parts.mixers.push_back({LayerKind::linear, &make_decay});
  return parts;
}

ToyCheckpoint::ToyCheckpoint(const ModelConfig& config, bool plus_one)
    : RandomCheckpoint(config, toy_family(plus_one), 7), plus_one_(plus_one) {}

void ToyCheckpoint::read_part(std::string_view name, std::int64_t first, std::span<float> out) const {
  RandomCheckpoint::read_part(name, first, out);
  if (find(name)->shape.size() > 1) return;
  const float base = plus_one_ && name.ends_with("norm") ? 0 : 1;
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = base + 0.4f * std::sin(static_cast<float>(name.size()) +
                                    1.7f * static_cast<float>(first + static_cast<std::int64_t>(i)));
}

Tensor ToyCheckpoint::tensor(const std::string& name) const {
  const auto& shape = find(name)->shape;
  const Tensor values = at::empty(shape, at::kFloat);
  read_f32(name, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  const Tensor wide = values.to(at::kDouble);
  return plus_one_ && name.ends_with("norm") ? wide.add(1) : wide;
}

Tensor toy_reference(const ToyCheckpoint& file, const ModelConfig& config, const std::vector<std::int32_t>& ids) {
  Tensor hidden = file.tensor("embedding").index_select(0, at::tensor(ids)).mul(config.embedding_scale);
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    const auto& [kind, spec, mlp, delta] = config.layer(i);
    const auto weight = [&](const char* role) { return file.tensor(std::to_string(i) + "." + role); };
    Tensor x = norm(hidden, weight("mixer_norm"));
    Tensor y = kind == LayerKind::linear ? decay(x, weight) : attention(x, spec, weight);
    hidden = hidden.add(config.norm.after ? norm(y, weight("mixer_after_norm")) : y);
    const auto gate_up = at::mm(norm(hidden, weight("mlp_norm")), weight("gate_up").t());
    const Tensor gate = gate_up.narrow(1, 0, mlp.width), up = gate_up.narrow(1, mlp.width, mlp.width);
    y = at::mm((mlp.kind == model::MlpKind::swiglu ? at::silu(gate) : at::gelu(gate, "tanh")).mul(up),
               weight("down").t());
    hidden = hidden.add(config.norm.after ? norm(y, weight("mlp_after_norm")) : y);
  }
  return hidden;
}

}  // namespace headroom::test
