// SPDX-License-Identifier: Apache-2.0
// q and k of a dense run, kept on the host for methods that choose by them (attention/stream_source.h).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "attention/stream_source.h"
#include "model/decoder.h"

namespace headroom::experiment {

class DenseStreams final : public attention::StreamSource {
 public:
  const attention::StreamLayer* find_layer(int layer) const override;
  bool holds(std::span<const std::int32_t> ids) const;
  /// Runs `pass` (whose policy is dense) over `ids` and keeps each full layer's q and k in place of what was held.
  void fill(const model::Decoder& decoder, std::span<const std::int32_t> ids, model::PrefillOptions pass);
  /// Host bytes for a prompt of `length` tokens.
  static std::int64_t bytes(const model::ModelConfig& config, std::int64_t length, std::int64_t element);

 private:
  std::vector<std::int32_t> ids_;
  std::map<int, attention::StreamLayer> layers_;
};

}  // namespace headroom::experiment
