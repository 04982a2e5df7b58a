// SPDX-License-Identifier: Apache-2.0
// RULER-style tasks (METHOD.md, "Quality"), made for any tokenizer and length.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace headroom::tasks {

struct Sample {
  std::string task;
  std::string prompt;         ///< the user's text, not yet rendered by a chat template
  std::string answer_prefix;  ///< what the assistant's answer begins with
  std::vector<std::string> references;
  std::int64_t max_new_tokens = 128;  ///< room that the length leaves for the answer
};

std::vector<std::string> task_names();
/// `length` counts tokens of prompt + answer prefix + `overhead` (what a chat template adds) + the answer's
/// max_new_tokens: the task's own, or those given. The prompt is as long as fits. Same (task, length, seed, tokenizer,
/// overhead, max_new_tokens) gives the same sample everywhere. Throws usage errors (unknown task; length too small,
/// naming what is needed).
Sample make_sample(const std::string& task, std::int64_t length, std::uint64_t seed,
                   const tokenizer::Tokenizer& tokenizer, std::int64_t overhead,
                   std::optional<std::int64_t> max_new_tokens = {});
/// 0 to 100; string_match_all, or string_match_part for qa.
double score(const Sample& sample, const std::string& answer);

}  // namespace headroom::tasks
