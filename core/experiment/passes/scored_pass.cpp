// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/scored_pass.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/quantile.h>
#include <ATen/ops/stack.h>

#include <algorithm>

namespace headroom::experiment {
namespace {

std::int32_t best_token(const at::Tensor& logits) {
  return static_cast<std::int32_t>(at::argmax(logits).item<std::int64_t>());
}

at::Tensor on_host(const at::Tensor& logits) {
  return logits.to(at::kCPU, at::kFloat);
}

/// KL(p || q) of each row of logits, nats: [rows] fp64.
at::Tensor kl_divergence(const at::Tensor& p_logits, const at::Tensor& q_logits) {
  const at::Tensor p = at::log_softmax(p_logits.to(at::kDouble), 1), q = at::log_softmax(q_logits.to(at::kDouble), 1);
  return p.sub(q).mul_(at::exp(p)).sum(1).clamp_min_(0);
}

record::ForcedComparison compare(const at::Tensor& dense, const at::Tensor& method) {
  const at::Tensor kl = kl_divergence(dense, method);
  const at::Tensor flips = at::argmax(dense, 1).ne(at::argmax(method, 1));
  record::ForcedComparison score;
  score.positions = kl.size(0);
  score.kl_mean = kl.mean().item<double>();
  score.kl_p95 = at::quantile(kl, 0.95).item<double>();
  score.top1_flips = flips.sum().item<std::int64_t>();
  if (score.top1_flips > 0) score.first_divergence = at::argmax(flips.to(at::kInt)).item<std::int64_t>();
  return score;
}

}  // namespace

ScoredAnswer score_prefill(const model::Decoder& decoder, model::PrefillResult& result, const ScoreOptions& options,
                           const ScoredAnswer* dense) {
  ScoredAnswer answer;
  if (dense) {
    at::Tensor predicted = on_host(result.last_logits).unsqueeze(0);
    // The last token that dense answered is not fed: nothing was predicted after it.
    if (const std::int64_t fed = dense->logits.size(0) - 1; fed > 0) {
      options.job.check();
      model::DecoderState state = result.state.clone();
      predicted = at::cat({predicted, on_host(decoder.decode(state, std::span(dense->ids).first(static_cast<std::size_t>(fed))))});
    }
    answer.forced = compare(dense->logits, predicted);
    answer.kl_to_dense = kl_divergence(dense->logits.narrow(0, 0, 1), predicted.narrow(0, 0, 1)).item<double>();
    answer.top1_agrees = best_token(dense->logits[0]) == best_token(predicted[0]);
  }
  at::Tensor logits = result.last_logits;
  std::vector<at::Tensor> kept = {on_host(logits)};
  bool ended = false;
  while (!ended && std::ssize(answer.ids) < options.max_new_tokens) {
    options.job.check();
    if (options.progress) options.progress(std::ssize(answer.ids));
    const std::int32_t id = best_token(logits);
    ended = std::find(options.ends.begin(), options.ends.end(), id) != options.ends.end();
    if (ended) break;
    answer.ids.push_back(id);
    if (std::ssize(answer.ids) == options.max_new_tokens) break;
    logits = decoder.decode(result.state, id);
    if (!dense) kept.push_back(on_host(logits));
  }
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
