// SPDX-License-Identifier: Apache-2.0
// The row-tile loop that every sparse policy shares: score, select, attend. A policy supplies scores, or on the CPU
// supports, where its kernel selects from each tile of scores while it is in the cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "attention/cpu_layer.h"
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

/// What a task spent on each part, summed over its rows; only their ratio counts.
struct SelectorTime {
  std::int64_t score_ns = 0;
  std::int64_t select_ns = 0;
};

/// Supports of rows [row_begin, row_end): for row r its keys ascending at indices[r * width …] and their number, at
/// most `width`, at counts[r]; what stands behind a row's count is overwritten by the caller. `width` is the budget in
/// tokens (a row of history n gets min(width, n) keys), or for mass budgets at least row_end. Called from several
/// threads at once on the CPU, each with its own rows, at most 128 of them; blocks of the rule's granularity are never
/// cut. Must not depend on how rows are tiled.
using RowSelector = std::function<SelectorTime(std::int64_t row_begin, std::int64_t row_end, std::int32_t* indices,
                                               std::int64_t width, std::int32_t* counts)>;

/// Attends over the selected keys, row tile by row tile; nothing L x L. Every row t gets exactly min(k, t + 1) keys,
/// its own among them: the best of the scores that its block shares, restricted to keys <= t (METHOD.md leaves open
/// whether a shared set is cut by causality instead, which would leave rows short of their budget). Supports and
/// outputs do not depend on the number of threads. See Policy::attend for the rest.
at::Tensor sparse_prefill(const LayerQuery& query, const SelectionRule& rule, const RowScorer& scorer,
                          StageClock& clock, const SupportSink& sink, const JobContext& job);
/// The same with supports that the policy selects itself; CPU only. `rule` says which rows are dense by definition, and
/// the width. Score and select are timed as one span, split by what the tasks spent on each. `layer`: the query packed
/// already, or null.
at::Tensor sparse_prefill(const LayerQuery& query, const SelectionRule& rule, const RowSelector& selector,
                          StageClock& clock, const SupportSink& sink, const JobContext& job,
                          const CpuLayer* layer = nullptr);

/// The first rows, which attend densely because the budget covers their history: whole tiles of rows, or all.
std::int64_t rows_within_budget(const LayerQuery& query, const SelectionRule& rule);

/// LibTorch's causal attention over the first `rows` positions into out[:, :rows]. On the CPU in one call, then one head
/// a thread, then query chunks as prompts grow, so that a stop is noticed; grouped heads are never copied.
void dense_prefill(const LayerQuery& query, std::int64_t rows, const at::Tensor& out, const JobContext& job);

/// Throws an internal error where shapes, dtypes or devices do not fit together.
void check_query(const LayerQuery& query);

}  // namespace headroom::attention
