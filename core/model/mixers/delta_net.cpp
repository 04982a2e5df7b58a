// SPDX-License-Identifier: Apache-2.0
// Gated DeltaNet, the linear layers of Qwen3-Next and Qwen3.5: a short causal convolution over q, k and v, a decay and
// a rate a head from the input, the gated delta rule, a norm of each head and a gate. Weights: "delta_qkvz" [2 Hk dk +
// 2 Hv dv, width], q, k, v, then the gate z; "delta_rates" [2 Hv, width], rates, then decays; "delta_conv" [2 Hk dk +
// Hv dv, kernel]; "delta_decay", "delta_time" [Hv]; "delta_norm" [dv]; "delta_output" [width, Hv dv].
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/delta_kernels.h"
#include "model/delta_rule.h"
#include "model/mixer.h"

namespace headroom::model {
namespace {

constexpr double l2_epsilon = 1e-6;
// Rows whose products are held at a time, whole chunks: bounds memory on the CPU, kernel launches elsewhere.
constexpr std::int64_t cpu_segment = 16 * delta_chunk, gpu_segment = 128 * delta_chunk;

class DeltaState final : public LayerState {
 public:
  std::unique_ptr<LayerState> clone() const override {
    auto copy = std::make_unique<DeltaState>();
    if (inputs.defined()) copy->inputs = inputs.clone();
    if (memory.defined()) copy->memory = memory.clone();
    return copy;
  }
  at::Tensor inputs;  ///< of the convolution, the last kernel - 1 rows: [kernel - 1, channels]; undefined at first
  at::Tensor memory;  ///< [Hk, Hv / Hk, dk, dv] fp32; undefined at first
};

class DeltaNet final : public Mixer {
 public:
  DeltaNet(const ModelConfig& config, std::int64_t layer, TensorSet& weights)
      : spec_(config.layer(layer).delta), epsilon_(config.norm.epsilon) {
    qkvz_ = weights.take("delta_qkvz", {spec_.channels() + spec_.value_width(), config.width});
    rates_ = weights.take("delta_rates", {2 * spec_.value_heads, config.width});
    // One row for each place of the kernel, in fp32.
    conv_ = weights.take("delta_conv", {spec_.channels(), spec_.kernel}).to(at::kFloat).t().contiguous();
    decay_ = weights.take("delta_decay", {spec_.value_heads}).to(at::kFloat);
    time_ = weights.take("delta_time", {spec_.value_heads}).to(at::kFloat);
    norm_ = weights.take("delta_norm", {spec_.value_dim}).to(at::kFloat);
    output_ = weights.take("delta_output", {config.width, spec_.value_width()});
  }

  std::unique_ptr<LayerState> make_state(std::int64_t) const override { return std::make_unique<DeltaState>(); }
  std::unique_ptr<LayerPass> start(const Pass& pass, LayerState* state) const override;

 private:
  class Rows;

  DeltaSpec spec_;
  double epsilon_;
  at::Tensor qkvz_, rates_, conv_, decay_, time_, norm_, output_;
};

class DeltaNet::Rows final : public LayerPass {
 public:
  Rows(const DeltaNet& net, const Pass& pass, DeltaState* state)
      : net_(net),
        spec_(net.spec_),
        pass_(pass),
        state_(state),
        kernels_(open_delta_kernels(net.spec_, net.qkvz_.device(), net.qkvz_.scalar_type()).kernels),
        qkvz_(pass.room.whole("delta_qkvz", {pass.rows, spec_.channels() + spec_.value_width()})),
        rates_(pass.room.whole("delta_rates", {pass.rows, 2 * spec_.value_heads})) {}

  void project(std::int64_t, std::int64_t first, const at::Tensor& normed) override {
    const std::int64_t rows = normed.size(0);
    at::Tensor qkvz = qkvz_.narrow(0, first, rows), rates = rates_.narrow(0, first, rows);
    at::mm_out(qkvz, normed, net_.qkvz_.t());
    at::mm_out(rates, normed, net_.rates_.t());
  }

  void mix(const at::Tensor&) override {
    const StageScope scope(pass_.clock, Stage::linear_attention, pass_.layer);
    const std::int64_t before = spec_.kernel - 1, segment = qkvz_.is_cpu() ? cpu_segment : gpu_segment;
    const auto wide = qkvz_.options().dtype(at::kFloat);
    at::Tensor inputs =
        state_ && state_->inputs.defined() ? state_->inputs : at::zeros({before, spec_.channels()}, qkvz_.options());
    at::Tensor memory = state_ && state_->memory.defined()
                            ? state_->memory
                            : at::zeros({spec_.key_heads, spec_.group(), spec_.key_dim, spec_.value_dim}, wide);
    heads_ = pass_.room.whole("delta_heads", {pass_.rows, spec_.value_width()});
    if (kernels_ && pass_.rows > 1) {  // one row is decoded with the state as it is, in fp32
      memory = memory.contiguous();
      const DeltaLayerRows rows{qkvz_, rates_, inputs, net_.conv_, net_.decay_, net_.time_};
      delta_by_kernels(*kernels_, spec_, rows, memory, heads_, pass_.job);
      const std::int64_t kept = std::min(before, pass_.rows);
      const at::Tensor last = qkvz_.narrow(0, pass_.rows - kept, kept).narrow(1, 0, spec_.channels());
      inputs = kept < before ? at::cat({inputs, last}).narrow(0, kept, before).clone() : last.clone();
      remember(inputs, memory);
      return;
    }
    for (std::int64_t first = 0; first < pass_.rows; first += segment) {
      const std::int64_t rows = std::min(segment, pass_.rows - first);
      const at::Tensor reach = at::cat({inputs, qkvz_.narrow(0, first, rows).narrow(1, 0, spec_.channels())});
      inputs = reach.narrow(0, rows, before).clone();
      mix_segment(first, rows, reach, memory);
    }
    remember(inputs, memory);
  }

