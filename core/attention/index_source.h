// SPDX-License-Identifier: Apache-2.0
// The weights that index scores are computed from (METHOD.md, "Indexer"), whoever trained or read them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace headroom::attention {

/// One full layer: q_I = W_q x, k_I = RMSNorm(W_k x).
struct IndexWeights {
  at::Tensor q_proj;  ///< [d_I, width]
  at::Tensor k_proj;  ///< [d_I, width]
  at::Tensor k_norm;  ///< [d_I]
};

/// Immutable while a policy holds it.
class IndexSource {
 public:
  virtual ~IndexSource() = default;
  /// nullptr where the layer has none.
  virtual const IndexWeights* find_layer(int layer) const = 0;
  virtual std::int64_t dim() const = 0;  ///< d_I
  virtual double norm_epsilon() const = 0;
  /// For messages: "30 layers, the last is 29".
  virtual std::string layers_text() const = 0;
  /// Tells one set of weights from another: part of a method's fingerprint.
  virtual std::string fingerprint() const = 0;
};

}  // namespace headroom::attention
