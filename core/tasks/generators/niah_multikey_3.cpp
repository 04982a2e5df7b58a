// SPDX-License-Identifier: Apache-2.0
// Long needle among needles: a setting of needles.h.
#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr NeedleSetup niah_multikey_3_setup = {
    .haystack = HaystackKind::needles, .uuid_keys = true, .uuid_values = true};

}  // namespace

Generator entry_niah_multikey_3() {
  return {6,
          needle_info("niah_multikey_3", "Long needle among needles",
                      "A list of sentences that each give a UUID for another UUID, and nothing else. One of "
                      "them is asked for.",
                      niah_multikey_3_setup),
          [](const Request& request) { return make_needles(niah_multikey_3_setup, request); }};
}

}  // namespace headroom::tasks
