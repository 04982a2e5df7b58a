// SPDX-License-Identifier: Apache-2.0
// Drawn supports: as many keys as the budget says, and unions of neighbouring rows as they were measured.
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>

#include "experiment/bench/drawn_supports.h"

#include <QtTest>
#include <set>

using namespace headroom::experiment;

namespace {

const c10::Device drawn_device(c10::DeviceType::CPU);

std::set<std::int32_t> keys_of(const DrawnSupports& drawn, std::int64_t row) {
  const std::int64_t k = drawn.indices.size(2);
  const auto* keys = drawn.indices.const_data_ptr<std::int32_t>() + row * k;
  return {keys, keys + drawn.counts.const_data_ptr<std::int32_t>()[row]};
}

}  // namespace

class TestDrawnSupports : public QObject {
  Q_OBJECT
 private slots:
  void rows_are_ascending_causal_and_whole() {
    for (const auto& [length, k] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {70, 64}, {500, 37}, {3000, 256}}) {
      const DrawnSupports drawn = draw_supports(length, k, drawn_device);
      QCOMPARE(drawn.indices.sizes().vec(), (std::vector<std::int64_t>{1, length, k}));
      const auto* keys = drawn.indices.const_data_ptr<std::int32_t>();
      const auto* counts = drawn.counts.const_data_ptr<std::int32_t>();
      for (std::int64_t row = 0; row < length; ++row, keys += k) {
        QCOMPARE(counts[row], std::min(row + 1, k));
        for (std::int64_t i = 0; i < k; ++i) {
          if (i >= counts[row]) {
            QCOMPARE(keys[i], -1);
            continue;
          }
          QVERIFY(keys[i] >= 0 && keys[i] <= row && (i == 0 || keys[i] > keys[i - 1]));
        }
        QCOMPARE(keys[counts[row] - 1], row);  // its own
      }
    }
  }

  void unions_are_those_that_were_measured() {
    constexpr std::int64_t length = 8192, k = 256;
    const DrawnSupports drawn = draw_supports(length, k, drawn_device);
    for (const auto& [rows, factor] : {std::pair{16, measured_union_16}, {32, measured_union_32}}) {
      double keys = 0, tiles = 0;
      for (std::int64_t first = 4096; first < length; first += rows, ++tiles) {
        std::set<std::int32_t> all;
        for (std::int64_t row = first; row < first + rows; ++row) all.merge(keys_of(drawn, row));
        keys += static_cast<double>(all.size()) / static_cast<double>(k);
      }
      // The rows' own keys come on top.
      QVERIFY2(std::abs(keys / tiles - factor) < 0.04 + rows / static_cast<double>(k),
               std::to_string(keys / tiles).c_str());
    }
  }

  void it_repeats_and_rows_differ() {
    const DrawnSupports one = draw_supports(2000, 100, drawn_device), two = draw_supports(2000, 100, drawn_device);
    QVERIFY(at::equal(one.indices, two.indices));
    QVERIFY(keys_of(one, 1600) != keys_of(one, 1601));
    QVERIFY(keys_of(one, 1600) != keys_of(one, 1664));
  }
};

QTEST_APPLESS_MAIN(TestDrawnSupports)
#include "test_drawn_supports.moc"
