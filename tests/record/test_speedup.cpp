// SPDX-License-Identifier: Apache-2.0
// Which times may be divided, and that ratios are those of passes taken in turn.
#include <QtTest>

#include "record/speedup.h"

using namespace headroom;
using namespace headroom::record;

class TestSpeedup : public QObject {
  Q_OBJECT
  static MethodSummary method(const char* id, MethodRole role, std::vector<double> times) {
    MethodSummary s;
    s.id = s.name = id;
    s.role = role;
    s.ttft_samples = times;
    std::sort(times.begin(), times.end());
    s.ttft = {times[times.size() / 2], times.front(), times.back(), static_cast<int>(times.size())};
    return s;
  }

 private slots:
  void pairs_are_compared_not_medians() {
    // The machine is three times slower in the last round: both meet it, and no ratio does.
    const auto dense = method("dense", MethodRole::dense, {100, 110, 330});
    const auto fast = method("a", MethodRole::deployable, {50, 55, 165});
    const auto found = speedup_over(fast, dense, true);
    QVERIFY(found);
    QCOMPARE(found->ratio, 2.0);
    QCOMPARE(found->low, 2.0);
    QCOMPARE(found->pairs, 3);
    QVERIFY(found->firm());
    // Not in turn, the ratio of the medians is all there is, and a hint.
    const auto old = speedup_over(fast, dense, false);
    QVERIFY(old && old->pairs == 0 && !old->firm());
    QCOMPARE(old->ratio, 2.0);
    const auto slow_start = method("b", MethodRole::deployable, {165, 55, 50});
    QVERIFY(std::abs(speedup_over(slow_start, dense, true)->ratio - 2.0) < 1e-9);
    QVERIFY(speedup_over(slow_start, dense, true)->low < 1.5 && speedup_over(slow_start, dense, true)->high > 4);
  }

  void a_single_pass_and_a_busy_machine_do_not_hold() {
    const auto dense = method("dense", MethodRole::dense, {100});
    auto fast = method("a", MethodRole::deployable, {50});
    QVERIFY(speedup_over(fast, dense, true) && !speedup_over(fast, dense, true)->firm());
    const auto three = method("dense", MethodRole::dense, {100, 100, 100});
    fast = method("a", MethodRole::deployable, {50, 50, 50});
    QVERIFY(speedup_over(fast, three, true)->firm());
    fast.load = MachineLoad{10, 1.0, 2, 2};
    QVERIFY(fast.load->disturbed());
    QVERIFY(speedup_over(fast, three, true)->disturbed && !speedup_over(fast, three, true)->firm());
  }

  void nothing_is_claimed_where_nothing_sparse_ran() {
    const auto dense = method("dense", MethodRole::dense, {100, 100});
    auto fast = method("a", MethodRole::deployable, {50, 50});
    fast.timing_plan.emplace().layers.assign(3, {LayerRun::dense, 1, 1});
    QVERIFY(!speedup_over(fast, dense, true));
    fast.timing_plan->layers[1].run = LayerRun::sparse;
    QVERIFY(speedup_over(fast, dense, true));
    fast.label = "not optimised";
    QVERIFY(!speedup_over(fast, dense, true));
    QVERIFY(!speedup_over(method("o", MethodRole::reference, {50, 50}), dense, true));
    QVERIFY(!speedup_over(dense, dense, true));
    QVERIFY(!speedup_over(MethodSummary{}, dense, true));
  }
};

QTEST_GUILESS_MAIN(TestSpeedup)
#include "test_speedup.moc"
