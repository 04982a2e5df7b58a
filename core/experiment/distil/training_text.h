// SPDX-License-Identifier: Apache-2.0
// Sequences to distil on and to evaluate with: half the user's text, half needle prompts of our own making. The two
// parts share no text (text_split.h) and nothing of the needle prompts (needle_lists.h).
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "experiment/distil/needle_lists.h"
#include "experiment/distil/text_split.h"
#include "tokenizer/tokenizer.h"

namespace headroom::experiment {

enum class Family { text, needles };

class TrainingText {
 public:
  /// `chat` wraps needle prompts in ChatML. `texts` may be empty: then every sequence is a needle prompt.
  TrainingText(const tokenizer::Tokenizer& tokenizer, SplitTexts texts, bool chat);

  const TextSplit& split() const { return texts_.split; }
  /// Even seeds give text where there is any, odd ones needles.
  Family family(std::uint64_t seed) const;
  /// Exactly `length` ids of that part. The same (part, length, seed) gives the same sequence; equal seeds of the two
  /// parts have nothing in common.
  std::vector<std::int32_t> sequence(Part part, std::int64_t length, std::uint64_t seed) const;
  /// Bytes of the user's text, of all sequences so far, that the tokenizer has no token for.
  std::int64_t left_out_bytes() const { return left_out_bytes_; }

 private:
  std::vector<std::int32_t> text_sequence(Part part, std::int64_t length, std::mt19937_64& random) const;
  std::vector<std::int32_t> needle_sequence(Part part, std::int64_t length, std::mt19937_64& random) const;

  const tokenizer::Tokenizer& tokenizer_;
  SplitTexts texts_;
  std::array<std::vector<double>, 2> cumulative_bytes_;  ///< by Part
  bool chat_;
  mutable std::int64_t left_out_bytes_ = 0;  ///< counted while sequences are made
};

}  // namespace headroom::experiment
