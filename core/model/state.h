// SPDX-License-Identifier: Apache-2.0
// What a decoder remembers between calls: of each layer what its mixer needs of the positions so far.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace headroom::model {

/// Of one layer: keys and values, a recurrence's state, …
class LayerState {
 public:
  virtual ~LayerState() = default;
  virtual std::unique_ptr<LayerState> clone() const = 0;
  /// Takes all of its room at once, before a pass that allocates much else between the layers: pieces of lasting memory
  /// among others leave holes that nothing fits into.
  virtual void reserve() {}
};

/// After `length` positions. Moves; clone() copies, so that several continuations can follow one prefill.
struct DecoderState {
  std::vector<std::unique_ptr<LayerState>> layers;
  std::int64_t length = 0;
  std::int64_t capacity = 0;  ///< positions that there is room for
  DecoderState clone() const;
};

}  // namespace headroom::model
