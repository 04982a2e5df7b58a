// SPDX-License-Identifier: Apache-2.0
// Writes a record of 128K tokens: stored tiles by blocks, supports row by row, q and k as they are made.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "support/long_layer.h"

namespace headroom::test {
namespace {

using namespace record;

constexpr std::int64_t side_of_thumbnails = 128, sample_step = 4096;
constexpr auto B = LongLayer::block;

/// Everything about the rows of one block of queries, by plane: [index, cell rows, cells].
struct BlockRows {
  std::vector<double> planes[num_planes];
};

/// Largest value and sum of the head mean over cells of a pair of blocks: [cells a side, cells a side] each. A product
/// of [64, groups] and [groups, 64].
[[gnu::target_clones("avx512f", "avx2", "default")]] void mean_cells(const float* weights, const float* values,
                                                                     std::int64_t groups, std::int64_t stride,
                                                                     std::int64_t cell, float* largest, float* sums) {
  const std::int64_t side = B / cell;
  std::fill(largest, largest + side * side, 0.0f);
  std::fill(sums, sums + side * side, 0.0f);
  for (std::int64_t t = 0; t < B; ++t) {
    float row[B] = {};
    for (std::int64_t g = 0; g < groups; ++g) {
      const float weight = weights[g * B + t];
      const float* v = values + g * stride;
      for (std::int64_t s = 0; s < B; ++s) row[s] += weight * v[s];
    }
    float* most = largest + t / cell * side;
    float* sum = sums + t / cell * side;
    for (std::int64_t s = 0; s < B; ++s) {
      most[s / cell] = std::max(most[s / cell], row[s]);
      sum[s / cell] += row[s];
    }
  }
}

class LongMaps {
 public:
  LongMaps(const LongLayer& layer, const LongSupport* support, PyramidLevels levels)
      : layer_(layer), support_(support), levels_(levels), groups_(support ? 1 : 0) {
    if (levels.mean < 0 || (std::int64_t{1} << levels.mean) > B || levels.heads < 0 ||
        (std::int64_t{1} << levels.heads) > B)
      throw Error(ErrorKind::internal, "a long record needs 8192 to 131072 tokens and several heads");
  }
  int first(Plane plane) const { return first_level(plane, levels_, groups_); }
  std::int64_t cells(Plane plane) const { return B >> first(plane); }  ///< a side of a block
  std::int64_t side(Plane plane) const { return layer_.length() >> first(plane); }
  std::int64_t indices(Plane plane) const { return is_count(plane) || of_head_mean(plane) ? 1 : layer_.heads(); }

  BlockRows run(std::int64_t block) const {
    BlockRows rows;
    for (int i = 0; i < num_planes; ++i) {
      const auto plane = static_cast<Plane>(i);
      if (first(plane) >= 0)
        rows.planes[i].assign(static_cast<std::size_t>(indices(plane) * cells(plane) * side(plane)), 0.0);
    }
    heads(rows, block);
    mean(rows, block);
    if (support_) counts(rows, block);
    return rows;
  }

 private:
  double& at(BlockRows& rows, Plane plane, std::int64_t index, std::int64_t row_in_block, std::int64_t key) const {
    const int level = first(plane);
    return rows.planes[static_cast<int>(plane)][static_cast<std::size_t>(
        (index * cells(plane) + (row_in_block >> level)) * side(plane) + (key >> level))];
  }

  void heads(BlockRows& rows, std::int64_t block) const {
    const std::int64_t cell = std::int64_t{1} << levels_.heads;
    for (std::int64_t head = 0; head < layer_.heads(); ++head) {
      const float* v = layer_.v(layer_.group_of(head));
      for (std::int64_t row = 0; row < B; row += cell) {
        double most = 0, sum = 0;
        for (std::int64_t t = block * B + row; t < block * B + row + cell; ++t) {
          most = std::max(most, static_cast<double>(layer_.inverse_z(head, t)));
          sum += static_cast<double>(layer_.inverse_z(head, t));
        }
        for (std::int64_t key = 0; key < block * B + row; key += cell) {
          const double e = static_cast<double>(layer_.e(head, block, key / B));
          at(rows, Plane::max, head, row, key) =
              e * most * static_cast<double>(*std::max_element(v + key, v + key + cell));
          at(rows, Plane::mean, head, row, key) = e * sum * std::accumulate(v + key, v + key + cell, 0.0);
        }
        const std::int64_t own = block * B + row;  // the cell on the diagonal
        for (std::int64_t t = own; t < own + cell; ++t)
          for (std::int64_t s = own; s <= t; ++s) {
            const auto p = static_cast<double>(layer_.p(head, t, s));
            at(rows, Plane::max, head, row, own) = std::max(at(rows, Plane::max, head, row, own), p);
            at(rows, Plane::mean, head, row, own) += p;
          }
      }
    }
  }

