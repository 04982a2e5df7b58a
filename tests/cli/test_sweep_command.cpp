// SPDX-License-Identifier: Apache-2.0
// `headroom sweep`, `merge`, and what becomes of their files: killed at random moments and gone on with, stopped,
// exported, told about.
#include <csignal>
#include <nlohmann/json.hpp>
#include <random>

#include "base/paths.h"
#include "command_fixture.h"

using headroom::test::Finished;

class TestSweepCommand : public headroom::test::CommandFixture {
  Q_OBJECT

  QStringList sweep(const QString& out, const QStringList& more = {}) const {
    return QStringList{"sweep",       model_,   "--tasks",          "niah_single_1",
                       "--lengths",   "700",    "--methods",        "oracle,random",
                       "--budgets",   "16,64",  "--samples",        "6",
                       "--calibrate", "1",      "--max-new-tokens", "4",
                       "--device",    "cpu",    "--dtype",          "f32",
                       "--out",       path(out)} +
           more;
  }
  /// Found before the tests' own cache takes the place of the user's.
  const QString python_ = QString::fromStdString((headroom::cache_folder() / "venv" / "bin" / "python").string());

  QByteArray rows_of(const QString& out) const { return read(path(out) + ".rows.jsonl"); }

 private slots:
  void initTestCase() {
    if (!folder_.isValid()) qFatal("no folder");
    qputenv("XDG_CACHE_HOME", folder_.path().toUtf8());
    qputenv("SOURCE_DATE_EPOCH", "1780000000");
    qputenv("OMP_NUM_THREADS", "1");
    model_ = path("tiny.gguf");
    headroom::test::write_tiny_model(model_.toStdString(), {.layers = 2});
    const Finished whole = headroom(sweep("whole.h5"));
    QVERIFY2(whole.code == 0, whole.errors.constData());
    QVERIFY(whole.output.contains("macro over 1 of 1 tasks") || whole.output.contains("no macro mean"));
    QVERIFY(says(whole, {"6 pairs give no interval", "rows"}));
  }

  void killed_ten_times_it_repeats_and_loses_nothing() {
    const QString out = "killed.h5", store = path(out) + ".rows.jsonl";
    std::mt19937 random(7);
    int kills = 0, lines = 0;
    for (int round = 0; kills < 10 && round < 100; ++round) {
      QProcess process;
      process.start(program(), sweep(out, {"--resume"}));
      if (round % 3 == 0) {  // anywhere, its beginning included
        process.waitForFinished(static_cast<int>(random() % 900));
      } else {  // while rows are made
        const qint64 wanted = QFileInfo(store).size() + 1 + static_cast<qint64>(random() % 1500);
        while (process.state() == QProcess::Running || process.state() == QProcess::Starting) {
          process.waitForFinished(1);
          if (QFileInfo(store).size() >= wanted) break;
        }
      }
      if (process.state() == QProcess::NotRunning) {
        if (process.exitCode() != 0) QFAIL(process.readAllStandardError().constData());
        // Done before the tenth: from the beginning once more.
        QVERIFY(QFile::remove(store) && QFile::remove(path(out)));
        lines = 0;
        continue;
      }
      ::kill(static_cast<pid_t>(process.processId()), SIGKILL);
      process.waitForFinished();
      ++kills;
      // What was whole stays, line for line.
      const QByteArray now = read(store);
      const int found = static_cast<int>(now.count('\n'));
      QVERIFY(found >= lines);
      lines = found;
    }
    qInfo("%d kills, %d lines were there after the last", kills, lines);
    const Finished rest = headroom(sweep(out, {"--resume"}));
    QVERIFY2(rest.code == 0, rest.errors.constData());
    QCOMPARE(read(path(out)) == read(path("whole.h5")), true);
    QCOMPARE(kills, 10);
    // No row was made twice, or the store would be longer (each row has one line).
    QCOMPARE(rows_of(out).count("\"row\":"), rows_of("whole.h5").count("\"row\":"));
  }

  void an_interrupt_keeps_what_is_finished() {
    const QString store = path("stopped.h5") + ".rows.jsonl";
    QProcess process;
    process.start(program(), sweep("stopped.h5"));
    while (process.state() != QProcess::NotRunning && read(store).count('\n') < 5) process.waitForFinished(2);
    ::kill(static_cast<pid_t>(process.processId()), SIGINT);
    const Finished stopped = headroom::test::wait_for(process);
    QCOMPARE(stopped.code, 5);
    QVERIFY(says(stopped, {"what was finished is kept in", "marked incomplete; --resume goes on"}));
    const Finished told = headroom({"info", path("stopped.h5"), "--json"});
    QCOMPARE(nlohmann::json::parse(told.output.toStdString())["complete"], false);
    QCOMPARE(headroom(sweep("stopped.h5")).code, 3);  // not without --resume
    QCOMPARE(headroom(sweep("stopped.h5", {"--resume", "--seed", "9"})).code, 3);
    QCOMPARE(headroom(sweep("stopped.h5", {"--resume"})).code, 0);
    QCOMPARE(read(path("stopped.h5")) == read(path("whole.h5")), true);
  }

