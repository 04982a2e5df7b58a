// SPDX-License-Identifier: Apache-2.0
// What needle prompts are made of: one set of lists to train on, another to evaluate with. Neither shares a sentence, a
// key word or a wording with the other or with core/tasks (tests/experiment/distil/test_training_text.cpp checks it),
// so that nothing held out or tested was trained on (METHOD.md, "No leakage").
#pragma once

#include <span>
#include <string_view>

namespace headroom::experiment {

enum class Part { training, evaluation };

/// How one needle is said: %1 is its subject and thing, %2 its number.
struct Wording {
  std::string_view fact;
  std::string_view question;  ///< %1 alone
  std::string_view answer;
};

struct NeedleLists {
  std::string_view introduction;                ///< before the haystack
  std::span<const std::string_view> sentences;  ///< of the haystack where it is no text of the user's
  std::span<const std::string_view> subjects, things;
  std::span<const Wording> wordings;
};

NeedleLists needle_lists(Part part);

}  // namespace headroom::experiment
