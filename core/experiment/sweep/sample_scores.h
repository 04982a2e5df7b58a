// SPDX-License-Identifier: Apache-2.0
// One sample under one method after another. Dense comes first, and its answer, logits and hidden states stay in memory
// for the others; nothing goes to the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <vector>

#include "experiment/run/methods.h"
#include "model/decoder.h"
#include "record/sweep/sweep_types.h"

namespace headroom::experiment {

struct SampleOptions {
  std::set<int> dense_layers;
  std::int64_t new_tokens = 0;     ///< of the answer
  std::vector<std::int32_t> ends;  ///< tokens that end it
  std::int64_t prompt_tail = 0;    ///< prompt tokens whose NLL and KL are scored
  bool compare = true;             ///< others will be compared with dense
  bool curves = false;             ///< dense's mass curves are wanted
};

/// What a method's pass gave; the row's sample, method, score and answer's text are the caller's.
struct SampleResult {
  std::vector<std::int32_t> answer;  ///< ids, without the token that ended it
  record::SweepRow row;
};

class SampleScores {
 public:
  /// Hidden states are compared in at most so many rows, evenly spread, the last among them.
  static constexpr std::int64_t compared_rows = 256;

  /// References outlive this object. `backend` executes every method.
  SampleScores(const model::Decoder& decoder, const attention::Backend& backend, std::span<const std::int32_t> ids,
               SampleOptions options);

  /// Must be the first. Where curves are wanted they are in `curves` afterwards.
  SampleResult dense(const Method& method, const JobContext& job);
  /// The answer is the one that greedy decoding gives. It is decoded only from where its likeliest token is not
  /// dense's: up to there the two are the same, and were predicted while dense's answer was forced.
  SampleResult sparse(const Method& method, const JobContext& job);

  record::SweepCurves curves;  ///< budgets and values
  double prefill_seconds() const { return prefill_seconds_; }

 private:
  model::PrefillResult prefill(const Method& method, record::SweepRow& row, const JobContext& job);
  at::Tensor forced_logits(model::DecoderState& state, const at::Tensor& last, const JobContext& job) const;
  void add_hidden(int layer, const at::Tensor& hidden, bool is_dense, std::int64_t budget, record::SweepRow& row);
  void add_curves(const attention::PreparedLayer& layer, const JobContext& job);
  void score_tail(const at::Tensor& logits, record::SweepRow& row);
  std::vector<std::int32_t> decode_on(model::PrefillResult& result, std::vector<std::int32_t> answer, std::int64_t from,
                                      bool& cut, const JobContext& job) const;

  const model::Decoder& decoder_;
  const attention::Backend& backend_;
  std::span<const std::int32_t> ids_;
  SampleOptions options_;
  std::vector<std::int64_t> rows_;  ///< whose hidden states are compared
  // Of dense.
  std::vector<std::int32_t> answer_, targets_;  ///< targets: the answer, and what follows it
  bool cut_ = false;
  at::Tensor logits_;  ///< fp32 [targets, vocabulary], forced along the answer as the others are
  at::Tensor tail_;    ///< fp32 [tail, vocabulary] on the CPU
  std::vector<at::Tensor> hidden_;  ///< [layers] of [compared rows, width]
  double prefill_seconds_ = 0;
};

}  // namespace headroom::experiment
