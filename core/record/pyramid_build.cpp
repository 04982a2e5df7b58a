// SPDX-License-Identifier: Apache-2.0
// One sweep over the causal pairs of a stream for all planes of its pyramid.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "record/pyramid.h"
#include "record/stream_window.h"
#include "record/tile_kernel.h"

namespace headroom::record {
namespace {

/// The planes of a strip of rows: [index, cell rows, cells] of each.
struct Strip {
  std::vector<double> planes[num_planes];
};

class StripSweep {
 public:
  StripSweep(const LayerStream& stream, const PyramidSupports& supports, PyramidLevels levels)
      : s_(stream),
        supports_(supports),
        levels_(levels),
        groups_(std::ssize(supports.support)),
        rows_(std::int64_t{1} << std::max({levels.mean, levels.heads, 5})),
        words_((stream.length + 63) / 64) {}

  std::int64_t rows() const { return rows_; }
  int first(Plane plane) const { return first_level(plane, levels_, groups_); }
  std::int64_t indices(Plane plane) const {
    return is_count(plane) ? groups_ : of_head_mean(plane) ? 1 : s_.num_q_heads;
  }
  std::int64_t cell_rows(Plane plane) const { return rows_ >> first(plane); }
  std::int64_t side(Plane plane) const { return (s_.length + (std::int64_t{1} << first(plane)) - 1) >> first(plane); }

  /// Rows [begin, begin + rows()) of the prompt.
  Strip run(std::int64_t begin, const std::stop_token& stop) {
    Strip strip;
    for (int i = 0; i < num_planes; ++i) {
      const auto plane = static_cast<Plane>(i);
      if (first(plane) >= 0)
        strip.planes[i].assign(static_cast<std::size_t>(indices(plane) * cell_rows(plane) * side(plane)), 0.0);
    }
    const std::int64_t end = std::min(begin + rows_, s_.length);
    count(strip, begin, end);
    sweep(strip, std::max(begin, s_.query_begin), end, begin, stop);
    return strip;
  }

 private:
  double* row_of(Strip& strip, Plane plane, std::int64_t index, std::int64_t query, std::int64_t begin) const {
    return strip.planes[static_cast<int>(plane)].data() +
           (index * cell_rows(plane) + ((query - begin) >> first(plane))) * side(plane);
  }

  void count(Strip& strip, std::int64_t begin, std::int64_t end) {
    missed_.assign(static_cast<std::size_t>(groups_ * rows_ * words_), 0);
    const int level = first(Plane::hit);
    if (level < 0) return;
    for (std::int64_t group = 0; group < groups_; ++group) {
      const auto at = static_cast<std::size_t>(group);
      for (std::int64_t query = begin; query < end; ++query) {
        const auto word_at = [](std::span<const std::uint8_t> row, std::int64_t word) {
          std::uint64_t bits = 0;
          std::memcpy(&bits, row.data() + word * 8,
                      static_cast<std::size_t>(std::min<std::int64_t>(8, std::ssize(row) - word * 8)));
          return bits;
        };
        const auto support = supports_.support[at].row(query), target = supports_.target[at].row(query),
                   wasted = supports_.wasted[at].row(query);
        for (std::int64_t word = 0; word <= query / 64; ++word) {
          const std::uint64_t chosen = word_at(support, word), best = word_at(target, word);
          missed_[static_cast<std::size_t>((group * rows_ + query - begin) * words_ + word)] = best & ~chosen;
          add_word(row_of(strip, Plane::hit, group, query, begin), word, level, chosen & best);
          add_word(row_of(strip, Plane::missed, group, query, begin), word, level, best & ~chosen);
          add_word(row_of(strip, Plane::wasted, group, query, begin), word, level, word_at(wasted, word));
          add_word(row_of(strip, Plane::selected, group, query, begin), word, level, chosen);
        }
      }
    }
  }

