// SPDX-License-Identifier: Apache-2.0
// The main job from inside: what the record keeps under its limit, streams that explain their own maps, cancel, working
// file.
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "experiment/run/prepared_run.h"
#include "experiment/run/run.h"
#include "experiment/passes/stream_store.h"
#include "protocol/summary_json.h"
#include "record/record_json.h"
#include "record/run_record.h"
#include "record/tiles.h"
#include "support/gguf_writer.h"
#include "small_run.h"

using namespace headroom;
using namespace headroom::experiment;

class TestRun : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  protocol::RunSpec spec_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }
  std::shared_ptr<const record::RunRecord> record(const protocol::RunSpec& spec) const {
    run(spec, {});
    return record::RunRecord::open(*spec.out);
  }
  static int streams(const record::RunRecord& record, const char* method) {
    int count = 0;
    for (int layer = 0; layer < record.meta().num_layers(); ++layer) count += record.availability(method, layer).stream;
    return count;
  }

 private slots:
  void initTestCase() {
    spec_ = test::small_run(path("tiny.gguf"), {.layers = 6});
  }

  void streams_of_all_methods_are_kept_together_and_explain_their_maps() {
    auto spec = spec_;
    spec.out = path("all.h5");
    const auto opened = record(spec);
    for (const auto& method : opened->methods()) {
      QCOMPARE(streams(*opened, method.id.c_str()), 6);
      const auto stream = opened->layer_stream(method.id, 2);
      for (std::int64_t row : {std::int64_t{0}, std::int64_t{100}, stream->length - 1}) {
        double sum = 0;
        for (float p : record::probability_row(*stream, {record::HeadSelector::Kind::mean, 0}, row)) sum += p;
        QVERIFY(std::abs(sum - 1) < 1e-4);
      }
    }
    // The support that is stored catches the mass that the summary states, both recomputed from the record alone.
    const auto& oracle = *opened->find_method("oracle-k24-g1");
    const auto stream = opened->layer_stream(oracle.id, 3);
    const auto support = opened->supports(oracle.id, 3, record::SupportKind::support);
    double sum = 0;
    std::int64_t rows = 0;
    for (std::int64_t row = 24; row < stream->length; ++row, ++rows) {
      const auto p = record::probability_row(*stream, {record::HeadSelector::Kind::mean, 0}, row);
      for (std::int64_t key = 0; key <= row; ++key)
        if (support->test(row, key)) sum += p[static_cast<std::size_t>(key)];
      QCOMPARE(support->count(row, 0, stream->length), std::int64_t{24});
    }
    QVERIFY(std::abs(sum / static_cast<double>(rows) - oracle.captured_mass_per_layer[3]) < 1e-4);
    const auto statistics = opened->head_statistics(oracle.id);
    const auto captured = std::ranges::find(statistics->names, "captured_mass") - statistics->names.begin();
    QVERIFY(std::abs(statistics->at(3, 4, static_cast<std::size_t>(captured)) - oracle.captured_mass_per_layer[3]) <
            1e-5);
    QVERIFY(oracle.output_l2_per_layer[5] > 0 && *oracle.kl_to_dense >= 0);
    QVERIFY(oracle.output_frobenius_per_layer[5] > 0);
    QVERIFY(oracle.output_frobenius_per_layer[5] != oracle.output_l2_per_layer[5]);
  }

  void the_limit_holds_and_the_worst_layers_come_first() {
    auto spec = spec_;
    *spec.prompt += *spec_.prompt;  // long enough for q and k to weigh more than thumbnails
    spec.out = path("unlimited.h5");
    run(spec, {});
    const auto whole = std::filesystem::file_size(*spec.out);
    spec.record_limit = static_cast<std::int64_t>(whole) / 2;
    spec.out = path("limited.h5");
    const auto opened = record(spec);
    QVERIFY(static_cast<std::int64_t>(std::filesystem::file_size(*spec.out)) <= spec.record_limit);
    const int kept = streams(*opened, "dense");
    QVERIFY2(kept > 0 && kept < 6, opened->meta().kept_note.c_str());
    QVERIFY(opened->meta().kept_note.find("record limit") != std::string::npos);
    const auto& mass = opened->find_method("oracle-k24-g1")->captured_mass_per_layer;
    double worst_left_out = 1, best_kept = 0;
    for (int layer = 0; layer < 6; ++layer) {
      const bool here = opened->availability("dense", layer).stream;
      QCOMPARE(opened->availability("oracle-k24-g1", layer).stream, here);
      if (here)
        best_kept = std::max(best_kept, mass[static_cast<std::size_t>(layer)]);
      else
        worst_left_out = std::min(worst_left_out, mass[static_cast<std::size_t>(layer)]);
    }
    QVERIFY(best_kept <= worst_left_out);
  }

  void asked_layers_and_rows_are_kept() {
    auto spec = spec_;
    spec.out = path("asked.h5");
    spec.keep_layers = {1, 4};
    spec.keep_queries = 64;
    const auto opened = record(spec);
    QCOMPARE(streams(*opened, "dense"), 2);
    QVERIFY(opened->availability("oracle-k24-g1", 4).stream && !opened->availability("oracle-k24-g1", 0).stream);
    const auto stream = opened->layer_stream("dense", 4);
    QCOMPARE(stream->query_begin, opened->length() - 64);
    QVERIFY(!record::probability_row(*stream, {}, opened->length() - 1).empty());
    QVERIFY(record::probability_row(*stream, {}, 0).empty());
  }

  void forced_keys_beyond_the_budget_are_refused_before_the_work_data() {
    QTest::addColumn<QString>("method");
    QTest::addColumn<QString>("budget");
    QTest::addColumn<int>("sinks");
    QTest::addColumn<int>("local");
    QTest::addColumn<bool>("fits");
    QTest::newRow("beyond") << "oracle" << "12" << 8 << 8 << false;
    QTest::newRow("just fits") << "oracle" << "16" << 8 << 8 << true;
    QTest::newRow("random") << "random" << "12" << 8 << 8 << false;
    QTest::newRow("percent") << "oracle" << "2%" << 8 << 8 << false;
    QTest::newRow("percent fits") << "oracle" << "50%" << 8 << 8 << true;
    QTest::newRow("no k to exceed") << "oracle" << "p0.9" << 8 << 8 << true;
    QTest::newRow("sinks of the method itself") << "sink_window:sinks=9" << "9" << -1 << -1 << false;
    QTest::newRow("sinks and its own key") << "sink_window:sinks=8" << "9" << -1 << -1 << true;
    QTest::newRow("more than the prompt has") << "oracle" << "100000" << 90000 << 10001 << true;
  }
  void forced_keys_beyond_the_budget_are_refused_before_the_work() {
    QFETCH(QString, method);
    QFETCH(QString, budget);
    QFETCH(int, sinks);
    QFETCH(int, local);
    QFETCH(bool, fits);
    auto spec = spec_;
    spec.methods = {method.toStdString()};
    spec.budgets = {parse_budget(budget.toStdString())};
    if (sinks >= 0) spec.sinks = sinks;
    if (local >= 0) spec.local = local;
    try {
      prepare_run(spec);
      QVERIFY(fits);
    } catch (const Error& error) {
      QVERIFY2(!fits && error.kind() == ErrorKind::usage, error.what());
      QVERIFY2(std::string(error.what()).find("forces in") != std::string::npos, error.what());
    }
  }

  void settings_that_no_method_takes_are_refused() {
    auto spec = spec_;
    spec.methods = {"dense", "sink_window"};
    spec.local = 8;
    QVERIFY_THROWS_EXCEPTION(Error, prepare_run(spec));
    spec.local.reset();
    spec.methods = {"sink_window:sinks=4.5"};
    QVERIFY_THROWS_EXCEPTION(Error, prepare_run(spec));
    // A granularity that would change nothing but the id makes no second method.
    spec.methods = {"sink_window", "random"};
    spec.granularities = {1, 64};
    QCOMPARE(prepare_run(spec).methods.methods.size(), std::size_t{3});
  }

  void labels_say_what_fp32_runs_on() {
    auto spec = spec_;
    spec.dtype = "f32";
    for (const auto& backend : prepare_run(spec).backends)
      QVERIFY2(backend->sparse_label().find("BF16") == std::string::npos, backend->sparse_label().c_str());
  }

  void drift_is_the_mean_row_beyond_the_budget() {
    auto spec = spec_;
    spec.out = path("drift.h5");
    const auto oracle = run(spec, {}).methods[1];
    spec.budgets = {parse_budget("100%")};
    const auto whole = run(spec, {}).methods[1];
    QCOMPARE(oracle.output_l2_per_layer.size(), std::size_t{6});
    for (const double value : oracle.output_l2_per_layer) QVERIFY(value >= 0 && value < 10);
    // No row is beyond a budget of everything: nothing to average; the matrices are equal all the same.
    for (const double value : whole.output_l2_per_layer) QVERIFY(std::isnan(value));
    for (const double value : whole.output_frobenius_per_layer) QVERIFY(value < 1e-5);
  }

  void a_reference_answer_is_read_inside_the_sparse_pass() {
    auto spec = spec_;
    spec.prompt.reset();
    spec.task = "niah_single_1";
    spec.length = 600;
    spec.max_new_tokens = 16;
    spec.methods = {"dense", "oracle", "sink_window"};
    spec.budgets = {parse_budget("16"), parse_budget("100%")};
    spec.granularities = {1, 16};
    const auto outcome = run(spec, {});
    const auto& dense = *outcome.methods[0].reference_answer;
    QVERIFY(dense.tokens > 1 && dense.nll_mean > 0);
    int causal = 0, different = 0;
    for (const auto& method : outcome.methods) {
      QCOMPARE(method.reference_answer.has_value(), method.causal);
      if (!method.causal) continue;
      ++causal;
      QCOMPARE(method.reference_answer->tokens, dense.tokens);
      const double distance = std::abs(method.reference_answer->nll_mean - dense.nll_mean);
      if (method.density > 0.999) QVERIFY2(distance < 1e-4, method.id.c_str());
      different += distance > 1e-3;
    }
    QCOMPARE(causal, 5);
    QVERIFY(different >= 2);
  }

  void the_same_run_gives_the_same_numbers() {
    const auto first = run(spec_, {}), second = run(spec_, {});
    QCOMPARE(first.methods[1].captured_mass_per_layer, second.methods[1].captured_mass_per_layer);
    QCOMPARE(first.methods[1].output_l2_per_layer, second.methods[1].output_l2_per_layer);
    QCOMPARE(first.methods[1].answer_ids, second.methods[1].answer_ids);
    QVERIFY(first.record_path.empty());
    QVERIFY(first.meta.run_id != second.meta.run_id);
  }

  void answers_that_reach_their_limit_are_cut() {
    auto spec = spec_;
    spec.methods = {"dense"};
    const auto limited = run(spec, {}).methods[0];
    QCOMPARE(limited.answer_ids.size(), std::size_t{4});
    QVERIFY(limited.answer_cut);
    spec.max_new_tokens = 0;
    QVERIFY(!run(spec, {}).methods[0].answer_cut);  // none was asked for
    spec.max_new_tokens.reset();
    QCOMPARE(run(spec, {}).methods[0].answer_ids.size(), std::size_t{16});
    // The same model, to which the first token of that answer is the end.
    auto bytes = test::tiny_model_bytes({.layers = 6});
    const std::string key = "tokenizer.ggml.eos_token_id";
    const auto value = bytes.find(key) + key.size() + 4;  // behind the value's type
    std::memcpy(bytes.data() + value, limited.answer_ids.data(), 4);
    spec.model = path("ends.gguf");
    test::write_file(spec.model, bytes);
    const auto ended = run(spec, {}).methods[0];
    QVERIFY(ended.answer_ids.empty() && !ended.answer_cut);
  }

  // What is told of an answer while it grows is a beginning of it, in whole characters: here its tokens are bytes, and
  // two of them are one character.
  void answers_grow_by_whole_characters() {
    auto spec = spec_;
    spec.methods = {"dense"};
    spec.max_new_tokens = 12;
    const std::vector<std::int32_t> ids = run(spec, {}).methods[0].answer_ids;
    std::size_t at = 0;
    const auto unfit = [&] { return ids[at] == ids[at + 1] || std::min(ids[at], ids[at + 1]) < test::tiny_first_byte; };
    while (at + 1 < ids.size() && unfit()) ++at;
    QVERIFY2(at + 1 < ids.size(), "the tiny model answers one token again and again: choose another prompt");
    spec.model = path("split.gguf");
    test::write_tiny_model(spec.model, {.layers = 6, .swapped = {{0xc3, ids[at]}, {0xa9, ids[at + 1]}}});
    std::vector<std::string> told;
    RunCallbacks callbacks;
    callbacks.answer_grows = [&](const std::string& method, const std::string& text) {
      QCOMPARE(method, std::string("dense"));
      told.push_back(text);
    };
    const auto outcome = run(spec, {}, callbacks);
    const std::string& answer = outcome.methods[0].answer;
    QCOMPARE(outcome.methods[0].answer_ids, ids);
    QVERIFY2(answer.find("é") != std::string::npos, answer.c_str());
    QVERIFY(told.size() >= ids.size() - 1 && told.size() <= ids.size());  // nothing is told of an empty one
    for (std::size_t i = 0; i < told.size(); ++i)
      QVERIFY2(!first_invalid_utf8(told[i]) && answer.starts_with(told[i]) &&
                   (i == 0 || told[i].starts_with(told[i - 1])),
               told[i].c_str());
    // The first of the two bytes waits: no text ends before the character that it begins.
    const std::string before = answer.substr(0, answer.find("é"));
    QCOMPARE(std::ranges::count(told, before) + (before.empty() ? 2 : 0), std::ptrdiff_t{2});
    QCOMPARE(std::ranges::count(told, before + "é"), std::ptrdiff_t{1});
  }

  void a_task_has_room_for_its_answer() {
    auto spec = spec_;
    spec.prompt.reset();
    spec.task = "niah_single_1";
    spec.length = 2048;  // the model's whole context
    spec.methods = {"dense"};
    spec.max_new_tokens.reset();
    const auto own = run(spec, {});
    QVERIFY2(own.tokens <= 2048 - 128 && own.tokens > 2048 - 128 - 25, std::to_string(own.tokens).c_str());
    QCOMPARE(own.methods[0].answer_ids.size() == 128, own.methods[0].answer_cut);
    QVERIFY(own.methods[0].task_score.has_value());
    spec.max_new_tokens = 4;
    const auto given = run(spec, {});
    QVERIFY2(given.tokens <= 2048 - 4 && given.tokens > 2048 - 4 - 25, std::to_string(given.tokens).c_str());
  }

  void a_budget_that_covers_everything_equals_dense() {
    auto spec = spec_;
    spec.budgets = {parse_budget("100%")};
    const auto outcome = run(spec, {});
    const auto& oracle = outcome.methods[1];
    QCOMPARE(oracle.density, 1.0);
    // No row has more history than k: there is no mean to state, in the record or in JSON.
    QVERIFY(std::isnan(oracle.captured_mass_mean) && std::isnan(oracle.captured_mass_min));
    QVERIFY(!oracle.oracle_recall_mean && !oracle.oracle_recall_95_mean);
    const auto json = record::to_json(oracle, record::Arrays::inside);
    QVERIFY(json["captured_mass"]["mean"].is_null() && json["captured_mass"]["min"].is_null());
    for (const auto& layer : json["captured_mass"]["per_layer"]) QVERIFY(layer.is_null());
    QVERIFY(json["oracle_recall"].is_null());
    QVERIFY(*oracle.kl_to_dense < 1e-6);
    QVERIFY(*oracle.top1_agrees);
    QCOMPARE(oracle.answer_ids, outcome.methods[0].answer_ids);
  }

  void two_settings_of_a_method_are_two_methods() {
    auto spec = spec_;
    spec.methods = {"dense", "sink_window", "sink_window:sinks=8", "sink_window:sinks=4"};
    spec.out = path("settings.h5");
    const auto opened = record(spec);
    QCOMPARE(opened->methods().size(), std::size_t{3});  // four sinks are what sink_window has anyway
    const auto &four = opened->methods()[1], &eight = opened->methods()[2];
    QCOMPARE(four.id, std::string("sink_window-k24-g1"));
    QCOMPARE(eight.id, std::string("sink_window-k24-g1-sinks8"));
    QCOMPARE(eight.parameters.at("sinks"), std::string("8"));
    QVERIFY(!four.fingerprint.empty() && four.fingerprint != eight.fingerprint);
    const auto few = opened->supports(four.id, 2, record::SupportKind::support);
    const auto many = opened->supports(eight.id, 2, record::SupportKind::support);
    const std::int64_t last = opened->length() - 1;
    QVERIFY(!few->test(last, 7) && many->test(last, 7));
    QCOMPARE(few->count(last, 0, last + 1), many->count(last, 0, last + 1));
    QCOMPARE(streams(*opened, eight.id.c_str()), 6);
  }

  void listed_layers_count_neither_as_captured_nor_as_recalled() {
    auto spec = spec_;
    const auto whole = run(spec, {}).methods[1];
    spec.dense_layers = {0, 3};
    const auto listed = run(spec, {}).methods[1];
    double captured = 0, recall = 0;
    for (const std::size_t layer : {0u, 1u, 2u, 3u, 4u, 5u}) {
      const bool dense = layer == 0 || layer == 3;
      QCOMPARE(std::isnan(listed.captured_mass_per_layer[layer]), dense);
      QCOMPARE(std::isnan(listed.oracle_recall_per_layer[layer]), dense);
      if (!dense) captured += listed.captured_mass_per_layer[layer] / 4;
      if (!dense) recall += listed.oracle_recall_per_layer[layer] / 4;
    }
    QVERIFY(std::abs(listed.captured_mass_mean - captured) < 1e-12);
    QVERIFY(std::abs(*listed.oracle_recall_mean - recall) < 1e-12);
    QVERIFY(listed.density > whole.density);
  }

  void methods_are_said_as_one_name_and_its_parameters() {
    auto spec = spec_;
    for (const char* bad : {"nonsense", "oracle:", "oracle:sinks", "oracle:sinks=", "oracle:sinks=x", "oracle:seed=1",
                            "random:seed=1:seed=2", "sink_window:sinks=-1"}) {
      spec.methods = {bad};
      try {
        run(spec, {});
        QFAIL(bad);
      } catch (const Error& error) {
        QCOMPARE(error.kind(), ErrorKind::usage);
        QVERIFY2(std::string(error.what()).find("--methods") != std::string::npos, error.what());
      }
    }
    spec.methods = {"oracle"};
    spec.budgets.clear();
    QVERIFY_EXCEPTION_THROWN(run(spec, {}), Error);
  }

  void cancelled_after_a_method_keeps_it() {
    auto spec = spec_;
    spec.out = path("cancelled.h5");
    std::stop_source stop;
    RunCallbacks callbacks;
    callbacks.method_finished = [&](const record::MethodSummary&) { stop.request_stop(); };
    std::string kept;
    callbacks.record_written = [&](const record::RunMeta& meta, const std::string& file) {
      QVERIFY(!meta.complete);
      kept = file;
    };
    try {
      run(spec, {stop.get_token(), {}}, callbacks);
      QFAIL("was not cancelled");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::cancelled);
    }
    QCOMPARE(kept, *spec.out);
    const auto opened = record::RunRecord::open(kept);
    QVERIFY(!opened->meta().complete);
    QCOMPARE(opened->methods().size(), std::size_t{1});
  }

  void cancelled_before_a_method_leaves_nothing() {
    auto spec = spec_;
    spec.out = path("nothing.h5");
    std::stop_source stop;
    RunCallbacks callbacks;
    callbacks.prepared = [&](const record::RunMeta&, std::int64_t) { stop.request_stop(); };
    QVERIFY_EXCEPTION_THROWN(run(spec, {stop.get_token(), {}}, callbacks), Error);
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path().toStdString()))
      QVERIFY(entry.path().filename().string().find("nothing") == std::string::npos);
  }

  void the_working_file_keeps_the_worst_supports() {
    constexpr std::int64_t length = 40, bitmap = length * 5;
    StreamStore store(folder_.path().toStdString(), 2 * 3 * bitmap);
    for (int layer = 0; layer < 5; ++layer) {
      attention::LayerAnalysis analysis;
      analysis.support = analysis.target = analysis.wasted = {SupportBitmap(length)};
      analysis.support[0].set(layer, 0);
      constexpr double captured[] = {0.9, 0.5, 0.95, 0.4, 0.8};
      store.put_supports("a", layer, captured[layer], analysis);
    }
    for (int layer : {0, 2, 4}) QVERIFY(!store.supports("a", layer));
    for (int layer : {1, 3}) {
      const auto supports = store.supports("a", layer);
      QVERIFY(supports && supports->support[0].test(layer, 0));
      QCOMPARE(supports->support[0].count_all(), std::int64_t{1});
    }
  }

  void the_working_file_gives_back_what_it_got() {
    StreamStore store(folder_.path().toStdString(), 1 << 20);
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      attention::LayerQuery query;
      query.layer = dtype == at::kFloat ? 0 : 1;
      query.q = at::rand({4, 10, 8}).to(dtype);
      query.k = at::rand({2, 10, 8}).to(dtype);
      query.scale = 0.5;
      std::vector<float> lse(40);
      for (std::size_t i = 0; i < lse.size(); ++i) lse[i] = static_cast<float>(i);
      store.put_stream("m", query.layer, query, lse);
      const auto stream = store.stream("m", query.layer, 7);
      QVERIFY(stream);
      QCOMPARE(stream->query_begin, std::int64_t{7});
      QCOMPARE(stream->q.size(), std::size_t{4 * 3 * 8});
      QCOMPARE(stream->lse[3], 17.0f);  // head 1, row 7
      const auto q = query.q.to(at::kFloat).contiguous();
      QCOMPARE(stream->q[(1 * 3 + 2) * 8 + 5], q.const_data_ptr<float>()[(1 * 10 + 9) * 8 + 5]);
      const auto k = query.k.to(at::kFloat).contiguous();
      QVERIFY(std::equal(stream->k.begin(), stream->k.end(), k.const_data_ptr<float>()));
    }
    const auto hidden = at::full({10, 16}, 3.5, at::TensorOptions().dtype(at::kBFloat16));
    store.put_hidden(2, hidden);
    QVERIFY(store.hidden(2).equal(hidden));
    QVERIFY(!store.hidden(3).defined());
    QVERIFY(!store.stream("m", 5) && !store.has_stream("n", 0));
  }
};

QTEST_GUILESS_MAIN(TestRun)
#include "test_run.moc"
