// SPDX-License-Identifier: Apache-2.0
// One estimate of the time left over all stages of a run: what every pass still takes, whichever stage is at work.
#include <QtTest>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "experiment/run/progress_plan.h"

using namespace headroom;
using namespace headroom::experiment;

class TestProgressPlan : public QObject {
  Q_OBJECT
  using Clock = std::chrono::steady_clock;

  static double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }
  static void work() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }

  /// A plan of three passes over 1,000 tokens and ten layers; what it said, with the earliest and latest time at which
  /// it can have asked the clock.
  struct Watched {
    std::vector<Progress> said;
    JobContext job{{}, [this](const Progress& progress) { said.push_back(progress); }};
    ProgressPlan plan{job, 1000, 10, 3};
    JobContext pass;
    Clock::time_point before, after;  ///< around the beginning of the pass

    void begin(const std::string& phase, bool counted = true) {
      before = Clock::now();
      pass = plan.begin(phase, counted);
      after = Clock::now();
    }
    /// Whether what is said at layer `done` lies between `passes` times the shortest and the longest that the pass can
    /// have been thought to take.
    bool layers(std::int64_t done, double passes) {
      const double fraction = static_cast<double>(done) / 10;
      const double least = seconds(Clock::now() - after) / fraction;
      Progress layer;
      layer.done = done;
      layer.layer = static_cast<int>(done);
      pass.report(layer);
      const double most = seconds(Clock::now() - before) / fraction;
      return said.back().eta_s >= least * passes - 1e-9 && said.back().eta_s <= most * passes + 1e-9;
    }
    double last() const { return said.back().eta_s; }
  };

 private slots:
  void nothing_is_promised_before_anything_is_known() {
    Watched w;
    w.plan.report("load");
    QCOMPARE(w.last(), -1.0);
    w.begin("dense recorded");
    Progress first;
    first.done = 1;  // a tenth of a pass is not enough to tell
    w.pass.report(first);
    QCOMPARE(w.last(), -1.0);
    QCOMPARE(w.said.back().phase, std::string("dense recorded"));
  }

  void a_pass_counts_those_that_are_still_to_come() {
    Watched w;
    w.begin("dense recorded");
    work();
    QVERIFY(w.layers(5, 2.5));  // half of this one and two more
    QVERIFY(w.said.back().tokens_per_s > 0);
    QCOMPARE(w.said.back().total, std::int64_t{10});
    work();
    QVERIFY(w.layers(10, 2));
    w.plan.end();
    w.begin("indexer recorded");
    work();
    QVERIFY(w.layers(4, 1.6));
    w.plan.end();
    w.begin("dense timed 1/1");
    work();
    QVERIFY(w.layers(5, 0.5));
    work();
    QVERIFY(w.layers(10, 0));
  }

  void a_new_stage_goes_on_from_what_the_last_pass_took() {
    Watched w;
    w.begin("dense recorded");
    work();
    w.pass.report({.phase = {}, .done = 10});
    const double least = seconds(Clock::now() - w.after);
    w.plan.end();
    const double most = seconds(Clock::now() - w.before);
    const auto between = [&](double passes) {
      return w.last() >= least * passes - 1e-9 && w.last() <= most * passes + 1e-9;
    };
    // Phases that are no passes take little: what is left is the passes.
    w.plan.report("answer", 3, 64);
    QVERIFY(between(2));
    w.begin("extra", false);
    w.pass.report({.phase = {}, .done = 5});
    QVERIFY(between(2));
    w.plan.end();  // none of the planned ones
    // A planned one tells its own speed once a tenth is done, and until then goes by the last.
    w.begin("indexer recorded");
    w.pass.report({.phase = {}, .done = 0});
    QVERIFY(between(2));
    w.pass.report({.phase = {}, .done = 1});
    QVERIFY(between(1.9));
    work();
    QVERIFY(w.layers(2, 1.8));
  }

  void after_the_last_pass_no_time_is_invented() {
    Watched w;
    for (int pass = 0; pass < 3; ++pass) {
      w.begin("pass");
      w.pass.report({.phase = {}, .done = 10});
      w.plan.end();
    }
    w.plan.report("write", 1, 3);
    QCOMPARE(w.last(), -1.0);
    QCOMPARE(w.said.back().done, std::int64_t{1});
  }
};

QTEST_GUILESS_MAIN(TestProgressPlan)
#include "test_progress_plan.moc"
