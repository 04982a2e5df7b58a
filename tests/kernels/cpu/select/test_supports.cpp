// SPDX-License-Identifier: Apache-2.0
// Supports that are written without scores: sinks and a window against top-k of the positions, random keys by count,
// order and distribution, block patterns against plain loops.
#include <QtTest>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "kernels/cpu/select/supports.h"
#include "kernels/cpu/select/top_k.h"

using namespace headroom::kernels::cpu;

namespace {

using Rows = std::vector<std::vector<std::int32_t>>;

/// Rows [begin, end) in an array with canaries behind each count; fails (empty) where one was touched.
class Written {
 public:
  Written(std::int64_t begin, std::int64_t end, std::int64_t width)
      : indices_(static_cast<std::size_t>((end - begin) * width), canary),
        counts_(static_cast<std::size_t>(end - begin), canary),
        rows_{begin, end, indices_.data(), width, counts_.data()} {}
  const RowSupports& rows() const { return rows_; }
  Rows read() const {
    Rows result;
    for (std::int64_t row = 0; row < std::ssize(counts_); ++row) {
      const std::int32_t* from = rows_.indices + row * rows_.width;
      const std::int32_t count = rows_.counts[row];
      if (count < 0 || count > rows_.width) return {};
      if (std::any_of(from + count, from + rows_.width, [](std::int32_t key) { return key != canary; })) return {};
      result.emplace_back(from, from + count);
    }
    return result;
  }

 private:
  static constexpr std::int32_t canary = -7;
  std::vector<std::int32_t> indices_, counts_;
  RowSupports rows_;
};

Rows random_supports(std::int64_t begin, std::int64_t end, std::int64_t k, const ForcedRange& forced,
                     std::int64_t granularity, std::uint64_t stream) {
  const Written written(begin, end, k + 2);
  random_rows(written.rows(), k, forced, granularity, stream);
  return written.read();
}

bool ascends(const std::vector<std::int32_t>& keys) {
  return std::adjacent_find(keys.begin(), keys.end(), std::greater_equal<>()) == keys.end();
}

/// Chi-square of how often each of a row's keys was taken, as standard deviations from its mean. A key's count varies
/// by trials share (1 - share), and all counts sum to a fixed number.
double deviation(const std::vector<std::int64_t>& counts, double trials, double share) {
  const auto keys = static_cast<double>(counts.size());
  double chi = 0;
  for (const std::int64_t count : counts) chi += std::pow(static_cast<double>(count) - trials * share, 2);
  chi /= trials * share * (1 - share) * keys / (keys - 1);
  return (chi - (keys - 1)) / std::sqrt(2 * (keys - 1));
}

}  // namespace

class TestSupports : public QObject {
  Q_OBJECT
 private slots:
  void sinks_and_a_window_are_the_top_of_the_positions() {
    std::vector<float> positions(700);
    std::iota(positions.begin(), positions.end(), 0.0f);
    SelectScratch scratch;
    for (const ForcedRange forced :
         {ForcedRange{0, 1}, ForcedRange{4, 1}, ForcedRange{4, 8}, ForcedRange{0, 64}, ForcedRange{40, 3}}) {
      for (const std::int64_t k : {1, 2, 4, 5, 8, 13, 43, 44, 100, 699, 700, 900}) {
        for (std::int64_t row = 0; row < 700; row += row < 120 ? 1 : 29) {
          std::vector<std::int32_t> found(static_cast<std::size_t>(std::min(k, row + 1)) + 1, -7), expected = found;
          QCOMPARE(sink_window_row(row, k, forced, found.data()), std::min(k, row + 1));
          top_k_row(positions.data(), row + 1, k, forced, expected.data(), scratch);
          QCOMPARE(found, expected);
        }
      }
    }
    // In words: the own key, the first ones, the newest of the rest.
    std::vector<std::int32_t> found(8);
    QCOMPARE(sink_window_row(100, 8, {4, 1}, found.data()), 8);
    QCOMPARE(found, (std::vector<std::int32_t>{0, 1, 2, 3, 97, 98, 99, 100}));
    QCOMPARE(sink_window_row(100, 3, {4, 1}, found.data()), 3);
    found.resize(3);
    QCOMPARE(found, (std::vector<std::int32_t>{0, 1, 100}));
  }

