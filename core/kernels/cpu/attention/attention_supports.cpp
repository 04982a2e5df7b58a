// SPDX-License-Identifier: Apache-2.0
// Checks and orders supports, and builds unions of them.
#include "kernels/cpu/attention/attention_supports.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "base/error.h"

namespace headroom::kernels::cpu {
namespace {

struct Heads {
  std::int64_t begin, end;
};
Heads heads_of(const SupportRows& support, std::int64_t num_q_heads) {
  if (support.num_heads == 0) return {0, num_q_heads};
  return {support.first_head, support.first_head + support.num_heads};
}

std::string run_text(std::int64_t begin, std::int64_t end) {
  return "[" + std::to_string(begin) + ", " + std::to_string(end) + ")";
}

}  // namespace

void check_supports(std::span<const SupportRows> groups, std::int64_t length, std::int64_t num_q_heads) {
  for (const SupportRows& group : groups) {
    const std::int64_t row_end = group.row_begin + group.rows, head_end = group.first_head + group.num_heads;
    if (group.row_begin < 0 || group.rows < 0 || row_end > length || group.width < 0)
      throw Error(ErrorKind::internal, "a support of rows that the layer does not have",
                  {{}, "rows of " + run_text(0, length), run_text(group.row_begin, row_end)});
    if (group.first_head < 0 || group.num_heads < 0 || head_end > num_q_heads ||
        (group.num_heads == 0 && group.first_head > 0))
      throw Error(ErrorKind::internal, "a support of heads that the layer does not have",
                  {{}, "query heads of " + run_text(0, num_q_heads), run_text(group.first_head, head_end)});
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Heads mine = heads_of(groups[i], num_q_heads);
    for (const SupportRows& other : groups.first(i)) {
      const Heads theirs = heads_of(other, num_q_heads);
      const std::int64_t begin = std::max(groups[i].row_begin, other.row_begin);
      const std::int64_t end = std::min(groups[i].row_begin + groups[i].rows, other.row_begin + other.rows);
      if (begin < end && mine.begin < theirs.end && theirs.begin < mine.end)
        throw Error(ErrorKind::internal,
                    "two supports for the same rows " + run_text(begin, end) + " of query heads " +
                        run_text(std::max(mine.begin, theirs.begin), std::min(mine.end, theirs.end)));
    }
  }
}

CheckedRows::CheckedRows(const SupportRows& support) : support_(support) {
  const auto rows = static_cast<std::size_t>(support.rows);
  keys_.resize(rows);
  counts_.resize(rows);
  copies_.resize(rows);
}

void CheckedRows::check(std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    const auto at = static_cast<std::size_t>(row);
    const std::int32_t* keys = support_.indices + row * support_.width;
    const std::int64_t count = std::clamp<std::int64_t>(support_.counts[row], 0, support_.width);
    const std::int64_t last = support_.row_begin + row;
    keys_[at] = keys;
    counts_[at] = count;
    if (count == 0 || (keys[0] >= 0 && keys[count - 1] <= last && ascends(keys, count))) continue;
    std::vector<std::int32_t>& copy = copies_[at];
    for (std::int64_t i = 0; i < count; ++i)
      if (keys[i] >= 0 && keys[i] <= last) copy.push_back(keys[i]);
    std::sort(copy.begin(), copy.end());
    copy.erase(std::unique(copy.begin(), copy.end()), copy.end());
    keys_[at] = copy.data();
    counts_[at] = static_cast<std::int64_t>(copy.size());
  }
}

std::int64_t CheckedRows::longest() const {
  return counts_.empty() ? 0 : *std::max_element(counts_.begin(), counts_.end());
}

std::vector<CheckedRows> checked_rows(std::span<const SupportRows> groups, const RunTasks& run) {
  struct Chunk {
    CheckedRows* rows;
    std::int64_t begin;
  };
  std::vector<CheckedRows> checked(groups.begin(), groups.end());
  std::vector<Chunk> chunks;
  for (CheckedRows& rows : checked)
    for (std::int64_t begin = 0; begin < rows.size(); begin += gather_rows) chunks.push_back({&rows, begin});
  run(std::ssize(chunks), [&](std::int64_t task) {
    const auto [rows, begin] = chunks[static_cast<std::size_t>(task)];
    rows->check(begin, std::min(begin + gather_rows, rows->size()));
  });
  return checked;
}

UnionKeys UnionBuilder::build(const CheckedRows& rows, std::int64_t begin, std::int64_t end) {
  std::int64_t first = std::numeric_limits<std::int64_t>::max(), last = -1, all = 0;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t count = rows.count(row);
    if (count == 0) continue;
    first = std::min<std::int64_t>(first, rows.keys(row)[0]);
    last = std::max<std::int64_t>(last, rows.keys(row)[count - 1]);
    all += count;
  }
  // Whatever needs memory comes before the first mark.
  if (std::ssize(marks_) <= last) marks_.resize(static_cast<std::size_t>(last / 4 + 1) * 4);
  keys_.clear();
  members_.clear();
  const auto most = static_cast<std::size_t>(std::min(all, last + 1));
  keys_.reserve(most);
  members_.reserve(most);
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int32_t* keys = rows.keys(row);
    const auto bit = static_cast<std::uint16_t>(1u << (row - begin));
    for (std::int64_t i = 0; i < rows.count(row); ++i) marks_[static_cast<std::size_t>(keys[i])] |= bit;
  }
  for (std::int64_t key = first / 4 * 4; key <= last; key += 4) {
    std::uint16_t* marks = marks_.data() + key;
    std::uint64_t four;
    std::memcpy(&four, marks, sizeof four);
    if (four == 0) continue;
    for (int i = 0; i < 4; ++i) {
      if (marks[i] == 0) continue;
      keys_.push_back(static_cast<std::int32_t>(key + i));
      members_.push_back(marks[i]);
      marks[i] = 0;
    }
  }
  return {keys_.data(), members_.data(), static_cast<std::int64_t>(keys_.size())};
}

}  // namespace headroom::kernels::cpu
