// SPDX-License-Identifier: Apache-2.0
// The head-collapsed indexer (METHOD.md, "Indexer"; arXiv 2606.07703): a cheap learned score whose top-k is the
// support.
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
  std::int64_t index_dim = 128;   ///< d_I
  std::string base_model_sha256;  ///< Checkpoint::hash() of the model it was distilled for
  std::string base_model_name;
  std::int64_t trained_length = 0;  ///< tokens a training sequence; longer prompts are "untested"
  std::int64_t steps = 0;
  double norm_epsilon = 1e-6;
  std::string recipe;    ///< JSON object as text
  std::string held_out;  ///< JSON object as text: KL, recall, captured mass per layer
};

struct Indexer {
  Metadata metadata;
  std::map<int, LayerWeights> layers;  ///< by layer number, full layers only
};

/// Reads `model.layers.N.self_attn.indexer.{q_proj,k_proj,k_norm}.weight` and the metadata. Every layer needs all
/// three, of one width and d_I, finite, and nothing else may be there (another kind of indexer must not pass for this
/// one). Throws input errors.
Indexer load_indexer(const std::filesystem::path& file);
/// Writes bf16 weights to FILE.part, then renames.
void save_indexer(const Indexer& indexer, const std::filesystem::path& file);
/// A shipped indexer (sample_data/indexers) whose metadata names this model hash.
std::optional<std::filesystem::path> find_shipped_indexer(const std::string& model_sha256);

/// I = q.k^T / sqrt(d_I). Where the model runs in bf16, q and k are rounded to bf16 (to nearest even) after norm and
/// RoPE, on every device and in every path: the products are then exact in fp32, and a score is their sum.
struct Projections {
  at::Tensor q;  ///< [L, d_I] fp32, after RoPE
  at::Tensor k;  ///< [L, d_I] fp32, after RMSNorm and RoPE
};
/// Sums, norm and RoPE in fp32 whatever the model's dtype.
Projections project(const LayerWeights& weights, const Metadata& metadata, const attention::LayerQuery& query);

/// The policy "indexer": support = top-k of I, on the CPU selected by a kernel from each tile of scores. Mass budgets
/// and blocks of rows (B > 1) add up softmax(I) instead: a row's I is only defined up to a constant, and its softmax is
/// what was trained to be the mass. The weights move to the query's device at first use. Throws usage errors for bad
/// options, and when it attends an input error where the layer has no weights or another width.
std::unique_ptr<attention::Policy> make_indexer_policy(std::shared_ptr<const Indexer> indexer,
                                                       const attention::PolicyOptions& options);

}  // namespace headroom::indexer
