// SPDX-License-Identifier: Apache-2.0
// `verify` passes on this machine's CPU, and `bench` reports what the command line's contract names.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include <QtTest>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "experiment/bench/bench.h"
#include "experiment/verify/indexer_reference.h"
#include "experiment/verify/verify.h"

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
         {"decoder, prefill", "decoder, cache", "dense, headroom", "dense, libtorch", "oracle 24, headroom",
          "oracle p0.9, 16 rows a block, headroom", "oracle 24, libtorch", "indexer 20%, headroom",
          "sink_window 24, headroom", "random 24, headroom", "head_oracle p0.9, 16 rows a block, headroom",
          "static_oracle 24, libtorch", "xattention p0.9, 64 rows a block, libtorch", "snapkv 24, headroom",
          "flex_prefill 24, 64 rows a block, headroom", "quest 24, 16 rows a block, headroom", "triangle_mix 24, headroom",
          "kernels, baseline, dense", "kernels, baseline, mass",
          "kernels, baseline, gather", "kernels, baseline, union tile"})
      QVERIFY2(paths.contains(path), path);
    QVERIFY(report.passed());
    // Bounds are what the precision costs.
    for (const char* path : {"decoder, prefill", "decoder, all logits", "decoder, cache"}) {
      double allowed[2] = {};  // f32, bf16
      for (const auto& row : report.rows)
        if (row.path == path) allowed[row.dtype == "bf16"] = row.allowed;
      QVERIFY2(allowed[0] > 0 && allowed[0] < 1e-3 && allowed[1] > 10 * allowed[0], path);
    }
  }

  // bf16 inputs are exact numbers: as fp32 they are the same ones, and the reference must not tell them apart.
  void references_round_nothing() {
    constexpr std::int64_t length = 40, width = 48, dim = 32;
    attention::LayerQuery stored;
    stored.rope_base = 10000;
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
    stored.x = at::randn({length, width}, generator, at::TensorOptions().dtype(at::kBFloat16));
    auto widened = stored;
    widened.x = stored.x.to(at::kFloat);
    const auto fp32 = at::TensorOptions().dtype(at::kFloat);
    const indexer::LayerWeights weights{at::randn({dim, width}, generator, fp32),
                                        at::randn({dim, width}, generator, fp32), at::ones({dim}, fp32)};
    indexer::Metadata metadata;
    metadata.index_dim = dim;
    const auto exact = experiment::indexer_scores(stored, weights, metadata);
    QVERIFY(exact == experiment::indexer_scores(widened, weights, metadata));
    const auto error = [&](const attention::LayerQuery& query) {
      const auto textbook = experiment::textbook_indexer_scores(query, weights, metadata);
      double largest = 0;
      for (std::size_t row = 0; row < exact.size(); ++row)
        for (std::size_t key = 0; key < exact[row].size(); ++key)
          largest = std::max(largest, std::abs(textbook[row][key] - exact[row][key]));
      return largest;
    };
    QVERIFY(error(widened) < 1e-4 && error(stored) > 10 * error(widened));
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
    const auto found = std::find_if(report.rows.begin(), report.rows.end(),
                                    [](const auto& row) { return row.backend == "libtorch"; });
    QVERIFY(found != report.rows.end());
    const auto &dense = *found, &sparse = report.rows.back();
    QVERIFY(dense.ttft.median > 0 && dense.floor_ms > 0 && dense.peak_bytes > 0);
    QVERIFY(dense.ttft.q1 <= dense.ttft.median && dense.ttft.median <= dense.ttft.q3);
    QCOMPARE(*dense.speedup_over.libtorch, 1.0);
    QVERIFY(*dense.amdahl_bound > 1);
    // Rows of 1 … 16 keys, then 16 each, in 28 layers; the other two are dense.
    const double pairs = 48 * 49 / 2, kept = 16 * 17 / 2 + 32 * 16;
    QVERIFY(std::abs(sparse.density - (28 * kept + 2 * pairs) / (30 * pairs)) < 1e-9);
    QCOMPARE(sparse.plan, std::string("dense in 2 of 30 layers: 0, 29"));
    QVERIFY(sparse.label.empty() || !sparse.speedup_over.libtorch);

    const auto json = record::to_json(report);
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
    QCOMPARE(kind_of({.config = "smollm2-135m", .lengths = {10}, .methods = {"indexer:sinks=2.5"}}), 2);
    QCOMPARE(kind_of({.config = "smollm2-135m", .lengths = {10}, .dense_layers = {30}}), 3);
  }
};

QTEST_GUILESS_MAIN(TestBenchVerify)
#include "test_bench_verify.moc"
