// SPDX-License-Identifier: Apache-2.0
#include "experiment/sweep/sample_scores.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/quantile.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "attention/analysis.h"
#include "base/causal.h"
#include "base/error.h"

namespace headroom::experiment {
namespace {

/// Tokens of an answer that are decoded at once: from one more on the output matrix would be widened.
constexpr std::int64_t forced_at_once = 16;

std::int32_t likeliest(const at::Tensor& logits) {
  return static_cast<std::int32_t>(at::argmax(logits).item<std::int64_t>());
}

/// Six digits are plenty, and stores stay small.
float short_float(double value) {
  if (!std::isfinite(value) || value == 0) return static_cast<float>(value);
  const double scale = std::pow(10.0, 5 - std::floor(std::log10(std::abs(value))));
  return static_cast<float>(std::round(value * scale) / scale);
}

/// In pieces of a few rows, so that the doubles of long tails stay small; on the logits' device, where 49,152
/// exponentials a row cost nothing.
struct Divergences {
  std::vector<double> kl, nll;
  std::vector<bool> flips;

  /// `targets`: the ids behind the rows, int64 [rows].
  void add(const at::Tensor& dense, const at::Tensor& method, const at::Tensor& targets) {
    const at::Tensor wanted = targets.to(method.device());
    std::vector<at::Tensor> found;
    for (std::int64_t first = 0; first < method.size(0); first += forced_at_once) {
      const std::int64_t rows = std::min(forced_at_once, method.size(0) - first);
      const at::Tensor p_logits = dense.narrow(0, first, rows), q_logits = method.narrow(0, first, rows);
      const at::Tensor p = at::log_softmax(p_logits.to(at::kDouble), 1),
                       q = at::log_softmax(q_logits.to(at::kDouble), 1);
      const at::Tensor likelihood = at::gather(q, 1, wanted.narrow(0, first, rows).unsqueeze(1)).squeeze(1);
      const at::Tensor other = at::argmax(p_logits, 1).ne(at::argmax(q_logits, 1));
      found.push_back(at::stack({p.sub(q).mul_(at::exp(p)).sum(1), likelihood.neg(), other.to(at::kDouble)}));
    }
    const at::Tensor all = at::cat(found, 1).to(at::kCPU);
    const auto numbers = all.accessor<double, 2>();
    for (std::int64_t row = 0; row < numbers.size(1); ++row) {
      kl.push_back(std::max(0.0, numbers[0][row]));  // below 0 by rounding
      nll.push_back(std::max(0.0, numbers[1][row]));
      flips.push_back(numbers[2][row] != 0);
    }
  }
  static double mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
  }
  record::SweepForced forced() const {
    record::SweepForced result;
    result.positions = std::ssize(kl);
    result.top1_flips = std::count(flips.begin(), flips.end(), true);
    if (result.top1_flips > 0) result.first_divergence = std::find(flips.begin(), flips.end(), true) - flips.begin();
    result.kl_mean = mean(kl);
    result.kl_p95 = at::quantile(at::tensor(kl, at::kDouble), 0.95).item<double>();
    result.nll_mean = mean(nll);
    return result;
  }
};

at::Tensor ids_tensor(std::span<const std::int32_t> ids) {
  std::vector<std::int64_t> wide(ids.begin(), ids.end());
  return at::tensor(wide, at::kLong);
}

/// Pairs that a layer's tiles attend to, mean over its head groups.
double attended_pairs(const std::vector<attention::SupportTile>& tiles) {
  double pairs = 0;
  for (const attention::SupportTile& tile : tiles) {
    const at::Tensor count = tile.mask.defined() ? tile.mask.sum() : tile.counts.sum();
    pairs += static_cast<double>(count.item<std::int64_t>()) / static_cast<double>(tile.groups);
  }
  return pairs;
}

}  // namespace

SampleScores::SampleScores(const model::Decoder& decoder, const attention::Backend& backend,
                           std::span<const std::int32_t> ids, SampleOptions options)
    : decoder_(decoder), backend_(backend), ids_(ids), options_(std::move(options)) {
  const std::int64_t length = std::ssize(ids_), count = std::min(length, compared_rows);
  for (std::int64_t i = 1; i <= count; ++i) rows_.push_back(length * i / count - 1);
  options_.prompt_tail = std::clamp<std::int64_t>(options_.prompt_tail, 0, length - 1);
}

