// SPDX-License-Identifier: Apache-2.0
#include "tasks/fit.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace headroom::tasks {
namespace {

// Short words, so that every tokenizer cuts them finely.
constexpr auto filling = std::to_array<std::string_view>(
    {"So",  "it",  "was,", "and",  "so", "it", "is,",  "and",  "as", "we",   "go",  "on",   "it",  "may",  "be",
     "so",  "for", "us",   "all,", "or", "it", "may",  "not",  "be", "so",   "at",  "all,", "for", "who",  "is",
     "to",  "say", "now",  "how",  "it", "is", "to",   "end,", "or", "if",   "it",  "is",   "to",  "end,", "so",
     "let", "us",  "go",   "on",   "as", "we", "did,", "day",  "by", "day,", "and", "see",  "how", "it",   "is,"});

class Fitter {
 public:
  Fitter(const std::function<Draft(std::int64_t, bool)>& make, const tokenizer::Tokenizer& tokenizer,
         std::int64_t length, std::int64_t overhead)
      : make_(make), tokenizer_(tokenizer), length_(length), overhead_(overhead) {}

  /// Tokens of the sample without any haystack.
  std::int64_t begin(bool short_form) {
    short_form_ = short_form;
    best_ = make_(0, short_form_);
    used_ = tokens(best_.sample);
    return used_;
  }

  void fit() {
    const std::int64_t near = length_ / 400;                               // a quarter of a percent is as good as none
    std::int64_t low = 0, low_tokens = used_, high = -1, high_tokens = 0;  // low fits, high does not; -1: not known
    std::int64_t slope_units = 1, slope_tokens = 0;                        // tokens that units were seen to take
    std::int64_t units = std::clamp<std::int64_t>(length_ - used_, 0, 32);
    while (high != low + 1 && length_ - low_tokens > near) {
      const std::int64_t before = low, before_tokens = low_tokens;
      Draft draft = make_(units, short_form_);
      const std::int64_t counted = tokens(draft.sample);
      if (counted <= length_) {
        best_ = std::move(draft);
        low = units;
        low_tokens = used_ = counted;
      } else {
        high = units;
        high_tokens = counted;
      }
      slope_units = units - before;
      slope_tokens = counted - before_tokens;
      const std::int64_t room = length_ - low_tokens - near / 2;
      std::int64_t step = slope_tokens > 0 ? room * slope_units / slope_tokens : 2 * slope_units;
      if (high >= 0) {
        // A straight line between the two; where it keeps to one side, the middle.
        step = room * (high - low) / std::max<std::int64_t>(high_tokens - low_tokens, 1);
        if (++bracketed_ % 4 == 0) step = (high - low) / 2;
        step = std::min(step, high - low - 1);
      }
      units = low + std::max<std::int64_t>(step, 1);
    }
  }

  /// Takes the rest up where it is worth it.
  Sample filled() {
    Sample sample = best_.sample;
    if (length_ - used_ <= length_ / 200) return sample;
    const auto with = [&](std::int64_t words) {
      Sample longer = best_.sample;
      longer.prompt.insert(best_.pad_at, filling_line(words));
      return longer;
    };
    std::int64_t low = 0, high = length_ - used_ + 1;  // a word is a token at least
    while (high - low > 1) {
      const std::int64_t words = low + (high - low) / 2;
      Sample longer = with(words);
      if (tokens(longer) <= length_) {
        sample = std::move(longer);
        low = words;
      } else {
        high = words;
      }
    }
    return sample;
  }

 private:
  std::int64_t tokens(const Sample& sample) const {
    const auto count = [&](const std::string& text) {
      return static_cast<std::int64_t>(tokenizer_.encode(text, {.add_bos = false}).size());
    };
    return count(sample.prompt) + count(sample.answer_prefix) + overhead_ + sample.max_new_tokens;
  }

  const std::function<Draft(std::int64_t, bool)>& make_;
  const tokenizer::Tokenizer& tokenizer_;
  std::int64_t length_, overhead_;
  bool short_form_ = false;
  Draft best_;             ///< the longest that fits
  std::int64_t used_ = 0;  ///< tokens of best_
  int bracketed_ = 0;
};

}  // namespace

std::string filling_line(std::int64_t words) {
  std::string line;
  for (std::int64_t i = 0; i < words; ++i) {
    if (i > 0) line += ' ';
    line += filling[static_cast<std::size_t>(i) % filling.size()];
  }
  if (line.empty()) return line;
  if (line.back() == ',') line.pop_back();
  return line + ".\n";
}

Sample fit_sample(const std::function<Draft(std::int64_t, bool)>& make, bool has_short_form, const std::string& task,
                  std::int64_t length, const tokenizer::Tokenizer& tokenizer, std::int64_t overhead) {
  Fitter fitter(make, tokenizer, length, overhead);
  bool short_form = has_short_form && length < short_form_length;
  std::int64_t empty = fitter.begin(short_form);
  if (empty > length && has_short_form && !short_form) empty = fitter.begin(short_form = true);
  if (empty > length) {
    throw usage_error("a length of " + std::to_string(length) + " tokens is too small for " + task + ": it needs " +
                      std::to_string(empty) + " without any haystack, " +
                      std::to_string(make(0, short_form).sample.max_new_tokens) + " of them for the answer");
  }
  fitter.fit();
  return fitter.filled();
}

}  // namespace headroom::tasks
