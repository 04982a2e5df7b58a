// SPDX-License-Identifier: Apache-2.0
// Tiles against a plain fp64 reference at every level, for every head selector, on maps that do not fill their tiles.
#include <QtTest>
#include <cmath>
#include <limits>
#include <random>

#include "record/tile_kernel.h"
#include "record/tiles.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::record;

namespace {

LayerStream stream_of(std::int64_t tokens, std::int64_t query_begin = 0, std::int64_t d = 24) {
  test::SyntheticOptions o;
  o.tokens = tokens;
  o.query_begin = query_begin;
  o.num_q_heads = 6;
  o.num_kv_heads = 2;
  o.head_dim = d;
  o.float16 = false;
  return test::synthetic_stream(o, "dense", 1);
}

double reference(const LayerStream& s, HeadSelector head, std::int64_t query, std::int64_t key) {
  const std::int64_t group = s.num_q_heads / s.num_kv_heads, kept = s.length - s.query_begin;
  std::int64_t first = 0, count = s.num_q_heads;
  if (head.kind == HeadSelector::Kind::head) first = head.index, count = 1;
  if (head.kind == HeadSelector::Kind::group) first = head.index * group, count = group;
  double p = 0;
  for (std::int64_t h = first; h < first + count; ++h) {
    double dot = 0;
    for (std::int64_t i = 0; i < s.head_dim; ++i)
      dot += static_cast<double>(s.q[static_cast<std::size_t>((h * kept + query - s.query_begin) * s.head_dim + i)]) *
             s.k[static_cast<std::size_t>((h / group * s.length + key) * s.head_dim + i)];
    p += std::exp(s.scale * dot - s.lse[static_cast<std::size_t>(h * kept + query - s.query_begin)]);
  }
  return p / static_cast<double>(count);
}

bool close(double found, double expected) {
  return std::abs(found - expected) <= 3e-5 * expected + 1e-12;
}

const HeadSelector selectors[] = {
    {HeadSelector::Kind::head, 4}, {HeadSelector::Kind::mean, 0}, {HeadSelector::Kind::group, 1}};

}  // namespace

class TestTiles : public QObject {
  Q_OBJECT
 private slots:
  void exponential_is_accurate() {
    std::vector<float> x, y;
    for (double v = -86; v <= 5; v += 0.0037) x.push_back(static_cast<float>(v));
    y.resize(x.size());
    int count = 0;
    const TileKernels* const* sets = all_tile_kernels(count);
    for (int set = 0; set < count; ++set) {
      sets[set]->exp(x.data(), static_cast<std::int64_t>(x.size()), y.data());
      double worst = 0;
      for (std::size_t i = 0; i < x.size(); ++i)
        worst = std::max(worst, std::abs(y[i] / std::exp(static_cast<double>(x[i])) - 1));
      QVERIFY2(worst < 5e-7, qPrintable(QString("%1: %2").arg(sets[set]->name).arg(worst)));
      const float special[] = {0.0f, -1e30f, std::numeric_limits<float>::quiet_NaN()};
      float out[3];
      sets[set]->exp(special, 3, out);
      QCOMPARE(out[0], 1.0f);
      QVERIFY(out[1] >= 0 && out[1] < 1e-37f);
      QVERIFY(std::isnan(out[2]));
    }
  }

  void every_instruction_set_agrees() {
    const LayerStream s = stream_of(40);
    int count = 0;
    const TileKernels* const* sets = all_tile_kernels(count);
    for (const std::int64_t keys : {1, 31, 40}) {
      std::vector<float> expected(static_cast<std::size_t>(keys));
      for (int set = 0; set < count; ++set) {
        std::vector<float> row(static_cast<std::size_t>(keys));
        sets[set]->row(s.q.data() + 39 * s.head_dim, s.lse[39], s.k.data(), keys, s.head_dim,
                       static_cast<float>(s.scale), 1, false, row.data());
        for (std::int64_t key = 0; key < keys; ++key)
          QVERIFY(close(row[static_cast<std::size_t>(key)], reference(s, {HeadSelector::Kind::head, 0}, 39, key)));
      }
    }
  }