model::PrefillResult SampleScores::prefill(const Method& method, record::SweepRow& row, const JobContext& job) {
  const bool is_dense = method.is_dense();
  const auto& config = decoder_.config();
  const std::int64_t length = std::ssize(ids_);
  row.tokens = length;
  model::PrefillOptions pass;
  pass.policy = method.policy.get();
  pass.backend = pass.dense_backend = &backend_;
  pass.dense_layers = options_.dense_layers;
  pass.logit_rows = options_.prompt_tail + 1;
  pass.extra_capacity = std::max<std::int64_t>(options_.new_tokens, is_dense ? 0 : std::ssize(targets_) - 1);
  pass.job = job;
  double pairs = 0, layers = 0;
  if (!is_dense || options_.curves) {
    pass.observer = [&](const attention::PreparedLayer& layer, const at::Tensor&,
                        const std::vector<attention::SupportTile>& tiles) {
      layers += 1;
      pairs += tiles.empty() ? causal_pairs(length) : attended_pairs(tiles);
      if (is_dense) add_curves(layer, job);
    };
  }
  if (options_.compare) {
    if (!is_dense)
      row.output_l2.assign(static_cast<std::size_t>(config.num_layers()), std::numeric_limits<float>::quiet_NaN());
    pass.hidden_observer = [&](int layer, const at::Tensor& hidden) {
      // Budgets by layer: of the full layers alone.
      const bool full = config.is_full(layer) && !options_.dense_layers.contains(layer);
      const auto& policy = *method.policy;
      const auto keys = full ? policy.tokens_of(layer, length) : policy.most_tokens(length);
      add_hidden(layer, hidden, is_dense, keys, row);
    };
  }
  const auto start = std::chrono::steady_clock::now();
  model::PrefillResult result = decoder_.prefill(ids_, pass);
  prefill_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!is_dense && layers > 0) row.density = std::min(1.0, pairs / (layers * causal_pairs(length)));
  return result;
}

void SampleScores::add_hidden(int layer, const at::Tensor& hidden, bool is_dense, std::int64_t budget,
                              record::SweepRow& row) {
  const at::Tensor rows = at::tensor(rows_, at::kLong).to(hidden.device());
  const at::Tensor chosen = hidden.index_select(0, rows).to(at::kFloat);
  if (is_dense) {
    hidden_.resize(static_cast<std::size_t>(decoder_.config().num_layers()));
    hidden_[static_cast<std::size_t>(layer)] = chosen;
    return;
  }
  // Rows whose whole history is in the support say nothing of the method.
  const auto first = std::lower_bound(rows_.begin(), rows_.end(), std::max<std::int64_t>(1, budget)) - rows_.begin();
  const std::int64_t count = std::ssize(rows_) - first;
  const at::Tensor& dense = hidden_[static_cast<std::size_t>(layer)];
  if (count <= 0 || !dense.defined()) return;
  const at::Tensor norms = dense.narrow(0, first, count).norm(2, 1).clamp_min_(1e-30);
  const at::Tensor distances = chosen.sub(dense).narrow(0, first, count).norm(2, 1).div_(norms);
  row.output_l2[static_cast<std::size_t>(layer)] = short_float(distances.mean().item<double>());
}

void SampleScores::add_curves(const attention::PreparedLayer& prepared, const JobContext& job) {
  const attention::LayerQuery& query = prepared.query();
  curves.tokens = query.length();
  curves.budgets = attention::curve_budgets(query.length());
  const auto layers = static_cast<std::size_t>(decoder_.config().num_layers());
  const std::size_t size = 3 * curves.budgets.size();
  if (curves.values.empty()) curves.values.assign(layers * size, std::numeric_limits<float>::quiet_NaN());
  attention::AnalysisOptions wanted;
  wanted.thumbnails = false;
  const attention::LayerAnalysis analysis = prepared.analyse({}, wanted, job);
  // The last of the heads is the head mean.
  const auto mean = analysis.curves.end() - static_cast<std::ptrdiff_t>(size);
  std::transform(mean, analysis.curves.end(), curves.values.begin() + query.layer * static_cast<std::ptrdiff_t>(size),
                 [](float mass) { return short_float(static_cast<double>(mass)); });
}

void SampleScores::score_tail(const at::Tensor& logits, record::SweepRow& row) {
  const std::int64_t tail = options_.prompt_tail;
  if (tail == 0) return;
  const at::Tensor own = logits.narrow(0, 0, tail);  // the last row predicts what follows the prompt
  const at::Tensor targets = ids_tensor(ids_.last(static_cast<std::size_t>(tail)));
  const bool is_dense = !tail_.defined();
  if (is_dense) tail_ = own.clone();
  Divergences divergences;
  divergences.add(tail_, own, targets);
  row.prompt_nll = Divergences::mean(divergences.nll);
  if (!is_dense) row.prompt_kl = Divergences::mean(divergences.kl);
}

