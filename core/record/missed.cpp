// SPDX-License-Identifier: Apache-2.0
#include "record/missed.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "record/stream_window.h"

namespace headroom::record {
namespace {

constexpr std::int64_t rows_between_stops = 256;

/// Calls visit(key) for each key of a row that is in `target` and not in `support`, in order.
template <typename Rows, typename Visit>
void for_each_missed(const Rows& support, const Rows& target, std::int64_t query, Visit&& visit) {
  const auto chosen = support.row(query), best = target.row(query);
  const auto bytes = std::min<std::size_t>(best.size(), static_cast<std::size_t>(query / 8 + 1));
  for (std::size_t i = 0; i < bytes; ++i) {
    auto bits = static_cast<std::uint8_t>(best[i] & ~chosen[i]);
    for (; bits != 0; bits = static_cast<std::uint8_t>(bits & (bits - 1))) {
      const std::int64_t key = static_cast<std::int64_t>(i) * 8 + std::countr_zero(bits);
      if (key <= query) visit(key);
    }
  }
}

float dot_product(const float* a, const float* b, std::int64_t d) {
  float sums[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= d; i += 8)
    for (int j = 0; j < 8; ++j) sums[j] += a[i + j] * b[i + j];
  for (; i < d; ++i) sums[0] += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

}  // namespace

MissedTally::MissedTally(std::int64_t length)
    : keys_(static_cast<std::size_t>(std::max<std::int64_t>(length, 0))), counted_in_(keys_.size(), -1) {
  for (std::size_t i = 0; i < keys_.size(); ++i) keys_[i].key = static_cast<std::int64_t>(i);
}

template <typename Rows>
bool MissedTally::add(int layer, const LayerStream* stream, HeadSelector head, const Rows& support, const Rows& target,
                      std::int64_t query_begin, std::int64_t query_end, const Step& step) {
  const auto length = static_cast<std::int64_t>(keys_.size());
  if (support.length() != length || target.length() != length || (stream && stream->length != length))
    throw Error(ErrorKind::internal, "missed keys of another prompt");
  query_begin = std::max<std::int64_t>(query_begin, 0);
  query_end = std::min(query_end, length);
  std::vector<std::int64_t> missed;
  for (std::int64_t query = query_begin; query < query_end; ++query) {
    missed.clear();
    for_each_missed(support, target, query, [&](std::int64_t key) { missed.push_back(key); });
    const bool known = stream && query >= stream->query_begin;
    // A whole row at once is some ten times cheaper a key than one by one.
    std::vector<float> row;
    if (known && static_cast<std::int64_t>(missed.size()) * 8 > query + 1) row = probability_row(*stream, head, query);
    for (const std::int64_t key : missed) {
      MissedKey& line = keys_[static_cast<std::size_t>(key)];
      if (std::exchange(counted_in_[static_cast<std::size_t>(key)], layer) != layer) ++line.layers;
      ++line.rows;
      if (!known) {
        if (line.known_rows == 0) line.query = query, line.layer = layer;
        continue;
      }
      const float p = row.empty() ? probability(*stream, head, query, key) : row[static_cast<std::size_t>(key)];
      mass_ += static_cast<double>(p);
      line.mass += static_cast<double>(p);
      if (line.known_rows++ == 0 || !(p <= line.most)) line.query = query, line.most = p, line.layer = layer;
    }
    pairs_ += std::ssize(missed);
    ++rows_;
    known_rows_ += known;
    if (step && !step(query + 1 - query_begin)) return false;
  }
  return true;
}

template bool MissedTally::add(int, const LayerStream*, HeadSelector, const SupportBitmap&, const SupportBitmap&,
                               std::int64_t, std::int64_t, const Step&);
template bool MissedTally::add(int, const LayerStream*, HeadSelector, const Support&, const Support&, std::int64_t,
                               std::int64_t, const Step&);

std::vector<MissedKey> MissedTally::keys() const {
  std::vector<MissedKey> missed;
  std::copy_if(keys_.begin(), keys_.end(), std::back_inserter(missed),
               [](const MissedKey& key) { return key.rows > 0; });
  std::stable_sort(missed.begin(), missed.end(), [](const MissedKey& a, const MissedKey& b) {
    return a.mass != b.mass ? a.mass > b.mass : a.rows > b.rows;
  });
  return missed;
}

std::vector<float> probability_column(const LayerStream& stream, HeadSelector head, std::int64_t key,
                                      std::stop_token stop) {
  if (key < 0 || key >= stream.length || stream.num_kv_heads < 1) return {};
  const std::int64_t group = stream.num_q_heads / stream.num_kv_heads;
  std::int64_t first = 0, count = stream.num_q_heads;
  if (head.kind == HeadSelector::Kind::head) first = head.index, count = 1;
  if (head.kind == HeadSelector::Kind::group) first = head.index * group, count = group;
  if (head.index < 0 || count < 1 || first + count > stream.num_q_heads)
    throw Error(ErrorKind::internal, "the stream has no such head");
  const std::int64_t d = stream.head_dim;
  std::vector<float> p(static_cast<std::size_t>(stream.length), std::numeric_limits<float>::quiet_NaN());
  const std::int64_t begin = std::max(key, stream.query_begin);
  std::fill(p.begin() + stream.query_begin, p.end(), 0.0f);
  const auto scale = static_cast<float>(stream.scale), weight = 1.0f / static_cast<float>(count);
  std::vector<float> key_scratch, query_scratch, lse_scratch;
  for (std::int64_t h = first; h < first + count; ++h) {
    const float* k = key_rows(stream, h / group, key, 1, key_scratch);
    for (std::int64_t from = begin; from < stream.length; from += rows_between_stops) {
      if (stop.stop_requested()) return {};
      const std::int64_t rows = std::min(rows_between_stops, stream.length - from);
      const float* q = query_rows(stream, h, from, rows, query_scratch);
      const float* lse = lse_rows(stream, h, from, rows, lse_scratch);
      for (std::int64_t i = 0; i < rows; ++i)
        p[static_cast<std::size_t>(from + i)] += weight * std::exp(scale * dot_product(q + i * d, k, d) - lse[i]);
    }
  }
  return p;
}

}  // namespace headroom::record