  void output(std::int64_t worker, std::int64_t first, at::Tensor out) override {
    const std::int64_t rows = out.size(0);
    if (kernels_) {
      const at::Tensor gated = pass_.room.piece("delta_gated", worker, rows, spec_.value_width());
      const at::Tensor z = qkvz_.narrow(0, first, rows).narrow(1, spec_.channels(), spec_.value_width());
      delta_gate_by_kernels(*kernels_, spec_, heads_.narrow(0, first, rows), z, net_.norm_, net_.epsilon_, gated);
      at::mm_out(out, gated, net_.output_.t());
      return;
    }
    const at::Tensor heads =
        heads_.narrow(0, first, rows).view({rows, spec_.value_heads, spec_.value_dim}).to(at::kFloat);
    const at::Tensor scale = at::rsqrt(heads.square().mean(2, true).add_(net_.epsilon_));
    const at::Tensor gate =
        at::silu(qkvz_.narrow(0, first, rows).narrow(1, spec_.channels(), spec_.value_width()).to(at::kFloat));
    const at::Tensor gated = heads.mul(scale).mul_(net_.norm_).view({rows, spec_.value_width()}).mul_(gate);
    at::mm_out(out, gated.to(out.scalar_type()), net_.output_.t());
  }

 private:
  void remember(const at::Tensor& inputs, const at::Tensor& memory) {
    if (!state_) return;
    state_->inputs = inputs;
    state_->memory = memory;
  }

  // `reach`: the inputs of the convolution for these rows, kernel - 1 rows more in front.
  void mix_segment(std::int64_t first, std::int64_t rows, const at::Tensor& reach, at::Tensor& memory) const {
    const std::int64_t key_width = spec_.key_heads * spec_.key_dim;
    const at::Tensor wide = reach.to(at::kFloat);
    at::Tensor mixed = wide.narrow(0, 0, rows).mul(net_.conv_[0]);
    for (std::int64_t place = 1; place < spec_.kernel; ++place)
      mixed.addcmul_(wide.narrow(0, place, rows), net_.conv_[place]);
    at::silu_(mixed);
    const auto keys = [&](std::int64_t column) {  // [Hk, rows, dk], of length 1
      const at::Tensor heads = mixed.narrow(1, column, key_width).reshape({rows, spec_.key_heads, spec_.key_dim});
      return heads.mul(at::rsqrt(heads.square().sum(2, true).add_(l2_epsilon))).transpose(0, 1).contiguous();
    };
    const at::Tensor rates = rates_.narrow(0, first, rows).to(at::kFloat);
    const at::Tensor decay = at::softplus(rates.narrow(1, spec_.value_heads, spec_.value_heads).add(net_.time_));
    const DeltaRows inputs{
        .q = keys(0).mul_(1 / std::sqrt(static_cast<double>(spec_.key_dim))),
        .k = keys(key_width),
        .v = by_key_head(mixed.narrow(1, 2 * key_width, spec_.value_width()), spec_.value_dim),
        .log_decay = by_key_head(decay.mul(net_.decay_), 1).squeeze(3),
        .rate = by_key_head(at::sigmoid(rates.narrow(1, 0, spec_.value_heads)), 1).squeeze(3),
    };
    const at::Tensor out = gated_delta_rule(inputs, memory, pass_.job);  // [Hk, group, rows, dv]
    const at::Tensor ordered = spec_.tiled_heads ? out.permute({2, 1, 0, 3}) : out.permute({2, 0, 1, 3});
    heads_.narrow(0, first, rows).view(ordered.sizes()).copy_(ordered);
  }

  // [rows, Hv d] -> [Hk, group, rows, d].
  at::Tensor by_key_head(const at::Tensor& values, std::int64_t d) const {
    const std::int64_t rows = values.size(0);
    return spec_.tiled_heads
               ? values.reshape({rows, spec_.group(), spec_.key_heads, d}).permute({2, 1, 0, 3}).contiguous()
               : values.reshape({rows, spec_.key_heads, spec_.group(), d}).permute({1, 2, 0, 3}).contiguous();
  }

  const DeltaNet& net_;
  const DeltaSpec& spec_;
  const Pass& pass_;
  DeltaState* state_;
  const kernels::cuda::KernelTable* kernels_;  ///< null: LibTorch's operators
  at::Tensor qkvz_, rates_, heads_;
};

std::unique_ptr<LayerPass> DeltaNet::start(const Pass& pass, LayerState* state) const {
  auto* const own = dynamic_cast<DeltaState*>(state);
  if (state && !own) throw Error(ErrorKind::internal, "the state of a linear layer is not its own");
  return std::make_unique<Rows>(*this, pass, own);
}

std::unique_ptr<Mixer> make_delta_net(const ModelConfig& config, std::int64_t layer, TensorSet& weights) {
  return std::make_unique<DeltaNet>(config, layer, weights);
}

}  // namespace

MixerType entry_delta_net() {
  return {LayerKind::linear, &make_delta_net};
}

}  // namespace headroom::model
