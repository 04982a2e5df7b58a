// SPDX-License-Identifier: Apache-2.0
// Internal to the CPU attention kernels: tiles of 16 query rows x up to 4 heads that share their keys. Rows are lanes
// and heads are vectors, so a key's or value's unit is broadcast from where it lies and everything about a row (its
// mask, maximum, sum, rescaling) is plain vertical arithmetic. `Dot` supplies the arithmetic (attention_dot.h). For the
// files of one instruction set alone, as vectors.h is.
#pragma once

#include "kernels/cpu/attention/attention_dot.h"

namespace headroom::kernels::cpu {
namespace {

/// A tile's memory, carved out of one workspace of floats.
template <typename Dot>
struct TileWork {
  float* q;       ///< [d units][heads][16]
  float* scores;  ///< [block_keys][heads][16]
  float* p;       ///< [block_keys / group units][heads][16]
  float* out;     ///< [d][heads][16]
  float* row;     ///< [heads][16] origin: the largest raw score, then [heads][16] sum relative to it
  float* keys;    ///< [block_keys] rows of key units: copies for unions and for the layer's last keys
  float* values;  ///< [block_keys / group][d] units

  static std::int64_t units(std::int64_t dim) { return dim / Dot::group; }
  static std::int64_t key_units(const LayerView& layer) { return layer.padded_dim / Dot::group; }
  /// Between groups of values.
  static std::int64_t value_units(const LayerView& layer) { return Dot::group == 1 ? layer.padded_dim : layer.head_dim; }
  static std::int64_t floats(const LayerView& layer, std::int64_t heads) {
    const std::int64_t lanes = heads * tile_rows, d = layer.head_dim;
    return (units(d) + block_keys + block_keys / Dot::group + d + 2) * lanes + block_keys * key_units(layer) +
           block_keys / Dot::group * value_units(layer);
  }
  TileWork(const LayerView& layer, std::int64_t heads, float* work) {
    const std::int64_t lanes = heads * tile_rows, d = layer.head_dim;
    q = work;
    scores = q + units(d) * lanes;
    p = scores + block_keys * lanes;
    out = p + block_keys / Dot::group * lanes;
    row = out + d * lanes;
    keys = row + 2 * lanes;
    values = keys + block_keys * key_units(layer);
  }
};

/// Transposes the tile's queries into [unit][head][row]; rows behind the layer's end are zero.
template <typename Dot>
HEADROOM_INLINE void pack_queries(const LayerView& layer, std::int64_t first_head, int heads, std::int64_t row_begin,
                                  float* packed) {
  const std::int64_t d = layer.head_dim, units = d / Dot::group;
  const std::int64_t rows = layer.length - row_begin < tile_rows ? layer.length - row_begin : tile_rows;
  if (rows < tile_rows) __builtin_memset(packed, 0, static_cast<std::size_t>(units * heads * tile_rows) * sizeof(float));
  for (int h = 0; h < heads; ++h) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t start = ((first_head + h) * layer.length + row_begin + r) * d;
      float* to = packed + h * tile_rows + r;
      for (std::int64_t u = 0; u < units; ++u) Dot::copy_unit(layer, layer.q, start + u * Dot::group, to + u * heads * tile_rows);
    }
  }
}

/// Products that one accumulator adds up in a row: longer chains would cost fp32 the heads of 128 and 256 digits.
constexpr std::int64_t chained_units = 64;

