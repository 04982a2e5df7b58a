// SPDX-License-Identifier: Apache-2.0
// Timed passes: in turn over all methods, whole rounds kept where the job is stopped, quartiles.
#include <QtTest>
#include <cmath>

#include "base/error.h"
#include "experiment/passes/timed_pass.h"
#include "experiment/run/run.h"
#include "record/run_record.h"
#include "small_run.h"

using namespace headroom;
using namespace headroom::experiment;

class TestRunTiming : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  protocol::RunSpec spec_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }

 private slots:
  void initTestCase() {
    spec_ = test::small_run(path("tiny.gguf"), {.layers = 6});
  }

  void quartiles_interpolate() {
    const auto odd = quartiles({5, 1, 3, 2, 4});
    QCOMPARE(odd.median, 3.0);
    QCOMPARE(odd.q1, 2.0);
    QCOMPARE(odd.q3, 4.0);
    const auto two = quartiles({10, 20});
    QCOMPARE(two.median, 15.0);
    QCOMPARE(two.q1, 12.5);
    QCOMPARE(quartiles({7}).q3, 7.0);
  }

  void methods_are_recorded_and_then_timed_in_turn() {
    auto spec = spec_;
    spec.methods = {"dense", "oracle", "random"};
    spec.repeats = 3;
    spec.out = path("in_turn.h5");
    std::vector<std::string> phases, told;
    RunCallbacks callbacks;
    callbacks.method_finished = [&](const record::MethodSummary& method) {
      told.push_back(method.id + " " + std::to_string(method.ttft.repeats));
    };
    run(spec, {{}, [&](const Progress& p) {
                if (phases.empty() || phases.back() != p.phase) phases.push_back(p.phase);
              }}, callbacks);
    std::vector<std::string> timed;
    std::size_t last_recorded = 0, first_timed = phases.size();
    for (std::size_t i = 0; i < phases.size(); ++i) {
      if (phases[i].ends_with("recorded")) last_recorded = i;
      if (phases[i].find(" timed ") == std::string::npos) continue;
      first_timed = std::min(first_timed, i);
      timed.push_back(phases[i]);
    }
    QVERIFY(last_recorded > 0 && last_recorded < first_timed);
    const std::string dense = "dense", oracle = "oracle-k24-g1", random = "random-k24-g1";
    std::vector<std::string> in_turn;
    for (const char* round : {" timed 1/3", " timed 2/3", " timed 3/3"})
      for (const std::string& id : {dense, oracle, random}) in_turn.push_back(id + round);
    QCOMPARE(timed, in_turn);
    QCOMPARE(told, (std::vector<std::string>{dense + " 0", oracle + " 0", random + " 0", dense + " 3", oracle + " 3",
                                             random + " 3"}));
    const auto opened = record::RunRecord::open(*spec.out);
    QVERIFY(opened->meta().complete && opened->meta().timed_in_turn);
    for (const auto& method : opened->methods()) {
      QCOMPARE(method.ttft_samples.size(), std::size_t{3});
      QCOMPARE(method.ttft.median, quartiles(method.ttft_samples).median);
      QCOMPARE(method.layer_stages.size(), std::size_t{6});
      QVERIFY(method.peak_bytes > 0 && method.timing_plan);
    }
  }

  void stopped_while_timed_keeps_the_rounds_that_were_whole() {
    auto spec = spec_;
    spec.repeats = 3;
    spec.out = path("second_round.h5");
    std::stop_source stop;
    RunCallbacks callbacks;
    callbacks.record_written = [&](const record::RunMeta& meta, const std::string&) { QVERIFY(!meta.complete); };
    try {
      run(spec, {stop.get_token(), [&](const Progress& p) {
                  if (p.phase == "oracle-k24-g1 timed 2/3") stop.request_stop();
                }}, callbacks);
      QFAIL("was not cancelled");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::cancelled);
    }
    const auto opened = record::RunRecord::open(*spec.out);
    QVERIFY(!opened->meta().complete && opened->meta().timed_in_turn);
    QCOMPARE(opened->methods().size(), std::size_t{2});
    for (const auto& method : opened->methods()) {
      QCOMPARE(method.ttft.repeats, 1);
      QCOMPARE(method.ttft_samples.size(), std::size_t{1});
      QVERIFY(opened->head_statistics(method.id));
    }
  }
};

QTEST_GUILESS_MAIN(TestRunTiming)
#include "test_run_timing.moc"
