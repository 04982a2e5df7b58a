// SPDX-License-Identifier: Apache-2.0
// `headroom serve` and windows that come and go: jobs that outlive the connection, who is told how they ended, what one
// window asked and another one must not be told.
#include <unistd.h>

#include <QtTest>
#include <csignal>
#include <filesystem>

#include "cli/serve_peer.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::protocol;
using headroom::test::Peer;
using nlohmann::json;

class TestServeReturn : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  RunSpec spec_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }
  QStringList home(const char* name) const { return {"XDG_CACHE_HOME=" + folder_.filePath(name)}; }
  RunSpec long_run(const char* out, int repeats) const {
    auto spec = spec_;
    spec.repeats = repeats;
    spec.out = path(out);
    return spec;
  }
  static JobsListResult list(Peer& peer) {
    return jobs_list_result_from_json(peer.ask(method::jobs_list, json::object())["result"]);
  }
  static QStringList sockets(const QStringList& environment) {
    return QDir(environment.first().section('=', 1) + "/headroom/engines").entryList({"*.sock"}, QDir::System);
  }

 private slots:
  void initTestCase() {
    test::write_tiny_model(path("tiny.gguf"));
    spec_.model = path("tiny.gguf");
    spec_.prompt = std::string();
    for (int i = 0; i < 120; ++i) *spec_.prompt += "line " + std::to_string(i * 7919 % 1000) + "\n";
    spec_.methods = {"dense", "oracle"};
    spec_.budgets = {parse_budget("32")};
    spec_.repeats = 1;
    spec_.device = "cpu";
    spec_.max_new_tokens = 4;
  }

  void a_job_outlives_its_connection_and_is_taken_up_again() {
    const auto environment = home("one");
    auto spec = long_run("kept.h5", 60);
    std::int64_t job = 0;
    std::string session;
    {
      Peer peer(folder_.path(), "cpu", environment, {"--attach"});
      const auto hello = peer.initialize();
      QVERIFY(hello.keeps_jobs && !hello.session.empty());
      session = hello.session;
      job = peer.ask(method::run_start, to_json(RunStartParams{spec}))["result"]["job"].get<std::int64_t>();
      QVERIFY(!peer.notification(method::job_progress, job).is_null());
      peer.leave();  // the link is cut: its input ends, and nobody reads any more
    }
    QCOMPARE(sockets(environment).size(), 1);
    Peer peer(folder_.path(), "cpu", environment, {"--attach"});
    const auto hello = peer.initialize();
    QCOMPARE(hello.session, session);  // the same engine
    const auto jobs = list(peer);
    QCOMPARE(jobs.jobs.size(), std::size_t{1});
    QCOMPARE(jobs.jobs[0].job, job);
    QCOMPARE(jobs.jobs[0].state, std::string("running"));
    QCOMPARE(jobs.jobs[0].method, std::string(method::run_start));
    QCOMPARE(run_start_params_from_json(jobs.jobs[0].params).spec.out, spec.out);
    const auto progress = std::count_if(jobs.jobs[0].messages.begin(), jobs.jobs[0].messages.end(),
                                        [](const auto& m) { return m.first == method::job_progress; });
    QVERIFY(progress <= 1);
    QVERIFY(!peer.notification(method::job_progress, job).is_null());  // it is heard of again
    QVERIFY(job_cancel_result_from_json(peer.ask(method::job_cancel, to_json(JobCancelParams{job}))["result"]).known);
    QVERIFY(!peer.notification(method::job_cancelled, job, 10000).is_null());
    QCOMPARE(list(peer).jobs[0].state, std::string("ended"));
    peer.ask(method::jobs_forget, {{"jobs", {job}}});
    QVERIFY(list(peer).jobs.empty());
    peer.process.closeWriteChannel();
    QVERIFY(peer.process.waitForFinished(10000));
    QTRY_VERIFY_WITH_TIMEOUT(sockets(environment).isEmpty(), 10000);  // nothing to do: it ended
    QVERIFY(QDir(folder_.path()).entryList({"*.part"}, QDir::Files | QDir::Hidden).isEmpty());
  }

  void how_it_ended_is_told_to_the_window_that_comes_later() {
    const auto environment = home("two");
    auto spec = long_run("later.h5", 2);
    {
      Peer peer(folder_.path(), "cpu", environment, {"--attach"});
      peer.initialize();
      const auto job = peer.ask(method::run_start, to_json(RunStartParams{spec}))["result"]["job"].get<std::int64_t>();
      QVERIFY(!peer.notification(method::job_progress, job).is_null());
      peer.leave();
    }
    QTRY_VERIFY_WITH_TIMEOUT(sockets(environment).isEmpty(), 30000);
    QVERIFY(QFile::exists(QString::fromStdString(*spec.out)));
    Peer peer(folder_.path(), "cpu", environment, {"--attach"});
    peer.initialize();
    const auto jobs = list(peer);
    QCOMPARE(jobs.jobs.size(), std::size_t{1});
    QCOMPARE(jobs.jobs[0].state, std::string("ended"));
    const auto& [name, params] = jobs.jobs[0].messages.back();
    QCOMPARE(name, std::string(method::job_done));
    const auto done = job_done_from_json(params);
    QCOMPARE(done.record, *spec.out);
    QCOMPARE(done.job, jobs.jobs[0].job);
    // Its number is taken: the next job of this engine has another.
    const auto next = peer.ask(method::run_start, to_json(RunStartParams{spec_}))["result"]["job"].get<std::int64_t>();
    QVERIFY(next > done.job);
    QVERIFY(!peer.notification(method::job_done, next).is_null());
  }

  void a_plain_engine_keeps_its_jobs_when_asked_to() {
    const auto environment = home("three");
    auto spec = long_run("asked.h5", 60);
    {
      Peer peer(folder_.path(), "cpu", environment);
      QVERIFY(!peer.initialize().keeps_jobs);
      const auto job = peer.ask(method::run_start, to_json(RunStartParams{spec}))["result"]["job"].get<std::int64_t>();
      QVERIFY(!peer.notification(method::job_progress, job).is_null());
      QVERIFY(sockets(environment).isEmpty());
      QVERIFY(peer.ask(method::session_keep, to_json(SessionKeepParams{true})).contains("result"));
      QCOMPARE(sockets(environment).size(), 1);
      peer.leave();
    }
    Peer peer(folder_.path(), "cpu", environment, {"--attach"});
    QVERIFY(peer.initialize().keeps_jobs);
    QCOMPARE(list(peer).jobs.size(), std::size_t{1});
    QCOMPARE(peer.ask(method::shutdown, json::object())["result"], json::object());
    QTRY_VERIFY_WITH_TIMEOUT(sockets(environment).isEmpty(), 10000);
    QTRY_VERIFY_WITH_TIMEOUT(QDir(folder_.path()).entryList({"*.part"}, QDir::Files | QDir::Hidden).isEmpty(), 10000);
  }

  // The old connection may not know yet that it is cut.
  void another_window_takes_the_place_of_the_one_before() {
    const auto environment = home("four");
    Peer first(folder_.path(), "cpu", environment, {"--attach"});
    first.initialize();
    const auto job = first.ask(method::run_start, to_json(RunStartParams{long_run("taken.h5", 60)}))["result"]["job"]
                         .get<std::int64_t>();
    QVERIFY(!first.notification(method::job_progress, job).is_null());
    Peer second(folder_.path(), "cpu", environment, {"--attach"});
    second.initialize();
    QVERIFY(!first.wait([](const json& m) { return m.value("method", "") == method::session_taken; }, 5000).is_null());
    QCOMPARE(list(second).jobs.size(), std::size_t{1});
    QVERIFY(!second.notification(method::job_progress, job).is_null());
    second.ask(method::job_cancel, to_json(JobCancelParams{job}));
    QVERIFY(!second.notification(method::job_cancelled, job, 10000).is_null());
  }

  // A link that is cut without a word: its pipe fills, and the job must not stop for that.
  void a_reader_that_does_not_read_does_not_stop_the_job() {
    const auto environment = home("five");
    auto spec = long_run("unread.h5", 30);
    Peer silent(folder_.path(), "cpu", environment, {"--attach"});
    silent.initialize();
    const auto job = silent.ask(method::run_start, to_json(RunStartParams{spec}))["result"]["job"].get<std::int64_t>();
    QVERIFY(!silent.notification(method::job_progress, job).is_null());
    ::kill(static_cast<pid_t>(silent.process.processId()), 0);
    Peer second(folder_.path(), "cpu", environment, {"--attach"});
    second.initialize();
    QVERIFY(!second.notification(method::job_done, job, 60000).is_null());
  }

  void tiles_that_nobody_wants_are_dropped() {
    Peer peer(folder_.path(), "cpu", home("six"));
    peer.initialize();
    auto spec = spec_;
    spec.out = path("tiles.h5");
    spec.record_limit = 0;
    const auto job = peer.ask(method::run_start, to_json(RunStartParams{spec}))["result"]["job"].get<std::int64_t>();
    const auto prepared = job_prepared_from_json(peer.notification(method::job_prepared, job)["params"]);
    QVERIFY(!peer.notification(method::job_done, job).is_null());
    const TileParams tile{prepared.meta.run_id, "dense", 1, {record::HeadSelector::Kind::mean, 0}, {0, 0, 0}};
    std::vector<std::int64_t> asked;
    std::string bytes;
    for (int i = 0; i < 40; ++i) {
      asked.push_back(++peer.last_id);
      bytes += frame_message(write_envelope(Request{asked.back(), method::tile, to_json(tile)}));
    }
    for (const auto id : asked)
      bytes += frame_message(write_envelope(Notification{method::request_cancel, {{"id", id}}}));
    peer.send_bytes(bytes);
    const auto wanted = peer.ask(method::tile, to_json(tile));
    QVERIFY(wanted.contains("result"));
    int dropped = 0;
    for (const auto id : asked) {
      const auto answer = peer.response(id);
      QVERIFY(answer.contains("result") || answer["error"]["code"] == static_cast<int>(ErrorKind::cancelled));
      dropped += answer.contains("error");
    }
    QVERIFY2(dropped >= 20, qPrintable(QString::number(dropped)));
    // Numbers that were never asked, and other nonsense, do no harm.
    for (const json& id : {json(123456), json("x"), json(nullptr), json::array()})
      peer.send_bytes(frame_message(write_envelope(Notification{method::request_cancel, {{"id", id}}})));
    QVERIFY(peer.ask(method::tile, to_json(tile)).contains("result"));
  }

  void progress_says_how_far_the_whole_is() {
    Peer peer(folder_.path(), "cpu", home("seven"));
    peer.initialize();
    const auto job = peer.ask(method::run_start, to_json(RunStartParams{long_run("bar.h5", 20)}))["result"]["job"]
                         .get<std::int64_t>();
    QVERIFY(!peer.notification(method::job_done, job).is_null());
    double last = 0;
    int count = 0;
    for (const json& message : peer.messages) {
      if (message.value("method", "") != method::job_progress) continue;
      const auto progress = job_progress_from_json(message["params"]);
      if (progress.fraction < 0) continue;  // nothing is known before the first pass
      QVERIFY2(progress.fraction >= last && progress.fraction <= 1, qPrintable(QString::number(progress.fraction)));
      last = progress.fraction;
      ++count;
    }
    QVERIFY(count >= 3 && last > 0.3);
  }
};

QTEST_GUILESS_MAIN(TestServeReturn)
#include "test_serve_return.moc"
