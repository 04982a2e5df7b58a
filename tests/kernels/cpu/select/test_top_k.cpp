// SPDX-License-Identifier: Apache-2.0
// Row selection against sorting: values of every kind, ties, forced keys, shares of the sum.
#include <QtTest>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "kernels/cpu/select/top_k.h"

using namespace headroom::kernels::cpu;

namespace {

bool above(float a, float b) {
  if (std::isnan(b)) return !std::isnan(a);
  return a > b;
}

std::vector<std::int32_t> ranking(const std::vector<float>& scores, const ForcedRange& forced) {
  const auto n = static_cast<std::int64_t>(scores.size());
  const auto rank_class = [&](std::int32_t i) {
    return i == n - 1 ? 0 : i < forced.first ? 1 : i >= n - forced.last ? 2 : 3;
  };
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    if (rank_class(a) != rank_class(b)) return rank_class(a) < rank_class(b);
    if (rank_class(a) == 2) return a > b;  // the newest first
    return rank_class(a) == 3 && above(scores[static_cast<std::size_t>(a)], scores[static_cast<std::size_t>(b)]);
  });
  return order;
}

/// Rows that a histogram or a search by sampling finds hard: many ties, one exponent, sorted, infinities, NaN, both
/// zeros, tiny values.
constexpr int num_kinds = 14;
std::vector<float> make_row(std::int64_t n, int kind, std::mt19937& random) {
  std::vector<float> row(static_cast<std::size_t>(n));
  for (float& value : row) {
    const auto u = static_cast<float>(random() % 1000003) / 1000003.0f;
    switch (kind) {
      case 0:
        value = u - 0.5f;
        break;
      case 1:
        value = static_cast<float>(random() % 4);
        break;
      case 2:
        value = 1.0f + u * 1e-5f;
        break;
      case 3:
        value = std::exp(-40.0f * u);
        break;
      case 4:
        value = 0.25f;
        break;
      case 5:
        value = random() % 2 ? 0.0f : -0.0f;
        break;
      case 6:  // a run of ties where the sample of a search may see none
        value = static_cast<float>(&value - row.data());
        if (value > static_cast<float>(n / 3) && value < static_cast<float>(n / 2)) value = 0.5f;
        break;
      case 7:
        value = static_cast<float>(row.data() - &value);
        break;
      case 8:  // most NaN
        value = random() % 5 == 0 ? u : std::numeric_limits<float>::quiet_NaN();
        break;
      case 9:  // around zero: both zeros and the smallest numbers
        value = std::bit_cast<float>(static_cast<std::uint32_t>((random() & 0x80000000u) | random() % 4));
        break;
      case 10:  // few stand out, and by much
        value = random() % 64 == 0 ? u * 1e30f : u * 1e-3f;
        break;
      case 11:  // any bits
        value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
        break;
      case 12:  // the lowest value of all, and ties of it
        value = random() % 3 ? -std::numeric_limits<float>::infinity() : -u;
        break;
      default: {
        constexpr float inf = std::numeric_limits<float>::infinity();
        const float special[] = {inf, -inf, std::numeric_limits<float>::quiet_NaN(), 0.0f, 1e-45f, u};
        value = special[random() % 6];
      }
    }
  }
  return row;
}

}  // namespace

