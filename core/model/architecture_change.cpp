// SPDX-License-Identifier: Apache-2.0
// What an adapter makes of its base's configuration (checkpoint::ArchitectureChange).
#include <algorithm>

#include "base/error.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/metadata.h"
#include "model/adapted_checkpoint.h"

namespace headroom::model {
namespace {

using checkpoint::ArchitectureChange;

std::string change_place(const ArchitectureChange& change, const char* key) {
  return change.file.string() + ": key " + checkpoint::in_quotes(key);
}

void change_kinds(const ArchitectureChange& change, ModelConfig& config) {
  const std::string place = change_place(change, "layer_kinds");
  if (change.kinds.size() != config.layers.size())
    throw input_error(place, "the list does not fit the base's layers",
                      std::to_string(config.layers.size()) + " entries", std::to_string(change.kinds.size()));
  const RopeSpec* rope = nullptr;
  bool ropes_differ = false, changes = false;
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    LayerSpec& layer = config.layers[i];
    const std::string here = place + ", layer " + std::to_string(i), &kind = change.kinds[i];
    if ((kind == "linear") != (layer.kind == LayerKind::linear))
      throw input_error(here, "an adapter does not turn linear attention into softmax attention, or back",
                        std::string(to_string(layer.kind)), kind);
    if (layer.kind == LayerKind::linear) continue;
    ropes_differ = ropes_differ || (rope && *rope != layer.attention.rope);
    rope = &layer.attention.rope;
    changes = changes || kind != to_string(layer.kind);
    layer.kind = kind == "sliding" ? LayerKind::sliding : LayerKind::full;
    layer.attention.window = kind == "sliding" ? change.window : 0;
  }
  if (changes && ropes_differ && !change.rope_base)
    throw input_error(change_place(change, "rope_base"),
                      "the base's full and sliding layers rotate differently, and kinds change: which RoPE they then "
                      "have must be said",
                      "one base for all layers", "nothing");
}

}  // namespace

void change_architecture(const ArchitectureChange& change, ModelConfig& config) {
  if (!change.kinds.empty()) change_kinds(change, config);
  if (change.rope_base) {
    for (LayerSpec& layer : config.layers) {
      if (layer.kind == LayerKind::linear) continue;
      RopeSpec& rope = layer.attention.rope;
      if (!rope.factors.empty() || rope.magnitude != 1)
        throw input_error(change_place(change, "rope_base"),
                          "the base's RoPE is scaled, and what another base means for it is not defined",
                          "no rope_base, or a base without RoPE scaling",
                          checkpoint::number_text(*change.rope_base));
      rope.base = *change.rope_base;
    }
  }
  if (change.context) config.context_length = *change.context;
}

}  // namespace headroom::model
