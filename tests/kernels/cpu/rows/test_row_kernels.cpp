// SPDX-License-Identifier: Apache-2.0
// Row kernels of every instruction set this machine runs against fp64 loops.
#include <QtTest>

#include <cmath>
#include <random>

#include "kernels/cpu/product_rates.h"
#include "kernels/cpu/rows/row_kernels.h"

using namespace headroom::kernels::cpu;

namespace {

std::vector<float> random_values(std::int64_t count, std::mt19937& random, float sigma = 1) {
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace

class TestRowKernels : public QObject {
  Q_OBJECT
 private slots:
  void the_preferred_set_runs_and_stays_the_same() {
    QVERIFY(supported(preferred_isa()) && preferred_isa() <= best_isa());
    if (!supported(Isa::avx512_bf16)) QSKIP("this processor does not multiply bf16");
    // What decides is measured: however often, it must fall on the same side.
    for (int i = 0; i < 20; ++i)
      QCOMPARE(bf16_product_gain() >= 1.4, preferred_isa() == Isa::avx512_bf16);
  }

  void sets_data() {
    QTest::addColumn<int>("isa");
    QTest::newRow("baseline") << static_cast<int>(Isa::baseline);
    QTest::newRow("avx2") << static_cast<int>(Isa::avx2);
    QTest::newRow("avx512") << static_cast<int>(Isa::avx512);
  }
  void sets() {
    QFETCH(int, isa);
    const RowKernels& kernels = row_kernels(static_cast<Isa>(isa));
    if (kernels.isa != static_cast<Isa>(isa)) QSKIP("this machine does not have these instructions");
    std::mt19937 random(3);
    for (const std::int64_t dim : {1, 16, 64, 100}) {
      for (const std::int64_t keys : {1, 31, 32, 33, 207}) {
        const std::int64_t rows = std::min<std::int64_t>(keys, 19), first = keys - rows;
        const auto q = random_values(rows * dim, random), k = random_values(keys * dim, random);
        std::vector<float> panels(static_cast<std::size_t>(padded_keys(keys) * dim));
        pack_keys(k.data(), keys, dim, panels.data());
        const std::int64_t stride = padded_keys(keys);
        std::vector<float> scores(static_cast<std::size_t>(rows * stride), NAN);
        kernels.scores({q.data(), dim, rows, first, dim, panels.data(), scores.data(), stride});
        for (std::int64_t r = 0; r < rows; ++r) {
          std::vector<double> exact;
          double largest = -INFINITY;
          for (std::int64_t s = 0; s <= first + r; ++s) {
            double dot = 0;
            for (std::int64_t i = 0; i < dim; ++i)
              dot += static_cast<double>(q[static_cast<std::size_t>(r * dim + i)]) *
                     static_cast<double>(k[static_cast<std::size_t>(s * dim + i)]);
            exact.push_back(dot);
            largest = std::max(largest, dot);
            QVERIFY(std::abs(static_cast<double>(scores[static_cast<std::size_t>(r * stride + s)]) - dot) < 1e-4);
          }
          float* row = scores.data() + r * stride;
          std::vector<double> held(row, row + first + r + 1);
          double sum = 0;
          for (const double value : held) sum += std::exp(value - largest);
          const auto n = static_cast<std::int64_t>(held.size());
          QVERIFY(std::abs(static_cast<double>(kernels.softmax(row, n)) - (largest + std::log(sum))) < 2e-5);
          double entropy = 0, total = 0;
          for (std::int64_t s = 0; s < n; ++s) {
            const double p = std::exp(held[static_cast<std::size_t>(s)] - largest) / sum;
            if (p > 1e-37) QVERIFY(std::abs(static_cast<double>(row[s]) / p - 1) < 5e-6);
            entropy -= p > 0 ? p * std::log(p) : 0;
            total += static_cast<double>(row[s]);
          }
          for (std::int64_t s = n; s < padded_keys(n); ++s) QCOMPARE(row[s], 0.0f);
          QVERIFY(std::abs(kernels.entropy(row, n) - entropy) < 1e-5);
          float max = 0, kernel_sum = 0;
          kernels.max_and_sum(row, n, max, kernel_sum);
          QCOMPARE(max, *std::max_element(row, row + n));
          QVERIFY(std::abs(static_cast<double>(kernel_sum) - total) < 1e-5);
          std::vector<float> sums(static_cast<std::size_t>(n), 1.0f);
          kernels.add(sums.data(), row, n, 0.5f);
          for (std::int64_t s = 0; s < n; ++s)
            QVERIFY(std::abs(sums[static_cast<std::size_t>(s)] - (1 + 0.5f * row[s])) < 1e-6f);
        }
      }
    }
  }

  void far_apart_scores_and_values_that_are_not_finite() {
    std::vector<float> row(64);
    for (std::int64_t i = 0; i < 40; ++i) row[static_cast<std::size_t>(i)] = -10.0f * static_cast<float>(i);
    const float lse = row_kernels().softmax(row.data(), 40);
    QVERIFY(std::abs(lse - 4.54e-5f) < 1e-6f);
    QVERIFY(std::abs(row[5] / std::exp(-50.0f) - 1) < 1e-4f);
    QCOMPARE(row[39], 0.0f);
    for (const float value : {INFINITY, -INFINITY, std::nanf("")}) {
      std::fill(row.begin(), row.end(), value);
      row_kernels().softmax(row.data(), 40);
      row_kernels().entropy(row.data(), 40);
    }
  }
};

QTEST_APPLESS_MAIN(TestRowKernels)
#include "test_row_kernels.moc"
