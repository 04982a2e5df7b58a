// SPDX-License-Identifier: Apache-2.0
// The head-collapsed indexer (METHOD.md, "Indexer"; arXiv 2606.07703): a cheap learned score whose top-k is the support.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "attention/policy.h"
#include "checkpoint/checkpoint.h"

namespace headroom::indexer {

/// Weights of one full layer. q_proj [d_I, width], k_proj [d_I, width], k_norm [d_I].
struct LayerWeights {
  at::Tensor q_proj;
  at::Tensor k_proj;
  at::Tensor k_norm;
};

struct Metadata {
  std::int64_t index_dim = 128;     ///< d_I
  std::string base_model_sha256;    ///< Checkpoint::hash() of the model it was distilled for
  std::string base_model_name;
  std::int64_t trained_length = 0;  ///< tokens a training sequence; longer prompts are "untested"
  std::int64_t steps = 0;
  double norm_epsilon = 1e-6;
  std::string recipe;               ///< JSON object as text
  std::string held_out;             ///< JSON object as text: KL, recall, captured mass per layer
};

struct Indexer {
  Metadata metadata;
  std::map<int, LayerWeights> layers;  ///< by layer number, full layers only
};

/// Reads `model.layers.N.self_attn.indexer.{q_proj,k_proj,k_norm}.weight` and the metadata. Throws input errors.
Indexer load_indexer(const std::filesystem::path& file);
/// Writes bf16 weights to FILE.part, then renames.
void save_indexer(const Indexer& indexer, const std::filesystem::path& file);
/// A shipped indexer (sample_data/indexers) whose metadata names this model hash.
std::optional<std::filesystem::path> find_shipped_indexer(const std::string& model_sha256);

/// I[rows, :] for rows [row_begin, row_end), keys [0, row_end): fp32, not masked. `q_I`, `k_I`: [L, d_I].
struct Projections {
  at::Tensor q;  ///< [L, d_I] after RoPE
  at::Tensor k;  ///< [L, d_I] after RMSNorm and RoPE
};
Projections project(const LayerWeights& weights, const Metadata& metadata, const attention::LayerQuery& query);

/// The policy "indexer": support = top-k of I (p-budgets: by softmax(I)). The weights move to the query's device and
/// dtype at first use. Throws an input error where a full layer of the model has no weights or another width.
std::unique_ptr<attention::Policy> make_indexer_policy(std::shared_ptr<const Indexer> indexer,
                                                       const attention::PolicyOptions& options);

}  // namespace headroom::indexer
