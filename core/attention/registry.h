// SPDX-License-Identifier: Apache-2.0
// All policies. A new one is a new file in policies/ that defines `PolicyEntry entry_<file>()`; the build collects them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "attention/policy.h"

namespace headroom::attention {

struct PolicyEntry {
  PolicyTraits traits;
  std::unique_ptr<Policy> (*make)(const PolicyTraits&, const PolicySettings&) = nullptr;
};
/// The `make` of a policy that is constructed from traits and settings.
template <typename P>
std::unique_ptr<Policy> make_policy_of(const PolicyTraits& traits, const PolicySettings& settings) {
  return std::make_unique<P>(traits, settings);
}

/// In the order in which people are shown them (by look).
const std::vector<PolicyEntry>& policies();
/// nullptr where there is none of that name.
const PolicyEntry* find_policy(std::string_view name);
/// Throws usage errors: an unknown name (names the known ones), and those of Policy.
std::unique_ptr<Policy> make_policy(std::string_view name, const PolicySettings& settings);
/// The policy whose role is dense.
std::unique_ptr<Policy> make_dense_policy();

}  // namespace headroom::attention
