// SPDX-License-Identifier: Apache-2.0
// `headroom bench` as a user calls it: what is printed fits 120 columns and names what it compares; JSON; refusals.
#include <signal.h>

#include <QtTest>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "support/tiny_model.h"

using namespace headroom;

class TestBenchCommand : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QString model_;

  int headroom(const QStringList& arguments, QByteArray& output, QByteArray& errors) const {
    QProcess process;
    process.start(QStringLiteral(HEADROOM_BINARY_DIR "/headroom"),
                  QStringList{"bench", model_, "--device", "cpu", "--repeats", "2"} + arguments);
    if (!process.waitForFinished(60000)) return -1;
    output = process.readAllStandardOutput();
    errors = process.readAllStandardError();
    return process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -2;
  }

 private slots:
  void initTestCase() {
    qputenv("XDG_CACHE_HOME", folder_.path().toUtf8());
    model_ = folder_.filePath("tiny.gguf");
    test::TinyModelOptions options;
    options.layers = 12;
    options.context = 640;
    test::write_tiny_model(model_.toStdString(), options);
    QFile python(folder_.filePath("python"));
    QVERIFY(python.open(QIODevice::WriteOnly));
    python.write(
        "#!/bin/sh\nif grep -q probe; then echo '{\"version\": \"0.0.fake\"}'; else\n"
        "echo '{\"flash_attention\": true, \"ms\": [12345.6]}'\n"
        "echo '{\"flash_attention\": false, \"ms\": [23456.7]}'\nfi\n");
    python.setPermissions(QFile::ReadOwner | QFile::ExeOwner);
  }

  void people_can_read_it_in_120_columns() {
    QByteArray output, errors;
    const int code = headroom({"--lengths", "600,700", "--methods", "dense,oracle,sink_window", "--budget", "32",
                               "--granularity", "1,128", "--llama-cpp", folder_.filePath("python")},
                              output, errors);
    QVERIFY2(code == 0, errors);
    for (const QString& line : QString::fromUtf8(output).split('\n')) QVERIFY2(line.size() <= 120, qPrintable(line));
    for (const char* word :
         {"600 tokens", "700 tokens", "past the model's context of 640: timing only", "dense, libtorch",
          "llama.cpp, FA", "over LibTorch", "a reference", "as defined", "kernel", "floor", "0.0.fake", "speedup"})
      QVERIFY2(output.contains(word), output.constData());
    QCOMPARE(output.count("llama.cpp, FA"), 1);
  }

  void drawn_supports_are_said_to_be_no_quality() {
    QByteArray output, errors;
    QCOMPARE(headroom({"--lengths", "600", "--methods", "dense,oracle,sink_window", "--budget", "32", "--supports",
                       "measured"}, output, errors), 0);
    for (const QString& line : QString::fromUtf8(output).split('\n')) QVERIFY2(line.size() <= 120, qPrintable(line));
    QVERIFY2(output.contains("drawn supports") && output.contains("no quality") && output.contains("of 16 rows"),
             output.constData());
    QCOMPARE(headroom({"--lengths", "600", "--supports", "drawn"}, output, errors), 2);
    QVERIFY2(errors.contains("expected own or measured"), errors.constData());
    QVERIFY(headroom({"--lengths", "300", "--methods", "oracle,sink_window", "--budget", "32", "--supports", "measured",
                      "--json"}, output, errors) == 0);
    const auto value = nlohmann::json::parse(output.toStdString());
    QCOMPARE(value["supports"], "measured");
    for (const auto& row : value["rows"]) {
      QCOMPARE(row["supports"], row["method"] == "oracle" ? "measured" : "own");
      if (row["method"] == "oracle") {
        const double factor = row["union_factor"];
        QVERIFY(factor > 2 && factor < 3);
      }
    }
  }

  void one_object_for_programs() {
    QByteArray output, errors;
    QVERIFY(headroom({"--lengths", "64", "--methods", "dense", "--threads", "1", "--json"}, output, errors) == 0);
    const auto value = nlohmann::json::parse(output.toStdString());
    QCOMPARE(value["threads"], 1);
    QVERIFY(value["memory_needed"] > value["weight_bytes"]);
    QVERIFY(value["rows"][0].contains("machine_load"));
    QVERIFY(value["llama_cpp"].is_null() && value["rows"].size() >= 1);
  }

  // A published configuration by its name: nothing is on disk, weights are random.
  void a_configuration_with_random_weights() {
    const auto bench = [](const QStringList& arguments) {
      QProcess process;
      process.start(QStringLiteral(HEADROOM_BINARY_DIR "/headroom"), QStringList{"bench"} + arguments);
      if (!process.waitForFinished(120000)) return std::tuple(-1, QByteArray(), QByteArray("it hangs"));
      return std::tuple(process.exitCode(), process.readAllStandardOutput(), process.readAllStandardError());
    };
    const QStringList settings = {"--lengths", "96", "--device", "cpu", "--repeats", "1"};
    const auto [code, output, errors] = bench(
        QStringList{"--config", "smollm2-135m", "--random-init", "--methods", "dense,oracle,indexer", "--budget", "16",
                    "--json"} +
        settings);
    QVERIFY2(code == 0, errors);
    const auto value = nlohmann::json::parse(output.toStdString());
    QCOMPARE(value["config"], "smollm2-135m");
    QCOMPARE(value["weights"], "random, no quality");
    QVERIFY(value["complete"] == true && value["weight_bytes"] >= 2 * 134'515'008);
    std::set<std::string> methods;
    for (const auto& row : value["rows"]) {
      methods.insert(row["method"]);
      QVERIFY(row["ttft_ms"]["median"] > 0 && row["length"] == 96);
      QVERIFY(row["devices"].empty() && row["stages_ms"]["transfer"] == 0);
    }
    QCOMPARE(methods, (std::set<std::string>{"dense", "oracle", "indexer"}));

    const auto refused = [&](const QStringList& arguments, int expected, const QByteArray& word) {
      const auto done = bench(arguments + settings);
      return std::get<0>(done) == expected && std::get<1>(done).isEmpty() && std::get<2>(done).contains(word);
    };
    QVERIFY(refused({"--config", "smollm2-135m"}, 2, "--random-init"));
    QVERIFY(refused({"--random-init"}, 2, "--config"));
    QVERIFY(refused({"--config", "no-such-config", "--random-init"}, 2, "smollm2-135m"));
  }

  void a_stop_keeps_the_lengths_that_are_done_data() {
    QTest::addColumn<bool>("json");
    QTest::newRow("table") << false;
    QTest::newRow("JSON") << true;
  }
  void a_stop_keeps_the_lengths_that_are_done() {
    QFETCH(bool, json);
    QProcess process;
    QStringList arguments = {"bench", model_,      "--device", "cpu",       "--repeats",
                             "400",   "--lengths", "32,640",   "--methods", "dense"};
    if (json) arguments << "--json";
    process.start(QStringLiteral(HEADROOM_BINARY_DIR "/headroom"), arguments);
    QByteArray errors;
    QTRY_VERIFY_WITH_TIMEOUT((process.waitForReadyRead(20), errors += process.readAllStandardError(),
                              errors.contains(" 640 timed")), 60000);
    ::kill(static_cast<pid_t>(process.processId()), SIGINT);
    QVERIFY(process.waitForFinished(20000));
    QCOMPARE(process.exitCode(), 5);
    const QByteArray output = process.readAllStandardOutput();
    if (!json) {
      QVERIFY2(output.contains("32 tokens") && !output.contains("640 tokens"), output.constData());
      return;
    }
    const auto value = nlohmann::json::parse(output.toStdString());
    QCOMPARE(value["complete"], false);
    QVERIFY(!value["rows"].empty());
    for (const auto& row : value["rows"]) QCOMPARE(row["length"], 32);
  }

  // The same words as `run` has for it.
  void an_indexer_of_another_model_is_refused() {
    const QString file =
        QStringLiteral(HEADROOM_SOURCE_DIR "/sample_data/indexers/smollm2-135m-instruct-d128.safetensors");
    QByteArray output, errors, run_errors;
    QCOMPARE(headroom({"--lengths", "64", "--methods", "indexer", "--indexer", file}, output, errors), 3);
    QVERIFY2(errors.contains("belongs to another model") && errors.contains("headroom distill"), errors.constData());
    QProcess run;
    run.start(QStringLiteral(HEADROOM_BINARY_DIR "/headroom"),
              {"run", model_, "--prompt", "x", "--methods", "indexer", "--indexer", file, "--device", "cpu"});
    QVERIFY(run.waitForFinished(60000));
    QCOMPARE(run.exitCode(), 3);
    QCOMPARE(run.readAllStandardError(), errors);
  }

  void refusals_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<int>("code");
    QTest::addColumn<QString>("word");
    QTest::newRow("threads") << QStringList{"--threads", "-2"} << 2 << "threads";
    QTest::newRow("python") << QStringList{"--llama-cpp", "/nowhere/python"} << 3 << "/nowhere/python";
    QTest::newRow("plan") << QStringList{"--plan", "/nowhere/plan.json"} << 3 << "plan.json";
    QTest::newRow("repeats") << QStringList{"--llama-cpp-repeats", "0"} << 2 << "repeats";
  }
  void refusals() {
    QFETCH(QStringList, arguments);
    QFETCH(int, code);
    QFETCH(QString, word);
    QByteArray output, errors;
    QCOMPARE(headroom(QStringList{"--lengths", "64"} + arguments, output, errors), code);
    QVERIFY2(QString::fromUtf8(errors).contains(word) && errors.count('\n') == 1, errors.constData());
    QVERIFY(output.isEmpty());
  }
};

QTEST_GUILESS_MAIN(TestBenchCommand)
#include "test_bench_command.moc"
