// SPDX-License-Identifier: Apache-2.0
// How a task makes a sample. A new task is a new file in generators/ that defines `Generator entry_<file>()`; the build
// collects them. Here too: what generators share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tasks/random.h"
#include "tasks/task.h"

namespace headroom::tasks {

struct Request {
  std::int64_t units = 0;   ///< of haystack: the task's own measure, 0 or more
  std::int64_t length = 0;  ///< tokens of the whole sample, for rules that depend on it
  bool short_form = false;  ///< with Generator::has_short_form alone
  Random random;  ///< starts anew at each call, so that keys and values stay the same while a length is fitted
  const Haystack* haystack = nullptr;  ///< with TaskInfo::takes_haystack alone
};

struct Draft {
  Sample sample;           ///< task, metric and max_new_tokens are filled in by make_sample()
  std::size_t pad_at = 0;  ///< byte of the prompt, at the beginning of a line, where a line without meaning may be put
};

struct Generator {
  int place = 0;  ///< in lists for people
  TaskInfo info;
  /// Every unit adds tokens, or nearly: where units shuffle a list the count may waver by a token or two.
  Draft (*make)(const Request& request);
  /// A form with less repetition, for lengths below short_form_length and where the full one does not fit.
  bool has_short_form = false;
};
std::vector<Generator> generators();

inline constexpr std::int64_t short_form_length = 4096;

/// Distinct keys "brisk-otter", from this project's own lists, which distillation does not share. After `pool()` keys
/// they repeat, but for the first `unique` of them.
class Keys {
 public:
  explicit Keys(Random random, std::size_t unique = 1);
  std::string next();
  static std::size_t pool();

 private:
  Random random_;
  std::vector<std::uint32_t> order_;  ///< shuffled as far as keys were taken
  std::size_t taken_ = 0, unique_;
};
/// Every word that keys are made of.
std::vector<std::string_view> key_words();
/// Words for lists (cwe): everyday English, one word each, distinct.
std::vector<std::string_view> list_words();

/// Seven digits, the first not 0.
std::string random_number(Random& random);
/// 32 hexadecimal digits in groups of 8-4-4-4-12, version 4 (RFC 9562).
std::string random_uuid(Random& random);
/// `count` letters from `first` on: 'a' or 'A'.
std::string random_letters(Random& random, int count, char first);
/// "a", "a and b", "a, b and c".
std::string listed(const std::vector<std::string>& words);

template <typename T>
void shuffle(std::vector<T>& list, Random& random) {
  for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random.below(i)]);
}

}  // namespace headroom::tasks
