// SPDX-License-Identifier: Apache-2.0
// Distils the indexer of one full layer: KL from the layer's attention mass to softmax(I), with the gradient in closed
// form (METHOD.md, "Indexer"; arXiv 2606.07703). No autograd graph, nothing L x L: only sampled rows are scored.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "attention/layer_query.h"
#include "indexer/indexer.h"

namespace headroom::indexer {

struct AdamSettings {
  double beta1 = 0.9;
  double beta2 = 0.99;
  double epsilon = 1e-8;
};

/// How one layer's indexer does on sampled rows.
struct LayerScore {
  /// Means over rows with history > k.
  struct AtBudget {
    std::int64_t budget = 0;   ///< k
    double recall = 1;         ///< |top-k of I ∩ top-k of m| / k
    double captured_mass = 1;  ///< of m by the top-k of I
    double oracle_mass = 1;    ///< of m by its own top-k
  };
  double kl = 0;                  ///< KL(m || softmax(I)), nats, over all sampled rows
  std::vector<AtBudget> budgets;  ///< as asked for, in order
};

class LayerTrainer {
 public:
  /// Fresh weights from `seed` on `device`; q_proj, k_proj [index_dim, width], k_norm [index_dim], all fp32.
  LayerTrainer(std::int64_t width, std::int64_t index_dim, double norm_epsilon, std::uint64_t seed, c10::Device device);

  struct Gradients {
    at::Tensor kl;                      ///< 0-dim: mean KL(m || softmax(I)) over the rows, nats
    at::Tensor q_proj, k_proj, k_norm;  ///< of that mean
  };
  Gradients gradients(const attention::LayerQuery& query, const at::Tensor& rows) const;

  /// One Adam step on the mean KL over `rows` ([R] int64, ascending, on the query's device). Returns that KL in nats,
  /// as a 0-dim tensor on the device (so that layers need not wait for each other).
  at::Tensor step(const attention::LayerQuery& query, const at::Tensor& rows, double learning_rate,
                  const AdamSettings& adam);
  LayerScore evaluate(const attention::LayerQuery& query, const at::Tensor& rows,
                      std::span<const std::int64_t> budgets) const;

  /// fp32 weights, in use.
  LayerWeights weights() const { return {parameters_[0], parameters_[1], parameters_[2]}; }
  /// Weights and Adam moments by name ("q_proj", "q_proj.m", …), to save a training state and to go on from one.
  std::map<std::string, at::Tensor> state() const;
  /// Throws an input error where a tensor is missing or of another shape.
  void load_state(const std::map<std::string, at::Tensor>& state, std::int64_t steps_done);

 private:
  struct Scores {          // intermediate values of the forward pass, rows R of L
    at::Tensor x, x_rows;  // [L, width], [R, width] fp32
    at::Tensor k_hat;      // [L, d_I] normalised, before its weight
    at::Tensor k_rms;      // [L, 1] 1 / rms
    at::Tensor q, k;       // [R, d_I], [L, d_I] after RoPE
    at::Tensor log_p;      // [R, L] log softmax(I), -inf after the row's position
  };
  /// `rounded`: q and k as the policy uses them (Projections); training's own stay as they are.
  Scores forward(const attention::LayerQuery& query, const at::Tensor& rows, bool rounded) const;

  double norm_epsilon_;
  std::int64_t steps_ = 0;
  std::vector<at::Tensor> parameters_;      // q_proj, k_proj, k_norm
  std::vector<at::Tensor> first_, second_;  // Adam moments
};

}  // namespace headroom::indexer
