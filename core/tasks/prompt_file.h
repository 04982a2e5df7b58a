// SPDX-License-Identifier: Apache-2.0
// Samples from files: the user's own prompts, and RULER's JSONL layout in and out. Untrusted input.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "tasks/task.h"

namespace headroom::tasks {

struct FilePrompt {
  std::string name;        ///< for people and messages: "prompts.jsonl:3", or the file's path below the folder
  std::int64_t index = 0;  ///< the line's own `index`, else the place in the file or folder, from 0
  std::optional<std::int64_t> length;  ///< what the line says of tokens, by whatever tokenizer wrote it
  /// Exactly one of prompt and messages is not empty. `references` may be empty. max_new_tokens is the line's own, else
  /// the task's, else default_new_tokens.
  Sample sample;
};

struct PromptSet {
  std::string source;                 ///< the path as given
  std::vector<FilePrompt> prompts;    ///< at least one; indices are distinct
  std::string fingerprint;            ///< SHA-256 over the indices and contents of all prompts, in their order
  std::vector<std::string> warnings;  ///< what a person should know, in sentences: byte order marks, carriage returns
};

struct PromptFileOptions {
  /// For lines that name none: RULER's files do not say by which metric they are scored. Unset: string_match_all.
  std::optional<Metric> metric;
  std::int64_t default_new_tokens = 64;  ///< METHOD.md: the greedy continuation of a prompt without a reference
};

/// F.jsonl, one object a line: {"messages": [{"role", "content"}, …]} or {"input": text}, each with optional "outputs"
/// (texts, or one text), "index", "length", "task", "metric", "answer_prefix", "max_new_tokens". RULER's `index, input,
/// outputs, length` is one such file; of its later fields `length_w_model_temp` and `token_position_answer` describe
/// and are passed over, any other field is refused by name. A folder: each regular file directly or further below is
/// one plain prompt, in the order of their paths; hidden files are left out, one that is no UTF-8 text, or is JSONL, is
/// refused. A line's metric is its own, else that of its task where the program has that task, else the options'.
/// Throws input errors "F.jsonl:12: …": not JSON (a single plain text is --prompt-file's), a missing or doubled field,
/// a wrong type, an empty prompt or output, an index that comes twice, a last message that is not the user's, too large
/// (16 MB a prompt, 512 MB in all, 100,000 prompts).
PromptSet read_prompts(const std::filesystem::path& path, const PromptFileOptions& options = {},
                       const JobContext& job = {});

/// One line of RULER's layout, newline included: `index, input, outputs, length`, then `answer_prefix`, `task`,
/// `metric` and `max_new_tokens`, which its readers pass over and read_prompts() reads. `length`: the tokens of prompt,
/// answer prefix and answer. The sample must be one with a prompt.
std::string ruler_line(const Sample& sample, std::int64_t index, std::int64_t length);

}  // namespace headroom::tasks
