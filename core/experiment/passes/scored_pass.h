// SPDX-License-Identifier: Apache-2.0
// What a method does after the prompt: its answer, and how far its predictions are from dense's. No analysis, nothing
// on disk: a quality figure costs a prefill and a few decoded tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "model/decoder.h"
#include "record/types.h"

namespace headroom::experiment {

struct ScoreOptions {
  std::int64_t max_new_tokens = 16;  ///< of the answer; the prefill's state must have room for them
  std::vector<std::int32_t> ends;    ///< tokens that end it
  JobContext job;
  std::function<void(std::span<const std::int32_t> answer)> progress;  ///< gets the ids so far; may be empty
  /// Of how many positions the likeliest tokens are kept, besides the first that differs; 0: none at all.
  std::int64_t keep_choices = 0;
};

struct ScoredAnswer {
  std::vector<std::int32_t> ids;  ///< greedy, without the token that ended it
  bool cut = false;               ///< the limit ended it, no end token
  /// Beside dense; none for dense itself.
  std::optional<double> kl_to_dense;  ///< KL(dense || method) at the prompt's last position, nats
  std::optional<bool> top1_agrees;
  std::optional<record::ForcedComparison> forced;
  std::vector<record::AnswerPosition> choices;  ///< ids and probabilities, without texts
  /// fp32 [1 + answered tokens, vocabulary] on the CPU: what this method predicts before each token of its answer. Kept
  /// for dense alone, which others are compared with.
  at::Tensor logits;
};

/// Scores what a prefill left. `dense`: the dense method's result, null for dense itself. `result` is used up.
ScoredAnswer score_prefill(const model::Decoder& decoder, model::PrefillResult& result, const ScoreOptions& options,
                           const ScoredAnswer* dense);

/// Prefill under `pass` (clock and observers are not used), then the above.
ScoredAnswer scored_pass(const model::Decoder& decoder, std::span<const std::int32_t> ids, model::PrefillOptions pass,
                         const ScoreOptions& options, const ScoredAnswer* dense);

/// Teacher-forces a task's reference answer inside the sparse pass: prompt and answer are prefilled as one under `pass`
/// (a budget in percent is of both). `answer` not empty, both together within the context; the policy must be
/// causal, so that the prompt's rows are what they were.
record::ReferenceAnswer score_reference(const model::Decoder& decoder, std::span<const std::int32_t> prompt,
                                        std::span<const std::int32_t> answer, model::PrefillOptions pass);

}  // namespace headroom::experiment
