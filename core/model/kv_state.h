// SPDX-License-Identifier: Apache-2.0
// What a softmax attention layer remembers: the keys and values of every position so far.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <memory>

#include "model/state.h"

namespace headroom::model {

class KvState final : public LayerState {
 public:
  /// Of `heads` KV heads. `options`: the model's.
  KvState(std::int64_t capacity, std::int64_t heads, std::int64_t head_dim, const at::TensorOptions& options)
      : capacity_(capacity), heads_(heads), head_dim_(head_dim), options_(options) {}
  std::unique_ptr<LayerState> clone() const override;
  void reserve() override;

  /// `new_k`, `new_v` [Hkv, R, d] become positions past … past + R - 1. Where they fill the whole room they are kept as
  /// they are, not copied, unless the room was reserved.
  void append(std::int64_t past, const at::Tensor& new_k, const at::Tensor& new_v);

  /// [Hkv, capacity, d], in the model's dtype; undefined before reserve() or the first append.
  const at::Tensor& k() const { return k_; }
  const at::Tensor& v() const { return v_; }

 private:
  std::int64_t capacity_, heads_, head_dim_;
  at::TensorOptions options_;
  at::Tensor k_, v_;
};

}  // namespace headroom::model
