// SPDX-License-Identifier: Apache-2.0
#include "record/tiles.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "record/row_sweep.h"
#include "record/stream_window.h"
#include "record/tile_kernel.h"

namespace headroom::record {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t row_piece = 4096;  ///< keys of a row that are read at a time

/// Keys [begin, begin + 256) of one KV head, transposed in strips; keys past the end are zero.
void pack(const LayerStream& s, std::int64_t kv_head, std::int64_t begin, float* panel, std::vector<float>& scratch) {
  const std::int64_t d = s.head_dim;
  const float* k = key_rows(s, kv_head, begin, std::min(block_keys, s.length - begin), scratch) - begin * d;
  for (std::int64_t strip = 0; strip < block_keys; strip += strip_keys) {
    float* out = panel + strip * d;
    for (std::int64_t c = 0; c < strip_keys; ++c) {
      const std::int64_t key = begin + strip + c;
      for (std::int64_t i = 0; i < d; ++i) out[i * strip_keys + c] = key < s.length ? k[key * d + i] : 0;
    }
  }
}

/// Calls visit(t, rows, key, p) for every block of at most 32 rows by 256 keys that holds a causal, kept pair inside
/// rows [row_begin, row_end) and keys [key_begin, key_end); p [rows, 256] is 0 after the query. False once stopped.
template <typename Visit>
bool sweep(const LayerStream& s, HeadSelector head, std::int64_t row_begin, std::int64_t row_end,
           std::int64_t key_begin, std::int64_t key_end, const std::stop_token& stop, Visit&& visit) {
  const std::vector<std::int64_t> heads = stream_heads(s, head);
  const TileKernels& kernels = tile_kernels();
  const std::int64_t d = s.head_dim, group = s.num_q_heads / s.num_kv_heads;
  const std::int64_t first_kv = heads.front() / group, num_kv = heads.back() / group - first_kv + 1;
  std::vector<float> panels(static_cast<std::size_t>(num_kv * block_keys * d));
  std::vector<float> p(static_cast<std::size_t>(block_rows * block_keys)), q_scratch, k_scratch, lse_scratch;
  const float weight = 1.0f / static_cast<float>(heads.size());
  row_begin = std::max(row_begin, s.query_begin);
  row_end = std::min(row_end, s.length);
  key_end = std::min(key_end, s.length);
  for (std::int64_t key = key_begin; key < key_end; key += block_keys) {
    const std::int64_t first = std::max(row_begin, key);
    if (first >= row_end) break;
    for (std::int64_t kv = 0; kv < num_kv; ++kv)
      pack(s, first_kv + kv, key, panels.data() + kv * block_keys * d, k_scratch);
    for (std::int64_t t = first; t < row_end;) {
      if (stop.stop_requested()) return false;
      // Blocks end at multiples of 32, so that cells of 32 rows and more are never cut inside a block.
      const std::int64_t rows = std::min(row_end, (t / block_rows + 1) * block_rows) - t;
      const std::int64_t columns = std::min({block_keys, t + rows - key, key_end - key});
      const std::int64_t strips = (columns + strip_keys - 1) / strip_keys;
      if (strips * strip_keys < block_keys) std::fill(p.begin(), p.end(), 0.0f);
      for (std::size_t i = 0; i < heads.size(); ++i) {
        kernels.probabilities(query_rows(s, heads[i], t, rows, q_scratch), lse_rows(s, heads[i], t, rows, lse_scratch),
                              rows, panels.data() + (heads[i] / group - first_kv) * block_keys * d, strips, d,
                              static_cast<float>(s.scale), weight, i > 0, p.data());
      }
      for (std::int64_t r = 0; r < rows; ++r) {  // no key after the query, none past the region
        const std::int64_t last = std::min(t + r + 1, key_end) - key;
        if (last < strips * strip_keys) {
          float* row = p.data() + r * block_keys;
          std::fill(row + last, row + strips * strip_keys, 0.0f);
        }
      }
      visit(t, rows, key, p.data());
      t += rows;
    }
  }
  return true;
}

/// Sum over t in [begin, end) of the number of keys below min(t + 1, limit).
std::int64_t pairs_below(std::int64_t begin, std::int64_t end, std::int64_t limit) {
  const std::int64_t middle = std::clamp(limit, begin, end);  // from here on t + 1 > limit
  const auto triangle = [](std::int64_t n) { return n * (n + 1) / 2; };
  return triangle(middle) - triangle(begin) + (end - middle) * limit;
}

struct Region {
  std::int64_t row = 0, key = 0;       ///< first query and key
  std::int64_t rows = 0, columns = 0;  ///< cells inside the map
};

bool find_region(TileAddress address, std::int64_t length, Region& region) {
  if (address.level < 0 || address.level > 32 || address.row < 0 || address.column < 0) return false;
  const std::int64_t span = tile_size << address.level;
  if (address.row > length / span || address.column > length / span) return false;
  region.row = address.row * span;
  region.key = address.column * span;
  if (region.row >= length || region.key >= length) return false;
  const std::int64_t cell = std::int64_t{1} << address.level;
  region.rows = std::min(tile_size, (length - region.row + cell - 1) / cell);
  region.columns = std::min(tile_size, (length - region.key + cell - 1) / cell);
  return true;
}

}  // namespace

