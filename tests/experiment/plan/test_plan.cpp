// SPDX-License-Identifier: Apache-2.0
// Plans and the cost model behind them: what is chosen, what is kept, and what a bad file or a damaged cache says.
#include <ATen/Parallel.h>

#include <QtTest>
#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "experiment/plan/cost_model.h"
#include "experiment/plan/plan.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::experiment;
using nlohmann::json;
using record::LayerRun;

namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

model::ModelConfig small_config() {
  model::ModelConfig config;
  config.width = 32;
  model::LayerSpec layer;
  layer.attention.num_q_heads = 2;
  layer.attention.num_kv_heads = 1;
  layer.attention.head_dim = layer.attention.rope.dims = 16;
  layer.attention.scale = 0.25;
  config.layers.assign(5, layer);
  config.layers[1].kind = model::LayerKind::sliding;
  return config;
}

record::TimingPlan plan_of(const std::vector<std::pair<double, double>>& times) {
  record::TimingPlan plan;
  for (const auto& [dense, sparse] : times) plan.layers.push_back({LayerRun::sparse, dense, sparse});
  return plan;
}

Method method_of(const char* name, const char* budget) {
  MethodRequest request;
  request.names = {name};
  if (*budget) request.budgets = {parse_budget(budget)};
  return list_methods(request, {}).front();
}

std::vector<std::shared_ptr<const attention::Backend>> backends() {
  return attention::make_backends(c10::Device(c10::DeviceType::CPU), at::kFloat, full_head_dims(small_config()));
}

}  // namespace