  void shards_are_merged() {
    for (const char* shard : {"1/2", "2/2"}) {
      const Finished made = headroom(sweep(QString("part%1.h5").arg(shard[0]), {"--shard", shard}));
      QVERIFY2(made.code == 0, made.errors.constData());
    }
    const Finished half = headroom({"merge", path("part1.h5"), "--out", path("half.h5")});
    QCOMPARE(half.code, 0);
    QVERIFY(says(half, {"missing: shard 2 of 2"}));
    const Finished merged =
        headroom({"merge", path("part1.h5"), path("part2.h5"), "--out", path("merged.h5"), "--json"});
    QVERIFY2(merged.code == 0, merged.errors.constData());
    QCOMPARE(nlohmann::json::parse(merged.output.toStdString())["complete"], true);
    QCOMPARE(read(path("merged.h5")) == read(path("whole.h5")), true);
    const Finished twice = headroom({"merge", path("part1.h5"), path("part1.h5"), "--out", path("no.h5")});
    QCOMPARE(twice.code, 3);
    QVERIFY(says(twice, {"holds a row that"}));
    QCOMPARE(headroom({"merge", path("part1.h5"), "--out", path("part1.h5")}).code, 3);
    QCOMPARE(headroom(sweep("bad.h5", {"--shard", "3/2"})).code, 2);
    QCOMPARE(headroom(sweep("bad.h5", {"--shard", "2"})).code, 2);
  }

  void json_says_what_was_measured() {
    const Finished made = headroom(sweep("json.h5", {"--json"}));
    QVERIFY2(made.code == 0, made.errors.constData());
    const auto json = nlohmann::json::parse(made.output.toStdString());
    QCOMPARE(json["rows"], 1 + 6 * 5);
    QCOMPARE(json["rows_made"], 31);
    QVERIFY(json["seconds"] >= json["prefill_seconds_not_interleaved"]);
    QCOMPARE(json["cells"][0]["method"], "dense");
    QVERIFY(json["cells"][1]["difference"]["interval_95"].is_null());  // 6 pairs
    QVERIFY(json["gaps"].size() >= 2);
    QVERIFY(json["alarms"].empty());
  }

  void numbers_are_exported_without_a_window() {
    const QString whole = path("whole.h5");
    for (const char* view : {"sweep", "waterfall", "rows", "plan"}) {
      for (const char* suffix : {"csv", "json", "tex"}) {
        const QString out = path(QString("%1.%2").arg(view, suffix));
        const Finished made = headroom({"export", whole, "--view", view, "-o", out});
        QVERIFY2(made.code == 0, made.errors.constData());
        QVERIFY(read(out).size() > 100);
      }
    }
    QCOMPARE(read(path("rows.csv")).count("\r\n"), 1 + 31);
    const auto budgets = nlohmann::json::parse(read(path("plan.json")).toStdString());
    QCOMPARE(budgets["kind"], "headroom layer budgets");
    QCOMPARE(budgets["layers"].size(), std::size_t{2});
    QVERIFY(budgets["evidence"]["curves"]["held_out"]);
    const Finished picture = headroom({"export", whole, "--view", "sweep", "-o", path("sweep.png")});
    if (QFile::exists(HEADROOM_BINARY_DIR "/headroom-gui")) {  // the window draws it
      QVERIFY2(picture.code == 0, picture.errors.constData());
      QVERIFY(read(path("sweep.png")).size() > 10000);
    } else {
      QCOMPARE(picture.code, 4);
    }
    QCOMPARE(headroom({"export", whole, "--view", "rows", "-o", path("rows.png")}).code, 2);  // a table
    QCOMPARE(headroom({"export", whole, "--view", "timing", "-o", path("no.csv")}).code, 2);
    QCOMPARE(headroom({"export", whole, "--view", "rows", "--layer", "1", "-o", path("no.csv")}).code, 2);
    QCOMPARE(headroom({"export", whole, "--view", "rows", "--mass", "0.5", "-o", path("no.csv")}).code, 2);
    const Finished told = headroom({"info", whole});
    QVERIFY(told.output.contains("samples        6 of each task and length"));
  }

  void h5py_reads_it() {
    QProcess process;
    process.start(python_, {"-c", "import numpy, h5py"});
    if (headroom::test::wait_for(process).code != 0)
      QSKIP("numpy and h5py are not there: scripts/test installs them");
    process.start(python_, {"-c",
                           "import h5py, json, sys\n"
                           "f = h5py.File(sys.argv[1])\n"
                           "meta = json.loads(bytes(f['sweep/json'][:]))\n"
                           "assert meta['complete'] and len(f['rows/score']) == 31\n"
                           "text, ends = bytes(f['rows/answers'][:]), f['rows/answer_end'][:]\n"
                           "assert ends[-1] == len(text)\n"
                           "assert f['rows/output_l2'].shape == (31, 2)\n",
                           path("whole.h5")});
    const Finished checked = headroom::test::wait_for(process);
    QVERIFY2(checked.code == 0, checked.errors.constData());
  }
};

QTEST_GUILESS_MAIN(TestSweepCommand)
#include "test_sweep_command.moc"
