// SPDX-License-Identifier: Apache-2.0
// Four values of one key: a setting of needles.h.
#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr NeedleSetup niah_multivalue_setup = {.haystack = HaystackKind::essay, .values = 4};

}  // namespace

Generator entry_niah_multivalue() {
  return {7,
          needle_info("niah_multivalue", "Four values of one key",
                      "Four sentences give numbers for the same word, in a haystack of prose. All four are "
                      "asked for.",
                      niah_multivalue_setup),
          [](const Request& request) { return make_needles(niah_multivalue_setup, request); }};
}

}  // namespace headroom::tasks