  static void add_word(double* cells, std::int64_t word, int level, std::uint64_t bits) {
    if (level >= 6) {
      cells[word >> (level - 6)] += std::popcount(bits);
      return;
    }
    for (; bits != 0; bits &= bits - 1) cells[(word * 64 + std::countr_zero(bits)) >> level] += 1;
  }

  /// `p` [count, 256]: rows from `query`, keys from `key` on; those past the row are 0.
  void fold(Strip& strip, Plane max, Plane sum, std::int64_t index, std::int64_t begin, std::int64_t query,
            std::int64_t count, std::int64_t key, const float* p) {
    const int level = first(max);
    if (level < 0) return;
    const std::int64_t cell = std::int64_t{1} << level, columns = std::min(block_keys, s_.length - key);
    for (std::int64_t r = 0; r < count;) {
      const std::int64_t part = std::min(count - r, cell - ((query + r - begin) & (cell - 1)));
      tile_kernels().fold(p + r * block_keys, part, column_max_, column_sum_);
      double* top = row_of(strip, max, index, query + r, begin);
      double* total = row_of(strip, sum, index, query + r, begin);
      for (std::int64_t c = 0; c < columns; ++c) {
        const std::int64_t to = (key + c) >> level;
        top[to] = std::max(top[to], static_cast<double>(column_max_[c]));
        total[to] += static_cast<double>(column_sum_[c]);
      }
      r += part;
    }
  }

  void miss(Strip& strip, Plane plane, std::int64_t index, std::int64_t group, std::int64_t begin, std::int64_t query,
            std::int64_t count, std::int64_t key, const float* p) {
    const int level = first(plane);
    if (level < 0) return;
    for (std::int64_t r = 0; r < count; ++r) {
      double* cells = row_of(strip, plane, index, query + r, begin);
      const std::uint64_t* words = missed_.data() + (group * rows_ + query + r - begin) * words_;
      for (std::int64_t word = key / 64; word < std::min(words_, (key + block_keys) / 64); ++word)
        for (std::uint64_t bits = words[word]; bits != 0; bits &= bits - 1) {
          const std::int64_t at = word * 64 + std::countr_zero(bits);
          cells[at >> level] += static_cast<double>(p[r * block_keys + at - key]);
        }
    }
  }

  void sweep(Strip& strip, std::int64_t first_row, std::int64_t end, std::int64_t begin, const std::stop_token& stop) {
    const TileKernels& kernels = tile_kernels();
    const std::int64_t d = s_.head_dim, group_size = s_.num_q_heads / s_.num_kv_heads;
    const float weight = 1.0f / static_cast<float>(s_.num_q_heads);
    panels_.resize(static_cast<std::size_t>(s_.num_kv_heads * block_keys * d));
    p_.resize(static_cast<std::size_t>(block_rows * block_keys));
    mean_.resize(p_.size());
    for (std::int64_t key = 0; key < end; key += block_keys) {
      if (stop.stop_requested()) return;
      const std::int64_t keys = std::min(block_keys, s_.length - key);
      for (std::int64_t kv = 0; kv < s_.num_kv_heads; ++kv) pack_panel(kv, key, keys);
      for (std::int64_t t = std::max(first_row, key); t < end;) {
        const std::int64_t count = std::min(end, (t / block_rows + 1) * block_rows) - t;
        const std::int64_t columns = std::min(keys, t + count - key);
        const std::int64_t strips = (columns + strip_keys - 1) / strip_keys;
        std::fill(p_.begin(), p_.end(), 0.0f);
        std::fill(mean_.begin(), mean_.end(), 0.0f);
        for (std::int64_t head = 0; head < s_.num_q_heads; ++head) {
          kernels.probabilities(query_rows(s_, head, t, count, q_), lse_rows(s_, head, t, count, lse_), count,
                                panels_.data() + head / group_size * block_keys * d, strips, d,
                                static_cast<float>(s_.scale), 1.0f, false, p_.data());
          for (std::int64_t r = 0; r < count; ++r) {
            const std::int64_t last = std::min(t + r + 1 - key, keys);
            if (last < strips * strip_keys)
              std::fill(p_.begin() + r * block_keys + std::max<std::int64_t>(last, 0),
                        p_.begin() + r * block_keys + strips * strip_keys, 0.0f);
          }
          for (std::int64_t i = 0; i < count * block_keys; ++i)
            mean_[static_cast<std::size_t>(i)] += weight * p_[static_cast<std::size_t>(i)];
          fold(strip, Plane::max, Plane::mean, head, begin, t, count, key, p_.data());
          if (groups_ > 0)
            miss(strip, Plane::missed_mass, head, support_group(supports_.scope, head, s_.num_q_heads, s_.num_kv_heads),
                 begin, t, count, key, p_.data());
        }
        fold(strip, Plane::m_max, Plane::m_mean, 0, begin, t, count, key, mean_.data());
        if (groups_ == 1) miss(strip, Plane::m_missed_mass, 0, 0, begin, t, count, key, mean_.data());
        t += count;
      }
    }
  }