  void mean(BlockRows& rows, std::int64_t block) const {
    const std::int64_t cell = std::int64_t{1} << levels_.mean, side = B / cell, groups = layer_.groups();
    std::vector<float> weights(static_cast<std::size_t>(groups * B)), largest(static_cast<std::size_t>(side * side)),
        sums(largest.size());
    for (std::int64_t other = 0; other <= block; ++other) {
      std::fill(weights.begin(), weights.end(), 0.0f);
      for (std::int64_t head = 0; head < layer_.heads(); ++head) {
        const float e = layer_.e(head, block, other) / static_cast<float>(layer_.heads());
        const float* z = layer_.inverse_z(head) + block * B;
        float* to = weights.data() + layer_.group_of(head) * B;
        for (std::int64_t t = 0; t < B; ++t) to[t] += e * z[t];
      }
      if (other < block) {
        mean_cells(weights.data(), layer_.v(0) + other * B, groups, layer_.length(), cell, largest.data(), sums.data());
      } else {
        std::fill(largest.begin(), largest.end(), 0.0f);
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (std::int64_t t = 0; t < B; ++t)
          for (std::int64_t s = 0; s <= t; ++s) {
            const float m = layer_.mass(block * B + t, block * B + s);
            const auto place = static_cast<std::size_t>(t / cell * side + s / cell);
            largest[place] = std::max(largest[place], m);
            sums[place] += m;
          }
      }
      for (std::int64_t i = 0; i < side; ++i)
        for (std::int64_t j = 0; j < side; ++j) {
          const auto place = static_cast<std::size_t>(i * side + j);
          at(rows, Plane::m_max, 0, i * cell, other * B + j * cell) = static_cast<double>(largest[place]);
          at(rows, Plane::m_mean, 0, i * cell, other * B + j * cell) = static_cast<double>(sums[place]);
        }
    }
  }

  void counts(BlockRows& rows, std::int64_t block) const {
    std::vector<std::int32_t> chosen, best, wasted, hit, missed;
    for (std::int64_t t = block * B; t < (block + 1) * B; ++t) {
      for (auto* keys : {&chosen, &best, &wasted, &hit, &missed}) keys->clear();
      support_->support(t, chosen);
      support_->target(t, best);
      support_->waste(t, wasted);
      std::set_intersection(chosen.begin(), chosen.end(), best.begin(), best.end(), std::back_inserter(hit));
      std::set_difference(best.begin(), best.end(), chosen.begin(), chosen.end(), std::back_inserter(missed));
      const std::int64_t row = t - block * B;
      for (const auto& [plane, keys] : {std::pair{Plane::selected, &chosen}, std::pair{Plane::wasted, &wasted},
                                        std::pair{Plane::hit, &hit}, std::pair{Plane::missed, &missed}})
        for (const std::int32_t key : *keys) at(rows, plane, 0, row, key) += 1;
      for (const std::int32_t key : missed) {
        double mass = 0;
        for (std::int64_t head = 0; head < layer_.heads(); ++head) {
          const auto p = static_cast<double>(layer_.p(head, t, key));
          at(rows, Plane::missed_mass, head, row, key) += p;
          mass += p;
        }
        at(rows, Plane::m_missed_mass, 0, row, key) += mass / static_cast<double>(layer_.heads());
      }
    }
  }

  const LongLayer& layer_;
  const LongSupport* support_;
  PyramidLevels levels_;
  std::int64_t groups_;
};

/// Largest values and sums of a head (or the mean) by cells of the thumbnail.
void add_to_thumbnail(Thumbnail& thumbnail, std::int64_t row, std::span<const double> cells, std::int64_t cell,
                      bool max) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto to = static_cast<std::size_t>(row * cell / thumbnail.cell * thumbnail.size +
                                             static_cast<std::int64_t>(i) * cell / thumbnail.cell);
    if (max)
      thumbnail.max[to] = std::max(thumbnail.max[to], static_cast<float>(cells[i]));
    else
      thumbnail.mean[to] += static_cast<float>(cells[i]);
  }
}

