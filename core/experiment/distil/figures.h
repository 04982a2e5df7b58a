// SPDX-License-Identifier: Apache-2.0
// Held-out figures of a distillation: what evaluation sequences gave, of text, of needle prompts and of both.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "experiment/distil/text_split.h"
#include "indexer/training.h"

namespace headroom::experiment {

using LayerScores = std::map<int, indexer::LayerScore>;  ///< by layer; full layers alone

/// Means over sequences.
struct HeldOut {
  std::int64_t sequences = 0;
  LayerScores layers;
  indexer::LayerScore mean;  ///< over the layers
};
/// One entry a sequence, at least one; all with the same layers and budgets.
HeldOut average(const std::vector<LayerScores>& sequences);

struct DistillFigures {
  std::int64_t step = 0;
  TextSplit split;
  HeldOut together;
  std::optional<HeldOut> text, needles;  ///< none where there was no such sequence
};

/// {step, split: {unit, training: {pieces, bytes}, evaluation: {…}, passed_over, needles}, then `together`'s fields,
/// and text and needles with the same ones (or null): sequences, kl, budgets: [{budget, recall, captured_mass,
/// oracle_mass}], layers: [{layer, kl, budgets}]}.
nlohmann::json to_json(const DistillFigures& figures);

}  // namespace headroom::experiment
