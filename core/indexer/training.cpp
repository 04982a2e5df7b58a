// SPDX-License-Identifier: Apache-2.0
#include "indexer/training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/xlogy.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "attention/backends/torch_backend.h"
#include "attention/rotary.h"

namespace headroom::indexer {

using attention::rotate;

namespace {

constexpr std::array parameter_names = {"q_proj", "k_proj", "k_norm"};
constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// Normal values from a generator of our own: LibTorch's global one must stay untouched.
at::Tensor normal(std::int64_t rows, std::int64_t columns, double deviation, std::mt19937_64& random,
                  c10::Device device) {
  at::Tensor values = at::empty({rows, columns}, at::kFloat);
  std::normal_distribution<float> distribution(0.0f, static_cast<float>(deviation));
  float* out = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) out[i] = distribution(random);
  return values.to(device);
}

/// [R, L] true where the key comes after the row's own position.
at::Tensor future_mask(const at::Tensor& rows, std::int64_t length) {
  return at::arange(length, rows.options()).unsqueeze(0).gt(rows.unsqueeze(1));
}

/// Sum over rows of KL(m || p). log p is -inf only where m is 0, and there the term is 0.
at::Tensor kl_sum(const at::Tensor& mass, const at::Tensor& log_p) {
  return (at::xlogy(mass, mass) - at::where(mass.gt(0), mass * log_p, at::zeros_like(mass))).sum();
}

}  // namespace

LayerTrainer::LayerTrainer(std::int64_t width, std::int64_t index_dim, double norm_epsilon, std::uint64_t seed,
                           c10::Device device)
    : norm_epsilon_(norm_epsilon) {
  std::mt19937_64 random(seed);
  const double deviation = 1 / std::sqrt(static_cast<double>(width));
  parameters_ = {normal(index_dim, width, deviation, random, device),
                 normal(index_dim, width, deviation, random, device),
                 at::ones({index_dim}, at::TensorOptions(at::kFloat).device(device))};
  for (const at::Tensor& parameter : parameters_) {
    first_.push_back(at::zeros_like(parameter));
    second_.push_back(at::zeros_like(parameter));
  }
}

LayerTrainer::Scores LayerTrainer::forward(const attention::LayerQuery& query, const at::Tensor& rows,
                                           bool rounded) const {
  const std::int64_t length = query.length(), dim = parameters_[0].size(0);
  Scores s;
  s.x = query.x.to(at::kFloat);
  s.x_rows = s.x.index_select(0, rows);
  const at::Tensor k_raw = at::matmul(s.x, parameters_[1].t());
  s.k_rms = at::rsqrt(k_raw.square().mean(1, /*keepdim=*/true).add_(norm_epsilon_));
  s.k_hat = k_raw * s.k_rms;
  const at::Tensor positions = at::arange(length, rows.options());
  s.k = rotate(s.k_hat * parameters_[2], positions, query.rope_base);
  s.q = rotate(at::matmul(s.x_rows, parameters_[0].t()), rows, query.rope_base);
  if (rounded && query.x.scalar_type() == at::kBFloat16) {
    s.q = s.q.to(at::kBFloat16).to(at::kFloat);
    s.k = s.k.to(at::kBFloat16).to(at::kFloat);
  }
  at::Tensor scores = at::matmul(s.q, s.k.t()).mul_(1 / std::sqrt(static_cast<double>(dim)));
  s.log_p = at::log_softmax(scores.masked_fill_(future_mask(rows, length), minus_infinity), 1);
  return s;
}

