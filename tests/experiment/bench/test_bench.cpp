// SPDX-License-Identifier: Apache-2.0
// `bench` on a tiny model: plans, lengths past the context, llama.cpp through a stand-in, threads, the JSON's fields.
#include <ATen/Parallel.h>

#include <QtTest>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "experiment/bench/bench.h"
#include "experiment/plan/plan.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::experiment;
using nlohmann::json;

class TestBench : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  BenchSpec spec_;

  QString write(const char* name, const QByteArray& content) const {
    QFile file(folder_.filePath(name));
    if (!file.open(QIODevice::WriteOnly)) qFatal("cannot write %s", name);
    file.write(content);
    file.setPermissions(QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    return file.fileName();
  }
  /// A Python that has "llama-cpp-python": answers a probe, then what it is told to, and keeps the last request.
  std::string stand_in(const char* name, const QByteArray& answers) const {
    const QByteArray request = folder_.filePath("request.json").toUtf8();
    return write(name, "#!/bin/sh\ncat > '" + request + "'\nif grep -q probe '" + request +
                           "'; then echo '{\"version\": \"0.0.fake\"}'; else\n" + answers + "\nfi\n")
        .toStdString();
  }
  static const BenchRow* find(const BenchReport& report, const std::string& method, const std::string& backend = {}) {
    for (const auto& row : report.rows)
      if (row.method == method && (backend.empty() || row.backend.find(backend) != std::string::npos)) return &row;
    return nullptr;
  }

 private slots:
  void initTestCase() {
    qputenv("XDG_CACHE_HOME", folder_.path().toUtf8());
    spec_.model = folder_.filePath("tiny.gguf").toStdString();
    test::TinyModelOptions options;
    options.context = 1400;
    test::write_tiny_model(spec_.model, options);
    spec_.lengths = {600};
    spec_.methods = {"dense", "oracle", "sink_window"};
    spec_.budgets = {parse_budget("32")};
    spec_.device = "cpu";
    spec_.dtype = "f32";
    spec_.repeats = 1;
  }

  void rows_compare_with_the_fastest_dense() {
    const auto report = bench(spec_, {});
    const auto *libtorch = find(report, "dense", "libtorch"), *oracle = find(report, "oracle"),
               *sparse = find(report, "sink_window");
    QVERIFY(libtorch && oracle && sparse);
    double fastest = 1e300;
    for (const auto& row : report.rows)
      if (row.method == "dense") fastest = std::min(fastest, row.ttft.median);
    // The oracle is a reference: a time, no speedup, and it runs as defined.
    QVERIFY(!oracle->speedup_over.fastest_dense && !oracle->kernel_factor && !oracle->sparsity_factor);
    QVERIFY(std::abs(*oracle->time_over_libtorch - oracle->ttft.median / libtorch->ttft.median) < 1e-9);
    QCOMPARE(oracle->timing_plan.source, std::string("defined"));
    QCOMPARE(oracle->density, oracle->density_as_defined);
    QVERIFY(std::abs(*libtorch->speedup_over.fastest_dense - fastest / libtorch->ttft.median) < 1e-9);
    QVERIFY(std::abs(*libtorch->kernel_factor * *libtorch->sparsity_factor - 1) < 1e-9);

    QCOMPARE(sparse->timing_plan.source, std::string("automatic"));
    QCOMPARE(sparse->timing_plan.times, std::string("measured"));
    for (const auto& layer : sparse->timing_plan.layers)
      QCOMPARE(layer.run == record::LayerRun::sparse, layer.sparse_ms < worth_sparse * layer.dense_ms);
    const double dense = static_cast<double>(dense_layers_of(sparse->timing_plan).size()) / 3;
    const double pairs = 600.0 * 601 / 2, kept = (32.0 * 33 / 2 + 568 * 32) / pairs;
    QVERIFY(std::abs(sparse->density_as_defined - kept) < 1e-9);
    QVERIFY(std::abs(sparse->density - (dense + (1 - dense) * kept)) < 1e-9);
    // Sixteen rows of a window share all but their ends: 32 keys and 15 more.
    QVERIFY(*sparse->union_factor > 1.3 && *sparse->union_factor < 1.5);
    QVERIFY(*sparse->as_defined_ms > 0 && *sparse->predicted_dense_ms > 0 && *sparse->predicted_sparse_ms > 0);

    QVERIFY(libtorch->peak_bytes_above_weights > 0 &&
            libtorch->peak_bytes_above_weights == libtorch->peak_bytes - report.weight_bytes);
    const double flops = 4 * pairs * 3 * 4 * 16;
    const double ms = libtorch->stages_ms[static_cast<std::size_t>(Stage::attention)];
    QVERIFY(std::abs(*libtorch->attention_gflops - flops / ms / 1e6) < 1e-9 * flops);
    QVERIFY(*libtorch->gemm_gflops > 0);

    const auto row = to_json(report)["rows"].back();
    for (const char* field : {"length",
                              "id",
                              "method",
                              "backend",
                              "density",
                              "density_as_defined",
                              "union_factor",
                              "plan",
                              "plan_layers",
                              "timing_plan",
                              "ttft_ms",
                              "as_defined_ms",
                              "attention_ms",
                              "score_ms",
                              "select_ms",
                              "peak_bytes",
                              "peak_bytes_above_weights",
                              "attention_gflops",
                              "gemm_gflops",
                              "share_of_gemm_rate",
                              "speedup_over",
                              "kernel_factor",
                              "sparsity_factor",
                              "time_over_libtorch",
                              "amdahl_bound",
                              "ttft_over_floor",
                              "note"})
      QVERIFY2(row.contains(field), field);
    QCOMPARE(row["plan_layers"].size(), std::size_t{3});
    QCOMPARE(row["id"], "sink_window-k32-g1");
  }

  void a_plan_file_is_replayed() {
    auto spec = spec_;
    PlanFile file;
    const auto defined = bench(
        [&] {
          auto none = spec_;
          none.plan = "none";
          return none;
        }(),
        {});
    QCOMPARE(find(defined, "sink_window")->plan, std::string("sparse in 3 of 3 layers"));
    file.model_sha256 = defined.weights;
    auto timing = find(defined, "sink_window")->timing_plan;
    timing.layers[1].run = record::LayerRun::dense;
    file.plans.push_back({"sink_window-k32-g1", 600, timing});
    spec.plan = write("plan.json", QByteArray::fromStdString(to_json(file).dump())).toStdString();
    const auto report = bench(spec, {});
    QCOMPARE(find(report, "sink_window")->plan, std::string("dense in 1 of 3 layers: 1; timing only"));
    QCOMPARE(find(report, "sink_window")->timing_plan.source, std::string("file"));
    QCOMPARE(find(report, "oracle")->plan, std::string("sparse in 3 of 3 layers"));
    QVERIFY(find(report, "sink_window")->speedup_over.fastest_dense);

    // A plan that is dense throughout leaves nothing sparse to speak of: a time, no speedup.
    for (auto& layer : file.plans.front().timing.layers) layer.run = record::LayerRun::dense;
    spec.plan = write("dense.json", QByteArray::fromStdString(to_json(file).dump())).toStdString();
    const auto all_dense = bench(spec, {});
    const auto* row = find(all_dense, "sink_window");
    QVERIFY(row->timing_plan.dense_throughout() && row->ttft.median > 0);
    QVERIFY(!row->speedup_over.fastest_dense && !row->speedup_over.libtorch && !row->sparsity_factor);
    spec.lengths = {600, 700};
    QVERIFY_EXCEPTION_THROWN(bench(spec, {}), Error);
  }

  void past_the_context_is_timing_only() {
    auto spec = spec_;
    spec.lengths = {1400, 1500};
    spec.methods = {"dense"};
    spec.llama_cpp = stand_in("python-past", "echo '{\"flash_attention\": true, \"ms\": [5]}'");
    const auto report = bench(spec, {});
    int past = 0, peers = 0;
    for (const auto& row : report.rows) {
      QCOMPARE(row.note.find("past the model's context of 1400: timing only") != std::string::npos, row.length == 1500);
      past += row.length == 1500;
      peers += !row.staged;
      QVERIFY(row.staged || row.length == 1400);  // llama.cpp has the model's context
    }
    QVERIFY(past >= 1);
    QCOMPARE(peers, 1);
  }

  void llama_cpp_is_a_peer() {
    auto spec = spec_;
    spec.threads = 1;
    spec.llama_cpp = stand_in("python",
                              "echo '{\"flash_attention\": true, \"error\": \"no \\\"kernel\\\"\"}'\n"
                              "echo '{\"flash_attention\": false, \"ms\": [0.001, 0.003]}'");
    spec.llama_cpp_repeats = 2;
    const int threads = at::get_num_threads();
    const auto report = bench(spec, {});
    QCOMPARE(at::get_num_threads(), threads);
    QCOMPARE(report.threads, 1);
    QCOMPARE(report.llama_cpp, std::string("0.0.fake"));
    QFile request(folder_.filePath("request.json"));
    QVERIFY(request.open(QIODevice::ReadOnly));
    const auto asked = json::parse(request.readAll().toStdString());
    QCOMPARE(asked["ids"].size(), std::size_t{600});
    QCOMPARE(asked["threads"], 1);
    QCOMPARE(asked["repeats"], 2);
    QCOMPARE(asked["model"], spec.model);

    const auto *on = find(report, "dense", "flash attention on"), *off = find(report, "dense", "flash attention off");
    QVERIFY(on && off);
    QCOMPARE(on->error, std::string("no \"kernel\""));
    QCOMPARE(off->ttft.median, 0.002);
    // The better one that ran; not among the dense rows that speedups stand over.
    const auto* libtorch = find(report, "dense", "libtorch");
    QVERIFY(std::abs(*libtorch->speedup_over.llama_cpp - 0.002 / libtorch->ttft.median) < 1e-12);
    QVERIFY(*libtorch->speedup_over.fastest_dense > 0.01);
    QVERIFY(!find(report, "oracle")->speedup_over.llama_cpp);
    const auto rows = to_json(report)["rows"];
    QVERIFY(rows.back()["attention_ms"].is_null() && rows.back()["peak_bytes"].is_null());
    QVERIFY(to_json(bench(spec_, {}))["rows"][0]["speedup_over"]["llama_cpp"].is_null());
  }

  void llama_cpp_that_does_not_answer_data() {
    QTest::addColumn<QByteArray>("script");
    QTest::newRow("not there") << QByteArray();
    QTest::newRow("fails") << QByteArray("#!/bin/sh\necho 'No module named llama_cpp' >&2\nexit 1\n");
    QTest::newRow("says nothing") << QByteArray("#!/bin/sh\n");
    QTest::newRow("says nonsense") << QByteArray("#!/bin/sh\necho hello\n");
    QTest::newRow("crashes") << QByteArray("#!/bin/sh\nkill -9 $$\n");
    QTest::newRow("endless") << QByteArray("#!/bin/sh\nexec yes\n");
  }
  void llama_cpp_that_does_not_answer() {
    QFETCH(QByteArray, script);
    auto spec = spec_;
    spec.llama_cpp =
        script.isEmpty() ? folder_.filePath("none").toStdString() : write("bad-python", script).toStdString();
    try {
      bench(spec, {});
      QFAIL("was accepted");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::input);
    }
  }
  void llama_cpp_needs_a_file_of_its_own() {
    BenchSpec spec = spec_;
    spec.model.clear();
    spec.config = "smollm2-135m";
    spec.llama_cpp = "/bin/true";
    QVERIFY_EXCEPTION_THROWN(bench(spec, {}), Error);
  }

  void a_stop_ends_the_child() {
    auto spec = spec_;
    spec.methods = {"dense"};
    spec.llama_cpp = stand_in("slow-python", "exec sleep 60");
    std::stop_source stop;
    std::jthread stopper;
    const JobContext job{stop.get_token(), [&](const Progress& progress) {
                           if (!progress.phase.starts_with("llama.cpp") || stopper.joinable()) return;
                           stopper = std::jthread([&stop] {
                             std::this_thread::sleep_for(std::chrono::milliseconds(400));
                             stop.request_stop();
                           });
                         }};
    QElapsedTimer clock;
    clock.start();
    try {
      bench(spec, job);
      QFAIL("was not cancelled");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::cancelled);
    }
    QVERIFY(clock.elapsed() < 30000);
  }

  void our_script_speaks_to_the_library() {
    // The real script with a module that stands in for the library.
    QProcess python;
    python.start("python3", {"-c", "pass"});
    if (!python.waitForFinished(20000) || python.exitCode() != 0) QSKIP("there is no python3");
    QVERIFY(QDir(folder_.path()).mkpath("modules"));
    write("modules/llama_cpp.py", R"(
__version__ = "9.9"
print("noise")
class Llama:
    def __init__(self, **options):
        assert options["n_threads"] == options["n_threads_batch"] == 3 and options["n_ctx"] >= 300
        if options["flash_attn"]: raise ValueError("not here")
        self.seen = []
    def reset(self): self.seen.append(0)
    def eval(self, ids): self.seen[-1] = len(ids)
    def sample(self, temp): assert temp == 0.0
    def close(self): assert self.seen == [64, 300, 300], self.seen
)");
    const auto ask = [&](const QByteArray& request) {
      QProcess process;
      auto environment = QProcessEnvironment::systemEnvironment();
      environment.insert("PYTHONPATH", folder_.filePath("modules"));
      environment.insert("PYTHONDONTWRITEBYTECODE", "1");
      process.setProcessEnvironment(environment);
      process.start("python3", {HEADROOM_SOURCE_DIR "/tests/benchmarks/llama_cpp_prefill.py"});
      process.write(request);
      process.closeWriteChannel();
      process.waitForFinished(20000);
      return process.readAllStandardOutput();
    };
    QCOMPARE(json::parse(ask(R"({"probe": true})").toStdString())["version"], "9.9");
    json request = {{"model", "m.gguf"}, {"threads", 3}, {"repeats", 2}, {"warmup", 64}};
    request["ids"] = std::vector<int>(300, 7);
    const auto lines = ask(QByteArray::fromStdString(request.dump())).trimmed().split('\n');
    QCOMPARE(lines.size(), 2);
    QCOMPARE(json::parse(lines[0].toStdString()), (json{{"flash_attention", true}, {"error", "ValueError: not here"}}));
    const auto off = json::parse(lines[1].toStdString());
    QCOMPARE(off["flash_attention"], false);
    QCOMPARE(off["ms"].size(), std::size_t{2});
  }
};

QTEST_GUILESS_MAIN(TestBench)
#include "test_bench.moc"
