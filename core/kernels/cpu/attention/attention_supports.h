// SPDX-License-Identifier: Apache-2.0
// Internal to the host side of the CPU attention kernels: supports as they were handed over, put in order, and the
// unions of neighbouring rows' supports.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/attention/attention_kernels.h"

namespace headroom::kernels::cpu {

/// Rows of a task that goes through a support row by row.
inline constexpr std::int64_t gather_rows = 64;

/// Throws where a group names rows or heads that a layer of `length` rows and `num_q_heads` does not have, or two
/// groups have a row of a head in common.
void check_supports(std::span<const SupportRows> groups, std::int64_t length, std::int64_t num_q_heads);

/// Rows of a support with everything in order: ascending, within the history. The support's arrays must outlive it.
class CheckedRows {
 public:
  explicit CheckedRows(const SupportRows& support);
  /// Of rows [begin, end), which may be any threads' work; before the rows are asked for.
  void check(std::int64_t begin, std::int64_t end);

  const SupportRows& support() const { return support_; }
  std::int64_t size() const { return support_.rows; }
  const std::int32_t* keys(std::int64_t row) const { return keys_[static_cast<std::size_t>(row)]; }
  std::int64_t count(std::int64_t row) const { return counts_[static_cast<std::size_t>(row)]; }
  std::int64_t longest() const;

 private:
  SupportRows support_;
  std::vector<const std::int32_t*> keys_;
  std::vector<std::int64_t> counts_;
  std::vector<std::vector<std::int32_t>> copies_;  ///< of rows that were not in order
};

/// All groups, checked in one run of tasks.
std::vector<CheckedRows> checked_rows(std::span<const SupportRows> groups, const RunTasks& run);

/// The union of up to tile_rows supports, by marking who wants each key of the history.
class UnionBuilder {
 public:
  /// Of rows [begin, end) of a support; lives until the next call.
  UnionKeys build(const CheckedRows& rows, std::int64_t begin, std::int64_t end);

 private:
  std::vector<std::uint16_t> marks_;  ///< zero between calls
  std::vector<std::int32_t> keys_;
  std::vector<std::uint16_t> members_;
};

}  // namespace headroom::kernels::cpu
