// SPDX-License-Identifier: Apache-2.0
// Where a processor compares and counts vectors, top_k_row searches as top_k_search.h says. Everywhere, and for
// sorting: radix selection on order-preserving integer images of the scores. A histogram of the leading digit finds the
// digit of the k-th largest, and only its members go on to the next digit.
#include "kernels/cpu/select/top_k.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>

#include "kernels/cpu/select/top_k_kernels.h"

namespace headroom::kernels::cpu {
namespace {

constexpr std::array<int, 3> digit_shifts = {21, 10, 0};
constexpr std::array<std::uint32_t, 3> digit_sizes = {2048, 2048, 1024};

/// Ascending integers for ascending floats; -0 equals +0, NaN is below everything.
inline std::uint32_t ordered(float value) {
  if (std::isnan(value)) return 0;
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// The value of the k-th largest of keys (1 <= k <= n); `ties` receives how many of the keys equal to it belong to the
/// k largest.
std::uint32_t threshold(const std::uint32_t* keys, std::int64_t n, std::int64_t k, std::int64_t& ties,
                        std::vector<std::int32_t>& buffer) {
  std::array<std::uint32_t, 2048> histogram;
  std::uint32_t prefix = 0;
  std::int64_t wanted = k;
  const std::uint32_t* members = keys;
  std::int64_t count = n;
  for (std::size_t pass = 0; pass < digit_shifts.size(); ++pass) {
    const int shift = digit_shifts[pass];
    const std::uint32_t mask = digit_sizes[pass] - 1;
    histogram.fill(0);
    for (std::int64_t i = 0; i < count; ++i) ++histogram[members[i] >> shift & mask];
    std::uint32_t digit = mask;
    while (histogram[digit] < wanted) wanted -= histogram[digit--];
    prefix |= digit << shift;
    if (pass + 1 == digit_shifts.size()) break;
    buffer.resize(static_cast<std::size_t>(n));
    auto* next = reinterpret_cast<std::uint32_t*>(buffer.data());
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint32_t key = members[i];  // read before the write: both may be the same buffer
      next[kept] = key;
      kept += (key >> shift & mask) == digit;
    }
    members = next;
    count = kept;
  }
  ties = wanted;
  return prefix;
}

void load_keys(const float* scores, std::int64_t begin, std::int64_t end, std::vector<std::uint32_t>& keys) {
  keys.resize(static_cast<std::size_t>(end - begin));
  for (std::int64_t i = begin; i < end; ++i) keys[static_cast<std::size_t>(i - begin)] = ordered(scores[i]);
}

/// LargestFunction's job in plain code; writes at most one place past its result.
void largest_by_radix(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset, std::int32_t* out,
                      SelectScratch& scratch) {
  load_keys(scores, 0, n, scratch.keys);
  std::int64_t ties = 0;
  const std::uint32_t least = threshold(scratch.keys.data(), n, wanted, ties, scratch.others);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t key = scratch.keys[static_cast<std::size_t>(i)];
    const bool equal = key == least;
    const bool take = key > least || (equal && ties > 0);
    ties -= equal;
    *out = offset + static_cast<std::int32_t>(i);
    out += take;
  }
}

/// Null: none for these instructions.
LargestFunction largest_function(Isa at_most) {
#if defined(__x86_64__)
  static const Isa best = best_isa();
  const Isa isa = std::min(best, at_most);
  if (isa >= Isa::avx512) return largest_avx512;
  if (isa >= Isa::avx2) return largest_avx2;
#else
  static_cast<void>(at_most);
#endif
  return nullptr;
}

}  // namespace

std::int64_t top_k_row(const float* scores, std::int64_t n, std::int64_t k, const ForcedRange& forced,
                       std::int32_t* indices, SelectScratch& scratch, Isa at_most) {
  const std::optional<OpenChoice> choice = open_choice(n, k, forced, indices);
  if (!choice) return std::min(k, n);
  const auto [first, tail, wanted] = *choice;
  std::int32_t* out = indices;
  for (std::int64_t i = 0; i < first; ++i) *out++ = static_cast<std::int32_t>(i);
  const auto offset = static_cast<std::int32_t>(first);
  if (const LargestFunction largest = largest_function(at_most)) {
    const auto places = static_cast<std::size_t>(tail - first) + search_padding;
    if (scratch.members.size() < places) scratch.members.resize(places);
    if (scratch.positions.size() < places) scratch.positions.resize(places);
    largest(scores + first, tail - first, wanted, offset, out, scratch.members.data(), scratch.positions.data());
  } else {
    // The place past its result is the first of the tail's, written below.
    largest_by_radix(scores + first, tail - first, wanted, offset, out, scratch);
  }
  out += wanted;
  for (std::int64_t i = tail; i < n; ++i) *out++ = static_cast<std::int32_t>(i);
  return out - indices;
}