LayerTrainer::Gradients LayerTrainer::gradients(const attention::LayerQuery& query, const at::Tensor& rows) const {
  const Scores s = forward(query, rows, false);
  const at::Tensor mass = attention::mass_of_rows(query, rows, query.length(), SupportScope::layer).squeeze(0);
  const double num_rows = static_cast<double>(rows.size(0));
  const double score_scale = 1 / std::sqrt(static_cast<double>(parameters_[0].size(0)));

  // d KL / d I = softmax(I) - m, both 0 after the row's position.
  const at::Tensor d_scores = (at::exp(s.log_p) - mass).mul_(score_scale / num_rows);
  const at::Tensor d_q = rotate(at::matmul(d_scores, s.k), rows, query.rope_base, /*inverse=*/true);
  const at::Tensor positions = at::arange(query.length(), rows.options());
  const at::Tensor d_normed = rotate(at::matmul(d_scores.t(), s.q), positions, query.rope_base, /*inverse=*/true);
  const at::Tensor d_hat = d_normed * parameters_[2];
  const at::Tensor d_k_raw = (d_hat - s.k_hat * (d_hat * s.k_hat).mean(1, /*keepdim=*/true)) * s.k_rms;
  return {kl_sum(mass, s.log_p) / num_rows, at::matmul(d_q.t(), s.x_rows), at::matmul(d_k_raw.t(), s.x),
          (d_normed * s.k_hat).sum(0)};
}

at::Tensor LayerTrainer::step(const attention::LayerQuery& query, const at::Tensor& rows, double learning_rate,
                              const AdamSettings& adam) {
  const Gradients g = gradients(query, rows);
  ++steps_;
  const double correction1 = 1 - std::pow(adam.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(adam.beta2, static_cast<double>(steps_));
  const std::array by_parameter = {&g.q_proj, &g.k_proj, &g.k_norm};
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& gradient = *by_parameter[i];
    first_[i].mul_(adam.beta1).add_(gradient, 1 - adam.beta1);
    second_[i].mul_(adam.beta2).addcmul_(gradient, gradient, 1 - adam.beta2);
    const at::Tensor scale = (second_[i] / correction2).sqrt_().add_(adam.epsilon);
    parameters_[i].addcdiv_(first_[i], scale, -learning_rate / correction1);
  }
  return g.kl;
}

LayerScore LayerTrainer::evaluate(const attention::LayerQuery& query, const at::Tensor& rows,
                                  std::span<const std::int64_t> budgets) const {
  const Scores s = forward(query, rows, true);
  const at::Tensor mass = attention::mass_of_rows(query, rows, query.length(), SupportScope::layer).squeeze(0);
  LayerScore score;
  score.kl = kl_sum(mass, s.log_p).item<double>() / static_cast<double>(rows.size(0));
  for (const std::int64_t k : budgets) {
    auto& found = score.budgets.emplace_back();
    found.budget = k;
    const at::Tensor long_rows = rows.ge(k).nonzero().squeeze(1);  // history t + 1 > k
    if (long_rows.numel() == 0) continue;
    const at::Tensor m = mass.index_select(0, long_rows), log_p = s.log_p.index_select(0, long_rows);
    const auto [oracle_values, oracle_keys] = at::topk(m, k, 1);
    const at::Tensor chosen = std::get<1>(at::topk(log_p, k, 1));
    const at::Tensor in_oracle = at::zeros_like(m).scatter_(1, oracle_keys, 1.0);
    found.recall = in_oracle.gather(1, chosen).sum(1).mean().item<double>() / static_cast<double>(k);
    found.captured_mass = m.gather(1, chosen).sum(1).mean().item<double>();
    found.oracle_mass = oracle_values.sum(1).mean().item<double>();
  }
  return score;
}

std::map<std::string, at::Tensor> LayerTrainer::state() const {
  std::map<std::string, at::Tensor> state;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    state[parameter_names[i]] = parameters_[i];
    state[std::string(parameter_names[i]) + ".m"] = first_[i];
    state[std::string(parameter_names[i]) + ".v"] = second_[i];
  }
  return state;
}

void LayerTrainer::load_state(const std::map<std::string, at::Tensor>& state, std::int64_t steps_done) {
  const auto restore = [&](const std::string& name, at::Tensor& target) {
    const auto found = state.find(name);
    if (found == state.end() || found->second.sizes() != target.sizes())
      throw input_error("training state", "tensor " + name + " is missing or has another shape");
    target.copy_(found->second);
  };
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    restore(parameter_names[i], parameters_[i]);
    restore(std::string(parameter_names[i]) + ".m", first_[i]);
    restore(std::string(parameter_names[i]) + ".v", second_[i]);
  }
  steps_ = steps_done;
}

}  // namespace headroom::indexer
