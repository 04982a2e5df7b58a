// SPDX-License-Identifier: Apache-2.0
// A policy and a backend that note which layers they were asked for.
#pragma once

#include <memory>
#include <vector>

#include "attention/backend.h"
#include "attention/registry.h"

namespace headroom::test {

class ListeningPolicy final : public attention::Policy {
 public:
  explicit ListeningPolicy(std::unique_ptr<attention::Policy> inner)
      : Policy(inner->traits(), inner->settings()), inner_(std::move(inner)) {}
  attention::Selection select(const attention::PreparedLayer& layer, StageClock& clock,
                              const JobContext& job) const override {
    layers.push_back(layer.query().layer);
    return inner_->select(layer, clock, job);
  }
  mutable std::vector<int> layers;

 private:
  std::unique_ptr<attention::Policy> inner_;
};

class ListeningBackend final : public attention::Backend {
 public:
  std::string id() const override { return inner_->id(); }
  std::string dense_label() const override { return inner_->dense_label(); }
  std::string sparse_label() const override { return inner_->sparse_label(); }
  std::unique_ptr<attention::PreparedLayer> prepare(const attention::LayerQuery& query,
                                                    const JobContext& job) const override {
    layers.push_back(query.layer);
    return inner_->prepare(query, job);
  }
  mutable std::vector<int> layers;

 private:
  std::shared_ptr<const attention::Backend> inner_ = attention::make_torch_backend();
};

/// Sinks and a window of `keys` keys.
inline std::unique_ptr<attention::Policy> window_policy(double keys) {
  return attention::make_policy("sink_window", {.budget = Budget{BudgetKind::tokens, keys}});
}

}  // namespace headroom::test