/// [heads + 1, L]
std::vector<float> column_means(const LongLayer& layer) {
  const std::int64_t length = layer.length(), heads = layer.heads();
  std::vector<float> received(static_cast<std::size_t>((heads + 1) * length), 0.0f);
  for (std::int64_t head = 0; head < heads; ++head) {
    std::vector<double> of_block(static_cast<std::size_t>(layer.blocks()), 0.0);
    for (std::int64_t t = 0; t < length; ++t)
      of_block[static_cast<std::size_t>(t / B)] += static_cast<double>(layer.inverse_z(head, t));
    for (std::int64_t b = 0; b < layer.blocks(); ++b) {
      double later = 0;
      for (std::int64_t other = b + 1; other < layer.blocks(); ++other)
        later += static_cast<double>(layer.e(head, other, b)) * of_block[static_cast<std::size_t>(other)];
      const auto own = static_cast<double>(layer.e(head, b, b));
      for (std::int64_t s = (b + 1) * B - 1; s >= b * B; --s) {
        later += own * static_cast<double>(layer.inverse_z(head, s));
        const auto value = static_cast<float>(later * static_cast<double>(layer.v(layer.group_of(head), s)) /
                                              static_cast<double>(length - s));
        received[static_cast<std::size_t>(head * length + s)] = value;
        received[static_cast<std::size_t>(heads * length + s)] += value / static_cast<float>(heads);
      }
    }
  }
  return received;
}

/// Figures of every 4096th row.
struct Figures {
  std::vector<float> statistics, curves;  ///< [heads + 1, 9], [heads + 1, 3, budgets]
  double captured_mean = 1, captured_min = 1, recall = 1;
};

Figures figures_of(const LongLayer& layer, const LongSupport* support, std::int64_t k,
                   const std::vector<std::int64_t>& budgets) {
  const std::int64_t heads = layer.heads() + 1;
  Figures f;
  f.statistics.assign(static_cast<std::size_t>(heads * 9), 0);
  f.curves.assign(static_cast<std::size_t>(heads * 3 * std::ssize(budgets)), 1);
  double rows = 0, long_rows = 0, captured = 0, recall = 0;
  std::vector<std::vector<std::vector<float>>> kept(static_cast<std::size_t>(heads),
                                                    std::vector<std::vector<float>>(budgets.size()));
  for (std::int64_t t = sample_step - 1; t < layer.length(); t += sample_step) {
    const std::vector<float> m = layer.mass_row(t);
    std::vector<std::int32_t> order(static_cast<std::size_t>(t + 1)), chosen, best, missed, hit;
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](auto a, auto b) { return m[static_cast<std::size_t>(a)] > m[static_cast<std::size_t>(b)]; });
    if (support) {
      support->support(t, chosen);
      support->target(t, best);
      std::set_difference(best.begin(), best.end(), chosen.begin(), chosen.end(), std::back_inserter(missed));
      std::set_intersection(best.begin(), best.end(), chosen.begin(), chosen.end(), std::back_inserter(hit));
    }
    const bool counts = support && t + 1 > k;
    rows += 1;
    long_rows += counts;
    for (std::int64_t head = 0; head < heads; ++head) {
      const auto p = [&](std::int64_t s) {
        return static_cast<double>(head + 1 == heads ? m[static_cast<std::size_t>(s)] : layer.p(head, t, s));
      };
      float* to = f.statistics.data() + head * 9;
      std::vector<double> sorted;
      for (std::int64_t s = 0; s <= t; ++s) {
        const double value = p(s);
        sorted.push_back(value);
        to[0] -= static_cast<float>(value > 0 ? value * std::log(value) : 0);
        to[4] += static_cast<float>(s < 4 ? value : 0);
        to[5] += static_cast<float>(s > t - 64 ? value : 0);
      }
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      double sum = 0;
      const double shares[] = {0.9, 0.95, 0.99};
      int next = 0;
      for (std::size_t i = 0; i < sorted.size() && next < 3; ++i) {
        sum += sorted[i];
        while (next < 3 && sum >= shares[next]) to[1 + next++] += static_cast<float>(i + 1);
      }
      if (counts) {
        double held = 0, lost = 0;
        for (const auto key : chosen) held += p(key);
        for (const auto key : missed) lost += p(key);
        to[6] += static_cast<float>(held);
        to[7] += static_cast<float>(lost);
        if (head + 1 == heads) {
          captured += held;
          f.captured_min = std::min(f.captured_min, held);
          recall += static_cast<double>(hit.size()) / static_cast<double>(best.size());
        }
      }
      double share = 0;
      std::size_t taken = 0;
      for (std::size_t b = 0; b < budgets.size() && budgets[b] <= t; ++b) {
        for (; taken < static_cast<std::size_t>(budgets[b]); ++taken) share += p(order[taken]);
        kept[static_cast<std::size_t>(head)][b].push_back(static_cast<float>(share));
      }
    }
  }
  for (std::int64_t head = 0; head < heads; ++head) {
    float* to = f.statistics.data() + head * 9;
    for (int i = 0; i < 6; ++i) to[i] /= static_cast<float>(rows);
    to[6] = long_rows > 0 ? to[6] / static_cast<float>(long_rows) : 1;
    to[7] /= static_cast<float>(std::max(long_rows, 1.0));
    to[8] = 1 - to[6];
    float* curve = f.curves.data() + head * 3 * std::ssize(budgets);
    for (std::size_t b = 0; b < budgets.size(); ++b) {
      auto& values = kept[static_cast<std::size_t>(head)][b];
      if (values.empty()) continue;
      std::sort(values.begin(), values.end());
      curve[b] = std::accumulate(values.begin(), values.end(), 0.0f) / static_cast<float>(values.size());
      curve[budgets.size() + b] = values[values.size() / 10];
      curve[2 * budgets.size() + b] = values.front();
    }
  }
  if (long_rows > 0) {
    f.captured_mean = captured / long_rows;
    f.recall = recall / long_rows;
  }
  return f;
}

}  // namespace