/// scores[key][head] = q . k for `count` keys (a multiple of 16) that lie `stride` units apart.
template <typename Dot, int Heads>
HEADROOM_INLINE void score_block(const float* q, std::int64_t units, const float* keys, std::int64_t stride,
                                 std::int64_t count, float* scores) {
  constexpr int N = Dot::lanes, parts = tile_rows / N, step = Dot::score_keys(Heads);
  for (std::int64_t key = 0; key < count; key += step) {
    float* to = scores + key * Heads * tile_rows;
    for (std::int64_t begin = 0; begin < units; begin += chained_units) {
      const std::int64_t end = units - begin < chained_units ? units : begin + chained_units;
      Floats<N> sum[step][Heads * parts];
#pragma GCC unroll 16
      for (int s = 0; s < step; ++s)
#pragma GCC unroll 16
        for (int part = 0; part < Heads * parts; ++part) sum[s][part] = Floats<N>{};
      const float* from = keys + key * stride;
      for (std::int64_t u = begin; u < end; ++u) {
        const float* row = q + u * Heads * tile_rows;
#pragma GCC unroll 16
        for (int s = 0; s < step; ++s) {
          const Floats<N> unit = Dot::broadcast(from + s * stride + u);
#pragma GCC unroll 16
          for (int part = 0; part < Heads * parts; ++part)
            sum[s][part] = Dot::add_product(sum[s][part], load<N>(row + part * N), unit);
        }
      }
#pragma GCC unroll 16
      for (int s = 0; s < step; ++s)
#pragma GCC unroll 16
        for (int part = 0; part < Heads * parts; ++part) {
          float* place = to + s * Heads * tile_rows + part * N;
          store<N>(place, begin == 0 ? sum[s][part] : load<N>(place) + sum[s][part]);
        }
    }
  }
}

/// Online softmax of one head over a block: raw scores to probabilities relative to the new origin, written as units.
/// Updates origins and totals [16] and leaves the factor from the old origin to the new one in `rescale`.
template <typename Dot, int Heads>
HEADROOM_INLINE void soften_block(float* scores, std::int64_t count, const std::uint16_t* members, float to_log2,
                                  float* origins, float* total, float* p, float* rescale) {
  constexpr int N = Dot::lanes, parts = tile_rows / N;
  constexpr std::int64_t row = Heads * tile_rows;
  const float least = -126.0f / to_log2;
#pragma GCC unroll 4
  for (int part = 0; part < parts; ++part) {
    float* lane = scores + part * N;
    if (members) {
      for (std::int64_t key = 0; key < count; ++key)
        store<N>(lane + key * row,
                 keep_members<N>(load<N>(lane + key * row), members[key], part * N, splat<N>(minus_infinity)));
    }
    Floats<N> top[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) top[i] = load<N>(lane + i * row);
    for (std::int64_t key = 4; key < count; key += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) top[i] = larger<N>(top[i], load<N>(lane + (key + i) * row));
    }
    // The running origin comes first: it is never NaN, so a NaN score does not become it. It is subtracted before the
    // score is scaled: the largest gets exactly 1 however large it is (rounded products would cancel to anything).
    const Floats<N> before = load<N>(origins + part * N);
    Floats<N> now = before;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) now = larger<N>(now, top[i]);
    store<N>(origins + part * N, now);
    // Lanes that saw no key yet: exp(-inf - 0) is 0, exp(-inf + inf) would be NaN.
    const Floats<N> origin = now > minus_infinity ? now : Floats<N>{};
    const Floats<N> factor = exp2_below_zero<N>(before - origin, to_log2, least);
    store<N>(rescale + part * N, factor);
    Floats<N> sum[2] = {Floats<N>{}, Floats<N>{}};
    for (std::int64_t key = 0; key < count; key += 2) {
      const Floats<N> even = exp2_below_zero<N>(load<N>(lane + key * row) - origin, to_log2, least);
      const Floats<N> odd = exp2_below_zero<N>(load<N>(lane + (key + 1) * row) - origin, to_log2, least);
      sum[0] += even;
      sum[1] += odd;
      Dot::store_probabilities(p + part * N, row, key, even, odd);
    }
    store<N>(total + part * N, load<N>(total + part * N) * factor + (sum[0] + sum[1]));
  }
}

