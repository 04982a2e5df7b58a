// SPDX-License-Identifier: Apache-2.0
// Attention streams that another program took from a model of its own: q and k of full layers after norms and rotation,
// with the tokens they belong to (docs/import.md is the format). Untrusted input, read layer by layer.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "attention/layer_query.h"
#include "base/method.h"
#include "base/support_bitmap.h"
#include "checkpoint/safetensors_file.h"
#include "model/model_config.h"
#include "record/types.h"

namespace headroom::experiment {

class Streams {
 public:
  /// Reads the header, the tokens and the sizes of every layer. Throws input errors that name the metadata's key or the
  /// tensor.
  explicit Streams(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return file_->path(); }
  std::string hash(const JobContext& job) const { return file_->hash(job); }
  /// Name, architecture and layers as the file says; those that are omitted count as `linear` here.
  const model::ModelConfig& config() const { return config_; }
  /// For the record, with the word "omitted" for a full layer whose streams the file leaves out.
  const std::vector<record::LayerMeta>& layers() const { return layers_; }
  const record::TokenTable& tokens() const { return tokens_; }
  std::int64_t length() const { return static_cast<std::int64_t>(tokens_.ids.size()); }
  /// bf16 where all streams are, else fp32.
  c10::ScalarType dtype() const { return dtype_; }
  /// Whether every full layer has v: attention outputs can be compared.
  bool has_values() const { return has_values_; }

  /// q, k and v (k in its place where there is none) of a full layer, on the CPU; x is undefined. Throws input errors
  /// for values that are not finite.
  attention::LayerQuery layer(int number) const;

  /// Whether the file says which keys the model itself selected in its full layers.
  bool has_selection() const { return has_selection_; }
  SupportScope selection_scope() const { return selection_scope_; }
  /// Head groups of the selection, the most of any layer; 0 without one.
  std::int64_t selection_groups() const;
  /// One bitmap a head group. Throws input errors: a key behind its query, twice, or outside the prompt; a query
  /// without keys; a list that goes on behind its end.
  std::vector<SupportBitmap> selection(int number) const;

 private:
  void read_layers();
  void read_tokens();
  void read_sizes();
  void read_selection_shape();
  const checkpoint::TensorInfo* tensor(int layer, const char* what) const;
  std::string place(int layer, const char* what) const;
  at::Tensor values(int layer, const char* what) const;

  std::unique_ptr<checkpoint::SafetensorsFile> file_;
  model::ModelConfig config_;
  std::vector<record::LayerMeta> layers_;
  record::TokenTable tokens_;
  c10::ScalarType dtype_ = c10::ScalarType::Float;
  bool has_values_ = false, has_selection_ = false;
  SupportScope selection_scope_ = SupportScope::layer;
};

}  // namespace headroom::experiment
