// SPDX-License-Identifier: Apache-2.0
// Sequences to distil on: half the user's text, half needle prompts of our own making. Their haystack sentences, words
// and wording are used nowhere in core/tasks, so that nothing tested was trained on (METHOD.md, "No leakage").
#pragma once

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace headroom::experiment {

/// Reads every regular file below the given files and folders (UTF-8; others, and files under 200 bytes, are passed
/// over), in sorted order. Throws input errors: nothing readable, a path that is not there.
std::vector<std::string> read_texts(const std::vector<std::filesystem::path>& paths);

class TrainingText {
 public:
  /// `chat` wraps needle prompts in ChatML. `texts` may be empty: then every sequence is a needle prompt.
  TrainingText(const tokenizer::Tokenizer& tokenizer, std::vector<std::string> texts, bool chat);

  /// Exactly `length` ids. The same (length, seed) gives the same sequence; even seeds give text, odd ones needles.
  std::vector<std::int32_t> sequence(std::int64_t length, std::uint64_t seed) const;

 private:
  std::vector<std::int32_t> text_sequence(std::int64_t length, std::mt19937_64& random) const;
  std::vector<std::int32_t> needle_sequence(std::int64_t length, std::mt19937_64& random) const;

  const tokenizer::Tokenizer& tokenizer_;
  std::vector<std::string> texts_;
  std::vector<double> cumulative_bytes_;
  bool chat_;
};

}  // namespace headroom::experiment