  void random_rows_have_their_count_of_distinct_keys_and_all_forced_ones() {
    const std::uint64_t stream = random_stream(3, 7);
    for (const ForcedRange forced : {ForcedRange{0, 1}, ForcedRange{4, 1}, ForcedRange{3, 9}, ForcedRange{30, 40}}) {
      for (const std::int64_t granularity : {1, 4, 16, 128}) {
        for (const std::int64_t k : {1, 2, 7, 12, 13, 64, 200, 333, 400}) {
          const Rows rows = random_supports(0, 333, k, forced, granularity, stream);
          QCOMPARE(std::ssize(rows), 333);
          for (std::int64_t row = 0; row < 333; ++row) {
            const auto& keys = rows[static_cast<std::size_t>(row)];
            QCOMPARE(std::ssize(keys), std::min(k, row + 1));
            QVERIFY(ascends(keys) && keys.front() >= 0);
            QCOMPARE(keys.back(), row);
            if (k < forced.first + forced.last) continue;
            for (std::int64_t key = 0; key <= row; ++key)
              if (key < forced.first || key > row - forced.last)
                QVERIFY(std::binary_search(keys.begin(), keys.end(), static_cast<std::int32_t>(key)));
          }
        }
      }
    }
  }

  void random_rows_repeat_and_do_not_depend_on_how_they_are_split() {
    const std::uint64_t stream = random_stream(1, 2);
    for (const std::int64_t granularity : {1, 8, 64}) {
      const Rows whole = random_supports(0, 300, 20, {2, 3}, granularity, stream);
      QVERIFY(whole == random_supports(0, 300, 20, {2, 3}, granularity, stream));
      QVERIFY(whole != random_supports(0, 300, 20, {2, 3}, granularity, random_stream(1, 3)));
      QVERIFY(whole != random_supports(0, 300, 20, {2, 3}, granularity, random_stream(2, 2)));
      for (const auto& [begin, end] : {std::pair{0, 1}, {5, 6}, {63, 65}, {100, 300}, {299, 300}})
        QVERIFY(random_supports(begin, end, 20, {2, 3}, granularity, stream) ==
                Rows(whole.begin() + begin, whole.begin() + end));
    }
    // The same on every machine: these are part of what a record says.
    const Rows fixed = random_supports(1000, 1001, 6, {0, 1}, 1, random_stream(0, 0));
    QCOMPARE(fixed.front(), (std::vector<std::int32_t>{174, 216, 391, 584, 651, 1000}));
  }

  void random_keys_are_uniform_over_the_history_data() {
    QTest::addColumn<int>("granularity");
    QTest::addColumn<int>("row");
    QTest::addColumn<int>("k");
    QTest::newRow("own choice") << 1 << 96 << 25;
    QTest::newRow("most of the history") << 1 << 96 << 90;
    QTest::newRow("first of a block") << 64 << 128 << 25;
    QTest::newRow("last of a block") << 64 << 127 << 25;
    QTest::newRow("a block that begins within the budget") << 64 << 63 << 25;
  }
  void random_keys_are_uniform_over_the_history() {
    QFETCH(int, granularity);
    QFETCH(int, row);
    QFETCH(int, k);
    constexpr int trials = 4000;
    std::vector<std::int64_t> hits(static_cast<std::size_t>(row)), pairs(static_cast<std::size_t>(row - 1));
    for (int trial = 0; trial < trials; ++trial) {
      const std::uint64_t stream = random_stream(static_cast<std::uint64_t>(trial), 5);
      std::vector<bool> in(static_cast<std::size_t>(row + 1));
      const Rows one = random_supports(row, row + 1, k, {0, 1}, granularity, stream);
      for (const std::int32_t key : one.front()) in[static_cast<std::size_t>(key)] = true;
      for (std::size_t key = 0; key < hits.size(); ++key) hits[key] += in[key];
      for (std::size_t key = 0; key < pairs.size(); ++key) pairs[key] += in[key] && in[key + 1];
    }
    const double wanted = k - 1, share = wanted / row;
    const double spread = deviation(hits, trials, share);
    QVERIFY2(std::abs(spread) < 4, std::to_string(spread).c_str());
    // Neighbours are taken together as often as any two, within five standard deviations.
    const double both = share * (wanted - 1) / (row - 1), mean = trials * both;
    for (const std::int64_t count : pairs)
      QVERIFY(std::abs(static_cast<double>(count) - mean) < 5 * std::sqrt(mean * (1 - both)));
  }