  void levels_of_a_map() {
    QCOMPARE(num_levels(1), 1);
    QCOMPARE(num_levels(256), 1);
    QCOMPARE(num_levels(257), 2);
    QCOMPARE(num_levels(4096), 5);
    QCOMPARE(num_levels(131072), 10);
  }

  void tiles_equal_the_reference_data() {
    QTest::addColumn<int>("length");
    QTest::addColumn<int>("query_begin");
    QTest::addColumn<int>("d");
    QTest::newRow("one token") << 1 << 0 << 8;
    QTest::newRow("a full tile") << 256 << 0 << 24;
    QTest::newRow("one more") << 257 << 0 << 24;
    QTest::newRow("ragged") << 601 << 0 << 19;
    QTest::newRow("last rows only") << 601 << 333 << 24;
  }
  void tiles_equal_the_reference() {
    QFETCH(int, length);
    QFETCH(int, query_begin);
    QFETCH(int, d);
    const LayerStream s = stream_of(length, query_begin, d);
    for (const HeadSelector head : selectors) {
      std::vector<double> map(static_cast<std::size_t>(length) * static_cast<std::size_t>(length), -1);
      for (std::int64_t t = query_begin; t < length; ++t)
        for (std::int64_t k = 0; k <= t; ++k) map[static_cast<std::size_t>(t * length + k)] = reference(s, head, t, k);
      for (int level = 0; level < num_levels(length) + 1; ++level) {
        const std::int64_t cell = std::int64_t{1} << level;
        for (std::int64_t row = 0; row * tile_size * cell < length; ++row)
          for (std::int64_t column = 0; column * tile_size * cell < length; ++column) {
            const Tile tile = compute_tile(s, head, {level, row, column});
            QCOMPARE(tile.rows, std::min<std::int64_t>(tile_size, (length - row * tile_size * cell + cell - 1) / cell));
            for (std::int64_t i = 0; i < tile.rows; ++i)
              for (std::int64_t j = 0; j < tile.columns; ++j) {
                double most = -1, sum = 0;
                int pairs = 0;
                for (std::int64_t t = (row * tile_size + i) * cell;
                     t < std::min<std::int64_t>(length, (row * tile_size + i + 1) * cell); ++t)
                  for (std::int64_t k = (column * tile_size + j) * cell;
                       k < std::min<std::int64_t>(length, (column * tile_size + j + 1) * cell); ++k) {
                    const double p = map[static_cast<std::size_t>(t * length + k)];
                    if (p < 0) continue;
                    most = std::max(most, p);
                    sum += p;
                    ++pairs;
                  }
                const auto at = static_cast<std::size_t>(i * tile.columns + j);
                const bool same = pairs == 0 ? std::isnan(tile.max[at]) && std::isnan(tile.mean[at])
                                             : close(tile.max[at], most) && close(tile.mean[at], sum / pairs);
                if (!same)
                  QFAIL(qPrintable(QString("level %1 cell %2, %3: %4 against %5, mean %6 against %7")
                                       .arg(level)
                                       .arg(i)
                                       .arg(j)
                                       .arg(tile.max[at])
                                       .arg(most)
                                       .arg(tile.mean[at])
                                       .arg(sum / pairs)));
              }
          }
      }
    }
  }

  void outside_and_stopped_tiles_are_empty() {
    const LayerStream s = stream_of(300);
    const HeadSelector mean;
    for (const TileAddress address :
         {TileAddress{0, 2, 0}, TileAddress{0, 0, 9}, TileAddress{-1, 0, 0}, TileAddress{40, 0, 0},
          TileAddress{0, std::numeric_limits<std::int64_t>::max(), 0}, TileAddress{0, -1, 0}})
      QVERIFY(compute_tile(s, mean, address).max.empty());
    std::stop_source source;
    source.request_stop();
    QVERIFY(compute_tile(s, mean, {0, 0, 0}, source.get_token()).max.empty());
    QCOMPARE(compute_tile(s, mean, {30, 0, 0}).rows, 1);
    QVERIFY_EXCEPTION_THROWN(compute_tile(s, {HeadSelector::Kind::head, 6}, {0, 0, 0}), std::exception);
    QVERIFY_EXCEPTION_THROWN(compute_tile(s, {HeadSelector::Kind::group, 2}, {0, 0, 0}), std::exception);
  }

