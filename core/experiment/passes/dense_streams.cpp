// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/dense_streams.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "base/error.h"

namespace headroom::experiment {

const attention::StreamLayer* DenseStreams::find_layer(int layer) const {
  const auto found = layers_.find(layer);
  return found == layers_.end() ? nullptr : &found->second;
}

bool DenseStreams::holds(std::span<const std::int32_t> ids) const {
  return !layers_.empty() && std::equal(ids.begin(), ids.end(), ids_.begin(), ids_.end());
}

void DenseStreams::fill(const model::Decoder& decoder, std::span<const std::int32_t> ids, model::PrefillOptions pass) {
  if (!pass.policy->is_dense()) throw Error(ErrorKind::internal, "a dense stream comes from a dense run");
  layers_.clear();
  ids_.clear();
  std::map<int, attention::StreamLayer> layers;
  pass.clock = nullptr;
  pass.hidden_observer = {};
  pass.observer = [&](const attention::PreparedLayer& layer, const at::Tensor&,
                      const std::vector<attention::SupportTile>&) {
    const attention::LayerQuery& query = layer.query();
    // Copies: the tensors' memory serves the next layer.
    const auto keep = [](const at::Tensor& tensor) { return tensor.is_cpu() ? tensor.clone() : tensor.to(at::kCPU); };
    layers[query.layer] = {keep(query.q), keep(query.k)};
  };
  decoder.prefill(ids, pass);
  layers_ = std::move(layers);
  ids_.assign(ids.begin(), ids.end());
}

std::int64_t DenseStreams::bytes(const model::ModelConfig& config, std::int64_t length, std::int64_t element) {
  std::int64_t values = 0;
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    if (!config.is_full(layer)) continue;
    const model::AttentionSpec& sizes = config.layer(layer).attention;
    values += (sizes.num_q_heads + sizes.num_kv_heads) * sizes.head_dim * length;
  }
  return values * element;
}

}  // namespace headroom::experiment
