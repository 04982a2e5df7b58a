// SPDX-License-Identifier: Apache-2.0
// One needle of four: a setting of needles.h.
#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr NeedleSetup niah_multikey_1_setup = {.haystack = HaystackKind::essay, .keys = 4};

}  // namespace

Generator entry_niah_multikey_1() {
  return {4,
          needle_info("niah_multikey_1", "One needle of four",
                      "Four sentences give a number for four words, in a haystack of prose. One of the numbers "
                      "is asked for.",
                      niah_multikey_1_setup),
          [](const Request& request) { return make_needles(niah_multikey_1_setup, request); }};
}

}  // namespace headroom::tasks