/// out[d][head] = out * rescale + sum over keys of v[d] p.
template <typename Dot, int Heads, int Step>
HEADROOM_INLINE void value_block(const float* p, const float* values, std::int64_t stride, std::int64_t dim,
                                 std::int64_t groups, const float* rescale, float* out) {
  constexpr int N = Dot::lanes, parts = tile_rows / N;
  for (std::int64_t d = 0; d < dim; d += Step) {
    Floats<N> sum[Step][Heads * parts];
#pragma GCC unroll 16
    for (int s = 0; s < Step; ++s)
#pragma GCC unroll 16
      for (int part = 0; part < Heads * parts; ++part)
        sum[s][part] = Floats<N>{};
    for (std::int64_t g = 0; g < groups; ++g) {
      const float* row = p + g * Heads * tile_rows;
      const float* from = values + g * stride + d;
#pragma GCC unroll 16
      for (int s = 0; s < Step; ++s) {
        const Floats<N> unit = Dot::broadcast(from + s);
#pragma GCC unroll 16
        for (int part = 0; part < Heads * parts; ++part)
          sum[s][part] = Dot::add_product(sum[s][part], load<N>(row + part * N), unit);
      }
    }
#pragma GCC unroll 16
    for (int s = 0; s < Step; ++s)
#pragma GCC unroll 16
      for (int part = 0; part < Heads * parts; ++part) {
        float* place = out + (d + s) * Heads * tile_rows + part * N;
        store<N>(place, load<N>(place) * load<N>(rescale + part * N) + sum[s][part]);
      }
  }
}

/// One block of keys: scores, softmax, values (null: not wanted). `members` null: every row sees every key.
template <typename Dot, int Heads>
HEADROOM_INLINE void attend_block(const LayerView& layer, const TileWork<Dot>& work, const float* keys,
                                  std::int64_t key_stride, const float* values, std::int64_t count,
                                  const std::uint16_t* members) {
  const std::int64_t dim = layer.head_dim, value_stride = TileWork<Dot>::value_units(layer);
  score_block<Dot, Heads>(work.q, dim / Dot::group, keys, key_stride, count, work.scores);
  alignas(64) float rescale[Heads * tile_rows];
  for (int h = 0; h < Heads; ++h) {
    soften_block<Dot, Heads>(work.scores + h * tile_rows, count, members, layer.scale * log2_e, work.row + h * tile_rows,
                             work.row + (Heads + h) * tile_rows, work.p + h * tile_rows, rescale + h * tile_rows);
  }
  if (!values) return;
  constexpr int step = Dot::value_step(Heads);
  if (dim % step == 0)
    value_block<Dot, Heads, step>(work.p, values, value_stride, dim, count / Dot::group, rescale, work.out);
  else
    value_block<Dot, Heads, (step < 8 ? step : 8)>(work.p, values, value_stride, dim, count / Dot::group, rescale, work.out);
}

template <typename Dot, int Heads>
HEADROOM_INLINE void begin_tile(const LayerView& layer, const Tile& tile, const TileWork<Dot>& work) {
  pack_queries<Dot>(layer, tile.first_head, Heads, tile.row_begin, work.q);
  for (std::int64_t i = 0; i < layer.head_dim * Heads * tile_rows; ++i) work.out[i] = 0;
  for (int i = 0; i < Heads * tile_rows; ++i) {
    work.row[i] = minus_infinity;
    work.row[Heads * tile_rows + i] = 0;
  }
}

