// SPDX-License-Identifier: Apache-2.0
// Needle in an essay: a setting of needles.h.
#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr NeedleSetup niah_single_2_setup = {.haystack = HaystackKind::essay};

}  // namespace

Generator entry_niah_single_2() {
  return {2,
          needle_info("niah_single_2", "Needle in an essay",
                      "One sentence gives a number for a word, in a haystack of prose. The number is asked for.",
                      niah_single_2_setup),
          [](const Request& request) { return make_needles(niah_single_2_setup, request); }};
}

}  // namespace headroom::tasks