class TestPlan : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;

  std::filesystem::path write(const char* name, const std::string& text) const {
    const std::filesystem::path file = folder_.filePath(name).toStdString();
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }
  static PlanFile example() {
    PlanFile file;
    file.model_name = "M";
    file.model_sha256 = std::string(64, '1');
    auto timing = defined_plan(false, {}, small_config());
    timing.layers[0] = {LayerRun::dense, 1.5, 2.5};
    timing.layers[4].dense_ms = 3;
    timing.times = "predicted";
    timing.machine = "CPU, 2 cores";
    timing.dtype = "bf16";
    timing.threads = 2;
    timing.dense_backend = "headroom";
    file.plans.push_back({"indexer-k64-g1", 900, timing});
    return file;
  }

 private slots:
  void words() {
    auto plan = plan_of(std::vector<std::pair<double, double>>(12));
    QCOMPARE(plan_text(plan, false, {}), std::string("sparse in 12 of 12 layers"));
    for (const std::size_t layer : {0, 1, 2, 3, 6, 7, 11}) plan.layers[layer].run = LayerRun::dense;
    plan.layers[9].run = LayerRun::other;
    QCOMPARE(plan_text(plan, false, {}), std::string("dense in 7 of 11 layers: 0–3, 6, 7, 11; timing only"));
    QCOMPARE(plan_text(plan, false, {0, 1, 2, 3, 6, 7, 11}), std::string("dense in 7 of 11 layers: 0–3, 6, 7, 11"));
    QCOMPARE(plan_text(defined_plan(true, {}, small_config()), true, {}), std::string("dense in 4 of 4 layers"));
  }

  void sparse_must_pay() {
    auto plan = plan_of({{10, 9.6}, {10, 9.8}, {10, 20}, {10, unknown}, {unknown, 1}, {10, 1}});
    plan.layers[5].run = LayerRun::dense;  // as listed
    plan.layers.push_back({LayerRun::other, unknown, unknown});
    choose_layers(plan, {5});
    QCOMPARE(dense_layers_of(plan), (std::set<int>{1, 2, 5}));
    QVERIFY(plan.layers[6].run == LayerRun::other);
  }

  void times_of_a_pass_choose() {
    auto plan = plan_of(std::vector<std::pair<double, double>>(5, {unknown, unknown}));
    plan.layers[1].run = LayerRun::other;
    // Something disturbed the dense pass in layer 2: its median is 10.
    choose_layers_by_times(plan, std::vector<double>{10, 0, 80, 10, 9}, std::vector<double>{4, 0, 12, 9.9, 5}, {4});
    QCOMPARE(plan.times, std::string("measured"));
    QCOMPARE(dense_layers_of(plan), (std::set<int>{2, 3}));
    QVERIFY(plan.layers[0].run == LayerRun::sparse && plan.layers[1].run == LayerRun::other);
    QCOMPARE(plan.layers[2].dense_ms, 10.0);
    QCOMPARE(plan.layers[2].sparse_ms, 12.0);
    QVERIFY(std::isnan(plan.layers[4].sparse_ms));  // listed
    QVERIFY(std::isnan(plan.layers[1].dense_ms));
  }

  void density_of_timed_passes() {
    auto plan = plan_of(std::vector<std::pair<double, double>>(4));
    plan.layers[0].run = plan.layers[1].run = LayerRun::dense;
    QCOMPARE(planned_density(plan, 0.2, {}), (2 + 2 * 0.2) / 4);
    // One layer was dense in the recorded pass, too: the other three had 0.2.
    QCOMPARE(planned_density(plan, (1 + 3 * 0.2) / 4, {0}), (2 + 2 * 0.2) / 4);
    QCOMPARE(planned_density(plan, 1.0, {0, 1, 2, 3}), 1.0);
  }

  void a_file_gives_back_what_went_in() {
    const auto config = small_config();
    const auto file = write("plan.json", to_json(example()).dump(1));
    const auto read = read_plan_file(file);
    QCOMPARE(to_json(read).dump(), to_json(example()).dump());
    check_model(read, std::string(64, '1'));
    const auto plan = find_plan(read, "indexer-k64-g1", 900, {0}, config);
    QCOMPARE(plan.source, std::string("file"));
    QCOMPARE(dense_layers_of(plan), std::set<int>{0});
    QVERIFY(plan.layers[1].run == LayerRun::other && plan.layers[2].run == LayerRun::sparse);
    QCOMPARE(plan.layers[0].sparse_ms, 2.5);
    QVERIFY(std::isnan(plan.layers[4].sparse_ms));
  }

  void bad_files_say_what_is_wrong_data() {
    QTest::addColumn<QString>("pointer");
    QTest::addColumn<QString>("value");
    QTest::addColumn<QString>("word");
    const auto row = [](const char* name, const char* pointer, const char* value, const char* word) {
      QTest::newRow(name) << pointer << value << word;
    };
    row("format", "/format", "\"other\"", "format");
    row("version", "/version", "2", "version");
    row("no model", "/model", "null", "model");
    row("more fields", "/colour", "1", "colour");
    row("more fields in a plan", "/plans/0/colour", "1", "colour");
    row("length", "/plans/0/length", "0", "length");
    row("length of another type", "/plans/0/length", "\"900\"", "length");
    row("backend", "/plans/0/dense_backend", "\"magic\"", "dense_backend");
    row("run", "/plans/0/layers/2/run", "\"fast\"", "layers[2]");
    row("layers out of order", "/plans/0/layers/1/layer", "0", "layers[1]");
    row("huge layer", "/plans/0/layers/3/layer", "4000000000", "layers[3]");
    row("negative time", "/plans/0/layers/0/dense_ms", "-1", "dense_ms");
    row("plans", "/plans", "{}", "plans");
    row("twice", "/plans/1", "@0", "twice");
  }
  void bad_files_say_what_is_wrong() {
    QFETCH(QString, pointer);
    QFETCH(QString, value);
    QFETCH(QString, word);
    json object = to_json(example());
    object[json::json_pointer(pointer.toStdString())] =
        value == "@0" ? object["plans"][0] : json::parse(value.toStdString());
    const auto file = write("bad.json", object.dump());
    try {
      read_plan_file(file);
      QFAIL("was accepted");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::input);
      const QString text = error.what();
      QVERIFY2(text.contains(word) && text.contains("bad.json"), error.what());
    }
  }
  void files_that_are_none() {
    for (const auto& file : {write("text.json", "hello"), write("deep.json", std::string(100000, '[')),
                             std::filesystem::path(folder_.path().toStdString()), write("empty.json", "")})
      QVERIFY_EXCEPTION_THROWN(read_plan_file(file), Error);
  }

  void plans_that_do_not_fit() {
    const auto config = small_config();
    QVERIFY_EXCEPTION_THROWN(check_model(example(), std::string(64, '2')), Error);
    QVERIFY_EXCEPTION_THROWN(find_plan(example(), "indexer-k64-g1", 901, {}, config), Error);
    QVERIFY_EXCEPTION_THROWN(find_plan(example(), "indexer-k65-g1", 900, {}, config), Error);
    QVERIFY_EXCEPTION_THROWN(find_plan(example(), "indexer-k64-g1", 900, {2}, config), Error);
    auto other = config;
    other.layers[1].kind = model::LayerKind::full;
    QVERIFY_EXCEPTION_THROWN(find_plan(example(), "indexer-k64-g1", 900, {}, other), Error);
    other = config;
    other.layers.pop_back();
    QVERIFY_EXCEPTION_THROWN(find_plan(example(), "indexer-k64-g1", 900, {}, other), Error);
  }

  void costs_between_lengths() {
    const auto pairs = [](std::int64_t n) { return 0.5 * static_cast<double>(n) * static_cast<double>(n + 1); };
    // 1 ns a pair at 1000, 3 ns at 4000: 2 ns half-way in log length.
    const std::vector<CostPoint> points = {{1000, pairs(1000) * 0.4e-6, pairs(1000) * 0.2e-6, pairs(1000) * 0.4e-6},
                                           {4000, pairs(4000) * 1e-6, pairs(4000) * 1e-6, pairs(4000) * 1e-6}};
    const auto close = [&](std::int64_t length, double ns) {
      return std::abs(predict_ms(points, length, pairs) - pairs(length) * ns * 1e-6) < 1e-9 * pairs(length);
    };
    QVERIFY(close(1000, 1) && close(2000, 2) && close(4000, 3) && close(100, 1) && close(100000, 3));
    // Attention follows the kept pairs alone.
    const std::vector<CostPoint> sparse = {{1000, 0, 0, 10}};
    const auto kept = [](std::int64_t n) { return 64.0 * static_cast<double>(n); };
    QVERIFY(std::abs(predict_ms(sparse, 8000, kept) - 80) < 1e-9);
  }

  void costs_are_measured_once_and_kept() {
    const std::filesystem::path folder = folder_.filePath("costs").toStdString();
    const Method method = method_of("sink_window", "64");
    int measured = 0;
    std::vector<std::string> notices;
    const JobContext job{
        {}, [&](const Progress& progress) { measured += progress.phase.find("measuring") != std::string::npos; }};
    const auto plan_at = [&](std::int64_t length) {
      CostModel costs(
          small_config(), at::kFloat, backends(), "this machine", [&](const auto& text) { notices.push_back(text); },
          folder, [] { return std::nullopt; });
      return automatic_plan(costs, method, length, {3}, small_config(), job);
    };
    const auto plan = plan_at(300);
    QCOMPARE(measured, 1);
    QCOMPARE(plan.source, std::string("automatic"));
    QCOMPARE(plan.times, std::string("predicted"));
    QVERIFY(plan.layers[1].run == LayerRun::other && plan.layers[3].run == LayerRun::dense);
    QVERIFY(plan.layers[0].dense_ms > 0 && plan.layers[0].sparse_ms > 0 && plan.threads > 0);
    QVERIFY(!plan.dense_backend.empty());
    QCOMPARE(plan_at(300).layers[0].sparse_ms, plan.layers[0].sparse_ms);
    QCOMPARE(plan_at(200).layers[2].run, plan_at(200).layers[4].run);
    QCOMPARE(measured, 1);
    plan_at(1000);  // longer than what was measured
    QCOMPARE(measured, 2);
    plan_at(600);
    QCOMPARE(measured, 2);
    QVERIFY(notices.empty());

    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
    QCOMPARE(files.size(), std::size_t{1});
    const auto whole = json::parse(std::ifstream(files[0]));
    const auto spoil = [&](const std::string& text) { std::ofstream(files[0], std::ios::binary) << text; };
    auto negative = whole, empty = whole, backwards = whole;
    negative["sparse"][0]["attention_ms"] = -1;
    empty["dense"] = json::object();
    std::swap(backwards["sparse"][0], backwards["sparse"][1]);
    int expected = 2;
    for (const std::string& text : {std::string("\0\1", 2), whole.dump().substr(0, 200), negative.dump(), empty.dump(),
                                    backwards.dump(), std::string("[]")}) {
      spoil(text);
      notices.clear();
      plan_at(300);
      QCOMPARE(measured, ++expected);
      QCOMPARE(notices.size(), std::size_t{1});
      QVERIFY2(notices[0].find(files[0].filename().string()) != std::string::npos, notices[0].c_str());
    }
    auto other_build = whole;
    other_build["key"] = "something else";
    spoil(other_build.dump());
    notices.clear();
    plan_at(300);
    QCOMPARE(measured, ++expected);
    QVERIFY(notices.empty());
    plan_at(300);
    QCOMPARE(measured, expected);
  }

  // Whatever it was measured under is kept with it; a busy machine is measured again by the next process, and the
  // quieter of two measurements stays.
  void what_was_measured_on_a_busy_machine_is_measured_again_data() {
    QTest::addColumn<double>("first");
    QTest::addColumn<double>("second");
    QTest::addColumn<int>("measured");
    QTest::addColumn<double>("kept");
    QTest::newRow("idle") << 0.0 << 1.5 << 1 << 0.0;
    QTest::newRow("busy, then idle") << 1.5 << 0.0 << 2 << 0.0;
    QTest::newRow("busy, then a little less") << 1.5 << 1.0 << 2 << 1.0;
    QTest::newRow("busy, then more so") << 1.0 << 1.5 << 2 << 1.0;
    QTest::newRow("hardly busy") << 0.05 << 1.5 << 1 << 0.05;
  }
  void what_was_measured_on_a_busy_machine_is_measured_again() {
    QFETCH(double, first);
    QFETCH(double, second);
    QFETCH(int, measured);
    QFETCH(double, kept);
    QTemporaryDir folder;
    int times = 0;
    const JobContext job{
        {}, [&](const Progress& progress) { times += progress.phase.find("measuring") != std::string::npos; }};
    const auto plan = [&](double others) {
      // Ten seconds a reading on as many processors as there are threads, of which others take their share.
      const auto threads = static_cast<double>(at::get_num_threads());
      CpuTimes now;
      now.busy.assign(static_cast<std::size_t>(at::get_num_threads()), 0.0);
      CostModel costs(small_config(), at::kFloat, backends(), "this machine", {}, folder.path().toStdString(), [&] {
        now.now += std::chrono::seconds(10);
        for (double& busy : now.busy) busy += 10 * std::min(others, threads) / threads;
        return std::optional(now);
      });
      automatic_plan(costs, method_of("sink_window", "64"), 300, {}, small_config(), job);
    };
    plan(first);
    plan(second);
    QCOMPARE(times, measured);
    const auto entry = std::filesystem::directory_iterator(folder.path().toStdString());
    const auto file = json::parse(std::ifstream(entry->path()));
    const auto& load = file["machine_load"];
    const double most = at::get_num_threads();
    QVERIFY2(std::abs(load["other_cpus"].get<double>() - std::min(kept, most)) < 1e-6, load.dump().c_str());
  }

  void dense_is_timed_through_what_is_fastest() {
    const std::filesystem::path folder = folder_.filePath("dense-costs").toStdString();
    const auto fastest = [&] {
      CostModel costs(small_config(), at::kFloat, backends(), "this machine", {}, folder, [] { return std::nullopt; });
      return fastest_dense(costs, 300, {});
    };
    QVERIFY(fastest() == "libtorch" || fastest() == "headroom");
    const auto file = std::filesystem::directory_iterator(folder)->path();
    const auto measured = json::parse(std::ifstream(file));
    for (const std::string wanted : {"libtorch", "headroom"}) {
      auto edited = measured;
      for (auto& point : edited["dense"][wanted]) point["attention_ms"] = 1e-6;
      std::ofstream(file) << edited.dump();
      QCOMPARE(fastest(), wanted);
    }
  }

  void a_cache_that_cannot_be_written_is_no_fault() {
    CostModel costs(small_config(), at::kFloat, backends(), "m", {}, write("a-file", "x") / "costs");
    const auto plan = automatic_plan(costs, method_of("random", "10%"), 100, {}, small_config(), {});
    QVERIFY(plan.layers[0].sparse_ms > 0);
  }

  void who_may_be_planned() {
    const auto may = [](const char* name, const char* budget) { return may_plan(*method_of(name, budget).policy); };
    QVERIFY(may("sink_window", "64") && may("random", "10%"));
    QVERIFY(!may("dense", "") && !may("oracle", "64") && !may("oracle", "p0.9"));
  }
};

QTEST_GUILESS_MAIN(TestPlan)
#include "test_plan.moc"
