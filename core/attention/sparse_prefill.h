// SPDX-License-Identifier: Apache-2.0
// The row-tile loop that every sparse policy shares: score, select, attend. A policy supplies scores only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "attention/policy.h"

namespace headroom::attention {

struct SelectionRule {
  Budget budget;
  std::int64_t granularity = 1;  ///< B: rows of a block share the sum of their scores
  ForcedKeys forced;
};

/// Scores of rows [row_begin, row_end) for keys [0, row_end): fp32 [rows, row_end], contiguous, on the query's device;
/// entries with key > row are ignored. Where blocks or mass budgets add scores they are not negative. Called from
/// several threads at once on the CPU, each with its own rows; must not depend on how rows are tiled.
using RowScorer = std::function<at::Tensor(std::int64_t row_begin, std::int64_t row_end)>;

/// Whether at::sum-like scores (probabilities) are needed, or any order-preserving score will do.
bool needs_additive_scores(const SelectionRule& rule);

/// Attends over the selected keys, row tile by row tile; nothing L x L. Every row t gets exactly min(k, t + 1) keys,
/// its own among them: the best of the scores that its block shares, restricted to keys <= t (METHOD.md leaves open
/// whether a shared set is cut by causality instead, which would leave rows short of their budget). Supports and
/// outputs do not depend on the number of threads. See Policy::attend for the rest.
at::Tensor sparse_prefill(const LayerQuery& query, const SelectionRule& rule, const RowScorer& scorer,
                          StageClock& clock, const SupportSink& sink, const JobContext& job);

/// Causal attention over the first `rows` positions into out[:, :rows]. On the CPU in one call, then one head a thread,
/// then query chunks as prompts grow, so that a stop is noticed; grouped heads are never copied.
void dense_prefill(const LayerQuery& query, std::int64_t rows, const at::Tensor& out, const JobContext& job);

/// Throws an internal error where shapes, dtypes or devices do not fit together.
void check_query(const LayerQuery& query);

}  // namespace headroom::attention
