// SPDX-License-Identifier: Apache-2.0
// The haystack of the needle tasks: sentences of this project's own, put together from topics, or a text of the user's.
// Combination makes some hundred thousand sentences, so that 256K tokens hardly repeat one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_set>

#include "tasks/haystack.h"
#include "tasks/random.h"

namespace headroom::tasks {

/// `lines` have blanks: %1 a person or persons in the singular (lower case), %2 a thing, %3 a place, %4 a time that
/// opens the sentence.
struct EssayTopic {
  std::span<const std::string_view> people, things, places, lines;
};
std::span<const EssayTopic> essay_topics_1();
std::span<const EssayTopic> essay_topics_2();

/// One sentence after another; the first n are the same whatever follows.
class Essay {
 public:
  /// `own` is kept by reference; where there is one its sentences come in their order from a random place on, and from
  /// the beginning again after the last.
  Essay(Random random, const Haystack* own);

  struct Sentence {
    std::string text;
    bool ends_paragraph = false;
  };
  Sentence next();

 private:
  Sentence from_topic();
  std::string filled_line();

  Random random_;
  const Haystack* own_;
  std::size_t at_ = 0;                    ///< next sentence of `own_`
  const EssayTopic* topic_ = nullptr;     ///< of the paragraph
  std::string_view last_line_;            ///< which is not used twice in a row
  std::unordered_set<std::string> said_;  ///< which is not said again where that can be avoided
  std::uint64_t left_ = 0;                ///< sentences until the paragraph ends
};

}  // namespace headroom::tasks