  void rows_sum_to_one_and_ranks_count() {
    const LayerStream s = stream_of(601, 100);
    for (const HeadSelector head : selectors) {
      QVERIFY(probability_row(s, head, 99).empty());
      for (const std::int64_t query : {100, 333, 600}) {
        const std::vector<float> p = probability_row(s, head, query);
        QCOMPARE(static_cast<std::int64_t>(p.size()), query + 1);
        double sum = 0;
        for (std::size_t key = 0; key < p.size(); ++key) {
          sum += p[key];
          QVERIFY(close(p[key], reference(s, head, query, static_cast<std::int64_t>(key))));
        }
        QVERIFY(std::abs(sum - 1) < 1e-5);
        QCOMPARE(probability(s, head, query, 7), p[7]);
        std::int64_t above = 0;
        for (const float value : p) above += value > p[50];
        QCOMPARE(rank_in_row(s, head, query, 50), above + 1);
        const std::vector<float> mass = mass_of_queries(s, head, query, query + 1);
        for (std::size_t key = 0; key < mass.size(); ++key)
          QVERIFY(key < p.size() ? close(mass[key], p[key]) : mass[key] == 0);
      }
      const std::vector<float> mass = mass_of_queries(s, head, 0, 1000);  // kept rows are 100 … 600
      double total = 0;
      for (const float value : mass) total += value;
      QVERIFY(std::abs(total - 1) < 1e-5);
    }
    QVERIFY(std::isnan(probability(s, {}, 5, 1)));
    QCOMPARE(probability(s, {}, 200, 300), 0.0f);
    QCOMPARE(rank_in_row(s, {}, 200, 300), 0);
  }

  void ties_go_to_the_lower_position() {
    LayerStream s = stream_of(20);
    std::fill(s.k.begin(), s.k.end(), 1.0f);
    for (std::int64_t key = 0; key < 20; ++key) QCOMPARE(rank_in_row(s, {}, 19, key), key + 1);
  }

  void one_hot_column_survives_every_level() {
    LayerStream s = stream_of(3000, 0, 8);
    std::fill(s.q.begin(), s.q.end(), 1.0f);
    std::fill(s.k.begin(), s.k.end(), 0.0f);
    std::fill(s.lse.begin(), s.lse.end(), 20.0f);
    for (int i = 0; i < 8; ++i)
      s.k[1234 * 8 + static_cast<std::size_t>(i)] = s.k[(3000 + 1234) * 8 + static_cast<std::size_t>(i)] = 6.0f;
    for (int level = 0; level < num_levels(3000); ++level) {
      const std::int64_t cell = std::int64_t{1} << level, row = 2999 / cell, column = 1234 / cell;
      const Tile tile = compute_tile(s, {}, {level, row / tile_size, column / tile_size});
      const auto at = static_cast<std::size_t>(row % tile_size * tile.columns + column % tile_size);
      QVERIFY(std::abs(tile.max[at] / std::exp(s.scale * 48 - 20) - 1) < 1e-4);
    }
  }