/// Divides by the sums and writes rows and log-sum-exp. A row without keys (maximum and sum untouched) gets zeros.
template <typename Dot, int Heads>
HEADROOM_INLINE void end_tile(const LayerView& layer, const Tile& tile, const TileWork<Dot>& work,
                              std::uint16_t rows_with_keys, const LayerOutput& output) {
  const int rows = tile.rows;
  const std::int64_t d = layer.head_dim;
  alignas(64) float columns[tile_rows * tile_rows], lines[tile_rows * tile_rows];
  for (int h = 0; h < Heads; ++h) {
    const std::int64_t head = tile.first_head + h;
    float inverse[tile_rows];
    for (int r = 0; r < rows; ++r) {
      const float origin = work.row[h * tile_rows + r], total = work.row[(Heads + h) * tile_rows + r];
      const bool empty = (rows_with_keys >> r & 1) == 0;
      inverse[r] = empty ? 0.0f : 1.0f / total;
      if (output.lse)
        output.lse[head * layer.length + tile.row_begin + r] =
            empty ? minus_infinity : origin * layer.scale + __builtin_logf(total);
    }
    if (!output.out) continue;
    for (std::int64_t begin = 0; begin < d; begin += tile_rows) {
      const int width = static_cast<int>(d - begin < tile_rows ? d - begin : tile_rows);
      for (int i = 0; i < width; ++i)
        for (int r = 0; r < tile_rows; ++r)
          columns[i * tile_rows + r] = work.out[((begin + i) * Heads + h) * tile_rows + r];
      for (int i = width * tile_rows; i < tile_rows * tile_rows; ++i) columns[i] = 0;
      transpose_16(columns, lines, tile_rows);
      for (int r = 0; r < rows; ++r) {
        const std::int64_t place = head * output.head_stride + (tile.row_begin + r) * output.row_stride + begin;
        write_row(layer.element, output.out, place, lines + r * tile_rows, width, inverse[r]);
      }
    }
  }
}

/// Copies of `count` keys from `begin` on with zeros behind them up to `padded`, where reading on would leave the layer.
template <typename Dot>
HEADROOM_INLINE void copy_block(const LayerView& layer, const TileWork<Dot>& work, std::int64_t kv_head,
                                std::int64_t begin, std::int64_t count, std::int64_t padded) {
  const std::int64_t stride = TileWork<Dot>::key_units(layer), d = TileWork<Dot>::value_units(layer);
  const float* keys = Dot::key_row(layer, kv_head, begin);
  __builtin_memcpy(work.keys, keys, static_cast<std::size_t>(count * stride) * sizeof(float));
  __builtin_memset(work.keys + count * stride, 0, static_cast<std::size_t>((padded - count) * stride) * sizeof(float));
  const std::int64_t groups = (count + Dot::group - 1) / Dot::group;
  __builtin_memcpy(work.values, Dot::value_group(layer, kv_head, begin), static_cast<std::size_t>(groups * d) * sizeof(float));
  __builtin_memset(work.values + groups * d, 0,
                   static_cast<std::size_t>((padded / Dot::group - groups) * d) * sizeof(float));
}

template <typename Dot, int Heads>
void dense_tile(const LayerView& layer, const Tile& tile, const LayerOutput& output, float* memory) {
  const TileWork<Dot> work(layer, Heads, memory);
  begin_tile<Dot, Heads>(layer, tile, work);
  const std::int64_t stride = TileWork<Dot>::key_units(layer), end = tile.row_begin + tile_rows;
  std::uint16_t members[block_keys];
  for (std::int64_t begin = 0; begin < end; begin += block_keys) {
    const std::int64_t count = end - begin < block_keys ? end - begin : block_keys;  // a multiple of 16
    const bool diagonal = begin + count > tile.row_begin;
    for (std::int64_t i = 0; diagonal && i < count; ++i) {
      const std::int64_t after = begin + i - tile.row_begin;  // rows before it do not see the key
      members[i] = static_cast<std::uint16_t>(after <= 0 ? 0xffff : 0xffff << after);
    }
    const float* keys = Dot::key_row(layer, tile.kv_head, begin);
    const float* values = Dot::value_group(layer, tile.kv_head, begin);
    if (begin + count > layer.length) {
      copy_block<Dot>(layer, work, tile.kv_head, begin, layer.length - begin, count);
      keys = work.keys;
      values = work.values;
    }
    attend_block<Dot, Heads>(layer, work, keys, stride, output.out ? values : nullptr, count,
                             diagonal ? members : nullptr);
  }
  end_tile<Dot, Heads>(layer, tile, work, 0xffff, output);
}