void write_long_maps(RecordWriter& writer, const std::string& method, int number, const LongLayer& layer,
                     const LongSupport* support) {
  LayerMeta sizes;
  sizes.num_q_heads = layer.heads();
  sizes.num_kv_heads = layer.groups();
  sizes.head_dim = std::llround(1 / (layer.scale() * layer.scale()));
  const PyramidLevels levels = pyramid_levels(layer.length(), sizes);
  const LongMaps maps(layer, support, levels);
  const auto pyramid = writer.pyramid(method, number, levels, support ? 1 : 0);
  Thumbnail empty{side_of_thumbnails, layer.length() / side_of_thumbnails, {}, {}};
  empty.max.assign(side_of_thumbnails * side_of_thumbnails, 0);
  empty.mean = empty.max;
  std::vector<Thumbnail> thumbnails(static_cast<std::size_t>(layer.heads() + 1), empty);
  constexpr std::int64_t threads = 2;
  for (std::int64_t begin = 0; begin < layer.blocks(); begin += threads) {
    std::vector<BlockRows> done(static_cast<std::size_t>(std::min(threads, layer.blocks() - begin)));
    {
      std::vector<std::jthread> others;
      for (std::size_t i = 0; i < done.size(); ++i)
        others.emplace_back([&, i] { done[i] = maps.run(begin + static_cast<std::int64_t>(i)); });
    }
    for (std::size_t i = 0; i < done.size(); ++i)
      for (int n = 0; n < num_planes; ++n) {
        const auto plane = static_cast<Plane>(n);
        if (maps.first(plane) < 0) continue;
        const std::int64_t rows = maps.cells(plane), side = maps.side(plane),
                           cell = std::int64_t{1} << maps.first(plane);
        for (std::int64_t index = 0; index < maps.indices(plane); ++index)
          for (std::int64_t row = 0; row < rows; ++row) {
            const auto cells =
                std::span<const double>(done[i].planes[n])
                    .subspan(static_cast<std::size_t>((index * rows + row) * side), static_cast<std::size_t>(side));
            pyramid->add(plane, index, cells);
            const bool mean = of_head_mean(plane);
            if (is_count(plane) || plane == Plane::missed_mass || plane == Plane::m_missed_mass) continue;
            add_to_thumbnail(thumbnails[static_cast<std::size_t>(mean ? layer.heads() : index)],
                             (begin + static_cast<std::int64_t>(i)) * rows + row, cells, cell,
                             plane == Plane::max || plane == Plane::m_max);
          }
      }
  }
  pyramid->finish();
  for (Thumbnail& one : thumbnails)
    for (std::int64_t i = 0; i < one.size; ++i)
      for (std::int64_t j = 0; j <= i; ++j)
        one.mean[static_cast<std::size_t>(i * one.size + j)] /=
            static_cast<float>(visible_pairs(i * one.cell, (i + 1) * one.cell, j * one.cell, (j + 1) * one.cell));
  writer.write_thumbnails(method, number, thumbnails);
  writer.write_mass_received(method, number, layer.heads() + 1, column_means(layer));
}

