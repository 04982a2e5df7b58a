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
#include <span>
#include <string>

#include "attention/index_source.h"
#include "base/output_file.h"
#include "checkpoint/checkpoint.h"

namespace headroom::indexer {

using LayerWeights = attention::IndexWeights;

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

struct Indexer final : attention::IndexSource {
  Metadata metadata;
  std::map<int, LayerWeights> layers;  ///< by layer number, full layers only
  std::string sha256;                  ///< of the file it was read from; empty for one that was just trained

  const LayerWeights* find_layer(int layer) const override;
  std::int64_t dim() const override { return metadata.index_dim; }
  double norm_epsilon() const override { return metadata.norm_epsilon; }
  std::string layers_text() const override;
  std::string fingerprint() const override { return sha256; }
};

/// Random weights for the layers named, of no model and no quality: for timing and checks. The same ones every time.
std::shared_ptr<const Indexer> random_indexer(std::int64_t width, std::int64_t dim, std::span<const int> layers);

/// Reads `model.layers.N.self_attn.indexer.{q_proj,k_proj,k_norm}.weight` and the metadata. Every layer needs all
/// three, of one width and d_I, finite, and nothing else may be there (another kind of indexer must not pass for this
/// one). Throws input errors.
Indexer load_indexer(const std::filesystem::path& file);
/// Writes bf16 weights. Returns where the file is (OutputFile::commit).
std::filesystem::path save_indexer(const Indexer& indexer, OutputPlace& place);
inline void save_indexer(const Indexer& indexer, const std::filesystem::path& file) {
  OutputPlace place(file);
  save_indexer(indexer, place);
}
/// A shipped indexer (sample_data/indexers) whose metadata names this model hash.
std::optional<std::filesystem::path> find_shipped_indexer(const std::string& model_sha256);

}  // namespace headroom::indexer
