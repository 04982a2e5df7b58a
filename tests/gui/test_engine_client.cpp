// SPDX-License-Identifier: GPL-3.0-or-later
// The engine's life as the window sees it: greeting, runs, cancel, death, garbage, floods; never a blocked event loop.
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/engine_client.h"
#include "gui/engine_tiles.h"
#include "gui/job_tracker.h"
#include "gui/new_run_dialog.h"

using namespace headroom;
using namespace headroom::gui;

class TestEngineClient : public QObject {
  Q_OBJECT
  using State = views::JobInfo::State;

  static EngineCommand fake(const char* mode) {
    qputenv("HEADROOM_FAKE", mode);
    return {HEADROOM_BINARY_DIR "/tests/fake_engine", {"serve"}, false};
  }
  static protocol::RunSpec spec(const QString& out = {}) {
    protocol::RunSpec s;
    s.model = "smollm2";
    s.prompt = "one two three";
    if (!out.isEmpty()) s.out = out.toStdString();
    return s;
  }
  struct Watch {
    EngineClient engine;
    JobTracker jobs{engine};
    views::JobInfo last;
    QStringList finished;
    QList<Problem> deaths;
    QList<Problem> failures;
    Watch() {
      connect(&jobs, &JobTracker::changed, &jobs, [this](const views::JobInfo& job) { last = job; });
      connect(&jobs, &JobTracker::finished, &jobs, [this](const QString&, const QString& path) { finished << path; });
      connect(&jobs, &JobTracker::failed, &jobs,
              [this](const QString&, const Problem& problem) { failures << problem; });
      connect(&engine, &EngineClient::died, &jobs, [this](const Problem& problem) { deaths << problem; });
    }
    void start(const char* mode) {
      engine.start(fake(mode));
      QTRY_COMPARE_WITH_TIMEOUT(engine.state(), EngineClient::State::ready, 10000);
    }
  };
  QTemporaryDir dir_;

 private slots:
  void greets_and_says_what_there_is() {
    Watch w;
    w.start("normal");
    QCOMPARE(w.engine.summary(), QString("CPU, 2 cores"));
    QCOMPARE(w.engine.hello().models.size(), 1u);
    w.engine.stop();
    QCOMPARE(w.engine.state(), EngineClient::State::stopped);
    QTest::qWait(50);
    QVERIFY(w.deaths.isEmpty());  // asked for
  }

