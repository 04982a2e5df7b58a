// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/scored_pass.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/quantile.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <set>

namespace headroom::experiment {
namespace {

std::int32_t best_token(const at::Tensor& logits) {
  return static_cast<std::int32_t>(at::argmax(logits).item<std::int64_t>());
}

at::Tensor on_host(const at::Tensor& logits) {
  return logits.to(at::kCPU, at::kFloat);
}

/// Tokens of an answer that are decoded at once: from one more on the output matrix would be widened (row_kernels.cpp),
/// and the logits of a long answer are as large.
constexpr std::int64_t forced_rows = 16;

/// KL(p || q) of one row of logits, nats.
double kl_divergence(const at::Tensor& p_logits, const at::Tensor& q_logits) {
  const at::Tensor p = at::log_softmax(p_logits.to(at::kDouble), 0), q = at::log_softmax(q_logits.to(at::kDouble), 0);
  const double kl = p.sub(q).mul_(at::exp(p)).sum().item<double>();
  return kl < 0 ? 0 : kl;  // by rounding
}

/// The likeliest tokens of two rows of logits, those of dense first.
std::vector<record::TokenChoice> candidates_of(const at::Tensor& dense_logits, const at::Tensor& method_logits) {
  const at::Tensor dense = at::softmax(dense_logits.to(at::kDouble), 0).contiguous();
  const at::Tensor method = at::softmax(method_logits.to(at::kDouble), 0).contiguous();
  const double *p = dense.const_data_ptr<double>(), *q = method.const_data_ptr<double>();
  const std::int64_t count = std::min<std::int64_t>(record::kept_candidates, dense.size(0));
  std::set<std::int64_t> ids;
  for (const at::Tensor& of : {dense, method}) {
    const at::Tensor best = std::get<1>(at::topk(of, count)).contiguous();
    ids.insert(best.const_data_ptr<std::int64_t>(), best.const_data_ptr<std::int64_t>() + count);
  }
  std::vector<record::TokenChoice> choices;
  for (const std::int64_t id : ids) choices.push_back({static_cast<std::int32_t>(id), {}, p[id], q[id]});
  std::stable_sort(choices.begin(), choices.end(), [](const auto& a, const auto& b) { return a.dense > b.dense; });
  return choices;
}

/// A method's predictions beside dense's, position after position.
class Comparison {
 public:
  explicit Comparison(std::int64_t keep_choices) : keep_choices_(keep_choices) {}
  /// Rows of logits, on the host.
  void add(const at::Tensor& dense, const at::Tensor& method) {
    for (std::int64_t row = 0; row < method.size(0); ++row) {
      const std::int64_t position = std::ssize(kl_);
      const bool differs = best_token(dense[row]) != best_token(method[row]);
      const bool first = differs && score_.top1_flips++ == 0;
      if (first) score_.first_divergence = position;
      if (keep_choices_ > 0 && (first || position < keep_choices_)) {
        choices_.push_back({position, candidates_of(dense[row], method[row])});
        if (first) score_.first_difference = choices_.back();
      }
      kl_.push_back(kl_divergence(dense[row], method[row]));
    }
  }
  double first_kl() const { return kl_.front(); }
  std::vector<record::AnswerPosition> choices() { return std::move(choices_); }
  record::ForcedComparison result() {
    const at::Tensor kl = at::tensor(kl_, at::kDouble);
    score_.positions = kl.size(0);
    score_.kl_mean = kl.mean().item<double>();
    score_.kl_p95 = at::quantile(kl, 0.95).item<double>();
    return score_;
  }

