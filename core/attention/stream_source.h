// SPDX-License-Identifier: Apache-2.0
// The queries and keys of a dense run over the same prompt, for policies whose supports are not those of their own
// stream.
#pragma once

#include <ATen/core/Tensor.h>

namespace headroom::attention {

/// One full layer's q [Hq, L, d] and k [Hkv, L, d], after norms and RoPE, on any device; L at least the length of the
/// prompt that reads it, whose positions are the first ones.
struct StreamLayer {
  at::Tensor q, k;
};

/// Immutable while a layer is selected for; whoever runs the passes fills it before.
class StreamSource {
 public:
  virtual ~StreamSource() = default;
  /// nullptr where the layer was not seen.
  virtual const StreamLayer* find_layer(int layer) const = 0;
};

}  // namespace headroom::attention
