// SPDX-License-Identifier: Apache-2.0
// What a softmax attention layer remembers: the keys and values of every position so far.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "model/state.h"

namespace headroom::model {

class KvState final : public LayerState {
 public:
  explicit KvState(std::int64_t capacity) : capacity_(capacity) {}
  std::unique_ptr<LayerState> clone() const override;

  /// `new_k`, `new_v` [Hkv, R, d] become positions past … past + R - 1. Where they fill the whole room they are kept as
  /// they are, not copied.
  void append(std::int64_t past, const at::Tensor& new_k, const at::Tensor& new_v);

  /// [Hkv, capacity, d], in the model's dtype; undefined before the first append.
  const at::Tensor& k() const { return k_; }
  const at::Tensor& v() const { return v_; }

 private:
  std::int64_t capacity_;
  at::Tensor k_, v_;
};

}  // namespace headroom::model
