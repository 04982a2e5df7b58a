// SPDX-License-Identifier: Apache-2.0
// Needle in noise: a setting of needles.h.
#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr NeedleSetup niah_single_1_setup = {.haystack = HaystackKind::noise};

}  // namespace

Generator entry_niah_single_1() {
  return {1,
          needle_info("niah_single_1", "Needle in noise",
                      "One sentence gives a number for a word; around it five short sentences are repeated. The "
                      "number is asked for.",
                      niah_single_1_setup),
          [](const Request& request) { return make_needles(niah_single_1_setup, request); }};
}

}  // namespace headroom::tasks
