// SPDX-License-Identifier: Apache-2.0
// What one full layer hands to attention during prefill.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace headroom::attention {

/// All tensors on one device, in the model's dtype (bf16 or fp32).
struct LayerQuery {
  int layer = 0;
  int num_layers = 1;    ///< of the model, of all kinds
  at::Tensor x;          ///< [L, width], the layer's normalised input (what the indexer reads)
  at::Tensor q;          ///< [Hq, L, d], after norms and RoPE
  at::Tensor k;          ///< [Hkv, L, d], after norms and RoPE
  at::Tensor v;          ///< [Hkv, L, d]
  at::Tensor sinks;      ///< [Hq] fp32, a learned logit that joins each row's softmax (sinks.h); undefined: none
  double scale = 0;      ///< of q.k, usually d^-1/2
  double rope_base = 0;  ///< for the indexer's own RoPE

  std::int64_t length() const { return q.size(1); }
  std::int64_t num_q_heads() const { return q.size(0); }
  std::int64_t num_kv_heads() const { return k.size(0); }
  std::int64_t head_dim() const { return q.size(2); }
};

/// Throws an internal error where shapes, dtypes or devices do not fit together.
void check_query(const LayerQuery& query);

}  // namespace headroom::attention
