// SPDX-License-Identifier: Apache-2.0
#include "experiment/distil/figures.h"

#include <nlohmann/json.hpp>

namespace headroom::experiment {
using indexer::LayerScore;
using nlohmann::json;
namespace {

LayerScore mean(const std::vector<LayerScore>& scores) {
  LayerScore mean;
  mean.budgets.resize(scores.front().budgets.size());
  const double share = 1 / static_cast<double>(scores.size());
  for (std::size_t i = 0; i < mean.budgets.size(); ++i) mean.budgets[i] = {scores.front().budgets[i].budget, 0, 0, 0};
  for (const LayerScore& score : scores) {
    mean.kl += share * score.kl;
    for (std::size_t i = 0; i < mean.budgets.size(); ++i) {
      mean.budgets[i].recall += share * score.budgets[i].recall;
      mean.budgets[i].captured_mass += share * score.budgets[i].captured_mass;
      mean.budgets[i].oracle_mass += share * score.budgets[i].oracle_mass;
    }
  }
  return mean;
}

json score_json(const LayerScore& score) {
  json budgets = json::array();
  for (const auto& at : score.budgets)
    budgets.push_back({{"budget", at.budget},
                       {"recall", at.recall},
                       {"captured_mass", at.captured_mass},
                       {"oracle_mass", at.oracle_mass}});
  return {{"kl", score.kl}, {"budgets", budgets}};
}

json held_out_json(const HeldOut& figures) {
  json result = score_json(figures.mean);
  result["sequences"] = figures.sequences;
  auto& layers = result["layers"] = json::array();
  for (const auto& [layer, score] : figures.layers) {
    layers.push_back(score_json(score));
    layers.back()["layer"] = layer;
  }
  return result;
}

json split_json(const TextSplit& split) {
  const auto counts = [](const TextSplit::Counts& part) {
    return json{{"pieces", part.pieces}, {"bytes", part.bytes}};
  };
  return {{"unit", split.unit.empty() ? json(nullptr) : json(split.unit)},
          {"training", counts(split.training)},
          {"evaluation", counts(split.evaluation)},
          {"passed_over", split.passed_over},
          {"needles", "sentences, key words and wordings of their own in each part"}};
}

}  // namespace

HeldOut average(const std::vector<LayerScores>& sequences) {
  HeldOut result;
  result.sequences = static_cast<std::int64_t>(sequences.size());
  std::map<int, std::vector<LayerScore>> by_layer;
  for (const LayerScores& sequence : sequences)
    for (const auto& [layer, score] : sequence) by_layer[layer].push_back(score);
  std::vector<LayerScore> layers;
  for (const auto& [layer, scores] : by_layer) layers.push_back(result.layers[layer] = mean(scores));
  result.mean = mean(layers);
  return result;
}

json to_json(const DistillFigures& figures) {
  json result = held_out_json(figures.together);
  result["step"] = figures.step;
  result["split"] = split_json(figures.split);
  result["text"] = figures.text ? held_out_json(*figures.text) : json(nullptr);
  result["needles"] = figures.needles ? held_out_json(*figures.needles) : json(nullptr);
  return result;
}

}  // namespace headroom::experiment
