// SPDX-License-Identifier: Apache-2.0
#include "record/row_sweep.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "record/stream_window.h"
#include "record/tile_kernel.h"

namespace headroom::record {
namespace {

constexpr std::int64_t sweep_piece = 4096;  // keys
constexpr std::size_t rows_at_once = 512;  // so that a piece of them takes 8 MiB

}  // namespace

std::vector<std::int64_t> stream_heads(const LayerStream& s, HeadSelector head) {
  const std::int64_t group = s.num_kv_heads > 0 ? s.num_q_heads / s.num_kv_heads : 0;
  std::int64_t first = 0, count = s.num_q_heads;
  if (head.kind == HeadSelector::Kind::head) {
    first = head.index;
    count = 1;
  } else if (head.kind == HeadSelector::Kind::group) {
    first = head.index * group;
    count = group;
  }
  if (head.index < 0 || first < 0 || count < 1 || first + count > s.num_q_heads)
    throw Error(ErrorKind::internal, "the stream has no such head");
  std::vector<std::int64_t> heads(static_cast<std::size_t>(count));
  std::iota(heads.begin(), heads.end(), first);
  return heads;
}

bool sweep_rows(const LayerStream& stream, HeadSelector head, std::span<const std::int64_t> queries,
                const TakeRow& take, std::stop_token stop) {
  if (queries.size() > rows_at_once) {
    for (std::size_t begin = 0; begin < queries.size(); begin += rows_at_once) {
      const auto some = queries.subspan(begin, std::min(rows_at_once, queries.size() - begin));
      const auto take_some = [&](std::size_t row, std::int64_t key, std::span<const float> p) {
        take(begin + row, key, p);
      };
      if (!sweep_rows(stream, head, some, take_some, stop)) return false;
    }
    return true;
  }
  const std::vector<std::int64_t> heads = stream_heads(stream, head);
  const std::int64_t d = stream.head_dim, group = stream.num_q_heads / stream.num_kv_heads;
  const auto num_heads = static_cast<std::int64_t>(heads.size());
  const auto kept = [&](std::int64_t query) { return query >= stream.query_begin && query < stream.length; };
  // The rows' q once for all pieces: [rows, heads, d].
  std::vector<float> q(static_cast<std::size_t>(std::ssize(queries) * num_heads * d));
  std::vector<float> lse(static_cast<std::size_t>(std::ssize(queries) * num_heads)), scratch;
  std::int64_t last = -1;
  for (std::size_t row = 0; row < queries.size(); ++row) {
    if (stop.stop_requested()) return false;
    if (!kept(queries[row])) continue;
    last = std::max(last, queries[row]);
    for (std::int64_t i = 0; i < num_heads; ++i) {
      const std::int64_t at = static_cast<std::int64_t>(row) * num_heads + i;
      std::copy_n(query_rows(stream, heads[static_cast<std::size_t>(i)], queries[row], 1, scratch), d,
                  q.begin() + at * d);
      lse[static_cast<std::size_t>(at)] =
          *lse_rows(stream, heads[static_cast<std::size_t>(i)], queries[row], 1, scratch);
    }
  }
  std::vector<float> p(static_cast<std::size_t>(std::ssize(queries) * sweep_piece)), keys_scratch;
  for (std::int64_t begin = 0; begin <= last; begin += sweep_piece) {
    const std::int64_t count = std::min(sweep_piece, last + 1 - begin);
    const auto reach = [&](std::int64_t query) { return kept(query) ? std::min(count, query + 1 - begin) : 0; };
    const float* keys = nullptr;
    for (std::int64_t i = 0; i < num_heads; ++i) {
      if (stop.stop_requested()) return false;
      const std::int64_t kv = heads[static_cast<std::size_t>(i)] / group;
      if (i == 0 || kv != heads[static_cast<std::size_t>(i - 1)] / group)
        keys = key_rows(stream, kv, begin, count, keys_scratch);
      for (std::size_t row = 0; row < queries.size(); ++row) {
        const std::int64_t here = reach(queries[row]);
        const std::int64_t at = static_cast<std::int64_t>(row) * num_heads + i;
        if (here > 0)
          tile_kernels().row(q.data() + at * d, lse[static_cast<std::size_t>(at)], keys, here, d,
                             static_cast<float>(stream.scale), 1.0f / static_cast<float>(num_heads), i > 0,
                             p.data() + static_cast<std::int64_t>(row) * sweep_piece);
      }
    }
    for (std::size_t row = 0; row < queries.size(); ++row)
      if (const std::int64_t here = reach(queries[row]); here > 0)
        take(row, begin,
             {p.data() + static_cast<std::int64_t>(row) * sweep_piece, static_cast<std::size_t>(here)});
  }
  return true;
}

}  // namespace headroom::record
