// SPDX-License-Identifier: Apache-2.0
// What the window and the engine say of sweeps: there and back, and damaged.
#include <QtTest>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "protocol/sweep_spec.h"

using namespace headroom;
using namespace headroom::protocol;

class TestSweepSpec : public QObject {
  Q_OBJECT

  static SweepSpec full() {
    SweepSpec spec;
    spec.model = "smollm2";
    spec.adapter = "lora";
    spec.tasks = {"vt", "cwe"};
    spec.lengths = {1024, 2048};
    spec.haystack = "essays";
    spec.methods = {"oracle", "sink_window:sinks=8"};
    spec.budgets = {parse_budget("128"), parse_budget("10%"), parse_budget("p0.95")};
    spec.layer_budgets = LayerBudgets{"budget.json", "abc", {{0, 8}, {2, 64}}};
    spec.granularities = {1, 64};
    spec.sinks = 4;
    spec.local = 16;
    spec.samples = 60;
    spec.seed = 1000;
    spec.calibration = 12;
    spec.prompt_tail = 32;
    spec.max_new_tokens = 20;
    spec.system_file = "system.txt";
    spec.template_arguments = {{"thinking", "false"}};
    spec.indexer = "i.safetensors";
    spec.dense_layers = {1};
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.shard = 2;
    spec.shards = 3;
    spec.resume = true;
    spec.out = "S.h5";
    return spec;
  }

 private slots:
  void a_specification_there_and_back() {
    const auto json = to_json(full());
    QCOMPARE(to_json(sweep_spec_from_json(json)), json);
    SweepSpec least;
    least.model = "m";
    least.prompts = "p.jsonl";
    least.out = "s.h5";
    QCOMPARE(to_json(sweep_spec_from_json(to_json(least))), to_json(least));
  }

  void what_is_wrong_is_refused_by_its_name() {
    const auto refuses = [](const char* name, nlohmann::json value) {
      auto json = to_json(full());
      json[name] = std::move(value);
      try {
        sweep_spec_from_json(json);
      } catch (const Error& error) {
        return std::string(error.what()).find(name) != std::string::npos;
      }
      return false;
    };
    QVERIFY(refuses("samples", 0));
    QVERIFY(refuses("samples", "many"));
    QVERIFY(refuses("lengths", nlohmann::json::array({0})));
    QVERIFY(refuses("budgets", 512));
    QVERIFY(refuses("granularities", nlohmann::json::array({1000})));
    QVERIFY(refuses("dense_layers", nlohmann::json::array({-1})));
    QVERIFY(refuses("shard", 4));
    QVERIFY(refuses("newcomer", 1));
    QVERIFY(refuses("out", nullptr));
  }

  void needs_and_rows_there_and_back() {
    SweepNeeds needs;
    needs.memory_needed = 1 << 30;
    needs.samples = 6;
    needs.rows = 42;
    needs.longest = 300;
    needs.seconds = 12.5;
    needs.device = "CPU, 2 cores";
    needs.dtype = "f32";
    needs.methods = {"dense", "oracle-k64-g1"};
    needs.notes = {"n"};
    needs.warnings = {"w"};
    QCOMPARE(to_json(sweep_needs_from_json(to_json(needs))), to_json(needs));
    const JobRow row{3, "vt", "oracle-k64-g1", 2048, 5, 42, "/tmp/S.h5.rows.jsonl"};
    QCOMPARE(to_json(job_row_from_json(to_json(row))), to_json(row));
    try {
      job_row_from_json({{"job", 0}});
      QFAIL("a job without a number");
    } catch (const Error&) {
    }
  }
};

QTEST_APPLESS_MAIN(TestSweepSpec)
#include "test_sweep_spec.moc"