std::int64_t visible_pairs(std::int64_t row_begin, std::int64_t row_end, std::int64_t key_begin, std::int64_t key_end) {
  if (row_begin >= row_end) return 0;
  return pairs_below(row_begin, row_end, key_end) - pairs_below(row_begin, row_end, key_begin);
}

int num_levels(std::int64_t length) {
  int levels = 1;
  while ((tile_size << (levels - 1)) < length) ++levels;
  return levels;
}

Tile compute_tile(const LayerStream& stream, HeadSelector head, TileAddress address, std::stop_token stop) {
  Tile tile;
  tile.address = address;
  Region region;
  stream_heads(stream, head);
  if (!find_region(address, stream.length, region)) return tile;
  const int level = address.level;
  const std::int64_t cell = std::int64_t{1} << level;
  const auto cells = static_cast<std::size_t>(region.rows * region.columns);
  std::vector<float> largest(cells, 0.0f);
  std::vector<double> sums(cells, 0.0);
  std::vector<float> column_max(block_keys), column_sum(block_keys);
  const TileKernels& kernels = tile_kernels();
  const std::int64_t row_end = std::min(region.row + (tile_size << level), stream.length);
  const std::int64_t key_end = std::min(region.key + (tile_size << level), stream.length);
  const bool finished = sweep(stream, head, region.row, row_end, region.key, key_end, stop,
                              [&](std::int64_t t, std::int64_t rows, std::int64_t key, const float* p) {
                                const std::int64_t columns = std::min(block_keys, key_end - key);
                                for (std::int64_t r = 0; r < rows;) {
                                  const std::int64_t cell_row = (t + r - region.row) >> level;
                                  const std::int64_t count =
                                      std::min(rows, ((cell_row + 1) << level) + region.row - t) - r;
                                  kernels.fold(p + r * block_keys, count, column_max.data(), column_sum.data());
                                  for (std::int64_t c = 0; c < columns;) {
                                    const std::int64_t cell_column = (key + c - region.key) >> level;
                                    const std::int64_t end = std::min(columns, c + cell);
                                    float most = 0, sum = 0;
                                    for (; c < end; ++c) {
                                      most = std::max(most, column_max[static_cast<std::size_t>(c)]);
                                      sum += column_sum[static_cast<std::size_t>(c)];
                                    }
                                    const auto at = static_cast<std::size_t>(cell_row * region.columns + cell_column);
                                    largest[at] = std::max(largest[at], most);
                                    sums[at] += sum;
                                  }
                                  r += count;
                                }
                              });
  if (!finished) return tile;
  tile.rows = region.rows;
  tile.columns = region.columns;
  tile.max.resize(cells);
  tile.mean.resize(cells);
  for (std::int64_t i = 0; i < region.rows; ++i) {
    const std::int64_t begin = std::max(region.row + i * cell, stream.query_begin);
    const std::int64_t end = std::min(region.row + (i + 1) * cell, stream.length);
    for (std::int64_t j = 0; j < region.columns; ++j) {
      const std::int64_t key = region.key + j * cell;
      const std::int64_t pairs = visible_pairs(begin, end, key, std::min(key + cell, stream.length));
      const auto at = static_cast<std::size_t>(i * region.columns + j);
      tile.max[at] = pairs > 0 ? largest[at] : nan;
      tile.mean[at] = pairs > 0 ? static_cast<float>(sums[at] / static_cast<double>(pairs)) : nan;
    }
  }
  return tile;
}

