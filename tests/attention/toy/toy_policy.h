// SPDX-License-Identifier: Apache-2.0
// What the toy policies' tests share: a policy attends on both backends, supports and outputs are held against plain
// loops. A toy policy is one test file, as a real one is one file in core/attention/policies.
#pragma once

#include "../layer_inputs.h"
// After ATen, whose names Qt's macros would take.
#include <QtTest>

namespace headroom::attention::testing {

/// fp64 attention where each head group has supports of its own.
inline std::vector<double> grouped_reference(const reference::Inputs& in,
                                             const std::vector<reference::Supports>& groups) {
  std::vector<double> out;
  const std::int64_t heads = in.num_q_heads / std::ssize(groups);
  const std::size_t head_size = static_cast<std::size_t>(in.length * in.head_dim);
  for (std::size_t group = 0; group < groups.size(); ++group) {
    const auto whole = reference::sparse(in, groups[group]).out;
    const std::size_t first = group * static_cast<std::size_t>(heads) * head_size;
    out.insert(out.end(), whole.begin() + static_cast<std::ptrdiff_t>(first),
               whole.begin() + static_cast<std::ptrdiff_t>(first + static_cast<std::size_t>(heads) * head_size));
  }
  return out;
}

/// `expected(group, row)`: the keys, ascending.
template <typename Expected>
void check_on_both_backends(const Policy& policy, const LayerQuery& query, Expected&& expected) {
  const reference::Inputs in = reference::inputs_of(query);
  const std::int64_t groups =
      num_support_groups(policy.traits().scope, query.num_q_heads(), query.num_kv_heads());
  std::vector<reference::Supports> supports(static_cast<std::size_t>(groups));
  for (std::int64_t group = 0; group < groups; ++group)
    for (std::int64_t row = 0; row < query.length(); ++row)
      supports[static_cast<std::size_t>(group)].push_back(expected(group, row));
  const std::vector<double> out = grouped_reference(in, supports);
  for (const auto& backend : {make_cpu_backend(), make_torch_backend()}) {
    const Attended found = attend(policy, query, *backend);
    for (std::int64_t group = 0; group < groups; ++group)
      QCOMPARE(supports_of(found.tiles, group), supports[static_cast<std::size_t>(group)]);
    QVERIFY2(max_error(found.out, out) < 2e-5, backend->id().c_str());
    const auto bitmaps = to_bitmaps(found.tiles, query.length());
    QCOMPARE(std::ssize(bitmaps), groups);
  }
}

}  // namespace headroom::attention::testing
