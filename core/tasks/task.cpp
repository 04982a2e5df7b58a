// SPDX-License-Identifier: Apache-2.0
// Fits a task's haystack to the wanted length and scores answers.
#include "tasks/task.h"

#include <algorithm>

#include "base/error.h"
#include "tasks/generator.h"

namespace headroom::tasks {
namespace {

constexpr std::int64_t max_length = std::int64_t{1} << 24;

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

}  // namespace

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Generator& generator : generators()) names.emplace_back(generator.name);
  return names;
}

Sample make_sample(const std::string& task, std::int64_t length, std::uint64_t seed,
                   const tokenizer::Tokenizer& tokenizer, std::int64_t overhead,
                   std::optional<std::int64_t> max_new_tokens, const Haystack* haystack) {
  if (haystack) throw usage_error("a haystack has no place in " + task + ", which has no essay");
  const auto known = generators();
  const auto generator = std::find_if(known.begin(), known.end(), [&](const Generator& g) { return g.name == task; });
  if (generator == known.end()) {
    std::string names;
    for (const std::string& name : task_names()) names += (names.empty() ? "" : ", ") + name;
    throw usage_error("there is no task '" + task + "'; known are: " + names);
  }
  if (length < 1 || length > max_length) {
    throw usage_error("the length of a task is 1 to " + std::to_string(max_length) + " tokens, not " +
                      std::to_string(length));
  }
  const auto make = [&](std::int64_t units) {
    Sample sample = generator->make(units, Random(task, seed));
    sample.task = task;
    if (max_new_tokens) sample.max_new_tokens = *max_new_tokens;
    return sample;
  };
  const auto tokens = [&](const Sample& sample) {
    const auto count = [&](const std::string& text) {
      return static_cast<std::int64_t>(tokenizer.encode(text, {.add_bos = false}).size());
    };
    return count(sample.prompt) + count(sample.answer_prefix) + overhead + sample.max_new_tokens;
  };
  const Sample bare = make(0);
  const std::int64_t empty = tokens(bare);
  if (empty > length) {
    throw usage_error("a length of " + std::to_string(length) + " tokens is too small for " + task + ": it needs " +
                      std::to_string(empty) + " without any haystack, " + std::to_string(bare.max_new_tokens) +
                      " of them for the answer");
  }
  // Guess from the slope, then step to the largest that fits; every unit adds tokens.
  constexpr std::int64_t probe = 20;
  const double slope = static_cast<double>(tokens(make(probe)) - empty) / probe;
  auto units = static_cast<std::int64_t>(static_cast<double>(length - empty) / std::max(slope, 1.0));
  while (units > 0 && tokens(make(units)) > length) --units;
  Sample sample = make(units);
  for (Sample next = make(++units); tokens(next) <= length; next = make(++units)) sample = std::move(next);
  return sample;
}

double score(const Sample& sample, const std::string& answer) {
  if (sample.references.empty()) return 0;
  const std::string text = lower(answer);
  const auto hits =
      std::count_if(sample.references.begin(), sample.references.end(),
                    [&](const std::string& reference) { return text.find(lower(reference)) != std::string::npos; });
  if (sample.metric == Metric::match_part) return hits > 0 ? 100 : 0;
  return 100.0 * static_cast<double>(hits) / static_cast<double>(sample.references.size());
}

}  // namespace headroom::tasks