at::Tensor SampleScores::forced_logits(model::DecoderState& state, const at::Tensor& last,
                                       const JobContext& job) const {
  std::vector<at::Tensor> parts = {last.to(at::kFloat).unsqueeze(0)};
  const std::int64_t fed = std::ssize(targets_) - 1;  // nothing is predicted after the last one
  for (std::int64_t first = 0; first < fed; first += forced_at_once) {
    job.check();
    const std::int64_t rows = std::min(forced_at_once, fed - first);
    const auto ids = std::span(targets_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
    parts.push_back(decoder_.decode(state, ids, job).to(at::kFloat));
  }
  return at::cat(parts, 0);
}

SampleResult SampleScores::dense(const Method& method, const JobContext& job) {
  SampleResult result;
  model::PrefillResult prefilled = prefill(method, result.row, job);
  if (options_.prompt_tail > 0) score_tail(prefilled.tail_logits, result.row);
  const at::Tensor last = prefilled.last_logits;
  model::DecoderState forced;
  if (options_.compare) forced = prefilled.state.clone();
  at::Tensor logits = last;
  bool ended = false;
  while (!ended && std::ssize(answer_) < options_.new_tokens) {
    job.check();
    const std::int32_t id = likeliest(logits);
    ended = std::find(options_.ends.begin(), options_.ends.end(), id) != options_.ends.end();
    targets_.push_back(id);
    if (ended) break;
    answer_.push_back(id);
    if (std::ssize(answer_) < options_.new_tokens) logits = decoder_.decode(prefilled.state, id, job);
  }
  if (targets_.empty()) targets_.push_back(likeliest(last));
  cut_ = !ended && options_.new_tokens > 0;
  result.answer = answer_;
  result.row.answer_cut = cut_;
  if (!options_.compare) return result;
  prefilled.state = {};
  // By the same calls as every other method's, so that equal states give equal numbers.
  logits_ = forced_logits(forced, last, job);
  Divergences own;
  own.add(logits_, logits_, ids_tensor(targets_));
  result.row.forced = own.forced();
  return result;
}

SampleResult SampleScores::sparse(const Method& method, const JobContext& job) {
  SampleResult result;
  model::PrefillResult prefilled = prefill(method, result.row, job);
  if (options_.prompt_tail > 0 && method.policy->causal()) score_tail(prefilled.tail_logits, result.row);
  prefilled.tail_logits = at::Tensor();
  at::Tensor logits;
  {
    model::DecoderState forced = prefilled.state.clone();
    logits = forced_logits(forced, prefilled.last_logits, job);
  }
  Divergences divergences;
  divergences.add(logits_, logits, ids_tensor(targets_));
  result.row.forced = divergences.forced();
  const auto& parts = result.row.forced->first_divergence;
  if (!parts || options_.new_tokens == 0) {
    result.answer = answer_;
    result.row.answer_cut = cut_;
    return result;
  }
  std::vector<std::int32_t> answer(answer_.begin(), answer_.begin() + static_cast<std::ptrdiff_t>(*parts));
  answer.push_back(likeliest(logits[*parts]));
  result.answer = decode_on(prefilled, std::move(answer), *parts, result.row.answer_cut, job);
  return result;
}

/// `answer` up to and with the first token that is not dense's, at `from`.
std::vector<std::int32_t> SampleScores::decode_on(model::PrefillResult& result, std::vector<std::int32_t> answer,
                                                  std::int64_t from, bool& cut, const JobContext& job) const {
  for (std::int64_t first = 0; first < from; first += forced_at_once) {
    const auto rows = static_cast<std::size_t>(std::min(forced_at_once, from - first));
    decoder_.decode(result.state, std::span(answer).subspan(static_cast<std::size_t>(first), rows), job);
  }
  const auto is_end = [&](std::int32_t id) {
    return std::find(options_.ends.begin(), options_.ends.end(), id) != options_.ends.end();
  };
  bool ended = is_end(answer.back());
  while (!ended && std::ssize(answer) < options_.new_tokens) {
    job.check();
    answer.push_back(likeliest(decoder_.decode(result.state, answer.back(), job)));
    ended = is_end(answer.back());
  }
  if (ended) answer.pop_back();
  cut = !ended;
  return answer;
}

}  // namespace headroom::experiment
