// SPDX-License-Identifier: Apache-2.0
// Plans of the tensors that families name alike, as llama.cpp's converter and transformers do. A family takes a whole
// plan, or the parts that fit it.
#pragma once

#include <cstdint>
#include <string>

#include "model/family.h"

namespace headroom::model {

/// What may differ between families whose names are the usual ones.
struct PlanRules {
  std::string prefix = "model.";          ///< of safetensors, before "embed_tokens.weight", "norm.weight" and "layers."
  std::string output = "lm_head.weight";  ///< of safetensors
  bool gguf_interleaves = false;          ///< GGUF stores the rows of q and k for rotation of adjacent pairs
  bool plus_one = false;                  ///< norms are 1 + w in safetensors (GGUF holds 1 + w already)
};

class FamilyPlan {
 public:
  FamilyPlan(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config, PlanRules rules);

  /// All of a model of attention layers and gated MLPs.
  ModelPlan whole() const;

  /// "embedding", "output_norm" and, unless tied, "output".
  TensorPlans ends() const;
  /// "mixer_norm" and "mlp_norm"; with NormSpec::after the two others.
  void add_norms(TensorPlans& layer, std::int64_t number) const;
  /// "qkv", "attention_output" and what the layer's options ask for: biases, norms of q and k, sinks.
  void add_attention(TensorPlans& layer, std::int64_t number) const;
  /// "gate_up" and "down".
  void add_gated_mlp(TensorPlans& layer, std::int64_t number) const;

  bool gguf() const { return gguf_; }
  /// "blk.3." or "model.layers.3.".
  std::string layer_prefix(std::int64_t number) const;
  /// A vector of the stored tensor; `is_norm`: one that may be stored less 1.
  TensorPlan vector(std::string tensor, std::int64_t places, bool is_norm = false) const;

 private:
  const ModelConfig& config_;
  PlanRules rules_;
  bool gguf_;
};

/// Tables of RoPE's frequencies, which every program computes anew or read_gguf_rope() has read, and in safetensors the
/// output matrix of a model whose output is tied (read_tied_output() compared it). For Family::stands_beside.
bool stands_beside_usual_plan(const ModelConfig& config, std::string_view tensor);

}  // namespace headroom::model