  void pack_panel(std::int64_t kv, std::int64_t key, std::int64_t keys) {
    const std::int64_t d = s_.head_dim;
    const float* k = key_rows(s_, kv, key, keys, k_);
    float* panel = panels_.data() + kv * block_keys * d;
    for (std::int64_t c = 0; c < block_keys; ++c) {
      float* out = panel + c / strip_keys * strip_keys * d + c % strip_keys;
      for (std::int64_t i = 0; i < d; ++i) out[i * strip_keys] = c < keys ? k[c * d + i] : 0;
    }
  }

  const LayerStream& s_;
  const PyramidSupports& supports_;
  PyramidLevels levels_;
  std::int64_t groups_, rows_, words_;
  std::vector<float> panels_, p_, mean_, q_, k_, lse_;
  std::vector<std::uint64_t> missed_;  ///< [groups, rows, words]
  float column_max_[block_keys], column_sum_[block_keys];
};

}  // namespace

bool build_pyramid(const LayerStream& stream, const PyramidSupports& supports, PyramidLevels levels, int threads,
                   const PyramidSink& sink, std::stop_token stop) {
  if (!levels.any()) return true;
  const StripSweep shape(stream, supports, levels);
  const std::int64_t strips = (stream.length + shape.rows() - 1) / shape.rows();
  const auto wave = static_cast<std::int64_t>(std::max(threads, 1));
  for (std::int64_t begin = 0; begin < strips; begin += wave) {
    const std::int64_t count = std::min(wave, strips - begin);
    std::vector<Strip> done(static_cast<std::size_t>(count));
    std::exception_ptr problem;
    std::mutex mutex;
    const auto work = [&](std::int64_t i) {
      try {
        done[static_cast<std::size_t>(i)] = StripSweep(stream, supports, levels).run((begin + i) * shape.rows(), stop);
      } catch (...) {
        const std::lock_guard lock(mutex);
        problem = std::current_exception();
      }
    };
    {
      std::vector<std::jthread> others;
      for (std::int64_t i = 1; i < count; ++i) others.emplace_back(work, i);
      work(0);
    }
    if (problem) std::rethrow_exception(problem);
    if (stop.stop_requested()) return false;
    for (std::int64_t i = 0; i < count; ++i) {
      for (int number = 0; number < num_planes; ++number) {
        const auto plane = static_cast<Plane>(number);
        if (shape.first(plane) < 0) continue;
        const std::int64_t side = shape.side(plane), cell_rows = shape.cell_rows(plane);
        const std::int64_t first_row = (begin + i) * cell_rows, kept = std::min(cell_rows, side - first_row);
        const std::vector<double>& values = done[static_cast<std::size_t>(i)].planes[number];
        for (std::int64_t index = 0; index < shape.indices(plane); ++index)
          for (std::int64_t row = 0; row < kept; ++row)
            sink(plane, index,
                 std::span(values).subspan(static_cast<std::size_t>((index * cell_rows + row) * side),
                                           static_cast<std::size_t>(side)));
      }
    }
  }
  return true;
}

}  // namespace headroom::record
