// SPDX-License-Identifier: Apache-2.0
// Four needles: a setting of needles.h.
#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr NeedleSetup niah_multiquery_setup = {.haystack = HaystackKind::essay, .keys = 4, .queries = 4};

}  // namespace

Generator entry_niah_multiquery() {
  return {8,
          needle_info("niah_multiquery", "Four needles",
                      "Four sentences give a number for four words, in a haystack of prose. All four are asked "
                      "for.",
                      niah_multiquery_setup),
          [](const Request& request) { return make_needles(niah_multiquery_setup, request); }};
}

}  // namespace headroom::tasks
