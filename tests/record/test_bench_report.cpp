// SPDX-License-Identifier: Apache-2.0
// `bench --json` read again: what was written comes back, earlier versions' files too; what is hostile is refused by
// its place; no speedup is said where there is none.
#include <QtTest>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "support/bench_fixture.h"

using namespace headroom;
using namespace headroom::record;
using nlohmann::json;

using Edit = std::function<void(json&)>;
Q_DECLARE_METATYPE(Edit)

class TestBenchReport : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;

  /// The message; empty where it is taken.
  static QString refusal(const json& object) {
    try {
      bench_report_from_json(object, "b.json");
    } catch (const Error& error) {
      return error.kind() == ErrorKind::input ? QString::fromUtf8(error.what()) : QString("not an input error");
    }
    return {};
  }
  QString refusal_of_file(const std::string& bytes) const {
    const std::string file = folder_.filePath("b.json").toStdString();
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    try {
      read_bench_report(file);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::input ? QString::fromUtf8(error.what()) : QString("not an input error");
    }
    return {};
  }

 private slots:
  void what_was_written_comes_back() {
    BenchReport report = test::small_bench();
    BenchRow& row = report.rows.back();
    row.note = "past the model's context of 8192: timing only";
    row.union_factor = 2.5;
    row.predicted_dense_ms = 3;
    row.devices = {{"cuda:0", 0, 7, 8, 2.5, 0.25}, {"cuda:1", 2, 7, 9, 3.5, 0.5}};
    BenchRow other = test::bench_row(4096, "dense", 150, 0);
    other.staged = false;
    other.backend = "llama.cpp (flash attention on)";
    other.stages_ms = {};
    other.peak_bytes = other.peak_bytes_above_weights = 0;
    report.rows.push_back(other);
    BenchRow refused = test::bench_row(4096, "dense", 0, 0);
    refused.ttft = {};
    refused.error = "this head size is not supported";
    report.rows.push_back(refused);
    const json written = to_json(report);
    const BenchReport read = bench_report_from_json(json::parse(written.dump()), "b.json");
    QCOMPARE(to_json(read).dump(2), written.dump(2));
    QCOMPARE(read.rows.size(), report.rows.size());
    QVERIFY(!read.rows[read.rows.size() - 2].staged && read.rows[0].staged);
    QCOMPARE(read.rows[4].role, MethodRole::deployable);
  }

  void earlier_versions_are_read() {
    json object = to_json(test::small_bench());
    for (const char* field : {"threads", "warmups", "supports", "llama_cpp", "memory_needed", "device_note",
                              "complete"})
      object.erase(field);
    for (json& row : object["rows"])
      for (const char* field : {"title", "role", "look", "note", "supports", "machine_load", "devices", "floor_ms",
                                "density_as_defined", "share_of_gemm_rate", "label"})
        row.erase(field);
    const BenchReport read = bench_report_from_json(object, "b.json");
    QVERIFY(read.complete);
    QCOMPARE(read.rows[1].role, MethodRole::dense);
    QCOMPARE(read.rows[4].role, MethodRole::deployable);
    // What ran dense by its plan is no dense baseline, and has no speedup.
    QCOMPARE(no_speedup(read.rows[4]), NoSpeedup::nothing_sparse);
    QCOMPARE(no_speedup(read.rows[3]), NoSpeedup::not_stated);
    QCOMPARE(fastest_dense(read.rows, 32768)->backend, std::string("cudnn"));
  }

  void two_groups_of_one_length_have_a_fastest_each() {
    BenchReport report = test::small_bench();
    const std::size_t half = report.rows.size() / 2;
    for (std::size_t i = half; i < report.rows.size(); ++i) report.rows[i].length = report.rows.front().length;
    QCOMPARE(refusal(to_json(report)), QString());
  }

  void a_speedup_is_said_only_where_there_is_one() {
    BenchReport report = test::small_bench();
    const auto why = [&](std::size_t row) { return no_speedup(report.rows[row]); };
    QCOMPARE(why(3), NoSpeedup::reference);
    QCOMPARE(why(4), NoSpeedup::nothing_sparse);
    QCOMPARE(why(10), NoSpeedup::none);
    // Whatever the file says of it: earlier versions did.
    report.rows[4].speedup_over.fastest_dense = report.rows[0].ttft.median / report.rows[4].ttft.median;
    QCOMPARE(no_speedup(bench_report_from_json(to_json(report), "b.json").rows[4]), NoSpeedup::nothing_sparse);
    report.rows[10].label = "not optimised";
    QCOMPARE(why(10), NoSpeedup::labelled);
    report.rows[10].error = "no memory";
    QCOMPARE(why(10), NoSpeedup::not_run);
    const BenchRow& dense = *fastest_dense(report.rows, 32768);
    QVERIFY(is_firm(report.rows[9], dense));
    QVERIFY(!is_firm(report.rows[11], dense));  // other work beside it
    report.rows[9].ttft.repeats = 1;
    QVERIFY(!is_firm(report.rows[9], dense));
    QVERIFY(std::abs(*free_attention_bound(dense) - 2) < 1e-9);
    QCOMPARE(row_parameters(report.rows[10]), std::string());
    report.rows[10].id += "-sinks16";
    QCOMPARE(row_parameters(report.rows[10]), std::string("sinks16"));
  }

  void what_is_hostile_is_refused_by_its_place_data() {
    QTest::addColumn<Edit>("edit");
    QTest::addColumn<QString>("words");
    const auto add = [](const char* name, Edit edit, const char* words) {
      QTest::newRow(name) << std::move(edit) << QString(words);
    };
    add("a list", [](json& b) { b = json::array(); }, "is not a result of headroom bench");
    add("another object", [](json& b) { b.erase("rows"); }, "is not a result of headroom bench");
    add("no rows", [](json& b) { b["rows"] = json::array(); }, "at least one row");
    add("rows are a text", [](json& b) { b["rows"] = "many"; }, "\"rows\"");
    add("a row is a number", [](json& b) { b["rows"][2] = 7; }, "row 3");
    add("too many rows", [](json& b) { b["rows"] = json(std::vector<json>(5000, b["rows"][0])); }, "at most 2048");
    add("no length", [](json& b) { b["rows"][1].erase("length"); }, "row 2: field \"length\" is missing");
    add("length of nothing", [](json& b) { b["rows"][1]["length"] = 0; }, "a whole number from 1");
    add("absurd length", [](json& b) { b["rows"][1]["length"] = 1e18; }, "row 2: field \"length\"");
    add("NaN as a text", [](json& b) { b["rows"][0]["ttft_ms"]["median"] = "NaN"; },
        "row 1, ttft_ms: field \"median\"");
    add("no median", [](json& b) { b["rows"][0]["ttft_ms"]["median"] = nullptr; }, "row 1, ttft_ms");
    add("negative time", [](json& b) { b["rows"][0]["ttft_ms"]["q1"] = -1; }, "row 1, ttft_ms");
    add("quartiles upside down", [](json& b) { b["rows"][0]["ttft_ms"]["q1"] = 1e6; }, "q1 <= median <= q3");
    add("no passes", [](json& b) { b["rows"][0]["ttft_ms"]["repeats"] = 0; }, "at least one pass");
    add("density of 7", [](json& b) { b["rows"][4]["density"] = 7; }, "row 5: field \"density\"");
    add("an unknown role", [](json& b) { b["rows"][4]["role"] = "king"; }, "dense, reference or deployable");
    add("a look that is none", [](json& b) { b["rows"][4]["look"] = 99; }, "\"look\"");
    add("an unknown budget", [](json& b) { b["rows"][4]["budget"]["kind"] = "yards"; }, "row 5, budget");
    add("a plan of other words", [](json& b) { b["rows"][4]["timing_plan"]["layers"][0]["run"] = "fast"; },
        "row 5, timing_plan");
    add("no plan", [](json& b) { b["rows"][4].erase("timing_plan"); }, "\"timing_plan\" is missing");
    add("an invented speedup", [](json& b) { b["rows"][10]["speedup_over"]["fastest_dense"] = 16.0; },
        "row 11, speedup_over");
    add("a slow baseline's ratio in the fastest's place",
        [](json& b) {
          auto& over = b["rows"][10]["speedup_over"];
          over["fastest_dense"] = over["libtorch"];
        },
        "row 11, speedup_over");
    add("a speedup over nothing", [](json& b) { b["rows"].erase(b["rows"].begin(), b["rows"].begin() + 3); },
        "no dense row of this length ran");
    add("load of more than there is", [](json& b) { b["rows"][5]["machine_load"]["other_cpus"] = 99; }, "machine_load");
    add("a method of megabytes", [](json& b) { b["rows"][5]["method"] = std::string(5000, 'x'); }, "at most 1024");
    add("a device that is a list", [](json& b) { b["device"] = json::array(); }, "\"device\"");
  }
  void what_is_hostile_is_refused_by_its_place() {
    QFETCH(Edit, edit);
    QFETCH(QString, words);
    json object = to_json(test::small_bench());
    QCOMPARE(refusal(object), QString());
    edit(object);
    const QString said = refusal(object);
    QVERIFY2(said.startsWith("b.json") && said.contains(words), qPrintable(said));
  }

  void files_that_are_none_are_refused() {
    const std::string whole = to_json(test::small_bench()).dump();
    QCOMPARE(refusal_of_file(whole), QString());
    for (const std::string bytes : {std::string(), std::string("\x89HDF\r\n\x1a\n"), std::string(100000, '['),
                                    std::string("{\"rows\": 1e999, \"device\": NaN}"), whole + whole})
      QVERIFY2(refusal_of_file(bytes).contains("b.json"), bytes.substr(0, 20).c_str());
    for (std::size_t end = 0; end < whole.size(); end += 211)
      QVERIFY(refusal_of_file(whole.substr(0, end)).contains("is not valid JSON"));
    QVERIFY_THROWS_EXCEPTION(Error, read_bench_report(folder_.filePath("nothing.json").toStdString()));
    QVERIFY_THROWS_EXCEPTION(Error, read_bench_report(folder_.path().toStdString()));
  }

  // Every field in turn is something else: taken or refused, nothing worse.
  void every_field_may_be_of_another_type() {
    const json whole = to_json(test::small_bench());
    const json flat = whole.flatten();
    int refused = 0;
    for (const auto& [pointer, value] : flat.items()) {
      for (const json& other : {json(nullptr), json("NaN"), json(-1), json(1e300), json(true), json::array({1}),
                                json::object({{"a", 1}})}) {
        json edited = whole;
        edited[json::json_pointer(pointer)] = other;
        const QString said = refusal(edited);
        QVERIFY2(said.isEmpty() || said.startsWith("b.json"), qPrintable(said));
        refused += !said.isEmpty();
      }
      if (pointer.starts_with("/rows/1/")) break;  // the first row and all that stands before it
    }
    QVERIFY(refused > 100);
  }
};

QTEST_GUILESS_MAIN(TestBenchReport)
#include "test_bench_report.moc"
