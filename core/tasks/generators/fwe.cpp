// SPDX-License-Identifier: Apache-2.0
// Frequent words extraction: RULER's fwe with alpha = 2.0 and 3 words (Hsieh et al. 2024, section 3): coded words whose
// frequency falls with the square of their rank; the most frequent is noise. The wording is this project's own.
#include <algorithm>

#include "tasks/generator.h"

namespace headroom::tasks {
namespace {

constexpr std::int64_t fwe_least = 40;  // words: fewer would leave ranks 2, 3 and 4 without distinct counts
constexpr std::size_t fwe_asked = 3;
constexpr int fwe_letters = 6;

/// How often ranks 1, 2, … come among `words`: the whole part of words / (zeta(2) rank²), in integers so that every
/// machine agrees; ranks that would not come at all are left out. The asked ranks differ from each other and from the
/// next one.
std::vector<std::int64_t> fwe_counts(std::int64_t words) {
  constexpr std::int64_t zeta_2 = 1'644'934'067, unit = 1'000'000'000;
  std::vector<std::int64_t> counts;
  for (std::int64_t rank = 1;; ++rank) {
    const std::int64_t count = words * unit / (zeta_2 * rank * rank);
    if (count == 0) break;
    counts.push_back(count);
  }
  counts.resize(std::max(counts.size(), fwe_asked + 1));
  for (std::size_t rank = fwe_asked; rank > 0; --rank) {
    const std::int64_t below = rank + 1 < counts.size() ? counts[rank + 1] : 0;
    counts[rank] = std::max(counts[rank], below + 1);
  }
  return counts;
}

Draft make_fwe(const Request& request) {
  Random random = request.random;
  Random order = random.fork();
  const auto counts = fwe_counts(fwe_least + request.units);
  std::vector<std::string> ranked, words;
  for (const std::int64_t count : counts) {
    std::string word = "...";
    while (word == "..." && !ranked.empty()) {
      word = random_letters(random, fwe_letters, 'a');
      if (std::find(ranked.begin(), ranked.end(), word) != ranked.end()) word = "...";
    }
    ranked.push_back(word);
    words.insert(words.end(), static_cast<std::size_t>(count), word);
  }
  shuffle(words, order);
  Draft draft;
  std::string& prompt = draft.sample.prompt;
  prompt = "Below is a text in an unknown code. Count how often each coded word occurs; dots are no word.\n";
  draft.pad_at = 0;
  for (const std::string& word : words) prompt += word + ' ';
  prompt.back() = '\n';
  prompt += "Question: leaving the dots aside, which three coded words occur most often in the text above?";
  draft.sample.answer_prefix = " Answer: the three coded words that occur most often are";
  draft.sample.references.assign(ranked.begin() + 1, ranked.begin() + 1 + fwe_asked);
  return draft;
}

}  // namespace

Generator entry_fwe() {
  TaskInfo info;
  info.name = "fwe";
  info.title = "Frequent words";
  info.definition =
      "A text of coded words of six letters whose frequency falls with the square of their rank; the most frequent is "
      "dots. The next three are asked for.";
  info.source = "RULER's fwe: alpha 2.0, 3 words (Hsieh et al. 2024, arXiv 2404.06654), our wording";
  info.graded = true;
  info.max_new_tokens = 50;
  return {11, info, make_fwe};
}

}  // namespace headroom::tasks
