// SPDX-License-Identifier: Apache-2.0
// Needle among needles: a setting of needles.h.
#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr NeedleSetup niah_multikey_2_setup = {.haystack = HaystackKind::needles};

}  // namespace

Generator entry_niah_multikey_2() {
  return {5,
          needle_info("niah_multikey_2", "Needle among needles",
                      "A list of sentences that each give a number for another word, and nothing else. One of "
                      "the numbers is asked for.",
                      niah_multikey_2_setup),
          [](const Request& request) { return make_needles(niah_multikey_2_setup, request); }};
}

}  // namespace headroom::tasks
