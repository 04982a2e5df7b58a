// SPDX-License-Identifier: Apache-2.0
// `verify` passes on this machine's CPU, and `bench` reports what the command line's contract names.
#include <QtTest>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "experiment/bench.h"
#include "experiment/verify.h"

using namespace headroom;

namespace {

void collect_numbers(const nlohmann::json& json, std::vector<double>& numbers) {
  if (json.is_number()) numbers.push_back(json.get<double>());
  if (json.is_structured()) {
    for (const auto& item : json) collect_numbers(item, numbers);
  }
}

}  // namespace

class TestBenchVerify : public QObject {
  Q_OBJECT
 private slots:
  void every_path_agrees_with_fp64() {
    const auto report = experiment::verify("cpu", {});
    std::set<std::string> paths;
    for (const auto& row : report.rows) {
      QVERIFY2(row.passed, (row.path + ", " + row.shape + ", " + row.dtype + ": " + row.note).c_str());
      paths.insert(row.path);
    }
    for (const char* path :
         {"decoder, prefill", "decoder, cache", "dense, libtorch", "oracle 24", "oracle p0.9, 16 rows a block",
          "indexer 20%", "sink_window 24", "random 24", "kernels, baseline, dense", "kernels, baseline, mass",
          "kernels, baseline, gather", "kernels, baseline, union tile"})
      QVERIFY2(paths.contains(path), path);
    QVERIFY(report.passed());
  }

  void a_failed_row_fails_the_report() {
    experiment::VerifyReport report;
    report.rows.push_back({.path = "a", .shape = "", .dtype = ""});
    QVERIFY(report.passed());
    report.rows.push_back({.path = "b", .shape = "", .dtype = "", .note = "too large", .passed = false});
    QVERIFY(!report.passed());
    report.rows.back().ran = false;
    QVERIFY(report.passed());
  }

  void bench_measures_and_names_its_baseline() {
    experiment::BenchSpec spec;
    spec.config = "smollm2-135m";
    spec.lengths = {48};
    spec.methods = {"dense", "sink_window"};
    spec.budgets = {parse_budget("16")};
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.repeats = 2;
    spec.dense_layers = {0, 29};
    spec.plan = "none";
    const auto report = experiment::bench(spec, {});
    const auto &dense = report.rows.front(), &sparse = report.rows.back();
    QCOMPARE(dense.backend, std::string("libtorch"));
    QVERIFY(dense.ttft.median > 0 && dense.floor_ms > 0 && dense.peak_bytes > 0);
    QVERIFY(dense.ttft.q1 <= dense.ttft.median && dense.ttft.median <= dense.ttft.q3);
    QCOMPARE(*dense.speedup_over.libtorch, 1.0);
    QVERIFY(*dense.amdahl_bound > 1);
    // Rows of 1 … 16 keys, then 16 each, in 28 layers; the other two are dense.
    const double pairs = 48 * 49 / 2, kept = 16 * 17 / 2 + 32 * 16;
    QVERIFY(std::abs(sparse.density - (28 * kept + 2 * pairs) / (30 * pairs)) < 1e-9);
    QCOMPARE(sparse.plan, std::string("dense in 2 of 30 layers: 0, 29"));
    QVERIFY(sparse.label.empty() || !sparse.speedup_over.libtorch);

    const auto json = experiment::to_json(report);
    QCOMPARE(json["weights"].get<std::string>(), std::string("random, no quality"));
    for (const auto& row : json["rows"]) {
      for (const char* field :
           {"length", "method", "backend", "density", "plan", "ttft_ms", "attention_ms", "score_ms", "select_ms",
            "peak_bytes", "speedup_over", "amdahl_bound", "floor_ms", "ttft_over_floor"})
        QVERIFY2(row.contains(field), field);
      for (const char* baseline : {"fastest_dense", "fa2", "cudnn", "libtorch", "llama_cpp"})
        QVERIFY2(row["speedup_over"].contains(baseline), baseline);
    }
    std::vector<double> numbers;
    collect_numbers(json, numbers);
    QVERIFY(std::all_of(numbers.begin(), numbers.end(), [](double x) { return std::isfinite(x); }));
  }

  void bench_refuses_what_makes_no_sense() {
    const auto kind_of = [](experiment::BenchSpec spec) {
      spec.device = "cpu";
      try {
        experiment::bench(spec, {});
      } catch (const Error& error) {
        return static_cast<int>(error.kind());
      }
      return 0;
    };
    QCOMPARE(kind_of({.lengths = {10}}), 2);
    QCOMPARE(kind_of({.config = "smollm2-135m", .lengths = {}}), 2);
    QCOMPARE(kind_of({.config = "nothing", .lengths = {10}}), 2);
    QCOMPARE(kind_of({.config = "smollm2-135m", .lengths = {0}}), 3);
    QCOMPARE(kind_of({.config = "smollm2-135m", .lengths = {10}, .methods = {"magic"}}), 2);
    QCOMPARE(kind_of({.config = "smollm2-135m", .lengths = {10}, .methods = {"indexer"}}), 3);
    QCOMPARE(kind_of({.config = "smollm2-135m", .lengths = {10}, .dense_layers = {30}}), 2);
  }
};

QTEST_GUILESS_MAIN(TestBenchVerify)
#include "test_bench_verify.moc"
