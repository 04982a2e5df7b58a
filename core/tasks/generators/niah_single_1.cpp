// SPDX-License-Identifier: Apache-2.0
// RULER's niah_single_1 (Hsieh et al. 2024): one needle, word to number, in a haystack of repeated noise. Wording and
// noise are the benchmark's.
#include <algorithm>
#include <array>

#include "tasks/generator.h"

namespace headroom::tasks {
namespace {

// A unit of haystack is a sentence; five make a line, as in RULER. The needle is a line of its own.
constexpr std::array<std::string_view, 5> noise = {"The grass is green.", "The sky is blue.", "The sun is yellow.",
                                                   "Here we go.", "There and back again."};
constexpr std::int64_t per_line = noise.size();

Sample make(std::int64_t units, Random random) {
  const std::string key = random_key(random), number = random_number(random);
  const double depth = random.uniform();
  const std::int64_t lines = (units + per_line - 1) / per_line;
  const auto needle_at = static_cast<std::int64_t>(depth * static_cast<double>(lines + 1));

  Sample sample;
  sample.references = {number};
  sample.max_new_tokens = 128;
  sample.prompt =
      "A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you about the "
      "number afterwards.\n";
  for (std::int64_t line = 0; line <= lines; ++line) {
    if (line == needle_at) sample.prompt += "One of the special magic numbers for " + key + " is: " + number + ".\n";
    for (std::int64_t i = line * per_line; i < std::min(units, (line + 1) * per_line); ++i) {
      sample.prompt += noise[static_cast<std::size_t>(i % per_line)];
      sample.prompt += i + 1 == units || i % per_line == per_line - 1 ? '\n' : ' ';
    }
  }
  sample.prompt += "What is the special magic number for " + key + " mentioned in the provided text?";
  sample.answer_prefix = " The special magic number for " + key + " mentioned in the provided text is";
  return sample;
}

}  // namespace

Generator entry_niah_single_1() {
  return {"niah_single_1", make};
}

}  // namespace headroom::tasks
