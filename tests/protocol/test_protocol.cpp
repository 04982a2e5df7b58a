// SPDX-License-Identifier: Apache-2.0
// RunSpec and messages both ways, framing, envelopes, and what is refused with which words.
#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <limits>

#include "protocol/base64.h"
#include "protocol/framing.h"
#include "protocol/job_answer.h"
#include "protocol/json_fields.h"
#include "protocol/messages.h"
#include "protocol/summary_json.h"
#include "record/record_json.h"
#include "record/record_writer.h"
#include "record/run_record.h"

using namespace headroom;
using namespace headroom::protocol;
using nlohmann::json;

namespace {

RunSpec full_spec() {
  RunSpec spec;
  spec.model = "smollm2";
  spec.task = "niah_single_1";
  spec.length = 4096;
  spec.seed = 18446744073709551615u;
  spec.chat = true;
  spec.system_file = "system.txt";
  spec.answer_prefix = "The answer is";
  spec.methods = {"dense", "oracle"};
  spec.budgets = {parse_budget("512"), parse_budget("10%"), parse_budget("p0.95")};
  spec.granularities = {1, 64};
  spec.sinks = 4;
  spec.local = 64;
  spec.indexer = "i.safetensors";
  spec.adapter = "adapters/one";
  spec.dense_layers = {0, 1};
  spec.device = "cuda:1";
  spec.dtype = "bf16";
  spec.repeats = 5;
  spec.max_new_tokens = 64;
  spec.keep_layers = {5, 11};
  spec.keep_queries = 1024;
  spec.record_limit = 1LL << 30;
  spec.out = "run.h5";
  return spec;
}

record::MethodSummary full_summary() {
  record::MethodSummary summary;
  summary.id = "oracle-f10-g1";
  summary.name = "oracle";
  summary.title = "Oracle top-k";
  summary.role = MethodRole::reference;
  summary.scope = SupportScope::q_head;
  summary.score = ScoreKind::mass;
  summary.look = 1;
  summary.parameters = {{"sinks", "4"}, {"local", "1"}};
  summary.fingerprint = "c0ffee";
  summary.budget = parse_budget("10%");
  summary.budget_tokens = 410;
  summary.density = 0.19;
  summary.plan = "sparse in 2 of 2 layers";
  summary.backend = "LibTorch, CPU";
  summary.label = "reference path, not optimised";
  summary.ttft = {12.5, 12, 13, 3};
  summary.ttft_samples = {12, 12.5, 13};
  summary.stages[static_cast<std::size_t>(Stage::attention)] = {5, 4, 6, 3};
  summary.layer_stages = {{1, 2, 3, 4, 5, 6, 7, 8, 9}, {0, 0, 0, 0, 0, 0, 0, 1, 0}};
  summary.captured_mass_mean = 0.95;
  summary.captured_mass_min = 0.9;
  summary.captured_mass_per_layer = {0.95, std::nan("")};
  summary.oracle_recall_mean = 1;
  summary.oracle_recall_95_mean = 1;
  summary.oracle_recall_per_layer = {1, std::nan("")};
  summary.kl_to_dense = 0.01;
  summary.top1_agrees = true;
  summary.output_l2_per_layer = {0.1, 0.2};
  summary.output_frobenius_per_layer = {0.05, 0.1};
  summary.reference_answer = record::ReferenceAnswer{3, 0.5, 2};
  summary.answer_ids = {1, 2, 3};
  summary.answer = "42 \xE2\x82\xAC";
  summary.answer_cut = true;
  summary.task_score = 100;
  summary.peak_bytes = 1LL << 33;
  return summary;
}

template <typename Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::internal, "nothing was thrown");
}

}  // namespace