  void a_run_reports_progress_partial_results_and_its_record() {
    const QString source = dir_.filePath("source.h5"), out = dir_.filePath("out.h5");
    QFile file(source);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("record");
    file.close();
    qputenv("HEADROOM_FAKE_RECORD", source.toUtf8());
    Watch w;
    w.start("normal");
    w.jobs.start_run(spec(out));
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::done, 10000);
    QCOMPARE(w.finished, QStringList{out});
    QCOMPARE(w.last.partial.size(), 1);
    QCOMPARE(w.last.partial[0].ttft_ms.value_or(0), 120.0);
    QVERIFY(QFile::exists(out));
  }

  void cancel_is_seen_at_once_and_ends_the_job() {
    Watch w;
    w.start("slow");
    const QString id = w.jobs.start_run(spec());
    QTRY_VERIFY_WITH_TIMEOUT(w.last.done > 1, 10000);
    QElapsedTimer clock;
    clock.start();
    w.jobs.cancel(id);
    QCOMPARE(w.last.state, State::cancelling);
    QVERIFY(clock.elapsed() < 100);
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::cancelled, 2000);
    QVERIFY(!w.jobs.anything_running());
  }

  void an_engine_that_does_not_stop_may_be_killed() {
    Watch w;
    w.start("stubborn");
    const QString id = w.jobs.start_run(spec());
    QTRY_VERIFY_WITH_TIMEOUT(w.last.done > 1, 10000);
    w.jobs.cancel(id);
    QVERIFY(!w.last.offer_kill);
    QTRY_VERIFY_WITH_TIMEOUT(w.last.offer_kill, 5000);
    w.engine.kill("stopped by you");
    QCOMPARE(w.last.state, State::failed);
    QCOMPARE(w.deaths.size(), 1);
    QCOMPARE(w.engine.state(), EngineClient::State::stopped);
  }

  void death_in_mid_run_fails_the_job_and_can_be_mended() {
    Watch w;
    w.start("crash");
    w.jobs.start_run(spec());
    QTRY_COMPARE_WITH_TIMEOUT(w.deaths.size(), 1, 10000);
    QCOMPARE(w.last.state, State::failed);
    QVERIFY(w.deaths[0].message.contains("stopped"));
    w.start("normal");
    w.jobs.start_run(spec());
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::done, 10000);
    QCOMPARE(w.deaths.size(), 1);
  }

  void garbage_ends_the_engine_data() {
    QTest::addColumn<QByteArray>("mode");
    QTest::newRow("in mid-run") << QByteArray("garbage");
    QTest::newRow("instead of a greeting") << QByteArray("noise_endless");
    QTest::newRow("another version") << QByteArray("mismatch");
  }
  void garbage_ends_the_engine() {
    QFETCH(QByteArray, mode);
    Watch w;
    w.engine.start(fake(mode.constData()));
    if (mode == "garbage") {
      QTRY_COMPARE_WITH_TIMEOUT(w.engine.state(), EngineClient::State::ready, 10000);
      w.jobs.start_run(spec());
    }
    QTRY_COMPARE_WITH_TIMEOUT(w.deaths.size(), 1, 10000);
    QCOMPARE(w.engine.state(), EngineClient::State::stopped);
    if (mode == "noise_endless") QVERIFY2(w.deaths[0].message.contains("zzz"), qPrintable(w.deaths[0].message));
    if (mode == "mismatch") QVERIFY(w.deaths[0].message.contains("scripts/run"));
  }

  void a_greeting_of_the_login_shell_is_skipped_and_told() {
    Watch w;
    QStringList steps;
    connect(&w.engine, &EngineClient::step, &w.jobs, [&](const QString& step) { steps << step; });
    w.start("noise_first");
    QVERIFY(w.deaths.isEmpty());
    QVERIFY2(steps.join('\n').contains("Welcome to the machine\nLast login: today"), qPrintable(steps.join('\n')));
    w.jobs.start_run(spec());
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::done, 10000);
  }

  void ssh_s_own_words_are_shown_data() {
    QTest::addColumn<QByteArray>("code");
    QTest::addColumn<QByteArray>("errors");
    QTest::addColumn<QString>("expected");
    QTest::newRow("unknown host key")
        << QByteArray("255")
        << QByteArray("No ED25519 host key is known for far and you have requested strict checking.\r\n"
                      "Host key verification failed.\r\n")
        << "ssh did not reach the engine on far: Host key verification failed.";
    QTest::newRow("no such program") << QByteArray("127") << QByteArray("sh: 1: exec: headroom: not found\n")
                                     << "far cannot run the engine: sh: 1: exec: headroom: not found";
    QTest::newRow("on standard output alone") << QByteArray("1") << QByteArray()
                                              << "The engine stopped (exit code 1): Last login: today";
  }
  void ssh_s_own_words_are_shown() {
    QFETCH(QByteArray, code);
    QFETCH(QByteArray, errors);
    QFETCH(QString, expected);
    qputenv("HEADROOM_FAKE_EXIT", code);
    qputenv("HEADROOM_FAKE_ERRORS", errors);
    Watch w;
    EngineCommand command = fake("noise_only");
    command.remote = true;
    command.host = "far";
    w.engine.start(command);
    QTRY_COMPARE_WITH_TIMEOUT(w.deaths.size(), 1, 10000);
    QCOMPARE(w.deaths[0].message, expected);
    for (const QByteArray& line : errors.split('\n')) QVERIFY(w.deaths[0].details().contains(line.trimmed()));
    QVERIFY(w.deaths[0].details().contains("Welcome to the machine"));
  }

  void a_far_engine_writes_where_its_record_can_be_fetched_from() {
    for (const bool remote : {false, true}) {
      Watch w;
      EngineCommand command = fake("normal");
      command.remote = remote;
      w.engine.start(command);
      QTRY_COMPARE_WITH_TIMEOUT(w.engine.state(), EngineClient::State::ready, 10000);
      protocol::RunSpec wanted = spec(dir_.filePath("run-7.h5"));
      place_on_engine(wanted, w.engine);
      QCOMPARE(QString::fromStdString(*wanted.out),
               remote ? QString("/far/home/headroom-run-7.h5") : dir_.filePath("run-7.h5"));
      wanted.out.reset();  // nothing is recorded
      place_on_engine(wanted, w.engine);
      QVERIFY(!wanted.out);
    }
  }

  void a_remote_path_is_one_word_in_every_shell_data() {
    QTest::addColumn<QString>("path");
    QTest::addColumn<QString>("there");
    QTest::newRow("plain") << "opt/headroom" << "opt/headroom";
    QTest::newRow("space") << "my tools/head room" << "my tools/head room";
    QTest::newRow("quotes") << "it's/\"the\" one" << "it's/\"the\" one";
    QTest::newRow("what shells expand") << "a$HOME`id`*;b&" << "a$HOME`id`*;b&";
    QTest::newRow("home") << "~/bin of mine/headroom" << "bin of mine/headroom";
  }
  void a_remote_path_is_one_word_in_every_shell() {
    QFETCH(QString, path);
    QFETCH(QString, there);
    QTemporaryDir home;
    const QString program = home.filePath(there);
    QVERIFY(QDir().mkpath(QFileInfo(program).absolutePath()));
    QFile file(program);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("#!/bin/sh\necho \"ran:$*\"\n");
    file.close();
    file.setPermissions(QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    EngineSettings settings;
    settings.remote = true;
    settings.host = "far";
    settings.options = QStringList{"-p", "2222"};
    settings.remote_path = path.startsWith('~') ? path : program;
    const EngineCommand command = engine_command(settings);
    QCOMPARE(command.arguments.mid(0, 5), (QStringList{"-p", "2222", "-T", "--", "far"}));
    QCOMPARE(command.arguments.size(), 6);
    int shells = 0;
    for (const char* name : {"sh", "bash", "dash", "zsh", "fish", "csh", "tcsh"}) {
      const QString shell = QStandardPaths::findExecutable(name);
      if (shell.isEmpty()) continue;
      ++shells;
      QProcess login;
      QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
      environment.insert("HOME", home.path());
      login.setProcessEnvironment(environment);
      login.start(shell, {"-c", command.arguments.last()});
      QVERIFY(login.waitForFinished(10000));
      QVERIFY2(login.readAllStandardOutput() == "ran:serve --attach\n", name + login.readAllStandardError());
    }
    QVERIFY(shells > 0);
  }

  void a_missing_engine_is_said_not_waited_for() {
    Watch w;
    w.engine.start({"/no/such/headroom", {"serve"}, false});
    QCOMPARE(w.deaths.size(), 1);
    QCOMPARE(w.engine.state(), EngineClient::State::stopped);
    w.jobs.start_run(spec());
    QCOMPARE(w.failures.size(), 1);
  }

  void a_silent_engine_leaves_requests_unanswered_not_the_window() {
    Watch w;
    w.engine.start(fake("silent"));
    bool refused = false;
    w.engine.request(protocol::method::files_list, {},
                     [&](const nlohmann::json&, const protocol::ErrorInfo* error) { refused = error; });
    QVERIFY(refused);  // not ready yet: said at once
    QTest::qWait(100);
    QCOMPARE(w.engine.state(), EngineClient::State::starting);
    w.engine.stop();
  }

  void a_flood_does_not_hold_up_the_event_loop() {
    Watch w;
    w.start("flood");
    qint64 worst = 0;
    QElapsedTimer since;
    QTimer beat;
    beat.setInterval(5);
    connect(&beat, &QTimer::timeout, &beat, [&] { worst = std::max(worst, since.restart()); });
    since.start();
    beat.start();
    w.jobs.start_run(spec());
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::done, 30000);
    QVERIFY2(worst < 400, qPrintable(QString("an event waited %1 ms").arg(worst)));
  }

  // Job numbers begin anew with each engine: what the new one says of its job 1 is nothing to the old one's card.
  void a_restart_ends_the_old_job_and_keeps_the_new_one_apart() {
    Watch w;
    w.start("slow");
    QMap<QString, views::JobInfo> cards;
    connect(&w.jobs, &JobTracker::changed, &w.jobs, [&](const views::JobInfo& job) { cards[job.id] = job; });
    const QString first = w.jobs.start_run(spec());
    QTRY_VERIFY_WITH_TIMEOUT(cards[first].done > 1, 10000);
    w.start("slow");
    QCOMPARE(cards[first].state, State::failed);
    QVERIFY(!w.jobs.anything_running());
    QVERIFY(w.deaths.isEmpty() && w.failures.isEmpty());  // asked for: no banner
    const qint64 done = cards[first].done;
    const QString second = w.jobs.start_run(spec());
    QTRY_VERIFY_WITH_TIMEOUT(cards[second].done > 1, 10000);
    QCOMPARE(cards[first].done, done);
    QCOMPARE(cards[first].state, State::failed);
    QCOMPARE(cards[second].state, State::running);
  }

  void a_waiting_job_is_cancelled_without_the_one_at_work() {
    Watch w;
    w.start("slow");
    QMap<QString, views::JobInfo> cards;
    connect(&w.jobs, &JobTracker::changed, &w.jobs, [&](const views::JobInfo& job) { cards[job.id] = job; });
    const QString first = w.jobs.start_run(spec()), second = w.jobs.start_run(spec());
    QTRY_VERIFY_WITH_TIMEOUT(cards[first].done > 1, 10000);
    w.jobs.cancel(second);
    QTRY_COMPARE_WITH_TIMEOUT(cards[second].state, State::cancelled, 1000);
    QCOMPARE(cards[first].state, State::running);
    // One that the engine has not even answered for needs no engine to be cancelled.
    const QString third = w.jobs.start_run(spec());
    w.jobs.cancel(third);
    QCOMPARE(cards[third].state, State::cancelled);
    const qint64 done = cards[first].done;
    QTRY_VERIFY_WITH_TIMEOUT(cards[first].done > done + 2, 10000);
    QCOMPARE(cards[third].state, State::cancelled);
    QCOMPARE(w.jobs.count_running(), 1);
  }

  void ending_the_engine_is_not_offered_for_a_job_that_waits() {
    Watch w;
    w.start("stubborn");
    QMap<QString, views::JobInfo> cards;
    connect(&w.jobs, &JobTracker::changed, &w.jobs, [&](const views::JobInfo& job) { cards[job.id] = job; });
    const QString first = w.jobs.start_run(spec()), second = w.jobs.start_run(spec());
    QTRY_VERIFY_WITH_TIMEOUT(cards[first].done > 1, 10000);
    w.jobs.cancel(second);
    QTest::qWait(JobTracker::patience_ms + 300);
    QCOMPARE(cards[second].state, State::cancelling);
    QVERIFY(!cards[second].offer_kill);
  }

  void one_bar_over_all_phases() {
    Watch w;
    QList<double> bar;
    connect(&w.jobs, &JobTracker::changed, &w.jobs, [&](const views::JobInfo& job) {
      if (job.fraction) bar << *job.fraction;
    });
    w.start("normal");
    w.jobs.start_run(spec());
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::done, 10000);
    QVERIFY(bar.size() > 5);
    QVERIFY(std::is_sorted(bar.begin(), bar.end()));
    QVERIFY(bar.last() > 0.8);
  }

  void titles_tell_two_runs_of_one_prompt_apart() {
    protocol::RunSpec one = spec(), other = spec();
    one.methods = {"dense", "oracle"};
    other.methods = {"dense", "sink_window"};
    other.budgets = {{BudgetKind::tokens, 256}, {BudgetKind::fraction, 0.1}};
    QVERIFY(describe(one) != describe(other));
    QVERIFY2(describe(other).contains("sink_window") && describe(other).contains("256 keys") &&
                 describe(other).contains("10%"),
             qPrintable(describe(other)));
  }

  void a_tile_that_is_scrolled_past_is_taken_out_of_the_engine_s_queue() {
    const QString log = dir_.filePath("log.txt");
    qputenv("HEADROOM_FAKE_LOG", log.toUtf8());
    qputenv("HEADROOM_FAKE_TILES", "never");
    Watch w;
    EngineTiles tiles(w.engine);
    w.start("normal");
    int answers = 0;
    const auto ask = [&](std::int64_t row) {
      return tiles.request({"run", "dense", 0, {}}, {0, row, 0}, [&](const auto&, const QString&) { ++answers; });
    };
    const quint64 first = ask(0);
    const quint64 unsent = ask(1);
    tiles.cancel(unsent);  // before the event loop has sent it
    QTest::qWait(50);
    tiles.cancel(first);
    const auto lines = [&] {
      QFile file(log);
      return file.open(QIODevice::ReadOnly) ? QString::fromUtf8(file.readAll()).split('\n', Qt::SkipEmptyParts)
                                            : QStringList();
    };
    QTRY_COMPARE_WITH_TIMEOUT(lines().size(), 1, 5000);
    QVERIFY2(lines()[0].startsWith("request/cancel {\"id\":"), qPrintable(lines()[0]));
    w.engine.stop();
    QCOMPARE(answers, 0);
    qunsetenv("HEADROOM_FAKE_LOG");
    qunsetenv("HEADROOM_FAKE_TILES");
  }

  void answers_after_a_restart_are_dropped() {
    Watch w;
    w.start("normal");
    int answers = 0;
    bool failed = false;
    w.engine.request(protocol::method::model_inspect, {{"model", "smollm2"}},
                     [&](const nlohmann::json&, const protocol::ErrorInfo* error) {
                       ++answers;
                       failed = error != nullptr;
                     });
    w.start("normal");
    QTest::qWait(100);
    QCOMPARE(answers, 1);
    QVERIFY(failed);
  }
};

QTEST_GUILESS_MAIN(TestEngineClient)
#include "test_engine_client.moc"
