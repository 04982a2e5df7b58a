// SPDX-License-Identifier: Apache-2.0
#include "tasks/essay.h"

#include <array>

namespace headroom::tasks {
namespace {

using Text = std::string_view;

constexpr auto essay_times = std::to_array<Text>({
    "That evening",       "Early one Monday",           "In the last week of March", "After the thaw",
    "On the longest day", "Just before supper",         "During the second winter",  "Towards four o'clock",
    "One Sunday",         "In the year of the drought", "While it was still dark",   "The day after the fair",
    "Some months later",  "At the end of August",       "When the shift changed",    "For the first time in weeks",
    "Around midday",      "On a windless morning",      "Shortly after Easter",      "Without any warning",
});
constexpr auto openings = std::to_array<Text>({
    "As a rule ",
    "Still, ",
    "It is often said that ",
    "Oddly enough, ",
    "In those years ",
    "By all accounts ",
    "To be fair, ",
    "As far as anyone recalls, ",
    "Of course ",
    "According to the minutes, ",
    "Later on ",
    "As everybody there knew, ",
    "Now and then one heard that ",
    "Against all advice, ",
});

Text choose(std::span<const Text> list, Random& random) {
  return list[random.below(list.size())];
}

}  // namespace

Essay::Essay(Random random, const Haystack* own) : random_(random), own_(own) {
  if (own_) at_ = random_.below(own_->sentences.size());
}

Essay::Sentence Essay::next() {
  if (!own_) return from_topic();
  Sentence sentence{own_->sentences[at_], at_ % 8 == 7};
  at_ = (at_ + 1) % own_->sentences.size();
  return sentence;
}

Essay::Sentence Essay::from_topic() {
  if (left_ == 0) {
    const auto first = essay_topics_1(), second = essay_topics_2();
    const std::uint64_t chosen = random_.below(first.size() + second.size());
    topic_ = chosen < first.size() ? &first[chosen] : &second[chosen - first.size()];
    left_ = 5 + random_.below(5);
  }
  --left_;
  constexpr int tries = 50;
  std::string text = filled_line();
  for (int i = 1; i < tries && said_.contains(text); ++i) text = filled_line();
  said_.insert(text);
  return {std::move(text), left_ == 0};
}

std::string Essay::filled_line() {
  Text line = choose(topic_->lines, random_);
  while (line == last_line_) line = choose(topic_->lines, random_);
  last_line_ = line;

  std::string text;
  const bool opened = !line.starts_with("%4") && random_.below(3) == 0;
  if (opened) text = choose(openings, random_);
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '%') {
      const bool small = i == 0 && opened && line[i] >= 'A' && line[i] <= 'Z';
      text += small ? static_cast<char>(line[i] - 'A' + 'a') : line[i];
      continue;
    }
    switch (line[++i]) {
      case '1':
        text += choose(topic_->people, random_);
        break;
      case '2':
        text += choose(topic_->things, random_);
        break;
      case '3':
        text += choose(topic_->places, random_);
        break;
      default:
        text += choose(essay_times, random_);
    }
  }
  if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

}  // namespace headroom::tasks