 private:
  std::int64_t keep_choices_;
  record::ForcedComparison score_;
  std::vector<double> kl_;
  std::vector<record::AnswerPosition> choices_;
};

/// The method's predictions along dense's answer: the prompt's last, then behind each token that is fed.
Comparison compare(const model::Decoder& decoder, const model::PrefillResult& result, const ScoreOptions& options,
                   const ScoredAnswer& dense) {
  Comparison comparison(options.keep_choices);
  comparison.add(dense.logits, on_host(result.last_logits).unsqueeze(0));
  // The last token that dense answered is not fed: nothing was predicted after it.
  const std::int64_t fed = dense.logits.size(0) - 1;
  if (fed == 0) return comparison;
  model::DecoderState state = result.state.clone();
  for (std::int64_t first = 0; first < fed; first += forced_rows) {
    options.job.check();
    const std::int64_t rows = std::min(forced_rows, fed - first);
    const auto ids = std::span(dense.ids).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
    comparison.add(dense.logits.narrow(0, 1 + first, rows), on_host(decoder.decode(state, ids, options.job)));
  }
  return comparison;
}

}  // namespace

ScoredAnswer score_prefill(const model::Decoder& decoder, model::PrefillResult& result, const ScoreOptions& options,
                           const ScoredAnswer* dense) {
  ScoredAnswer answer;
  if (dense) {
    Comparison comparison = compare(decoder, result, options, *dense);
    answer.forced = comparison.result();
    answer.choices = comparison.choices();
    answer.kl_to_dense = comparison.first_kl();
    answer.top1_agrees = answer.forced->first_divergence != 0;
  }
  at::Tensor logits = result.last_logits;
  std::vector<at::Tensor> kept = {on_host(logits)};
  bool ended = false;
  while (!ended && std::ssize(answer.ids) < options.max_new_tokens) {
    options.job.check();
    if (options.progress) options.progress(answer.ids);
    const std::int32_t id = best_token(logits);
    ended = std::find(options.ends.begin(), options.ends.end(), id) != options.ends.end();
    if (ended) break;
    answer.ids.push_back(id);
    if (std::ssize(answer.ids) == options.max_new_tokens) break;
    logits = decoder.decode(result.state, id, options.job);
    if (!dense) kept.push_back(on_host(logits));
  }
  if (options.progress) options.progress(answer.ids);
  answer.cut = !ended && options.max_new_tokens > 0;
  if (!dense) answer.logits = at::stack(kept);
  return answer;
}

ScoredAnswer scored_pass(const model::Decoder& decoder, std::span<const std::int32_t> ids, model::PrefillOptions pass,
                         const ScoreOptions& options, const ScoredAnswer* dense) {
  pass.clock = nullptr;
  pass.observer = {};
  pass.hidden_observer = {};
  pass.extra_capacity = std::max(options.max_new_tokens, dense ? dense->logits.size(0) - 1 : 0);
  pass.job = options.job;
  model::PrefillResult result = decoder.prefill(ids, pass);
  return score_prefill(decoder, result, options, dense);
}

record::ReferenceAnswer score_reference(const model::Decoder& decoder, std::span<const std::int32_t> prompt,
                                        std::span<const std::int32_t> answer, model::PrefillOptions pass) {
  std::vector<std::int32_t> ids(prompt.begin(), prompt.end());
  ids.insert(ids.end(), answer.begin(), answer.end() - 1);  // nothing is predicted after the last one
  pass.clock = nullptr;
  pass.observer = {};
  pass.hidden_observer = {};
  pass.extra_capacity = 0;
  pass.logit_rows = std::ssize(answer);
  const model::PrefillResult result = decoder.prefill(ids, pass);
  const at::Tensor logits = pass.logit_rows == 1 ? on_host(result.last_logits).unsqueeze(0) : result.tail_logits;
  const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble), 1);
  record::ReferenceAnswer score;
  score.tokens = std::ssize(answer);
  for (std::int64_t i = 0; i < score.tokens; ++i) {
    const std::int32_t id = answer[static_cast<std::size_t>(i)];
    score.nll_mean -= log_p[i][id].item<double>() / static_cast<double>(score.tokens);
    score.top1_agrees += best_token(logits[i]) == id;
  }
  return score;
}

}  // namespace headroom::experiment