template <typename Dot, int Heads>
void union_tile(const LayerView& layer, const Tile& tile, const UnionKeys& keys, const LayerOutput& output,
                float* memory) {
  const TileWork<Dot> work(layer, Heads, memory);
  begin_tile<Dot, Heads>(layer, tile, work);
  const std::int64_t stride = TileWork<Dot>::key_units(layer);
  std::uint16_t seen = 0, members[block_keys];
  for (std::int64_t begin = 0; begin < keys.count; begin += block_keys) {
    const std::int64_t left = keys.count - begin, count = left < block_keys ? left : block_keys;
    const std::int64_t padded = (count + 15) / 16 * 16;
    for (std::int64_t i = 0; i < padded; ++i) {
      // Padding repeats a key that nobody attends to.
      const std::int64_t key = keys.keys[begin + (i < count ? i : 0)];
      members[i] = i < count ? keys.members[begin + i] : std::uint16_t{0};
      seen = static_cast<std::uint16_t>(seen | members[i]);
      __builtin_memcpy(work.keys + i * stride, Dot::key_row(layer, tile.kv_head, key),
                       static_cast<std::size_t>(stride) * sizeof(float));
    }
    for (std::int64_t i = 0; i < padded; i += Dot::group) {
      const std::int64_t last = begin + (i + 1 < count ? i + 1 : 0);
      Dot::group_values(layer, tile.kv_head, keys.keys[begin + (i < count ? i : 0)], keys.keys[last],
                        work.values + i / Dot::group * TileWork<Dot>::value_units(layer));
    }
    attend_block<Dot, Heads>(layer, work, work.keys, stride, work.values, padded, members);
  }
  end_tile<Dot, Heads>(layer, tile, work, seen, output);
}

/// exp(scale q.k - lse) of one chunk of heads, added to sums[key][16].
template <typename Dot, int Heads>
HEADROOM_INLINE void add_mass(const LayerView& layer, const float* q, const float* keys, std::int64_t count,
                              const float* lse, float* scores, float* sums) {
  constexpr int N = Dot::lanes, parts = tile_rows / N;
  score_block<Dot, Heads>(q, layer.head_dim / Dot::group, keys, TileWork<Dot>::key_units(layer), count, scores);
  constexpr float least = -126.0f / log2_e;
  for (int part = 0; part < parts; ++part) {
    Floats<N> origin[Heads];
    for (int h = 0; h < Heads; ++h) origin[h] = load<N>(lse + h * tile_rows + part * N);
    for (std::int64_t key = 0; key < count; ++key) {
      Floats<N> sum = load<N>(sums + key * tile_rows + part * N);
#pragma GCC unroll 4
      for (int h = 0; h < Heads; ++h)
        sum += exp2_below_zero<N>(load<N>(scores + (key * Heads + h) * tile_rows + part * N) * layer.scale - origin[h],
                                  log2_e, least);
      store<N>(sums + key * tile_rows + part * N, sum);
    }
  }
}