  void overlays_count_every_pair() {
    const std::int64_t length = 700;
    SupportBitmap support(length), target(length), wasted(length);
    std::mt19937_64 random(3);
    for (std::int64_t t = 0; t < length; ++t)
      for (int i = 0; i < 40; ++i) {
        support.set(t,
                    static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(length)));  // also after the query
        target.set(t, static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(t + 1)));
        wasted.set(t, static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(t + 1)));
      }
    for (int level = 0; level < num_levels(length) + 1; ++level) {
      const std::int64_t cell = std::int64_t{1} << level;
      for (std::int64_t row = 0; row * tile_size * cell < length; ++row)
        for (std::int64_t column = 0; column * tile_size * cell < length; ++column) {
          const OverlayTile tile = compute_overlay(support, target, wasted, {level, row, column});
          std::vector<std::uint32_t> hit(tile.hit.size()), missed(hit), waste(hit);
          for (std::int64_t t = row * tile_size * cell; t < std::min((row + 1) * tile_size * cell, length); ++t)
            for (std::int64_t k = column * tile_size * cell; k < std::min((column + 1) * tile_size * cell, t + 1);
                 ++k) {
              const auto at =
                  static_cast<std::size_t>((t / cell - row * tile_size) * tile.columns + k / cell - column * tile_size);
              hit[at] += support.test(t, k) && target.test(t, k);
              missed[at] += !support.test(t, k) && target.test(t, k);
              waste[at] += wasted.test(t, k);
            }
          QVERIFY(tile.hit == hit && tile.missed == missed && tile.wasted == waste);
        }
    }
    QVERIFY(compute_overlay({}, {}, {}, {0, 0, 0}).hit.empty());
    {  // The mass that is missed, with rows that are not kept and at every level.
      test::SyntheticOptions options;
      options.tokens = length;
      options.layers = 1;
      options.query_begin = 40;
      const LayerStream stream = test::synthetic_stream(options, "dense", 0);
      QCOMPARE(stream.length, length);
      const HeadSelector heads[] = {{}, {HeadSelector::Kind::head, 2}, {HeadSelector::Kind::group, 1}};
      for (const HeadSelector head : heads) {
        for (const int level : {0, 2, num_levels(length) - 1}) {
          const std::int64_t cell = std::int64_t{1} << level;
          const std::int64_t row = level == 0 ? 1 : 0;
          OverlayTile tile = compute_overlay(support, target, wasted, {level, row, 0}, stream.query_begin);
          QVERIFY(add_missed_mass(tile, stream, head, support, target, 1e12));
          std::vector<double> expected(tile.missed.size(), 0.0);
          for (std::int64_t t = stream.query_begin; t < length; ++t) {
            const std::int64_t r = t / cell - row * tile_size;
            if (r < 0 || r >= tile.rows) continue;
            const auto p = probability_row(stream, head, t);
            for (std::int64_t k = 0; k <= std::min(t, tile.columns * cell - 1); ++k)
              if (target.test(t, k) && !support.test(t, k))
                expected[static_cast<std::size_t>(r * tile.columns + k / cell)] += p[static_cast<std::size_t>(k)];
          }
          for (std::size_t i = 0; i < expected.size(); ++i)
            QVERIFY(std::abs(double(tile.missed_mass[i]) - expected[i]) <= 1e-6 + 1e-5 * expected[i]);
        }
      }
      OverlayTile whole = compute_overlay(support, target, wasted, {num_levels(length) - 1, 0, 0}, stream.query_begin);
      QVERIFY(!add_missed_mass(whole, stream, {}, support, target, 10) && whole.missed_mass.empty());  // too much work
      std::uint64_t selected = 0, counted = 0;
      for (const std::uint32_t count : whole.selected) counted += count;
      for (std::int64_t t = stream.query_begin; t < length; ++t) selected += std::uint64_t(support.count(t, 0, t + 1));
      QCOMPARE(counted, selected);
    }
    // Rows before those that the stream keeps are not counted: a coarse cell stands for what its map shows.
    for (const std::int64_t kept_from : {600, 650, 699}) {
      std::int64_t counted = 0, expected = 0;
      for (const std::uint32_t count : compute_overlay(support, target, wasted, {9, 0, 0}, kept_from).missed)
        counted += count;
      for (std::int64_t t = kept_from; t < length; ++t)
        for (std::int64_t k = 0; k <= t; ++k) expected += target.test(t, k) && !support.test(t, k);
      QCOMPARE(counted, expected);
    }
    QCOMPARE(compute_overlay(support, target, {}, {9, 0, 0}).hit.size(), 4u);
  }
};

QTEST_GUILESS_MAIN(TestTiles)
#include "test_tiles.moc"
