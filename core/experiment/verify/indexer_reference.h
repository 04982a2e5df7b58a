// SPDX-License-Identifier: Apache-2.0
// The indexer's scores for `headroom verify`: from METHOD.md's definition in fp64, and as LibTorch's operators compute
// them in the model's own precision, whose error says what that precision costs. Internal to verify.
#pragma once

#include <vector>

#include "attention/layer_query.h"
#include "indexer/indexer.h"

namespace headroom::experiment {

/// Scores of a layer's rows: row t has t + 1 values.
using RowScores = std::vector<std::vector<double>>;

/// softmax(I) from the stored x and weights; nothing is rounded on the way. `query` on any device.
RowScores indexer_scores(const attention::LayerQuery& query, const indexer::LayerWeights& weights,
                         const indexer::Metadata& metadata);

/// The same with weights, q_I and k_I in x's dtype, on x's device.
RowScores textbook_indexer_scores(const attention::LayerQuery& query, const indexer::LayerWeights& weights,
                                  const indexer::Metadata& metadata);

}  // namespace headroom::experiment
