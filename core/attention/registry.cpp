// SPDX-License-Identifier: Apache-2.0
#include "attention/registry.h"

#include <algorithm>

#include "base/error.h"

namespace headroom::attention {

std::vector<PolicyEntry> collected_policies();  // made by the build from policies/*.cpp

const std::vector<PolicyEntry>& policies() {
  static const std::vector<PolicyEntry> all = [] {
    std::vector<PolicyEntry> list = collected_policies();
    std::stable_sort(list.begin(), list.end(),
                     [](const PolicyEntry& a, const PolicyEntry& b) { return a.traits.look < b.traits.look; });
    return list;
  }();
  return all;
}

const PolicyEntry* find_policy(std::string_view name) {
  const auto found = std::find_if(policies().begin(), policies().end(),
                                  [&](const PolicyEntry& entry) { return entry.traits.name == name; });
  return found == policies().end() ? nullptr : &*found;
}

std::unique_ptr<Policy> make_policy(std::string_view name, const PolicySettings& settings) {
  const PolicyEntry* entry = find_policy(name);
  if (!entry) {
    std::string known;
    for (const PolicyEntry& one : policies()) known += (known.empty() ? "" : ", ") + std::string(one.traits.name);
    throw Error(ErrorKind::usage, "the method is not known", {"--methods", known, std::string(name)});
  }
  return entry->make(entry->traits, settings);
}

std::unique_ptr<Policy> make_dense_policy() {
  for (const PolicyEntry& entry : policies())
    if (entry.traits.is_dense()) return entry.make(entry.traits, {});
  throw Error(ErrorKind::internal, "no policy is dense");
}

}  // namespace headroom::attention
