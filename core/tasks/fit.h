// SPDX-License-Identifier: Apache-2.0
// How many units of haystack, and which filling line, make a sample of a given length.
#pragma once

#include <functional>

#include "tasks/generator.h"

namespace headroom::tasks {

/// make_sample()'s part that needs a tokenizer. `make` gives the draft of so many units, in the short form or not. The
/// text is tokenised a handful of times, however long it is: the next guess is a straight line through the last two
/// counts. What is then left of the length is filled by a line of short words where it is more than half a percent.
Sample fit_sample(const std::function<Draft(std::int64_t units, bool short_form)>& make, bool has_short_form,
                  const std::string& task, std::int64_t length, const tokenizer::Tokenizer& tokenizer,
                  std::int64_t overhead);

/// A line of so many short words, the line's end included; "" for none.
std::string filling_line(std::int64_t words);

}  // namespace headroom::tasks