  void rows_of_a_block_share_their_choice() {
    // A row's new key displaces one with probability k / history: few differ within a block, most between blocks.
    const Rows rows = random_supports(2048, 2176, 256, {0, 1}, 64, random_stream(9, 0));
    const auto common = [&](std::size_t a, std::size_t b) {
      std::vector<std::int32_t> both;
      std::set_intersection(rows[a].begin(), rows[a].end(), rows[b].begin(), rows[b].end(), std::back_inserter(both));
      return both.size();
    };
    QVERIFY(common(0, 63) > 230);
    QVERIFY(common(64, 127) > 230);
    QVERIFY(common(63, 64) < 80);
  }

  void block_patterns_are_expanded() {
    std::mt19937 random(5);
    for (const auto& [query_block, key_block, length] :
         {std::tuple{64, 64, 300}, {16, 8, 100}, {1, 4, 50}, {7, 5, 99}}) {
      const std::int64_t lists = (length + query_block - 1) / query_block,
                         key_blocks = (length + key_block - 1) / key_block;
      const std::int64_t list_width = key_blocks + 2;
      std::vector<std::int32_t> blocks(static_cast<std::size_t>(lists * list_width), -1), counts;
      for (std::int64_t list = 0; list < lists; ++list) {
        counts.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(list_width + 1)));
        for (std::int64_t i = 0; i < counts.back(); ++i)  // in any order, some twice, some behind the rows
          blocks[static_cast<std::size_t>(list * list_width + i)] =
              static_cast<std::int32_t>(random() % static_cast<unsigned>(key_blocks));
      }
      const BlockLists pattern{query_block, key_block, lists, blocks.data(), list_width, counts.data()};
      for (const auto& [begin, end] : {std::pair{0, length}, {3, 4}, {length / 3, length - 1}}) {
        std::size_t widest = 0;
        Rows expected;
        for (std::int64_t row = begin; row < end; ++row) {
          const std::int64_t list = row / query_block;
          std::set<std::int32_t> keys;
          for (std::int64_t i = 0; i < counts[static_cast<std::size_t>(list)]; ++i)
            for (std::int32_t key = 0; key <= row; ++key)
              if (key / key_block == blocks[static_cast<std::size_t>(list * list_width + i)]) keys.insert(key);
          widest = std::max(widest, keys.size());
          expected.emplace_back(keys.begin(), keys.end());
        }
        QCOMPARE(expanded_width(pattern, begin, end), static_cast<std::int64_t>(widest));
        const Written written(begin, end, static_cast<std::int64_t>(widest));
        expand_blocks(pattern, written.rows());
        QVERIFY(written.read() == expected);
      }
    }
  }

  void a_block_pattern_that_cannot_be_is_refused() {
    const std::vector<std::int32_t> blocks = {0, 1, 0, 1}, counts = {1, 2};
    const auto refused = [&](auto change, std::int64_t end = 8, std::int64_t width = 8) {
      BlockLists pattern{4, 4, 2, blocks.data(), 2, counts.data()};
      change(pattern);
      try {
        expand_blocks(pattern, Written(0, end, width).rows());
      } catch (const std::exception&) {
        return true;
      }
      return false;
    };
    QVERIFY(!refused([](BlockLists&) {}));
    QVERIFY(refused([](BlockLists&) {}, 9, 9));
    QVERIFY(refused([](BlockLists&) {}, 8, 7));
    QVERIFY(refused([](BlockLists& lists) { lists.key_block = 0; }));
    QVERIFY(refused([](BlockLists& lists) { lists.query_block = 0; }));
    const std::vector<std::int32_t> too_many = {1, 3}, negative = {1, -1}, before = {0, 1, -1, 1};
    QVERIFY(refused([&](BlockLists& lists) { lists.counts = too_many.data(); }));
    QVERIFY(refused([&](BlockLists& lists) { lists.counts = negative.data(); }));
    QVERIFY(refused([&](BlockLists& lists) { lists.blocks = before.data(); }));
  }
};

QTEST_APPLESS_MAIN(TestSupports)
#include "test_supports.moc"