void sort_row(const float* scores, std::int64_t n, std::int32_t* order, SelectScratch& scratch) {
  // Least significant digit first, so equal scores keep their positions' order.
  load_keys(scores, 0, n, scratch.keys);
  scratch.positions.resize(static_cast<std::size_t>(n));
  std::int32_t* from = scratch.positions.data();
  std::int32_t* to = order;
  std::array<std::int32_t, 2048> offsets;
  const std::uint32_t* keys = scratch.keys.data();
  for (std::size_t pass = digit_shifts.size(); pass-- > 0;) {
    const int shift = digit_shifts[pass];
    const std::uint32_t mask = digit_sizes[pass] - 1;
    offsets.fill(0);
    for (std::int64_t i = 0; i < n; ++i) ++offsets[mask - (keys[i] >> shift & mask)];
    std::int32_t total = 0;
    for (std::uint32_t digit = 0; digit <= mask; ++digit) {
      const std::int32_t count = offsets[digit];
      offsets[digit] = total;
      total += count;
    }
    const bool initial = pass + 1 == digit_shifts.size();
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int32_t position = initial ? static_cast<std::int32_t>(i) : from[i];
      to[offsets[mask - (keys[position] >> shift & mask)]++] = position;
    }
    std::swap(from, to);
  }
  // Three passes: order -> positions -> order.
}

std::int64_t top_mass_row(const float* scores, std::int64_t n, double share, const ForcedRange& forced,
                          std::int32_t* indices, SelectScratch& scratch) {
  const auto value = [&](std::int64_t i) { return std::isnan(scores[i]) ? 0.0 : static_cast<double>(scores[i]); };
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) total += value(i);
  const std::int64_t first = std::clamp<std::int64_t>(forced.first, 0, n);
  const std::int64_t tail = std::max(first, n - std::max<std::int64_t>(1, forced.last));
  const double wanted = share * total * (1 - 1e-12);  // the sum's own rounding must not ask for every last key
  double sum = 0;
  for (std::int64_t i = 0; i < first; ++i) sum += value(i);
  for (std::int64_t i = tail; i < n; ++i) sum += value(i);

  scratch.others.resize(static_cast<std::size_t>(tail - first));
  std::int32_t* order = scratch.others.data();
  std::int64_t taken = 0;
  if (sum < wanted && tail > first) {
    sort_row(scores + first, tail - first, order, scratch);
    while (sum < wanted && taken < tail - first) sum += value(first + order[taken++]);
    std::sort(order, order + taken);
  }
  std::int32_t* out = indices;
  for (std::int64_t i = 0; i < first; ++i) *out++ = static_cast<std::int32_t>(i);
  for (std::int64_t i = 0; i < taken; ++i) *out++ = static_cast<std::int32_t>(first + order[i]);
  for (std::int64_t i = tail; i < n; ++i) *out++ = static_cast<std::int32_t>(i);
  return out - indices;
}

void fewest_keys(const float* p, std::int64_t n, std::span<const double> shares, std::span<std::int64_t> counts,
                 SelectScratch& scratch) {
  // Bins of an eighth of an octave; only the members of the bin where a share is crossed are sorted.
  constexpr int shift = 20;
  std::array<double, 1024> sums{};
  std::array<std::int32_t, 1024> members{};
  std::array<bool, 1024> crossed{};
  const auto bin_of = [](float value) { return std::min(std::bit_cast<std::uint32_t>(value) >> shift, 1023u); };
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t bin = bin_of(p[i]);
    sums[bin] += static_cast<double>(p[i]);
    ++members[bin];
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  struct Crossing {
    std::size_t bin = 0;
    double before = 0;
    std::int64_t count = 0;
  };
  std::array<Crossing, 8> crossings;
  Crossing at{sums.size() - 1, 0, 0};
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const double wanted = shares[i] * total * (1 - 1e-12);
    while (at.bin > 0 && !(at.before + sums[at.bin] >= wanted)) {
      at.before += sums[at.bin];
      at.count += members[at.bin--];
    }
    crossings[i] = at;
    crossed[at.bin] = true;
  }
  scratch.members.resize(static_cast<std::size_t>(n) + 1);
  std::size_t kept = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    scratch.members[kept] = p[i];
    kept += crossed[bin_of(p[i])];
  }
  std::sort(scratch.members.begin(), scratch.members.begin() + static_cast<std::ptrdiff_t>(kept), std::greater<>());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const double wanted = shares[i] * total * (1 - 1e-12);
    double sum = crossings[i].before;
    std::int64_t count = crossings[i].count;
    for (std::size_t j = 0; j < kept && sum < wanted; ++j) {
      if (bin_of(scratch.members[j]) != crossings[i].bin) continue;
      sum += static_cast<double>(scratch.members[j]);
      ++count;
    }
    counts[i] = std::clamp<std::int64_t>(count, 1, n);
  }
}

}  // namespace headroom::kernels::cpu