template <typename Dot>
void mass_tile(const LayerView& layer, std::int64_t row_begin, std::int64_t rows, const float* lse, float* mass,
               std::int64_t stride, float* memory) {
  const std::int64_t group = layer.num_q_heads / layer.num_kv_heads, units = layer.head_dim / Dot::group;
  float* q = memory;
  float* origins = q + units * layer.num_q_heads * tile_rows;
  float* scores = origins + layer.num_q_heads * tile_rows;
  float* sums = scores + block_keys * max_tile_heads * tile_rows;
  float* copies = sums + block_keys * tile_rows;
  const auto chunks = [&](auto&& work) {  // (kv head, first head, heads)
    for (std::int64_t kv = 0; kv < layer.num_kv_heads; ++kv)
      for (std::int64_t first = 0; first < group; first += max_tile_heads)
        work(kv, kv * group + first, static_cast<int>(group - first < max_tile_heads ? group - first : max_tile_heads));
  };
  chunks([&](std::int64_t, std::int64_t head, int heads) {
    pack_queries<Dot>(layer, head, heads, row_begin, q + units * head * tile_rows);
  });
  for (std::int64_t h = 0; h < layer.num_q_heads; ++h)
    for (std::int64_t r = 0; r < tile_rows; ++r)
      origins[h * tile_rows + r] = r < rows ? lse[h * layer.length + row_begin + r] : 0.0f;

  const float share = 1.0f / static_cast<float>(layer.num_q_heads);
  const std::int64_t end = row_begin + tile_rows, key_units = TileWork<Dot>::key_units(layer);
  alignas(64) float lines[tile_rows * tile_rows];
  for (std::int64_t begin = 0; begin < end; begin += block_keys) {
    const std::int64_t count = end - begin < block_keys ? end - begin : block_keys;
    for (std::int64_t i = 0; i < count * tile_rows; ++i) sums[i] = 0;
    chunks([&](std::int64_t kv, std::int64_t head, int heads) {
      const float* keys = Dot::key_row(layer, kv, begin);
      if (begin + count > layer.length) {
        const std::int64_t real = layer.length - begin;
        __builtin_memcpy(copies, keys, static_cast<std::size_t>(real * key_units) * sizeof(float));
        __builtin_memset(copies + real * key_units, 0, static_cast<std::size_t>((count - real) * key_units) * sizeof(float));
        keys = copies;
      }
      const float* from = q + units * head * tile_rows;
      const float* origin = origins + head * tile_rows;
      if (heads == 1) add_mass<Dot, 1>(layer, from, keys, count, origin, scores, sums);
      if (heads == 2) add_mass<Dot, 2>(layer, from, keys, count, origin, scores, sums);
      if (heads == 3) add_mass<Dot, 3>(layer, from, keys, count, origin, scores, sums);
      if (heads == 4) add_mass<Dot, 4>(layer, from, keys, count, origin, scores, sums);
    });
    for (std::int64_t key = 0; key < count; key += tile_rows) {
      transpose_16(sums + key * tile_rows, lines, tile_rows);
      for (std::int64_t r = 0; r < rows; ++r) {
        // The diagonal square: keys behind the row count nothing.
        const std::int64_t visible = row_begin + r + 1 - (begin + key);
        float* to = mass + r * stride + begin + key;
        const float* from = lines + r * tile_rows;
        for (std::int64_t i = 0; i < tile_rows; ++i) to[i] = i < visible ? from[i] * share : 0.0f;
      }
    }
  }
}

template <typename Dot>
std::int64_t mass_floats(const LayerView& layer) {
  return (layer.head_dim / Dot::group + 1) * layer.num_q_heads * tile_rows + block_keys * max_tile_heads * tile_rows +
         block_keys * tile_rows + block_keys * TileWork<Dot>::key_units(layer);
}

/// Floats that a workspace must hold, of which a gathered row needs `gather`.
template <typename Dot>
std::int64_t workspace_floats(const LayerView& layer, std::int64_t gather) {
  const std::int64_t tile = TileWork<Dot>::floats(layer, max_tile_heads), mass = mass_floats<Dot>(layer);
  const std::int64_t more = tile > mass ? tile : mass;
  return more > gather ? more : gather;
}

template <typename Dot>
void any_dense_tile(const LayerView& layer, const Tile& tile, const LayerOutput& output, float* work) {
  switch (tile.heads) {
    case 1: return dense_tile<Dot, 1>(layer, tile, output, work);
    case 2: return dense_tile<Dot, 2>(layer, tile, output, work);
    case 3: return dense_tile<Dot, 3>(layer, tile, output, work);
    default: return dense_tile<Dot, 4>(layer, tile, output, work);
  }
}
template <typename Dot>
void any_union_tile(const LayerView& layer, const Tile& tile, const UnionKeys& keys, const LayerOutput& output,
                    float* work) {
  switch (tile.heads) {
    case 1: return union_tile<Dot, 1>(layer, tile, keys, output, work);
    case 2: return union_tile<Dot, 2>(layer, tile, keys, output, work);
    case 3: return union_tile<Dot, 3>(layer, tile, keys, output, work);
    default: return union_tile<Dot, 4>(layer, tile, keys, output, work);
  }
}

}  // namespace
}  // namespace headroom::kernels::cpu
