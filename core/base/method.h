// SPDX-License-Identifier: Apache-2.0
// What is said of a method wherever it goes (policies, records, messages, pictures), so that nothing needs to know
// methods by their names.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace headroom {

/// dense: the unmodified model. reference: defined by the true attention, so it gets a time but never a speedup.
/// deployable: what people could run.
enum class MethodRole { dense, reference, deployable };
inline constexpr std::array<std::string_view, 3> method_role_names = {"dense", "reference", "deployable"};

/// Who shares a support (METHOD.md, "Words": support): all heads of a layer, the query heads of one KV head, or nobody.
enum class SupportScope { layer, kv_head, q_head };
inline constexpr std::array<std::string_view, 3> support_scope_names = {"layer", "kv_head", "q_head"};

/// Supports of a layer: 1, Hkv or Hq of them.
constexpr std::int64_t num_support_groups(SupportScope scope, std::int64_t num_q_heads, std::int64_t num_kv_heads) {
  return scope == SupportScope::layer ? 1 : scope == SupportScope::kv_head ? num_kv_heads : num_q_heads;
}
/// The support that query head `head` attends with.
constexpr std::int64_t support_group(SupportScope scope, std::int64_t head, std::int64_t num_q_heads,
                                     std::int64_t num_kv_heads) {
  return scope == SupportScope::layer     ? 0
         : scope == SupportScope::kv_head ? head / (num_q_heads / num_kv_heads)
                                          : head;
}

/// What a method ranks keys by. none: it ranks nothing (dense, or keys that are known beforehand).
enum class ScoreKind { none, mass, index, other };
inline constexpr std::array<std::string_view, 4> score_kind_names = {"none", "mass", "index", "other"};

/// The pairs of colour and mark that pictures have for methods: a method looks the same on every page and in every
/// figure. 0 is dense's.
inline constexpr int num_method_looks = 18;

}  // namespace headroom