void write_long_record(const std::filesystem::path& file, const SyntheticOptions& o) {
  if (o.tokens % 8192 != 0 || o.query_begin != 0)
    throw Error(ErrorKind::usage, "a long record has a multiple of 8192 tokens, all of whose queries are kept");
  RunMeta meta = synthetic_meta(o);
  meta.context = o.tokens;
  RecordWriter writer(file, meta, synthetic_tokens(o.tokens, o.seed));
  std::vector<std::int64_t> budgets;
  for (int i = 0; i < 64; ++i) budgets.push_back(std::llround(std::pow(static_cast<double>(o.tokens), i / 63.0)));
  budgets.erase(std::unique(budgets.begin(), budgets.end()), budgets.end());
  for (const std::string& method : o.methods) {
    MethodSummary summary = synthetic_summary(o, method);
    const std::int64_t k = summary.budget_tokens, width = meta.max_q_heads() + 1;
    HeadStatistics statistics{{"entropy", "keys_for_90", "keys_for_95", "keys_for_99", "sink_mass", "local_mass",
                               "captured_mass", "missed_mass", "uncaptured_mass"},
                              o.layers,
                              width,
                              {}};
    MassCurves curves{budgets, o.layers, width, {}};
    writer.write_summary(summary);
    double captured = 0, recall = 0;
    for (int number = 0; number < o.layers; ++number) {
      const LongLayer layer(o, method, number);
      LongSupport support;
      if (k > 0) support = choose(layer, k, o.seed + static_cast<std::uint64_t>(number));
      const LongSupport* chosen = k > 0 ? &support : nullptr;
      const Figures f = figures_of(layer, chosen, k, budgets);
      statistics.values.insert(statistics.values.end(), f.statistics.begin(), f.statistics.end());
      curves.values.insert(curves.values.end(), f.curves.begin(), f.curves.end());
      summary.captured_mass_per_layer.push_back(f.captured_mean);
      summary.captured_mass_min = std::min(summary.captured_mass_min, f.captured_mean);
      captured += f.captured_mean / static_cast<double>(o.layers);
      recall += f.recall / static_cast<double>(o.layers);
      write_long_maps(writer, method, number, layer, chosen);
      if (chosen) {
        summary.oracle_recall_per_layer.push_back(f.recall);
        summary.output_l2_per_layer.push_back(0.01 * (number + 1));
        summary.output_frobenius_per_layer.push_back(0.005 * (number + 1));
        const auto far = [&](std::int64_t t) {
          return std::ssize(support.chosen[static_cast<std::size_t>(t / B)]) + t % B + 1;
        };
        const auto count = [&](std::int64_t, std::int64_t t) { return static_cast<std::int64_t>(far(t)); };
        writer.write_support_rows(
            method, number, SupportKind::support, count,
            [&](std::int64_t, std::int64_t t, std::vector<std::int32_t>& to) { support.support(t, to); });
        writer.write_support_rows(
            method, number, SupportKind::target, count,
            [&](std::int64_t, std::int64_t t, std::vector<std::int32_t>& to) { support.target(t, to); });
        std::vector<std::int32_t> row;
        writer.write_support_rows(
            method, number, SupportKind::wasted,
            [&](std::int64_t, std::int64_t t) {
              row.clear();
              support.waste(t, row);
              return static_cast<std::int64_t>(row.size());
            },
            [&](std::int64_t, std::int64_t t, std::vector<std::int32_t>& to) { support.waste(t, to); });
        std::vector<float> frequency(static_cast<std::size_t>(o.tokens), 0.0f);
        for (std::int64_t t = 0; t < o.tokens; ++t) {
          row.clear();
          support.support(t, row);
          for (const auto key : row)
            frequency[static_cast<std::size_t>(key)] += 1.0f / static_cast<float>(o.tokens - key);
        }
        writer.write_selection_frequency(method, number, frequency);
      }
      if (o.keep_layers.empty() || o.keep_layers.contains(number))
        writer.write_stream_rows(method, number, {0, layer.scale(), true},
                                 [&](RecordWriter::StreamPart part, std::int64_t head, std::int64_t begin,
                                     std::int64_t count, float* out) { layer.rows(part, head, begin, count, out); });
    }
    summary.captured_mass_mean = captured;
    if (k > 0) {
      const double pairs = static_cast<double>(o.tokens) * static_cast<double>(o.tokens + 1) / 2;
      summary.density = std::min(1.0, static_cast<double>(k) * static_cast<double>(o.tokens) / pairs);
      summary.oracle_recall_mean = recall;
      summary.kl_to_dense = 0.02 * (2 - captured);
      summary.top1_agrees = true;
    }
    writer.write_summary(summary);
    writer.write_head_statistics(method, statistics);
    writer.write_mass_curves(method, curves);
  }
  writer.finish(meta);
}

}  // namespace headroom::test