class TestProtocol : public QObject {
  Q_OBJECT
 private slots:
  void run_spec_round_trips() {
    const auto spec = full_spec();
    const auto text = dump_json(to_json(spec));
    const auto back = run_spec_from_json(parse_json(text, "test"));
    QCOMPARE(dump_json(to_json(back)), text);
    QCOMPARE(back.seed, spec.seed);
    QCOMPARE(back.budgets, spec.budgets);
    QVERIFY(!back.prompt && !back.plan);
    validate(back);
  }
  void a_short_run_spec_has_the_defaults() {
    const auto spec = run_spec_from_json(json{{"model", "m"}, {"prompt", "Hello"}});
    QCOMPARE(dump_json(to_json(spec)), dump_json(to_json([] {
               RunSpec expected;
               expected.model = "m";
               expected.prompt = "Hello";
               return expected;
             }())));
    validate(spec);
    QVERIFY(!spec.max_new_tokens);
    const json of_set = {{"model", "m"}, {"prompts", "p.jsonl"}, {"index", 9}, {"haystack", "h"}};
    const auto set = run_spec_from_json(of_set);
    QVERIFY(set.prompts == "p.jsonl" && set.index == 9 && set.haystack == "h");
    QCOMPARE(dump_json(to_json(run_spec_from_json(to_json(set)))), dump_json(to_json(set)));
    // Those of earlier versions can still be read.
    const auto old = run_spec_from_json(
        json{{"model", "m"}, {"prompt", "Hello"}, {"template_arguments", json::object()}, {"max_new_tokens", 16},
             {"sinks", 0}, {"local", 1}});
    QVERIFY(!old.max_new_tokens && !old.sinks && !old.local);  // they wrote their defaults, which say nothing
    const json arguments = {{"enable_thinking", false}, {"date", "today"}};
    const auto spec_with = run_spec_from_json(json{{"model", "m"},
                                                   {"prompt", "Hello"},
                                                   {"chat", true},
                                                   {"template_arguments", arguments},
                                                   {"max_new_tokens", 16}});
    QCOMPARE(spec_with.template_arguments.at("enable_thinking"), std::string("false"));
    QVERIFY(to_json(spec_with)["template_arguments"] == arguments && spec_with.max_new_tokens);
  }
  void bad_run_specs_name_field_expected_and_found_data() {
    QTest::addColumn<QString>("patch");
    QTest::addColumn<QString>("word");
    const std::pair<const char*, const char*> rows[] = {
        {R"({"model":7})", "model"},
        {R"({"repeats":0})", "1 to 1000"},
        {R"({"repeats":2.5})", "2.5"},
        {R"({"repeats":99999999999999999999})", "repeats"},
        {R"({"seed":-1})", "seed"},
        {R"({"budgets":["x"]})", "\"x\""},
        {R"({"budgets":512})", "a list"},
        {R"({"granularities":[0]})", "granularities"},
        {R"({"dense_layers":[-1]})", "dense_layers"},
        {R"({"chat":"yes"})", "true or false"},
        {R"({"template_arguments":[1]})", "template_arguments"},
        {R"({"colour":"red"})", "colour"},
    };
    for (const auto& [patch, word] : rows) QTest::newRow(patch) << patch << word;
  }
  void bad_run_specs_name_field_expected_and_found() {
    QFETCH(QString, patch);
    QFETCH(QString, word);
    json spec = {{"model", "m"}, {"prompt", "Hello"}};
    spec.merge_patch(json::parse(patch.toStdString()));
    const auto error = error_of([&] { run_spec_from_json(spec); });
    QCOMPARE(error.kind(), ErrorKind::usage);
    QVERIFY2(std::string(error.what()).find(word.toStdString()) != std::string::npos, error.what());
  }
  void cross_checks() {
    const auto refused = [](const std::function<void(RunSpec&)>& change) {
      RunSpec spec;
      spec.model = "m";
      spec.prompt = "Hello";
      change(spec);
      return error_of([&] { validate(spec); }).kind() == ErrorKind::usage;
    };
    QVERIFY(!refused([](RunSpec&) {}));
    QVERIFY(refused([](RunSpec& spec) { spec.prompt.reset(); }));
    QVERIFY(refused([](RunSpec& spec) { spec.prompt_file = "f"; }));
    QVERIFY(refused([](RunSpec& spec) { spec.prompt.reset(), spec.task = "niah_single_1"; }));
    QVERIFY(refused([](RunSpec& spec) { spec.length = 100; }));
    const auto task = [](RunSpec& spec) { spec.prompt.reset(), spec.task = "niah_single_2", spec.length = 512; };
    QVERIFY(!refused([&](RunSpec& spec) { task(spec), spec.haystack = "texts"; }));
    QVERIFY(refused([](RunSpec& spec) { spec.haystack = "texts"; }));
    QVERIFY(!refused([](RunSpec& spec) { spec.prompt.reset(), spec.prompts = "p.jsonl", spec.index = 3; }));
    QVERIFY(!refused([](RunSpec& spec) { spec.prompt.reset(), spec.prompts = "p", spec.system_file = "s"; }));
    QVERIFY(refused([](RunSpec& spec) { spec.prompts = "p.jsonl"; }));
    QVERIFY(refused([](RunSpec& spec) { spec.index = 3; }));
    QVERIFY(!refused([](RunSpec& spec) { spec.budgets.clear(); }));  // dense alone needs none
    QVERIFY(refused([](RunSpec& spec) { spec.granularities = {3}; }));
    QVERIFY(refused([](RunSpec& spec) { spec.device = "cuda:x"; }));
    QVERIFY(refused([](RunSpec& spec) { spec.dtype = "f64"; }));
    QVERIFY(refused([](RunSpec& spec) { spec.model.clear(); }));
  }
  void summary_round_trips_without_nan() {
    const auto summary = full_summary();
    const auto text = dump_json(to_json(summary));
    const auto value = parse_json(text, "test");
    QCOMPARE(value["budget"], (json{{"kind", "fraction"}, {"value", 0.1}}));
    QVERIFY(value["captured_mass"]["per_layer"][1].is_null());
    QCOMPARE(value["ttft_ms"]["repeats"], 3);
    QCOMPARE(value["stages_ms"]["attention"], 5.0);
    QCOMPARE(value["stages_ms"].size(), num_stages);
    QCOMPARE(value["role"], "reference");
    QCOMPARE(value["scope"], "q_head");
    QCOMPARE(value["score"], "mass");
    QCOMPARE(value["parameters"], (json{{"sinks", "4"}, {"local", "1"}}));
    const auto back = record::method_summary_from_json(value);
    QCOMPARE(dump_json(to_json(back)), text);
    QVERIFY(std::isnan(back.captured_mass_per_layer[1]));
  }
  void dense_has_null_budget_and_recall() {
    record::MethodSummary dense;
    dense.id = dense.name = "dense";
    const auto value = to_json(dense);
    QVERIFY(value["budget"].is_null() && value["oracle_recall"].is_null() && value["kl_to_dense"].is_null());
    QVERIFY(!record::method_summary_from_json(value).budget);
  }
  void run_result_has_the_contract_fields() {
    record::RunMeta meta;
    meta.model_name = "M";
    meta.spec_json = "{}";
    meta.layers = {{"full", 9, 3, 64, 0, 0.125}, {"sliding", 4, 1, 256, 512, 0.0625}};
    const auto value = run_result_json(meta, 12, {full_summary()}, "");
    for (const char* name : {"model", "architecture", "device", "dtype", "tokens", "context", "methods", "record"})
      QVERIFY2(value.contains(name), name);
    QVERIFY(value["record"].is_null());
    QCOMPARE(value["layers"][1], (json{{"kind", "sliding"},
                                       {"num_q_heads", 4},
                                       {"num_kv_heads", 1},
                                       {"head_dim", 256},
                                       {"window", 512},
                                       {"scale", 0.0625}}));
    QCOMPARE(dump_json(to_json(record::run_meta_from_json(value))), dump_json(to_json(meta)));
    for (const char* name :
         {"id", "name", "budget", "granularity", "density", "plan", "ttft_ms", "stages_ms", "captured_mass",
          "oracle_recall", "kl_to_dense", "top1_agrees", "output_l2_per_layer", "text"})
      QVERIFY2(value["methods"][0].contains(name), name);
  }
  void a_record_gives_back_what_run_prints() {
    QTemporaryDir folder;
    const std::filesystem::path file = folder.filePath("r.h5").toStdString();
    record::RunMeta meta;
    meta.model_name = "M";
    meta.spec_json = "{}";
    meta.layers.assign(2, {"full", 4, 2, 8, 0, 0.25});
    meta.indexer_path = "i.safetensors";
    auto summary = full_summary();
    auto& plan = summary.timing_plan.emplace();
    plan.source = "automatic";
    plan.layers = {{record::LayerRun::sparse, 2, 1}, {record::LayerRun::other}};
    summary.baselines = {{"libtorch", {30, 29, 31, 3}}};
    {
      record::RecordWriter writer(file, meta, {"ab", {1, 2}, {0, 1}, {1, 2}});
      writer.write_summary(summary);
      writer.finish(meta);
    }
    const auto record = record::RunRecord::open(file);
    QCOMPARE(dump_json(run_result_json(record->meta(), record->length(), record->methods(), "r.h5")),
             dump_json(run_result_json(meta, 2, {summary}, "r.h5")));
  }
  void damaged_summaries_name_the_field_data() {
    QTest::addColumn<QString>("patch");
    QTest::addColumn<QString>("word");
    const std::pair<const char*, const char*> rows[] = {
        {R"({"id":"../meta"})", "method id"},
        {R"({"role":"king"})", "dense, reference or deployable"},
        {R"({"scope":"head"})", "scope"},
        {R"({"score":null})", "score"},
        {R"({"look":18})", "0 to 17"},
        {R"({"parameters":{"a":1}})", "short texts"},
        {R"({"fingerprint":"xyz"})", "hexadecimal"},
        {R"({"budget":{"kind":"fraction","value":1.5}})", "budget"},
        {R"({"budget":{"kind":"tokens","value":2.5}})", "whole number"},
        {R"({"density":7})", "density"},
        {R"({"granularity":0})", "granularity"},
        {R"({"ttft_ms":{"median":-1,"q1":0,"q3":0,"repeats":1}})", "ttft_ms"},
    };
    for (const auto& [patch, word] : rows) QTest::newRow(patch) << patch << word;
  }
  void damaged_summaries_name_the_field() {
    QFETCH(QString, patch);
    QFETCH(QString, word);
    auto value = to_json(full_summary());
    value.merge_patch(json::parse(patch.toStdString()));
    const auto error = error_of([&] { record::method_summary_from_json(value); });
    QCOMPARE(error.kind(), ErrorKind::input);
    QVERIFY2(QString(error.what()).contains(word), error.what());
  }
  void messages_round_trip() {
    const auto same = [](const json& value, auto read) {
      const auto again = to_json(read(parse_json(dump_json(value), "test")));
      return dump_json(again) == dump_json(value);
    };
    QVERIFY(same(to_json(InitializeParams{1, 1, "test"}), initialize_params_from_json));
    QVERIFY(
        same(to_json(InitializeResult{1, 1, "0.1", {{"cpu", "2 cores", 8, 4}}, {{"a", "/b"}}, {"/"}, "x", "no GPU",
                                      {{"some", "Some", "Some keys.", true, false}},
                                      {{"vt", "Variables", "A chain.", false}, {"n", "N", "Needles.", true}}}),
             initialize_result_from_json));
    auto earlier = to_json(InitializeResult{1, 1, "0.1", {}, {}, {}, "build both from one source"});
    earlier.erase("methods");  // an engine that did not tell: its mismatch must still be read
    QCOMPARE(initialize_result_from_json(earlier).mismatch, std::string("build both from one source"));
    QVERIFY(same(to_json(ModelInspectParams{"m"}), model_inspect_params_from_json));
    QVERIFY(same(to_json(ModelInspectParams{"m", "a"}), model_inspect_params_from_json));
    QVERIFY(same(to_json(FilesListParams{"/x"}), files_list_params_from_json));
    QVERIFY(same(to_json(FilesListResult{"/x", "/", {{"a", true, 0}, {"b", false, 7}}, true}),
                 files_list_result_from_json));
    QVERIFY(same(to_json(JobNotice{3, "no CUDA device"}), job_notice_from_json));
    Preflight preflight;
    preflight.tokens = 9;
    preflight.host_needed = 10;
    preflight.host_free = 11;
    preflight.warnings = {"w"};
    QVERIFY(same(to_json(RunStartParams{full_spec()}), run_start_params_from_json));
    QVERIFY(same(to_json(RunStartResult{3, preflight}), run_start_result_from_json));
    record::RunMeta meta;
    meta.indexer_path = "i";
    meta.adapter_name = "a";
    meta.adapter_sha256 = meta.base_sha256 = "0f";
    QVERIFY(same(to_json(JobPrepared{3, meta, 12}), job_prepared_from_json));
    QVERIFY(same(to_json(JobAnswer{3, "dense", "é"}), job_answer_from_json));
    QVERIFY(same(to_json(JobProgress{3, {"load", 1, 2, 5, 10.5}, -1}), job_progress_from_json));
    QVERIFY(same(to_json(JobPartial{3, full_summary()}), job_partial_from_json));
    QVERIFY(same(to_json(JobDone{3, "r.h5", {{"a", 1}}}), job_done_from_json));
    QVERIFY(same(to_json(JobFailed{3, {3, "m", "p", "e", "f"}}), job_failed_from_json));
    QVERIFY(same(to_json(JobCancelled{3, ""}), job_cancelled_from_json));
    QVERIFY(same(to_json(JobCancelParams{3}), job_cancel_params_from_json));
    QVERIFY(same(to_json(JobCancelResult{3, true}), job_cancel_result_from_json));
    QVERIFY(same(to_json(RecordChunkParams{"r", 5, 6}), record_chunk_params_from_json));
    QVERIFY(same(to_json(RecordChunkResult{5, 6, "v", {1, 2, 3, 255}}), record_chunk_result_from_json));
    QVERIFY(same(to_json(TileParams{"id", "dense", 4, {record::HeadSelector::Kind::group, 2}, {1, 2, 3}}),
                 tile_params_from_json));
    record::Tile tile{{0, 1, 2}, 1, 2, {0.5f, std::numeric_limits<float>::quiet_NaN()}, {0.25f, 0.125f}};
    QVERIFY(same(to_json(TileResult{tile}), tile_result_from_json));
    QVERIFY(std::isnan(tile_result_from_json(to_json(TileResult{tile})).tile.max[1]));
  }
  void every_message_stands_in_the_documentation() {
    const auto text_of = [](const QString& file) {
      QFile opened(QStringLiteral(HEADROOM_SOURCE_DIR) + file);
      return opened.open(QIODevice::ReadOnly) ? QString::fromUtf8(opened.readAll()) : QString();
    };
    const QString told = text_of("/docs/protocol.md");
    const QRegularExpression name("inline constexpr const char\\*\\s+\\w+\\s*=\\s*\"([a-z/]+)\"");
    int count = 0;
    for (const char* header : {"/core/protocol/messages.h", "/core/protocol/job_answer.h"})
      for (auto found = name.globalMatch(text_of(header)); found.hasNext(); ++count) {
        const QString message = found.next().captured(1);
        QVERIFY2(told.contains('`' + message + '`'), qPrintable(message));
      }
    QVERIFY(count >= 25);
  }
  void tiles_of_another_size_are_refused() {
    auto value = to_json(TileResult{{{}, 1, 2, {1, 2}, {3, 4}}});
    value["rows"] = 2;
    QCOMPARE(error_of([&] { tile_result_from_json(value); }).kind(), ErrorKind::input);
    value["rows"] = 1 << 30;
    QCOMPARE(error_of([&] { tile_result_from_json(value); }).kind(), ErrorKind::input);
  }
  void base64_known_answers() {
    const std::string text = "foobar";
    const char* expected[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (std::size_t n = 0; n <= text.size(); ++n) {
      const std::span bytes(reinterpret_cast<const std::uint8_t*>(text.data()), n);
      QCOMPARE(base64_encode(bytes), std::string(expected[n]));
      const auto back = base64_decode(expected[n], "t");
      QCOMPARE(std::string(back.begin(), back.end()), text.substr(0, n));
    }
    for (const char* bad : {"Zg", "Z===", "Zg==Zg==", "Zm9\n", "=Zm9"})
      QCOMPARE(error_of([&] { base64_decode(bad, "t"); }).kind(), ErrorKind::input);
  }
  void framing_survives_any_split() {
    const std::string bodies[] = {"{}", std::string(1000, 'x'), "", "{\"a\":\"\r\n\r\n\"}"};
    std::string stream;
    for (const auto& body : bodies) stream += frame_message(body);
    stream.insert(0, "Content-Type: application/json\r\n");
    for (std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{64}, stream.size()}) {
      MessageReader reader;
      std::vector<std::string> received;
      for (std::size_t i = 0; i < stream.size(); i += step) {
        reader.feed(std::string_view(stream).substr(i, step));
        while (auto body = reader.next()) received.push_back(*body);
      }
      QCOMPARE(received, std::vector<std::string>(std::begin(bodies), std::end(bodies)));
      QVERIFY(!reader.pending());
    }
  }
  void bad_headers_are_refused_data() {
    QTest::addColumn<QByteArray>("bytes");
    QTest::newRow("no header") << QByteArray("{\"jsonrpc\":\"2.0\"}");
    QTest::newRow("negative") << QByteArray("Content-Length: -1\r\n\r\n");
    QTest::newRow("too large") << QByteArray("Content-Length: 67108865\r\n\r\n");
    QTest::newRow("overflow") << QByteArray("Content-Length: 99999999999999999999999\r\n\r\n");
    QTest::newRow("hexadecimal") << QByteArray("Content-Length: 0x10\r\n\r\n");
    QTest::newRow("twice") << QByteArray("Content-Length: 1\r\nContent-Length: 2\r\n\r\n");
    QTest::newRow("missing") << QByteArray("Content-Type: a\r\n\r\n");
    QTest::newRow("no colon") << QByteArray("hello\r\n\r\n");
    QTest::newRow("endless") << QByteArray(5000, 'a');
    QTest::newRow("binary") << QByteArray(
        "\x7f"
        "ELF\x02");
  }
  void bad_headers_are_refused() {
    QFETCH(QByteArray, bytes);
    MessageReader reader;
    reader.feed(bytes.toStdString());
    QCOMPARE(error_of([&] { reader.next(); }).kind(), ErrorKind::input);
    reader.feed(frame_message("{}"));
    QCOMPARE(error_of([&] { reader.next(); }).kind(), ErrorKind::input);
  }
  void noise_before_the_first_message_is_kept_apart_data() {
    QTest::addColumn<QByteArray>("noise");
    QTest::newRow("none") << QByteArray();
    QTest::newRow("a line") << QByteArray("Welcome\n");
    QTest::newRow("no line end") << QByteArray("\x1b]0;host\x07host% ");
    QTest::newRow("blank lines") << QByteArray("Last login: today\r\n\r\n\r\n");
    QTest::newRow("not UTF-8") << QByteArray("caf\xe9\n\0\x7f", 7);
    QTest::newRow("looks like a message") << QByteArray("{\"jsonrpc\":\"2.0\"}\n");
    QTest::newRow("nearly a header") << QByteArray("Content-Length: soon\r\nContent-Length: 12 bytes\r\n\r\nConten");
    QTest::newRow("the whole bound") << QByteArray(static_cast<int>(max_preamble_bytes), 'C');
  }
  void noise_before_the_first_message_is_kept_apart() {
    QFETCH(QByteArray, noise);
    const std::string stream = noise.toStdString() + frame_message("{\"a\":1}") + frame_message("");
    for (std::size_t step : {std::size_t{1}, std::size_t{7}, stream.size()}) {
      if (step == 1 && stream.size() > 1000) continue;
      MessageReader reader(Preamble::skipped);
      std::vector<std::string> received;
      for (std::size_t i = 0; i < stream.size(); i += step) {
        reader.feed(std::string_view(stream).substr(i, step));
        while (auto body = reader.next()) received.push_back(*body);
      }
      QCOMPARE(received, (std::vector<std::string>{"{\"a\":1}", ""}));
      QCOMPARE(QByteArray::fromStdString(reader.preamble()), noise);
    }
    // Between messages there is none, and the engine's own input has none at all.
    MessageReader later(Preamble::skipped), engine;
    later.feed(frame_message("{}") + "Welcome\r\n\r\n");
    QVERIFY(later.next());
    QCOMPARE(error_of([&] { later.next(); }).kind(), ErrorKind::input);
    if (noise.isEmpty()) return;
    engine.feed(stream);
    QCOMPARE(error_of([&] { engine.next(); }).kind(), ErrorKind::input);
  }
  void endless_noise_is_refused_and_quoted() {
    MessageReader reader(Preamble::skipped);
    const auto error = error_of([&] {
      for (std::size_t fed = 0; fed <= max_preamble_bytes + 64; fed += 64) {
        reader.feed("This account is not available. " + std::string(33, '-'));
        reader.next();
      }
    });
    QCOMPARE(error.kind(), ErrorKind::input);
    QVERIFY(std::string(error.what()).find("This account is not available.") != std::string::npos);
    QVERIFY(reader.preamble().starts_with("This account"));
  }
  void envelopes() {
    const auto request = read_envelope(write_envelope(Request{7, "tile", {{"a", 1}}}));
    const auto* envelope = std::get_if<Envelope>(&request);
    QVERIFY(envelope && std::get<Request>(*envelope).params["a"] == 1);
    QCOMPARE(std::get<std::int64_t>(std::get<Request>(*envelope).id), 7);

    Response failure{RequestId(std::string("x")), {}, ErrorInfo{3, "m", "p", "e", "f"}};
    const auto response = std::get<Response>(std::get<Envelope>(read_envelope(write_envelope(failure))));
    QCOMPARE(*response.error, *failure.error);
    QCOMPARE(to_error(*response.error).kind(), ErrorKind::input);
    QCOMPARE(std::string(to_error(*response.error).what()), std::string("p: m (expected e, found f)"));

    const auto code_of = [](const char* body) {
      const auto result = read_envelope(body);
      const auto* error = std::get_if<EnvelopeError>(&result);
      return error ? error->error.code : 0;
    };
    QCOMPARE(code_of("{"), -32700);
    QCOMPARE(code_of("[]"), -32600);
    QCOMPARE(code_of(R"({"id":1,"method":"a"})"), -32600);
    QCOMPARE(code_of(R"({"jsonrpc":"2.0","id":1.5,"method":"a"})"), -32600);
    QCOMPARE(code_of(R"({"jsonrpc":"2.0","id":1,"method":"a","params":[1]})"), -32602);
    QCOMPARE(code_of(R"({"jsonrpc":"2.0","id":1})"), -32600);
    QCOMPARE(code_of(R"({"jsonrpc":"2.0","id":1,"error":{"code":"x"}})"), -32600);
    QCOMPARE(code_of(R"({"jsonrpc":"2.0","method":"a"})"), 0);
  }
  void deep_and_huge_json_is_refused() {
    QCOMPARE(error_of([] { parse_json(std::string(1 << 20, '['), "t"); }).kind(), ErrorKind::input);
    std::string many = "[0";
    for (int i = 0; i < 4'000'001; ++i) many += ",0";
    QCOMPARE(error_of([&] { parse_json(many + "]", "t"); }).kind(), ErrorKind::input);
    QCOMPARE(error_of([] { parse_json("1e999", "t"); }).kind(), ErrorKind::input);
  }
};

QTEST_APPLESS_MAIN(TestProtocol)
#include "test_protocol.moc"
