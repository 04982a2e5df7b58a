// SPDX-License-Identifier: Apache-2.0
// Long needle in an essay: a setting of needles.h.
#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr NeedleSetup niah_single_3_setup = {.haystack = HaystackKind::essay, .uuid_values = true};

}  // namespace

Generator entry_niah_single_3() {
  return {3,
          needle_info("niah_single_3", "Long needle in an essay",
                      "One sentence gives a UUID for a word, in a haystack of prose. The UUID is asked for, all "
                      "36 characters of it.",
                      niah_single_3_setup),
          [](const Request& request) { return make_needles(niah_single_3_setup, request); }};
}

}  // namespace headroom::tasks