class TestTopK : public QObject {
  Q_OBJECT
 private slots:
  void top_k_equals_sorting() {
    std::mt19937 random(7);
    SelectScratch scratch;
    for (const std::int64_t n : {1, 2, 3, 17, 100, 2049}) {
      for (int kind = 0; kind < num_kinds; ++kind) {
        const std::vector<float> row = make_row(n, kind, random);
        for (const ForcedRange forced : {ForcedRange{0, 1}, ForcedRange{4, 8}, ForcedRange{40, 3}}) {
          for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, n / 3 + 1, n - 1, n, n + 5}) {
            if (k < 1) continue;
            std::vector<std::int32_t> expected = ranking(row, forced);
            expected.resize(static_cast<std::size_t>(std::min(k, n)));
            std::sort(expected.begin(), expected.end());
            std::vector<std::int32_t> found(expected.size() + 1, -7);
            QCOMPARE(top_k_row(row.data(), n, k, forced, found.data(), scratch), std::min(k, n));
            QCOMPARE(found.back(), -7);  // nothing is written behind the result
            found.pop_back();
            QCOMPARE(found, expected);
          }
        }
      }
    }
  }

  void every_instruction_set_selects_the_same_data() {
    QTest::addColumn<int>("isa");
    for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512_bf16})
      QTest::newRow(std::string(name(isa)).c_str()) << static_cast<int>(isa);
  }
  void every_instruction_set_selects_the_same() {
    QFETCH(int, isa);
    if (!supported(static_cast<Isa>(isa))) QSKIP("this machine does not have these instructions");
    std::mt19937 random(11);
    SelectScratch scratch;
    std::vector<std::int32_t> order, expected, found;
    for (const std::int64_t n : {5, 15, 16, 17, 31, 33, 257, 511, 767, 768, 769, 1000, 1535, 2050, 4099}) {
      for (int kind = 0; kind < num_kinds; ++kind) {
        const std::vector<float> row = make_row(n, kind, random);
        order.resize(row.size());
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end() - 1, [&](std::int32_t a, std::int32_t b) {
          return above(row[static_cast<std::size_t>(a)], row[static_cast<std::size_t>(b)]);
        });
        std::rotate(order.begin(), order.end() - 1, order.end());  // the own key first
        const auto any = static_cast<std::int64_t>(random() % static_cast<unsigned>(n)) + 1;
        for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, std::int64_t{17}, n / 8, n / 2, any, n - 1, n}) {
          if (k < 1 || k > n) continue;
          expected.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
          std::sort(expected.begin(), expected.end());
          found.assign(static_cast<std::size_t>(k) + 1, -7);
          QCOMPARE(top_k_row(row.data(), n, k, {0, 1}, found.data(), scratch, static_cast<Isa>(isa)), k);
          QCOMPARE(found.back(), -7);
          found.pop_back();
          if (found != expected) QFAIL(qPrintable(QString("n %1 kind %2 k %3").arg(n).arg(kind).arg(k)));
        }
      }
    }
  }

  void sorting_is_stable_and_descending() {
    std::mt19937 random(8);
    SelectScratch scratch;
    for (int kind = 0; kind < num_kinds; ++kind) {
      const std::vector<float> row = make_row(777, kind, random);
      std::vector<std::int32_t> expected(row.size()), found(row.size());
      std::iota(expected.begin(), expected.end(), 0);
      std::stable_sort(expected.begin(), expected.end(), [&](std::int32_t a, std::int32_t b) {
        return above(row[static_cast<std::size_t>(a)], row[static_cast<std::size_t>(b)]);
      });
      sort_row(row.data(), 777, found.data(), scratch);
      QCOMPARE(found, expected);
    }
  }

  void a_share_of_the_mass_is_reached_with_the_fewest_keys() {
    std::mt19937 random(9);
    SelectScratch scratch;
    for (const std::int64_t n : {1, 2, 33, 1000}) {
      for (const int kind : {1, 3, 4}) {
        const std::vector<float> row = make_row(n, kind, random);
        const double total = std::accumulate(row.begin(), row.end(), 0.0);
        for (const double share : {0.1, 0.5, 0.95, 1.0}) {
          for (const ForcedRange forced : {ForcedRange{0, 1}, ForcedRange{4, 8}}) {
            std::vector<std::int32_t> found(row.size());
            found.resize(static_cast<std::size_t>(top_mass_row(row.data(), n, share, forced, found.data(), scratch)));
            std::vector<std::int32_t> expected = ranking(row, forced);
            double sum = 0;
            std::size_t count = 0;
            const auto num_forced = static_cast<std::size_t>(std::min(n, forced.first + forced.last));
            while (count < row.size() && (count < num_forced || sum < share * total * (1 - 1e-12)))
              sum += row[static_cast<std::size_t>(expected[count++])];
            expected.resize(count);
            std::sort(expected.begin(), expected.end());
            QCOMPARE(found, expected);
          }
        }
      }
    }
  }

  void the_fewest_keys_of_several_shares_are_counted() {
    std::mt19937 random(10);
    SelectScratch scratch;
    const std::vector<double> shares = {0.5, 0.9, 0.95, 0.99, 1.0};
    for (const std::int64_t n : {1, 2, 33, 1000}) {
      for (const int kind : {1, 2, 3, 4}) {
        std::vector<float> row = make_row(n, kind, random);
        if (kind == 1) row[0] = 1;
        std::vector<std::int64_t> found(shares.size());
        fewest_keys(row.data(), n, shares, found, scratch);
        std::sort(row.begin(), row.end(), std::greater<>());
        const double total = std::accumulate(row.begin(), row.end(), 0.0);
        for (std::size_t i = 0; i < shares.size(); ++i) {
          double sum = 0;
          std::int64_t count = 0;
          while (sum < shares[i] * total * (1 - 1e-12))
            sum += static_cast<double>(row[static_cast<std::size_t>(count++)]);
          QCOMPARE(found[i], std::max<std::int64_t>(count, 1));
        }
      }
    }
    std::vector<float> odd(50, std::numeric_limits<float>::quiet_NaN());
    std::vector<std::int64_t> found(shares.size());
    fewest_keys(odd.data(), 50, shares, found, scratch);
    for (const std::int64_t count : found) QVERIFY(count >= 1 && count <= 50);
  }

  void an_empty_sum_or_nan_selects_the_forced_keys_and_does_not_crash() {
    SelectScratch scratch;
    std::vector<std::int32_t> found(10);
    std::vector<float> row(10, 0.0f);
    QCOMPARE(top_mass_row(row.data(), 10, 0.9, {0, 1}, found.data(), scratch), 1);
    QCOMPARE(found[0], 9);
    std::fill(row.begin(), row.end(), std::numeric_limits<float>::quiet_NaN());
    QCOMPARE(top_mass_row(row.data(), 10, 0.9, {2, 1}, found.data(), scratch), 3);
    QCOMPARE(top_k_row(row.data(), 10, 3, {0, 1}, found.data(), scratch), 3);
    QCOMPARE(found[2], 9);
    std::fill(row.begin(), row.end(), std::numeric_limits<float>::infinity());
    QVERIFY(top_mass_row(row.data(), 10, 0.9, {0, 1}, found.data(), scratch) <= 10);
  }
};

QTEST_APPLESS_MAIN(TestTopK)
#include "test_top_k.moc"
