// SPDX-License-Identifier: Apache-2.0
// What the eight needle tasks share: facts "the … of KEY is VALUE" hidden at random depths of a haystack, and a
// question about some of them. RULER's setups (Hsieh et al. 2024, table of appendix B) are settings of one builder; the
// wording is this project's own.
#pragma once

#include <functional>
#include <string>

#include "tasks/generator.h"

namespace headroom::tasks {

enum class HaystackKind {
  noise,   ///< five short sentences over and over; a unit is one sentence
  essay,   ///< sentences of essay.h; a unit is one sentence
  needles  ///< facts about other keys; a unit is one fact
};

struct NeedleSetup {
  HaystackKind haystack = HaystackKind::essay;
  bool uuid_keys = false, uuid_values = false;  ///< otherwise words and seven-digit numbers
  int keys = 1;                                 ///< needles of one value each, or one key with `values`
  int values = 1;                               ///< of each key
  int queries = 1;                              ///< keys that are asked for
};
Draft make_needles(const NeedleSetup& setup, const Request& request);

/// `count` sentences of noise, five a line, each line ended; the same five in the same order (vt uses them, too).
/// `between(line)` gives what is put before that line, with its line end; it is also asked for the line after the last.
std::string noise_lines(std::int64_t count, const std::function<std::string(std::int64_t)>& between);
/// Lines that noise_lines() asks for, the one after the last included.
std::int64_t noise_gaps(std::int64_t count);

/// Title, definition and source are given; the rest follows from the setup.
TaskInfo needle_info(const char* name, const char* title, const char* definition, const NeedleSetup& setup);

}  // namespace headroom::tasks