std::vector<float> mass_of_queries(const LayerStream& stream, HeadSelector head, std::int64_t query_begin,
                                   std::int64_t query_end, std::stop_token stop) {
  query_begin = std::max({query_begin, stream.query_begin, std::int64_t{0}});
  query_end = std::min(query_end, stream.length);
  if (query_begin >= query_end) return {};
  std::vector<double> sums(static_cast<std::size_t>(stream.length), 0.0);
  std::vector<float> column_max(block_keys), column_sum(block_keys);
  const bool finished = sweep(stream, head, query_begin, query_end, 0, query_end, stop,
                              [&](std::int64_t, std::int64_t rows, std::int64_t key, const float* p) {
                                tile_kernels().fold(p, rows, column_max.data(), column_sum.data());
                                for (std::int64_t c = 0; c < std::min(block_keys, stream.length - key); ++c)
                                  sums[static_cast<std::size_t>(key + c)] += column_sum[static_cast<std::size_t>(c)];
                              });
  if (!finished) return {};
  std::vector<float> mean(sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i)
    mean[i] = static_cast<float>(sums[i] / static_cast<double>(query_end - query_begin));
  return mean;
}

std::vector<float> probability_row(const LayerStream& stream, HeadSelector head, std::int64_t query) {
  if (query < stream.query_begin || query >= stream.length) return {};
  const std::vector<std::int64_t> heads = stream_heads(stream, head);
  const std::int64_t d = stream.head_dim, group = stream.num_q_heads / stream.num_kv_heads;
  std::vector<float> p(static_cast<std::size_t>(query + 1)), q_scratch, k_scratch, lse_scratch;
  // Keys in pieces: a window holds some blocks of them, never all. The heads of a group share a piece.
  const std::int64_t piece = stream.window ? row_piece : query + 1;
  for (std::int64_t begin = 0; begin <= query; begin += piece) {
    const std::int64_t count = std::min(piece, query + 1 - begin);
    const float* keys = nullptr;
    for (std::size_t i = 0; i < heads.size(); ++i) {
      if (i == 0 || heads[i] / group != heads[i - 1] / group)
        keys = key_rows(stream, heads[i] / group, begin, count, k_scratch);
      const float* q = query_rows(stream, heads[i], query, 1, q_scratch);
      tile_kernels().row(q, *lse_rows(stream, heads[i], query, 1, lse_scratch), keys, count, d,
                         static_cast<float>(stream.scale), 1.0f / static_cast<float>(heads.size()), i > 0,
                         p.data() + begin);
    }
  }
  return p;
}

float probability(const LayerStream& stream, HeadSelector head, std::int64_t query, std::int64_t key) {
  if (query < stream.query_begin || query >= stream.length || key < 0 || key >= stream.length) return nan;
  if (key > query) return 0;
  const std::vector<std::int64_t> heads = stream_heads(stream, head);
  const std::int64_t d = stream.head_dim, group = stream.num_q_heads / stream.num_kv_heads;
  std::vector<float> q_scratch, k_scratch, lse_scratch;
  float p = 0;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    tile_kernels().row(query_rows(stream, heads[i], query, 1, q_scratch),
                       *lse_rows(stream, heads[i], query, 1, lse_scratch),
                       key_rows(stream, heads[i] / group, key, 1, k_scratch), 1, d, static_cast<float>(stream.scale),
                       1.0f / static_cast<float>(heads.size()), i > 0, &p);
  }
  return p;
}

bool is_here(const LayerStream& stream, HeadSelector head, std::int64_t query, std::int64_t key) {
  if (!stream.window) return true;
  if (query < stream.query_begin || query >= stream.length || key < 0 || key > query) return true;
  using Part = StreamWindow::Part;
  const std::int64_t row = query - stream.query_begin, group = stream.num_q_heads / stream.num_kv_heads;
  for (const std::int64_t one : stream_heads(stream, head))
    if (!stream.window->is_here(Part::q, one, row) || !stream.window->is_here(Part::lse, one, row) ||
        !stream.window->is_here(Part::k, one / group, key))
      return false;
  return true;
}

std::int64_t rank_in_row(const LayerStream& stream, HeadSelector head, std::int64_t query, std::int64_t key) {
  const std::vector<float> p = probability_row(stream, head, query);
  if (key < 0 || key >= static_cast<std::int64_t>(p.size())) return 0;
  const float value = p[static_cast<std::size_t>(key)];
  std::int64_t rank = 1;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(p.size()); ++i)
    rank += p[static_cast<std::size_t>(i)] > value || (p[static_cast<std::size_t>(i)] == value && i < key);
  return rank;
}

}  // namespace headroom::record
