// SPDX-License-Identifier: Apache-2.0
// A conversation with `headroom serve` over its pipes: jobs, tiles, files, cancel, garbage, the end of input.
#include <sys/stat.h>
#include <unistd.h>

#include <QtTest>
#include <cmath>
#include <csignal>
#include <filesystem>

#include "cli/serve_peer.h"
#include "protocol/job_answer.h"
#include "record/run_record.h"
#include "support/gguf_writer.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::protocol;
using headroom::test::Peer;
using nlohmann::json;

class TestServe : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  RunSpec spec_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }
  RunSpec endless() const {
    auto spec = spec_;
    spec.repeats = 1000;
    spec.out = path("endless.h5");
    return spec;
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

  void the_first_words() {
    Peer peer(folder_.path());
    auto refused = peer.ask(method::files_list, json::object());
    QCOMPARE(refused["error"]["code"], -32600);
    auto newer = peer.ask(method::initialize, to_json(InitializeParams{protocol_version + 1, 1, "future"}));
    const auto answer = initialize_result_from_json(newer["result"]);
    QVERIFY(answer.mismatch.find("scripts/run --engine-only") != std::string::npos);
    QVERIFY(peer.ask(method::files_list, json::object())["error"]["message"].get<std::string>().find("protocol") !=
            std::string::npos);
    const auto fits = initialize_result_from_json(peer.ask(method::initialize, to_json(InitializeParams{}))["result"]);
    QVERIFY(fits.mismatch.empty() && !fits.engine_version.empty());
    QCOMPARE(fits.devices.back().id, std::string("cpu"));
    QVERIFY(fits.devices.back().free_bytes > 0);
    QCOMPARE(fits.folders.size(), std::size_t{1});
    QCOMPARE(peer.ask("no/such", json::object())["error"]["code"], -32601);
    const auto info = peer.ask(method::model_inspect, to_json(ModelInspectParams{spec_.model}))["result"];
    QCOMPARE(info["layers"], 3);
    QCOMPARE(peer.ask(method::model_inspect, to_json(ModelInspectParams{path("none.gguf")}))["error"]["code"], 3);
    QCOMPARE(peer.ask(method::shutdown, json::object())["result"], json::object());
    QVERIFY(peer.process.waitForFinished(10000));
    QCOMPARE(peer.process.exitCode(), 0);
  }

  void a_run_from_preflight_to_tiles() {
    Peer peer(folder_.path());
    peer.initialize();
    auto spec = spec_;
    spec.out = path("run.h5");
    spec.record_limit = 0;  // no maps in the record: the engine must answer for them
    const auto asked = preflight_from_json(peer.ask(method::run_preflight, to_json(RunStartParams{spec}))["result"]);
    QVERIFY(asked.tokens > 300 && asked.memory_needed > 0 && asked.disk_free > 0 && asked.seconds > 0);
    QCOMPARE(asked.methods, (std::vector<std::string>{"dense", "oracle-k32-g1"}));
    QVERIFY(spec.prompt->ends_with(asked.prompt_tail) && !asked.prompt_tail.empty());

    const auto started =
        run_start_result_from_json(peer.ask(method::run_start, to_json(RunStartParams{spec}))["result"]);
    QCOMPARE(started.preflight.tokens, asked.tokens);
    const auto job = started.job;
    const auto prepared = job_prepared_from_json(peer.notification(method::job_prepared, job)["params"]);
    QCOMPARE(prepared.tokens, asked.tokens);
    QCOMPARE(job_partial_from_json(peer.notification(method::job_partial, job)["params"]).method.id,
             std::string("dense"));
    QCOMPARE(job_partial_from_json(peer.notification(method::job_partial, job)["params"]).method.id,
             std::string("oracle-k32-g1"));
    const auto done = job_done_from_json(peer.notification(method::job_done, job)["params"]);
    QCOMPARE(done.record, *spec.out);
    QCOMPARE(done.result["methods"].size(), std::size_t{2});
    // What was told while it grew is a beginning of the answer.
    const auto grown = job_answer_from_json(peer.notification(method::job_answer, job)["params"]);
    QCOMPARE(grown.method, std::string("dense"));
    const std::string said = done.result["methods"][0]["text"].get<std::string>();
    QVERIFY2(!grown.text.empty() && said.starts_with(grown.text), grown.text.c_str());
    const auto progress = peer.notification(method::job_progress, job);
    QVERIFY(!job_progress_from_json(progress["params"]).progress.phase.empty());

    const auto opened = record::RunRecord::open(done.record);
    QVERIFY(!opened->availability("oracle-k32-g1", 1).stream);
    TileParams tile{opened->meta().run_id, "oracle-k32-g1", 1, {record::HeadSelector::Kind::head, 3}, {0, 1, 0}};
    const auto answer = tile_result_from_json(peer.ask(method::tile, to_json(tile))["result"]);
    QCOMPARE(answer.tile.columns, record::tile_size);
    tile.address.column = 1;
    const auto right = tile_result_from_json(peer.ask(method::tile, to_json(tile))["result"]);
    for (std::int64_t row = 0; row < answer.tile.rows; ++row) {
      double sum = 0;
      for (const auto* part : {&answer.tile, &right.tile})
        for (std::int64_t column = 0; column < part->columns; ++column)
          if (const float p = part->max[static_cast<std::size_t>(row * part->columns + column)]; !std::isnan(p))
            sum += p;
      QVERIFY2(std::abs(sum - 1) < 1e-4, qPrintable(QString::number(sum)));
    }
    const auto refused = [&](auto change) {
      TileParams bad = tile;
      change(bad);
      return peer.ask(method::tile, to_json(bad))["error"]["code"] == 3;
    };
    QVERIFY(refused([](TileParams& t) { t.layer = 3; }));
    QVERIFY(refused([](TileParams& t) { t.head.index = 4; }));
    QVERIFY(refused([](TileParams& t) { t.address.row = 1000; }));
    QVERIFY(refused([](TileParams& t) { t.address.level = 30; }));
    QVERIFY(refused([](TileParams& t) { t.method = "oracle-k1-g1"; }));
    QVERIFY(refused([](TileParams& t) { t.run_id = "another"; }));

    // The record, as a remote window would fetch it.
    QFile file(QString::fromStdString(done.record));
    QVERIFY(file.open(QIODevice::ReadOnly));
    const QByteArray whole = file.readAll();
    QByteArray fetched;
    while (fetched.size() < whole.size()) {
      const auto part = record_chunk_result_from_json(
          peer.ask(method::record_chunk, to_json(RecordChunkParams{done.record, fetched.size(), 100000}))["result"]);
      QCOMPARE(part.total_bytes, whole.size());
      QVERIFY(!part.data.empty());
      fetched.append(reinterpret_cast<const char*>(part.data.data()), static_cast<qsizetype>(part.data.size()));
    }
    QVERIFY(fetched == whole);
  }

  // The weights are loaded after the first run: they are not counted again, and the run is taken.
  void a_second_run_counts_no_weights() {
    Peer peer(folder_.path());
    peer.initialize();
    const auto needed = [&] {
      return preflight_from_json(peer.ask(method::run_preflight, to_json(RunStartParams{spec_}))["result"])
          .memory_needed;
    };
    const auto before = needed();
    const auto job = peer.ask(method::run_start, to_json(RunStartParams{spec_}))["result"]["job"].get<std::int64_t>();
    QVERIFY(!peer.notification(method::job_done, job).is_null());
    const auto bytes = QFileInfo(QString::fromStdString(spec_.model)).size();
    QVERIFY(before - needed() > bytes / 4);
  }

  void the_dialog_measures_nothing_while_a_job_runs() {
    Peer peer(folder_.path());
    peer.initialize();
    const auto asked = [&](RunSpec spec) {
      return preflight_from_json(peer.ask(method::run_preflight, to_json(RunStartParams{spec}))["result"]);
    };
    const auto job =
        peer.ask(method::run_start, to_json(RunStartParams{endless()}))["result"]["job"].get<std::int64_t>();
    QVERIFY(!peer.notification(method::job_progress, job).is_null());
    auto other = spec_;
    other.dtype = "bf16";  // whose rate is not known where the job's is fp32, or the other way round
    auto same = spec_;
    same.dtype = "f32";
    const double seconds[] = {asked(other).seconds, asked(same).seconds};
    QVERIFY((seconds[0] == 0) != (seconds[1] == 0));
    peer.ask(method::job_cancel, to_json(JobCancelParams{job}));
    QVERIFY(!peer.notification(method::job_cancelled, job, 10000).is_null());
    QVERIFY(asked(other).seconds > 0 && asked(same).seconds > 0);
  }

  // No GPU can be seen: "auto" says why it is the CPU, in the greeting and for each job; "cpu" has nothing to say.
  void the_note_about_the_device_reaches_the_window() {
    auto spec = spec_;
    spec.device = "auto";
    for (const bool asked_for_cpu : {false, true}) {
      Peer peer(folder_.path(), asked_for_cpu ? "cpu" : "auto", {"CUDA_VISIBLE_DEVICES="});
      const auto hello =
          initialize_result_from_json(peer.ask(method::initialize, to_json(InitializeParams{}))["result"]);
      QCOMPARE(hello.device_note.empty(), asked_for_cpu);
      const auto job = peer.ask(method::run_start, to_json(RunStartParams{spec}))["result"]["job"].get<std::int64_t>();
      QVERIFY(!peer.notification(method::job_done, job).is_null());
      const auto notice = peer.notification(method::job_notice, job, 200);
      if (asked_for_cpu) {
        QVERIFY(notice.is_null());
      } else {
        QCOMPARE(job_notice_from_json(notice["params"]).text, hello.device_note);
        QVERIFY(hello.device_note.find("running on the CPU") != std::string::npos);
      }
    }
  }

  void files_stay_inside_the_given_folders() {
    QDir(folder_.path()).mkdir("sub");
    QFile::link("/etc", folder_.filePath("out"));
    Peer peer(folder_.path());
    peer.initialize();
    const auto top = files_list_result_from_json(peer.ask(method::files_list, json::object())["result"]);
    QCOMPARE(top.entries.size(), std::size_t{1});
    const auto list = files_list_result_from_json(
        peer.ask(method::files_list, to_json(FilesListParams{top.entries[0].name}))["result"]);
    QVERIFY(list.parent.empty());
    const auto has = [&](const char* name) {
      return std::any_of(list.entries.begin(), list.entries.end(),
                         [&](const auto& entry) { return entry.name == name; });
    };
    QVERIFY(has("sub") && has("tiny.gguf"));
    for (const auto& bad :
         {std::string("/etc"), path("out"), path("sub") + "/../..", path("nothing"), std::string("/")})
      QCOMPARE(peer.ask(method::files_list, to_json(FilesListParams{bad}))["error"]["code"], 3);
    for (const auto& bad : {std::string("/etc/passwd"), path("out") + "/passwd", path("tiny.gguf"), path("sub")})
      QCOMPARE(peer.ask(method::record_chunk, to_json(RecordChunkParams{bad, 0, 10}))["error"]["code"], 3);
  }

  void a_store_is_read_while_it_grows() {
    Peer peer(folder_.path());
    peer.initialize();
    QFile store(QString::fromStdString(path("s.h5.rows.jsonl")));
    QVERIFY(store.open(QIODevice::WriteOnly | QIODevice::Unbuffered));
    const auto piece = [&](std::int64_t offset) {
      return record_chunk_result_from_json(peer.ask(
          method::record_chunk, to_json(RecordChunkParams{path("s.h5.rows.jsonl"), offset, 1000}))["result"]);
    };
    const QByteArray line = "{\"crc32c\":\"00000000\",\"line\":{}}\n";
    store.write(line);
    const auto first = piece(0);
    QCOMPARE(first.total_bytes, line.size());
    store.write(line);
    const auto second = piece(line.size());
    QCOMPARE(second.total_bytes, 2 * line.size());
    QCOMPARE(second.data.size(), static_cast<std::size_t>(line.size()));
    QCOMPARE(second.version, first.version);  // it only grew
    store.close();
    QVERIFY(store.remove());
    QVERIFY(QFile::copy(QString::fromStdString(path("tiny.gguf")), store.fileName()));
    QCOMPARE(peer.ask(method::record_chunk,
                      to_json(RecordChunkParams{path("s.h5.rows.jsonl"), 0, 10}))["error"]["code"], 3);
    store.remove();
  }

  void cancel_while_at_work_and_while_waiting() {
    Peer peer(folder_.path());
    peer.initialize();
    const auto first =
        peer.ask(method::run_start, to_json(RunStartParams{endless()}))["result"]["job"].get<std::int64_t>();
    const auto second =
        peer.ask(method::run_start, to_json(RunStartParams{spec_}))["result"]["job"].get<std::int64_t>();
    QVERIFY(second > first);
    QVERIFY(!peer.notification(method::job_progress, first).is_null());
    QElapsedTimer clock;
    clock.start();
    QVERIFY(
        job_cancel_result_from_json(peer.ask(method::job_cancel, to_json(JobCancelParams{second}))["result"]).known);
    // One that waits needs nothing of the one at work, which goes on.
    QVERIFY(!peer.notification(method::job_cancelled, second, 1000).is_null());
    peer.wait([](const json&) { return false; }, 200);
    peer.messages.clear();
    const auto timed = [&](const json& message) {
      return message.value("method", "") == method::job_progress && message["params"]["job"] == first &&
             job_progress_from_json(message["params"]).progress.phase.find(" timed ") != std::string::npos;
    };
    QVERIFY(!peer.wait(timed, 30000).is_null());
    clock.restart();
    QVERIFY(job_cancel_result_from_json(peer.ask(method::job_cancel, to_json(JobCancelParams{first}))["result"]).known);
    QVERIFY2(clock.elapsed() < 2000, "cancel was not acknowledged at once");
    // Both methods had been recorded: that is kept.
    QCOMPARE(job_cancelled_from_json(peer.notification(method::job_cancelled, first, 10000)["params"]).record,
             path("endless.h5"));
    {
      const auto kept = record::RunRecord::open(path("endless.h5"));
      QVERIFY(!kept->meta().complete);
      QCOMPARE(kept->methods().size(), std::size_t{2});
    }
    QVERIFY(QFile::remove(folder_.filePath("endless.h5")));
    QVERIFY(
        !job_cancel_result_from_json(peer.ask(method::job_cancel, to_json(JobCancelParams{first}))["result"]).known);
    QVERIFY(QDir(folder_.path()).entryList({"*.part"}, QDir::Files | QDir::Hidden).isEmpty());
    // The engine is none the worse for it.
    const auto third = peer.ask(method::run_start, to_json(RunStartParams{spec_}))["result"]["job"].get<std::int64_t>();
    QVERIFY(job_done_from_json(peer.notification(method::job_done, third)["params"]).record.empty());
  }

  void progress_comes_at_most_20_times_a_second() {
    Peer peer(folder_.path());
    peer.initialize();
    const auto job =
        peer.ask(method::run_start, to_json(RunStartParams{endless()}))["result"]["job"].get<std::int64_t>();
    QVERIFY(!peer.notification(method::job_progress, job).is_null());
    peer.wait([](const json&) { return false; }, 1500);
    const auto count = std::count_if(peer.messages.begin(), peer.messages.end(), [](const json& message) {
      return message.value("method", "") == method::job_progress;
    });
    QVERIFY2(count <= 31 && count >= 2, qPrintable(QString::number(count)));
  }

  void bad_jobs_are_refused_with_structured_errors() {
    Peer peer(folder_.path());
    peer.initialize();
    auto spec = to_json(RunStartParams{spec_});
    spec["spec"]["repeats"] = 0;
    auto error = peer.ask(method::run_start, spec)["error"];
    QCOMPARE(error["code"], 2);
    QCOMPARE(error["found"], "0");
    spec = to_json(RunStartParams{spec_});
    spec["spec"]["model"] = path("none.gguf");
    QCOMPARE(peer.ask(method::run_start, spec)["error"]["code"], 3);
    spec = to_json(RunStartParams{spec_});
    spec["spec"]["methods"] = {"indexer"};
    error = peer.ask(method::run_start, spec)["error"];
    QCOMPARE(error["code"], 3);
    QVERIFY(error["message"].get<std::string>().find("headroom distill") != std::string::npos);
    QCOMPARE(peer.ask(method::run_start, json::object())["error"]["code"], 3);
  }

  // What is said of a prompt comes with the preflight, with the job and with what it made.
  void warnings_reach_the_window() {
    Peer peer(folder_.path());
    peer.initialize();
    auto spec = spec_;
    spec.prompt.reset();
    spec.prompt_file = path("crlf.txt");
    test::write_file(*spec.prompt_file, "the river\r\nruns north\n");
    const auto started =
        run_start_result_from_json(peer.ask(method::run_start, to_json(RunStartParams{spec}))["result"]);
    const auto& warnings = started.preflight.warnings;
    QVERIFY(!warnings.empty() && warnings[0].find("crlf.txt has 1 line") != std::string::npos);
    QCOMPARE(peer.notification(method::job_notice, started.job)["params"]["text"], warnings[0]);
    const auto prepared = job_prepared_from_json(peer.notification(method::job_prepared, started.job)["params"]);
    QCOMPARE(prepared.meta.warnings, std::vector{warnings[0]});
    QCOMPARE(peer.notification(method::job_done, started.job)["params"]["result"]["warnings"][0], warnings[0]);
    // A file that is read for the preflight must be there for the run.
    spec.prompt_file = path("prompt.fifo");
    QVERIFY(::mkfifo(spec.prompt_file->c_str(), 0600) == 0);
    for (const char* asked : {method::run_preflight, method::run_start}) {
      const auto error = peer.ask(asked, to_json(RunStartParams{spec}))["error"];
      QCOMPARE(error["code"], 3);
      QVERIFY(error["message"].get<std::string>().find("twice") != std::string::npos);
    }
  }

  void a_distillation_says_which_device_it_got() {
    Peer peer(folder_.path(), "auto", {"CUDA_VISIBLE_DEVICES="});
    peer.initialize();
    json spec = {{"model", spec_.model}, {"out", path("i.safetensors")},
                 {"steps", 1},           {"length", 64},
                 {"index_dim", 8},       {"held_out", 1},
                 {"device", "auto"}};
    const auto started = peer.ask(method::distill_start, {{"spec", spec}})["result"];
    QVERIFY(started["device"].get<std::string>().starts_with("CPU"));
    const auto job = started["job"].get<std::int64_t>();
    const auto done = job_done_from_json(peer.notification(method::job_done, job)["params"]);
    const auto notice = job_notice_from_json(peer.notification(method::job_notice, job)["params"]);
    QVERIFY(notice.text.find("running on the CPU") != std::string::npos);
    QCOMPARE(done.result["held_out"]["layers"].size(), std::size_t{3});
    spec["device"] = "cuda";
    QCOMPARE(peer.ask(method::distill_start, {{"spec", spec}})["error"]["code"], 4);
  }

  // The model shrinks while a job reads it: the job fails with a sentence, and the engine takes the next one.
  void a_model_that_shrinks_fails_the_job_alone() {
    const std::string model = path("shrinks.gguf");
    test::write_tiny_model(model);
    const auto bytes = static_cast<off_t>(std::filesystem::file_size(model));
    // So many bytes of holes keep whoever reads them busy for a while.
    constexpr off_t holes = off_t{1} << 29;
    QCOMPARE(::truncate(model.c_str(), holes), 0);
    Peer peer(folder_.path());
    peer.initialize();
    auto spec = spec_;
    spec.model = model;
    spec.methods = {"dense"};
    const auto open_files = [&] {
      const QDir open("/proc/" + QString::number(peer.process.processId()) + "/fd");
      const auto list = open.entryInfoList(QDir::AllEntries | QDir::System | QDir::NoDotAndDotDot);
      return std::count_if(list.begin(), list.end(), [&](const QFileInfo& entry) {
        return entry.symLinkTarget() == QString::fromStdString(model);
      });
    };
    const auto started = peer.ask(method::run_start, to_json(RunStartParams{spec}));
    QVERIFY(started.contains("result"));
    const auto job = started["result"]["job"].get<std::int64_t>();
    // The dialog's side keeps it open, the job opens it again and reads it whole.
    QTRY_VERIFY_WITH_TIMEOUT(open_files() >= 2, 20000);
    QCOMPARE(::truncate(model.c_str(), bytes), 0);
    const auto failed = job_failed_from_json(peer.notification(method::job_failed, job)["params"]);
    QCOMPARE(failed.error.code, 3);
    QCOMPARE(failed.error.place, model);
    QCOMPARE(failed.error.expected, std::to_string(holes) + " bytes");
    QCOMPARE(failed.error.found, std::to_string(bytes) + " bytes");
    const auto next = peer.ask(method::run_start, to_json(RunStartParams{spec}))["result"]["job"].get<std::int64_t>();
    QVERIFY(!peer.notification(method::job_done, next).is_null());
  }

  // Ctrl+C in the terminal, the end of a session: as at the end of input, nothing is left behind.
  void a_signal_ends_the_engine_in_order() {
    Peer peer(folder_.path());
    peer.initialize();
    const auto job =
        peer.ask(method::run_start, to_json(RunStartParams{endless()}))["result"]["job"].get<std::int64_t>();
    QVERIFY(!peer.notification(method::job_progress, job).is_null());
    QTRY_VERIFY(!QDir(folder_.path()).entryList({"*.part"}).isEmpty());
    ::kill(static_cast<pid_t>(peer.process.processId()), SIGHUP);
    QVERIFY(peer.process.waitForFinished(6000));
    QCOMPARE(peer.process.exitStatus(), QProcess::NormalExit);
    QCOMPARE(peer.process.exitCode(), 5);
    QVERIFY(QDir(folder_.path()).entryList({"*.part"}).isEmpty());
  }

  void garbage_in_a_frame_is_answered_and_survived() {
    Peer peer(folder_.path());
    peer.initialize();
    for (const char* body : {"", "{", "[]", "null", "{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"x\"}", "\xff\xfe"}) {
      peer.send_bytes(frame_message(body));
      const auto answer = peer.wait([](const json& m) { return m.contains("id") && m["id"].is_null(); });
      QVERIFY2(answer.is_object() && answer.contains("error"), body);
    }
    peer.send_bytes(frame_message(R"({"jsonrpc":"2.0","method":"unknown/notification"})"));
    QVERIFY(peer.ask(method::files_list, json::object()).contains("result"));
  }

  void a_broken_frame_ends_the_engine() {
    Peer peer(folder_.path());
    peer.initialize();
    peer.send_bytes("GET / HTTP/1.1\r\nHost: example\r\n\r\n");
    const auto answer = peer.wait([](const json& m) { return m.contains("id") && m["id"].is_null(); });
    QCOMPARE(answer["error"]["code"], -32700);
    QVERIFY(peer.process.waitForFinished(10000));
    QCOMPARE(peer.process.exitCode(), 3);
  }

  void the_end_of_input_ends_a_job() {
    Peer peer(folder_.path());
    peer.initialize();
    const auto job =
        peer.ask(method::run_start, to_json(RunStartParams{endless()}))["result"]["job"].get<std::int64_t>();
    QVERIFY(!peer.notification(method::job_progress, job).is_null());
    peer.process.closeWriteChannel();
    QVERIFY(peer.process.waitForFinished(6000));
    QCOMPARE(peer.process.exitStatus(), QProcess::NormalExit);
    QCOMPARE(peer.process.exitCode(), 0);
    QVERIFY(QDir(folder_.path()).entryList({"*.part"}).isEmpty());
  }
};

QTEST_GUILESS_MAIN(TestServe)
#include "test_serve.moc"
