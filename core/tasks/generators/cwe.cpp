// SPDX-License-Identifier: Apache-2.0
// Common words extraction: RULER's cwe with 10 words that come 30 times among words that come 3 times (Hsieh et al.
// 2024, section 3), after a worked example; 6 times among words that come once where a prompt is short, as RULER's code
// does below 4096 tokens. The wording is this project's own.
#include "tasks/generator.h"

namespace headroom::tasks {
namespace {

constexpr std::int64_t cwe_asked = 10;

struct CweForm {
  std::int64_t common, uncommon;                  ///< how often each word comes
  std::int64_t example_common, example_uncommon;  ///< in the example
  std::int64_t example_words;                     ///< uncommon ones there
};
constexpr CweForm cwe_full = {30, 3, 10, 3, 20}, cwe_short = {6, 1, 3, 1, 10};

/// Distinct words: single ones in a random order, or pairs of them ("lantern-paper"). There are single ones for prompts
/// of 16K tokens; in longer ones a share of all words, which grows with the length, are pairs, so that being a pair
/// says nothing of how often a word comes.
class WordSource {
 public:
  WordSource(Random random, std::int64_t length) : random_(random), words_(list_words()) {
    constexpr std::int64_t single_length = 16384;
    shuffle(words_, random_);
    if (length > single_length) pairs_of_8_ = 8 - static_cast<std::uint64_t>(8 * single_length / length);
  }
  std::string next() {
    const bool pair = random_.below(8) < pairs_of_8_ || taken_ == words_.size();
    if (!pair) return std::string(words_[taken_++]);
    // Every pair of different words once: the second is a growing step behind the first.
    const std::size_t count = words_.size(), first = pairs_ % count, step = 1 + pairs_ / count % (count - 1);
    ++pairs_;
    return std::string(words_[first]) + '-' + std::string(words_[(first + step) % count]);
  }

 private:
  Random random_;
  std::vector<std::string_view> words_;
  std::uint64_t pairs_of_8_ = 0;
  std::size_t taken_ = 0, pairs_ = 0;
};

std::string cwe_list(const std::vector<std::string>& common, std::int64_t times, const std::vector<std::string>& rest,
                     std::int64_t rest_times, Random random) {
  std::vector<const std::string*> list;
  for (const std::string& word : common) list.insert(list.end(), static_cast<std::size_t>(times), &word);
  for (const std::string& word : rest) list.insert(list.end(), static_cast<std::size_t>(rest_times), &word);
  shuffle(list, random);
  std::string text;
  for (std::size_t i = 0; i < list.size(); ++i) text += std::to_string(i + 1) + ". " + *list[i] + ' ';
  text.back() = '\n';
  return text;
}

constexpr const char* cwe_introduction =
    "Some words of the numbered list below occur often, the others seldom. Find out which words occur most often.\n";
constexpr const char* cwe_question = "Question: which 10 words occur most often in the list above?";
constexpr const char* cwe_prefix = " Answer: the 10 words that occur most often in the list are";

Draft make_cwe(const Request& request) {
  const CweForm& form = request.short_form ? cwe_short : cwe_full;
  Random random = request.random;
  Random example_order = random.fork(), order = random.fork();
  WordSource source(random.fork(), request.length);
  const auto take = [&](std::int64_t count) {
    std::vector<std::string> words;
    for (std::int64_t i = 0; i < count; ++i) words.push_back(source.next());
    return words;
  };
  const auto example_common = take(cwe_asked), example_rest = take(form.example_words);
  const auto common = take(cwe_asked), rest = take(request.units);
  Draft draft;
  std::string& prompt = draft.sample.prompt;
  prompt = cwe_introduction +
           cwe_list(example_common, form.example_common, example_rest, form.example_uncommon, example_order) +
           cwe_question + cwe_prefix;
  for (std::size_t i = 0; i < example_common.size(); ++i)
    prompt += " " + std::to_string(i + 1) + ". " + example_common[i];
  prompt += "\n\n";
  draft.pad_at = prompt.size();
  prompt += cwe_introduction + cwe_list(common, form.common, rest, form.uncommon, order) + cwe_question;
  draft.sample.answer_prefix = cwe_prefix;
  draft.sample.references = common;
  return draft;
}

}  // namespace

Generator entry_cwe() {
  TaskInfo info;
  info.name = "cwe";
  info.title = "Common words";
  info.definition =
      "A numbered list in which ten words come 30 times each and all others three times (six times and once below 4096 "
      "tokens). The ten are asked for, after a worked example.";
  info.source =
      "RULER's cwe: frequencies 30 and 3, 10 words (Hsieh et al. 2024, arXiv 2404.06654), our wording and words";
  info.graded = true;
  info.max_new_tokens = 120;
  return {10, info, make_cwe, true};
}

}  // namespace headroom::tasks
