// SPDX-License-Identifier: Apache-2.0
// RULER-style tasks (METHOD.md, "Quality"; Hsieh et al. 2024, arXiv 2404.06654), made for any tokenizer and length.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace headroom::tasks {

struct Haystack;

/// How an answer becomes 0 to 100, by references found in it as substrings, the case of ASCII letters aside.
enum class Metric {
  match_all,  ///< string_match_all: the share of the references that are found
  match_part  ///< string_match_part: 100 where any is found
};
/// "string_match_all", "string_match_part".
std::string to_string(Metric metric);
/// Throws a usage error for anything else.
Metric parse_metric(const std::string& name);

struct Sample {
  std::string task;    ///< of task_names(); empty for a prompt of the user's
  std::string prompt;  ///< the user's text, not yet rendered by a chat template; empty where `messages` are given
  std::string answer_prefix;            ///< what the assistant's answer begins with; may be empty
  std::vector<std::string> references;  ///< empty: there is nothing to score against
  std::int64_t max_new_tokens = 128;    ///< room that the length leaves for the answer
  Metric metric = Metric::match_all;
  /// In place of `prompt`, from a file of the user's: a whole conversation whose last message is the user's. Needs a
  /// model with a chat template.
  std::vector<tokenizer::ChatMessage> messages = {};
};

/// What is known of a task before any sample is made, for tables and the window.
struct TaskInfo {
  std::string name;        ///< "niah_multikey_2"
  std::string title;       ///< for people: "A needle among needles"
  std::string definition;  ///< one or two sentences
  std::string source;      ///< paper and name of the setup there
  Metric metric = Metric::match_all;
  /// Needles, as distillation trains on; false: out-of-family (METHOD.md, "No leakage"). The two are reported apart.
  bool in_family = false;
  /// Whether one sample can score between 0 and 100; false: binary, so that paired score intervals apply.
  bool graded = false;
  /// Whether a text of the user's can take the place of our essays (`Haystack`).
  bool takes_haystack = false;
  std::int64_t max_new_tokens = 128;
};
/// In the order in which people list them.
std::vector<TaskInfo> task_infos();
/// Throws a usage error that lists what is known.
TaskInfo task_info(const std::string& task);
std::vector<std::string> task_names();

/// `length` counts tokens of prompt + answer prefix + `overhead` (what a chat template adds) + the answer's
/// max_new_tokens: the task's own, or those given. The prompt fills it to within 1 % and never exceeds it. Same (task,
/// length, seed, tokenizer, overhead, max_new_tokens, haystack) gives the same sample everywhere. `haystack` takes the
/// place of our essays. Throws usage errors: unknown task; length too small, naming what is needed; a haystack for a
/// task that has no essay.
Sample make_sample(const std::string& task, std::int64_t length, std::uint64_t seed,
                   const tokenizer::Tokenizer& tokenizer, std::int64_t overhead,
                   std::optional<std::int64_t> max_new_tokens = {}, const Haystack* haystack = nullptr);
/// 0 to 100 by the sample's metric; 0 where it has no references.
double score(const Sample& sample, const std::string& answer);

}  // namespace headroom::tasks
