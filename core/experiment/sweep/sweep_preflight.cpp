// SPDX-License-Identifier: Apache-2.0
// What a sweep needs, and what its samples can say, before it starts.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <tuple>

#include "base/error.h"
#include "experiment/run/memory_estimate.h"
#include "experiment/run/preflight.h"
#include "experiment/sweep/sample_scores.h"
#include "experiment/sweep/sweep.h"
#include "statistics/paired.h"

namespace headroom::experiment {
namespace {

constexpr double usual_discordance = 0.1;  // of pairs, for the sentence alone

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

/// The sample whose prompt is the longest, and its tokens. Own prompts are told apart by their bytes.
std::pair<std::int64_t, std::int64_t> longest_prompt(const PreparedSweep& sweep) {
  if (!sweep.prompts) {
    const std::int64_t length = *std::max_element(sweep.meta.lengths.begin(), sweep.meta.lengths.end());
    return {length, sweep.spec.max_new_tokens.value_or(128)};
  }
  const auto bytes = [](const tasks::FilePrompt& prompt) {
    std::size_t sum = prompt.sample.prompt.size();
    for (const auto& message : prompt.sample.messages) sum += message.content.size();
    return sum;
  };
  const auto& prompts = sweep.prompts->prompts;
  const auto longest = std::max_element(prompts.begin(), prompts.end(),
                                        [&](const auto& a, const auto& b) { return bytes(a) < bytes(b); });
  const auto sample = std::find_if(sweep.meta.prompt_samples.begin(), sweep.meta.prompt_samples.end(),
                                   [&](const auto& one) { return one.seed == longest->index; });
  const PreparedPrompt prompt = sweep_prompt(sweep, *sample);
  return {prompt.length(), prompt.max_new_tokens};
}

/// Dense's logits along its answer and the tail, and the hidden states that others are compared with.
std::int64_t kept_bytes(const PreparedSweep& sweep, std::int64_t tokens, std::int64_t new_tokens) {
  const auto& config = sweep.config();
  const std::int64_t rows = 2 * (new_tokens + 1) + 2 * sweep.spec.prompt_tail + 3 * 16 * 2;
  const std::int64_t hidden = config.num_layers() * std::min(tokens, SampleScores::compared_rows) * config.width;
  return 4 * (rows * config.vocabulary + hidden);
}

void add_resolution(const PreparedSweep& sweep, SweepPreflight& result) {
  const auto& meta = sweep.meta;
  const bool scored = std::any_of(meta.tasks.begin(), meta.tasks.end(), [](const auto& one) { return one.has_score; });
  if (!scored) {
    result.notes.push_back("prompts without reference answers: compared with dense by KL and answers, no task score");
    return;
  }
  std::int64_t pairs = meta.samples;
  if (meta.is_own_prompts() && meta.tasks.size() > 1) {
    std::vector<std::int64_t> counts(meta.tasks.size(), 0);
    for (const auto& sample : meta.prompt_samples) ++counts[sample.task];
    pairs = *std::min_element(counts.begin(), counts.end());
  }
  const auto all = pairs * std::ssize(meta.tasks);
  const auto say = [&](const std::string& what, std::int64_t n) {
    if (n < statistics::least_pairs) {
      result.notes.push_back(what + ": " + std::to_string(n) + " pairs give no interval (" +
                             std::to_string(statistics::least_pairs) + " are the least)");
      return;
    }
    result.notes.push_back(what + ": " + std::to_string(n) + " pairs resolve ±" + number(statistics::resolution(n, 0)) +
                           " points at best, about ±" + number(statistics::resolution(n, usual_discordance)) +
                           " where one pair in ten differs; a difference below that is noise");
  };
  say("a task at one length", pairs);
  if (meta.tasks.size() > 1) say("the macro mean, if all tasks are chosen", all);
  result.notes.push_back("\"enough to within 1 point\" needs at least " +
                         std::to_string(statistics::pairs_for_margin(1)) + " pairs that all agree");
}

/// Of the longest prompt; refers to the sweep.
MemoryWorkload workload_of(const PreparedSweep& sweep) {
  MemoryWorkload work;
  std::tie(work.length, work.new_tokens) = longest_prompt(sweep);
  for (const Method& method : sweep.methods.methods) work.methods.push_back(method.policy.get());
  work.supports_kept = work.compared = sweep.methods.methods.size() > 1;
  work.analysed = sweep.meta.curves > 0;
  if (sweep.device.device.is_cpu())
    work.own = [&sweep, answer = work.new_tokens](std::int64_t length) { return kept_bytes(sweep, length, answer); };
  return work;
}

/// Prefills of what is left, each at the rate of a matrix product; a sparse one takes a few times dense's attention,
/// and answers are decoded on top.
double estimate_seconds(const PreparedSweep& sweep, const SweepPreflight& needs, bool busy) {
  const double left = needs.rows > 0 ? 1 - static_cast<double>(needs.rows_found) / static_cast<double>(needs.rows) : 0;
  double seconds = 0;
  for (const auto& sample : record::own_samples(sweep.meta)) {
    const std::int64_t tokens = sample.length > 0 ? sample.length : needs.longest;
    const std::int64_t rows = sample.calibration ? 1 : std::ssize(sweep.meta.methods);
    const double pass = prefill_seconds(*sweep.session, sweep.device.device, sweep.dtype, tokens, busy);
    if (pass <= 0) return 0;
    seconds += pass * (1 + sparse_passes * static_cast<double>(rows - 1));
  }
  return seconds * left;
}

}  // namespace

model::DeviceParts place_sweep(const PreparedSweep& sweep) {
  if (sweep.device.others.empty()) return model::on_one_device(sweep.device.device);
  return place_decoder(sweep.session->checkpoint(), sweep.config(), sweep.dtype, sweep.device, workload_of(sweep));
}

SweepPreflight sweep_preflight(const PreparedSweep& sweep, bool busy) {
  SweepPreflight result;
  const MemoryWorkload work = workload_of(sweep);
  const std::int64_t tokens = result.longest = work.length;
  const bool on_cpu = sweep.device.device.is_cpu();
  const MemoryEstimate estimate =
      refuse_what_cannot_fit(sweep.session->checkpoint(), sweep.config(), sweep.dtype, sweep.device, work);
  result.memory_needed = estimate.weights + (on_cpu ? estimate.host : estimate.device);
  if (on_cpu) result.memory_free = host_memory(sweep.device.device).free;
  if (!on_cpu)
    for (const auto& device : each_of(sweep.device)) result.memory_free += device.free_bytes;
  for (const auto& sample : record::own_samples(sweep.meta)) {
    ++result.samples;
    result.rows += sample.calibration ? 1 : std::ssize(sweep.meta.methods);
  }
  if (sweep.found) result.rows_found = std::ssize(sweep.found->record.rows);
  add_resolution(sweep, result);
  result.seconds = estimate_seconds(sweep, result, busy);
  if (const auto trained = sweep.meta.indexer_trained_length; sweep.methods.indexer && tokens > trained)
    result.notes.push_back("the indexer was trained at " + std::to_string(trained) + " tokens; " +
                           std::to_string(tokens) + " is untested");
  return result;
}

}  // namespace headroom::experiment
