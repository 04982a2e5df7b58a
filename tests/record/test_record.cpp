// SPDX-License-Identifier: Apache-2.0
// A record gives back what was written, lives beside the work that reads it, and leaves nothing half-written behind.
#include <QTemporaryDir>
#include <QtTest>
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <thread>

#include "base/error.h"
#include "record/crc32c.h"
#include "record/half.h"
#include "record/record_writer.h"
#include "record/run_record.h"
#include "record/tiles.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::record;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

RunMeta small_meta() {
  RunMeta m;
  m.run_id = "0123456789abcdef";
  m.created = "2026-05-04T03:02:01Z";
  m.program_version = "9.8.7";
  m.spec_json = "{\"prompt\": \"\\u00e9\\n\"}";
  m.model_name = "A \"model\"\\";
  m.model_path = "/a/b\xff.gguf";  // not UTF-8
  m.model_sha256 = "aa";
  m.architecture = "llama";
  m.device = "CPU";
  m.dtype = "bf16";
  m.threads = 3;
  m.context = 4096;
  m.layers = {{"full", 4, 2, 5, 0, 0.447213595499958}, {"linear", 0, 0, 0, 0, 0}, {"full", 6, 1, 8, 0, 0.25}};
  m.indexer_path = "i.safetensors";
  m.indexer_sha256 = "bb";
  m.indexer_trained_length = 4096;
  m.task = "vt";
  m.task_reference = "one\ntwo";
  m.warmups = 2;
  m.kept_note = "nothing";
  m.chat = true;
  m.warnings = {"one", "another"};
  return m;
}

TokenTable small_tokens() {
  return {"ab\xF0\x9F", {7, 3, 9}, {0, 0, 2}, {0, 2, 4}};
}

MethodSummary full_summary() {
  MethodSummary s;
  s.id = "oracle-p0.95-g4";
  s.name = "oracle";
  s.title = "Oracle top-k";
  s.role = MethodRole::reference;
  s.scope = SupportScope::kv_head;
  s.score = ScoreKind::mass;
  s.look = 11;
  s.parameters = {{"sinks", "4"}, {"kind", "a \"word\""}};
  s.fingerprint = "00ff";
  s.budget = Budget{BudgetKind::mass, 0.95};
  s.budget_tokens = 0;
  s.granularity = 4;
  s.density = 0.25;
  s.backend = "rows";
  s.label = "reference path, not optimised";
  s.plan = "dense in 1 of 3 layers: 0";
  s.causal = false;
  s.ttft = {10.5, 9.25, nan, 3};
  s.ttft_samples = {10, 11, 9};
  s.load = MachineLoad{.seconds = 1.5, .other_cpus = 0.75, .cpus = 2, .threads = 1};
  for (std::size_t i = 0; i < num_stages; ++i) s.stages[i] = {1.0 + static_cast<double>(i), 0.1, 2, 3};
  s.layer_stages.assign(3, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  s.captured_mass_mean = 0.97;
  s.captured_mass_min = 0.5;
  s.captured_mass_per_layer = {0.9, nan, 0.5};
  s.oracle_recall_mean = 1.0;
  s.oracle_recall_per_layer = {1, nan, 1};
  s.kl_to_dense = 1e-9;
  s.top1_agrees = false;
  s.output_l2_per_layer = {0.1, 0.2, 0.3};
  s.output_frobenius_per_layer = {0.3, nan, 0.2};
  s.forced = ForcedComparison{16, 0.5, 0.9, 3, 2};
  s.reference_answer = ReferenceAnswer{7, 0.25, 6};
  s.answer_ids = {4, 5};
  s.answer = "cut \xE4\xBD";
  s.answer_cut = true;
  s.task_score = 33.3;
  s.peak_bytes = 1LL << 40;
  s.complete = false;
  return s;
}

void same(const std::vector<double>& a, const std::vector<double>& b) {
  QCOMPARE(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) QVERIFY(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])));
}

}  // namespace

class TestRecord : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QStringList parts_of(const QString& name) { return QDir(folder_.path()).entryList({name + ".*.part"}); }
  std::filesystem::path at(const char* name) { return std::filesystem::path(folder_.path().toStdString()) / name; }

 private slots:
  void a_file_that_changes_is_known_and_no_error_is_a_success() {
    QTemporaryDir folder;
    const std::filesystem::path file = folder.filePath("r.h5").toStdString(), other = folder.filePath("o.h5").toStdString();
    test::SyntheticOptions options;
    options.tokens = 120;
    options.layers = 2;
    test::write_synthetic_record(file, options);
    std::filesystem::copy_file(file, other);
    const auto record = RunRecord::open(file);
    QCOMPARE(record->file_change(), FileChange::none);
    std::filesystem::resize_file(file, 2000);
    QCOMPARE(record->file_change(), FileChange::changed);
    QString said;
    try {
      record->layer_stream("dense", 1);
    } catch (const Error& error) {
      said = error.what();
    }
    QVERIFY2(said.contains("found the end of the file") && !said.contains("Success"), qPrintable(said));
    std::filesystem::rename(other, file);
    QCOMPARE(record->file_change(), FileChange::replaced);
    std::filesystem::remove(file);
    QCOMPARE(record->file_change(), FileChange::gone);
  }

  void synthetic_round_trip() {
    test::SyntheticOptions o;
    o.tokens = 150;
    o.layers = 3;
    o.sliding_layers = {1};
    write_synthetic_record(at("a.h5"), o);
    QVERIFY(parts_of("a.h5").isEmpty());
    const auto record = RunRecord::open(at("a.h5"));
    QCOMPARE(record->length(), 150);
    const TokenTable tokens = test::synthetic_tokens(150, 1);
    QCOMPARE(record->tokens().text, tokens.text);
    QCOMPARE(record->tokens().ids, tokens.ids);
    QCOMPARE(record->tokens().end, tokens.end);
    QCOMPARE(record->methods().size(), 3u);
    QCOMPARE(record->methods()[2].id, std::string("indexer-k64-g1"));
    QVERIFY(record->find_method("nonsense") == nullptr);
    QVERIFY(!record->layer_stream("nonsense", 0) && !record->head_statistics("../meta"));
    for (const auto& method : record->methods()) {
      const LayerStream written = test::synthetic_stream(o, method.id, 2);
      const auto read = record->layer_stream(method.id, 2);
      QCOMPARE(read->q, written.q);
      QCOMPARE(read->k, written.k);
      QCOMPARE(read->lse, written.lse);
      QCOMPARE(read->scale, written.scale);
      QVERIFY(!record->layer_stream(method.id, 1) && !record->layer_stream(method.id, 3) &&
              !record->layer_stream(method.id, -1));
      QVERIFY(!record->availability(method.id, 1).thumbnails);
      QVERIFY(record->thumbnail(method.id, 0, 6) && !record->thumbnail(method.id, 0, 7));
      QCOMPARE(bool(record->supports(method.id, 0, SupportKind::support)), method.id != "dense");
      QVERIFY(std::isnan(record->head_statistics(method.id)->at(1, 0, 0)));
    }
    // Thumbnails, marginals and streams tell the same story.
    const auto stream = record->layer_stream("dense", 0);
    for (const int head : {0, 5, 6}) {
      const HeadSelector selector{head == 6 ? HeadSelector::Kind::mean : HeadSelector::Kind::head, head % 6};
      const auto thumbnail = record->thumbnail("dense", 0, head);
      const Tile tile = compute_tile(*stream, selector, {1, 0, 0});
      QCOMPARE(thumbnail->cell, 2);
      const std::vector<float> received = record->mass_received("dense", 0, head);
      std::vector<double> sums(150, 0);
      for (std::int64_t i = 0; i < tile.rows; ++i)
        for (std::int64_t j = 0; j <= i; ++j) {
          const auto cell = static_cast<std::size_t>(i * tile.columns + j);
          QVERIFY(std::abs(thumbnail->max[static_cast<std::size_t>(i * thumbnail->size + j)] - tile.max[cell]) <=
                  0.004f * tile.max[cell]);
          QVERIFY(std::abs(thumbnail->mean[static_cast<std::size_t>(i * thumbnail->size + j)] - tile.mean[cell]) <=
                  0.004f * tile.mean[cell]);
        }
      for (std::int64_t t = 0; t < 150; ++t) {
        const std::vector<float> row = probability_row(*stream, selector, t);
        for (std::size_t key = 0; key < row.size(); ++key) sums[key] += row[key];
      }
      for (std::size_t key = 0; key < 150; ++key)
        QVERIFY(std::abs(received[key] - sums[key] / static_cast<double>(150 - key)) < 1e-5);
    }
  }

  void every_field_round_trips() {
    RunMeta meta = small_meta();
    const MethodSummary summary = full_summary();
    {
      RecordWriter writer(at("b.h5"), meta, small_tokens());
      QCOMPARE(parts_of("b.h5").size(), 1);
      QVERIFY(!std::filesystem::exists(at("b.h5")));
      const std::int64_t before = writer.bytes_written();
      MethodSummary first = summary;
      first.answer = "replaced later";
      writer.write_summary(first);
      MethodSummary dense;
      dense.id = "dense";
      writer.write_summary(dense);
      writer.write_summary(summary);
      QVERIFY(writer.bytes_written() > before);
      meta.complete = false;
      meta.kept_note = "half";
      writer.finish(meta);
    }
    const auto record = RunRecord::open(at("b.h5"));
    const RunMeta& m = record->meta();
    QCOMPARE(m.spec_json, meta.spec_json);
    QCOMPARE(m.model_name, meta.model_name);
    QCOMPARE(m.model_path, std::string("/a/b\xEF\xBF\xBD.gguf"));
    QVERIFY(m.layers == meta.layers);
    QCOMPARE(m.max_q_heads(), 6);
    QVERIFY(m.is_full(0) && !m.is_full(1) && !m.is_full(3) && !m.is_full(-1));
    QCOMPARE(m.task_reference, meta.task_reference);
    QCOMPARE(m.indexer_trained_length, 4096);
    QCOMPARE(m.warmups, 2);
    QCOMPARE(m.kept_note, std::string("half"));
    QCOMPARE(m.warnings, meta.warnings);
    QVERIFY(m.chat == true);
    QVERIFY(!m.complete);
    QCOMPARE(record->tokens().text, small_tokens().text);
    QCOMPARE(record->tokens().begin, small_tokens().begin);
    QCOMPARE(record->methods().size(), 2u);
    const MethodSummary& s = record->methods()[0];
    QCOMPARE(s.id, summary.id);
    QVERIFY(s.budget == summary.budget);
    QCOMPARE(s.name + s.title + s.fingerprint, summary.name + summary.title + summary.fingerprint);
    QVERIFY(s.role == summary.role && s.scope == summary.scope && s.score == summary.score);
    QCOMPARE(s.look, 11);
    QVERIFY(s.parameters == summary.parameters);
    QCOMPARE(s.granularity, 4);
    QCOMPARE(s.density, 0.25);
    QCOMPARE(s.backend + s.label + s.plan, summary.backend + summary.label + summary.plan);
    QVERIFY(!s.causal && !s.complete);
    QCOMPARE(s.ttft.q1, 9.25);
    QVERIFY(std::isnan(s.ttft.q3));
    QCOMPARE(s.ttft.repeats, 3);
    QCOMPARE(s.ttft_samples, summary.ttft_samples);
    QVERIFY(s.load && s.load->seconds == 1.5 && s.load->other_cpus == 0.75 && s.load->cpus == 2 && s.load->threads == 1);
    QCOMPARE(s.stages[7].median, 8.0);
    QVERIFY(s.layer_stages == summary.layer_stages);
    same(s.captured_mass_per_layer, summary.captured_mass_per_layer);
    same(s.oracle_recall_per_layer, summary.oracle_recall_per_layer);
    same(s.output_l2_per_layer, summary.output_l2_per_layer);
    same(s.output_frobenius_per_layer, summary.output_frobenius_per_layer);
    QVERIFY(s.reference_answer && s.reference_answer->tokens == 7 && s.reference_answer->nll_mean == 0.25 &&
            s.reference_answer->top1_agrees == 6);
    QVERIFY(s.answer_kl() == 0.5);  // over the answer, not at the last position
    QVERIFY(s.oracle_recall_mean == 1.0 && !s.oracle_recall_95_mean && s.kl_to_dense == 1e-9);
    QVERIFY(s.top1_agrees.has_value() && !*s.top1_agrees);
    QCOMPARE(s.answer, summary.answer);
    QCOMPARE(s.answer_ids, summary.answer_ids);
    QVERIFY(s.answer_cut);
    QVERIFY(s.task_score == 33.3);
    QCOMPARE(s.peak_bytes, 1LL << 40);
    QVERIFY(!record->methods()[1].budget && !record->methods()[1].top1_agrees);
    QVERIFY(!record->mass_curves("dense") && record->mass_received("dense", 0, 0).empty());
  }

  void layers_have_sizes_of_their_own() {
    test::SyntheticOptions o;
    o.tokens = 90;
    o.layers = 4;
    o.other_layers = {
        {1, {"linear", 16, 16, 128, 0, 0.1}}, {2, {"full", 4, 4, 16, 0, 0.25}}, {3, {"sliding", 8, 2, 24, 32, 0.2}}};
    write_synthetic_record(at("sizes.h5"), o);
    const auto record = RunRecord::open(at("sizes.h5"));
    const RunMeta& meta = record->meta();
    QCOMPARE(meta.max_q_heads(), 6);  // of layer 0; the linear layer's heads do not count
    for (int layer = 0; layer < 4; ++layer) QVERIFY(meta.layer(layer) == test::synthetic_layer(o, layer));
    const std::string method = "indexer-k64-g1";
    const auto stream = record->layer_stream(method, 2);
    QVERIFY(stream && stream->num_q_heads == 4 && stream->num_kv_heads == 4 && stream->head_dim == 16);
    QCOMPARE(stream->q, test::synthetic_stream(o, method, 2).q);
    QVERIFY(record->thumbnail(method, 2, 4) && !record->thumbnail(method, 2, 5));
    QVERIFY(record->mass_received(method, 0, 6).size() == 90 && record->mass_received(method, 2, 5).empty());
    QVERIFY(!record->availability(method, 1).stream && record->mass_received(method, 3, 0).empty());
    const auto statistics = record->head_statistics(method);
    const auto curves = record->mass_curves(method);
    QCOMPARE(statistics->heads, 7);
    double sum = 0;
    for (int head = 0; head < 4; ++head) sum += static_cast<double>(statistics->at(2, head, 4));
    QVERIFY(std::isnan(statistics->at(2, 4, 4)) && std::isnan(statistics->at(2, 5, 4)));
    QVERIFY(std::abs(static_cast<double>(statistics->at(2, 6, 4)) - sum / 4) < 1e-5);  // the mean, in the last place
    QVERIFY(std::isnan(curves->at(2, 5, 0)[3]) && std::isfinite(curves->at(2, 6, 0)[3]));
    for (int head = 0; head < 7; ++head) QVERIFY(std::isnan(statistics->at(1, head, 0)));
  }

  void supports_belong_to_head_groups() {
    test::SyntheticOptions o;
    o.tokens = 90;
    o.layers = 2;
    o.other_layers = {{1, {"full", 4, 1, 16, 0, 0.25}}};
    o.methods = {"dense", "indexer-k8-g1", "kv_topk-k8-g1", "head_topk-k8-g1"};
    write_synthetic_record(at("groups.h5"), o);
    const auto record = RunRecord::open(at("groups.h5"));
    const std::pair<std::string, std::array<int, 2>> methods[] = {
        {"indexer-k8-g1", {1, 1}}, {"kv_topk-k8-g1", {2, 1}}, {"head_topk-k8-g1", {6, 4}}};
    for (const auto& [method, groups] : methods)
      for (int layer = 0; layer < 2; ++layer) {
        const int count = groups[static_cast<std::size_t>(layer)];
        for (int group = 0; group < count; ++group) {
          const auto support = record->supports(method, layer, SupportKind::support, group);
          const auto frequency = record->selection_frequency(method, layer, group);
          QVERIFY(support && record->supports(method, layer, SupportKind::wasted, group));
          QCOMPARE(frequency.size(), std::size_t{90});
          for (std::int64_t key = 0; key < 90; ++key) {
            int rows = 0;
            for (std::int64_t t = key; t < 90; ++t) rows += support->test(t, key);
            QVERIFY(std::abs(frequency[static_cast<std::size_t>(key)] -
                             static_cast<float>(rows) / static_cast<float>(90 - key)) < 1e-5f);
          }
          if (group > 0) {
            const auto first = record->supports(method, layer, SupportKind::support);
            bool differ = false;
            for (std::int64_t t = 0; t < 90; ++t) differ |= first->row(t) != support->row(t);
            QVERIFY(differ);
          }
        }
        QVERIFY(!record->supports(method, layer, SupportKind::support, count));
        QVERIFY(record->selection_frequency(method, layer, count).empty());
      }
    // The target of a head is the top-k of its own probabilities.
    const auto stream = record->layer_stream("head_topk-k8-g1", 0);
    const auto target = record->supports("head_topk-k8-g1", 0, SupportKind::target, 4);
    const auto row = probability_row(*stream, {HeadSelector::Kind::head, 4}, 80);
    std::vector<float> sorted = row;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    for (std::size_t key = 0; key < row.size(); ++key)
      QCOMPARE(target->test(80, static_cast<std::int64_t>(key)), row[key] >= sorted[7]);
    // A writer that does not bring one bitmap a group is refused.
    RecordWriter writer(at("wrong.h5"), record->meta(), record->tokens());
    writer.write_summary(*record->find_method("kv_topk-k8-g1"));
    const SupportBitmap one(90);
    QVERIFY_EXCEPTION_THROWN(writer.write_supports("kv_topk-k8-g1", 0, SupportKind::support, {&one, 1}), Error);
  }

  void the_selected_heads_choose_a_support() {
    using Kind = HeadSelector::Kind;
    const LayerMeta layer{"full", 6, 2, 8, 0, 1};
    MethodSummary method;
    const auto group = [&](SupportScope scope, HeadSelector head) {
      method.scope = scope;
      return support_group(method, layer, head).value_or(-1);
    };
    for (const HeadSelector head :
         {HeadSelector{Kind::mean, 0}, HeadSelector{Kind::head, 5}, HeadSelector{Kind::group, 1}})
      QCOMPARE(group(SupportScope::layer, head), 0);
    QCOMPARE(group(SupportScope::kv_head, {Kind::head, 2}), 0);
    QCOMPARE(group(SupportScope::kv_head, {Kind::head, 3}), 1);
    QCOMPARE(group(SupportScope::kv_head, {Kind::group, 1}), 1);
    QCOMPARE(group(SupportScope::kv_head, {Kind::mean, 0}), -1);
    QCOMPARE(group(SupportScope::q_head, {Kind::head, 5}), 5);
    QCOMPARE(group(SupportScope::q_head, {Kind::head, 6}), -1);
    QCOMPARE(group(SupportScope::q_head, {Kind::group, 1}), -1);
    QCOMPARE(group(SupportScope::q_head, {Kind::mean, 0}), -1);
  }

  void records_of_schema_1_open_as_before() {
    const auto record = RunRecord::open(HEADROOM_SOURCE_DIR "/sample_data/records/smollm2-garden.h5");
    const RunMeta& meta = record->meta();
    QCOMPARE(meta.num_layers(), 30);
    for (const LayerMeta& layer : meta.layers) QVERIFY((layer == LayerMeta{"full", 9, 3, 64, 0, 0.125}));
    QCOMPARE(meta.model_name, std::string("SmolLM2-135M-Instruct.Q4_1"));
    const MethodSummary& dense = record->methods()[0];
    QVERIFY(dense.is_dense() && dense.title == "Dense" && dense.score == ScoreKind::none && dense.look == 0);
    QVERIFY(dense.baselines.size() == 1 && dense.baselines[0].ttft.median == 711.142837 && dense.timing_plan);
    QCOMPARE(meta.indexer_path, std::string("smollm2-135m-instruct-d128.safetensors"));
    for (const MethodSummary& method : record->methods()) {
      QVERIFY(method.scope == SupportScope::layer && method.fingerprint.empty() && method.parameters.empty());
      QCOMPARE(method.captured_mass_per_layer.size(), std::size_t{30});
      QCOMPARE(method.layer_stages.size(), std::size_t{30});
      QVERIFY(!method.answer.empty() && method.ttft.median > 0 && !method.ttft_samples.empty());
      if (method.name == "oracle") {
        QVERIFY(method.role == MethodRole::reference && method.score == ScoreKind::mass && method.look == 1);
        QVERIFY(method.oracle_recall_mean == 1.0);
        QCOMPARE(method.title, std::string("Oracle top-k"));
        QCOMPARE(method.captured_mass_mean, 0.9112810147274918);
        QCOMPARE(method.captured_mass_per_layer[7], 0.877824386551783);
        QVERIFY(method.kl_to_dense == 0.2051772877037093 && method.answer_kl() == method.kl_to_dense);
        // What schemas before 3 called L2 was the Frobenius distance, and "missed" was all that was not captured.
        QVERIFY(method.output_l2_per_layer.empty() && method.output_frobenius_per_layer.size() == 30);
        const auto names = record->head_statistics(method.id)->names;
        QVERIFY(std::count(names.begin(), names.end(), "uncaptured_mass") == 1 &&
                std::count(names.begin(), names.end(), "missed_mass") == 0);
        QCOMPARE(method.answer, std::string("The code of the seed bank is 7401926."));
      }
      if (method.name == "indexer") {
        QVERIFY(method.role == MethodRole::deployable && method.score == ScoreKind::index && method.look == 2);
        QVERIFY(method.oracle_recall_mean == 0.8202713943051686 && !method.oracle_recall_95_mean);
        QCOMPARE(method.ttft.q3, 366.545622);
        QCOMPARE(method.density, 0.20108585702194423);
        QVERIFY(method.top1_agrees == true && method.budget == (Budget{BudgetKind::tokens, 128}));
        QVERIFY(record->supports(method.id, 18, SupportKind::support) && record->layer_stream(method.id, 18));
        QCOMPARE(record->selection_frequency(method.id, 18).size(), static_cast<std::size_t>(record->length()));
      }
    }
  }

  void values_beyond_float16_stay_float32() {
    test::SyntheticOptions o;
    o.tokens = 40;
    o.layers = 1;
    o.float16 = false;
    o.query_begin = 30;
    write_synthetic_record(at("c.h5"), o);
    const auto read = RunRecord::open(at("c.h5"))->layer_stream("dense", 0);
    const LayerStream written = test::synthetic_stream(o, "dense", 0);
    QCOMPARE(read->query_begin, 30);
    QCOMPARE(read->q, written.q);
    QCOMPARE(read->k, written.k);
  }

  void unfinished_records_are_removed() {
    {
      RecordWriter writer(at("d.h5"), small_meta(), small_tokens());
      writer.write_summary(full_summary());
    }
    QVERIFY(parts_of("d.h5").isEmpty() && !std::filesystem::exists(at("d.h5")));
    QVERIFY_EXCEPTION_THROWN(RecordWriter(at("no/such/folder/d.h5"), small_meta(), small_tokens()), Error);
    // What a killed writer left is refused by name.
    std::ofstream(at("d.h5.part"), std::ios::binary) << std::string(4096, '\0');
    try {
      RunRecord::open(at("d.h5.part"));
      QFAIL("was opened");
    } catch (const Error& error) {
      QVERIFY2(QString(error.what()).contains("never finished"), error.what());
    }
    RecordWriter(at("d.h5"), small_meta(), small_tokens()).finish(small_meta());
    QCOMPARE(RunRecord::open(at("d.h5"))->length(), 3);
  }

  void results_are_shared_while_held_and_threads_may_read() {
    test::write_synthetic_record(at("e.h5"), {.tokens = 60, .layers = 2});
    const auto record = RunRecord::open(at("e.h5"));
    const auto held = record->layer_stream("dense", 1);
    QCOMPARE(record->layer_stream("dense", 1).get(), held.get());
    std::atomic<int> wrong = 0;
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        for (int round = 0; round < 20; ++round) {
          const auto other = RunRecord::open(at("e.h5"));
          const auto& source = i % 2 ? record : other;
          wrong += source->layer_stream("dense", 1)->q != held->q;
          wrong += !source->supports("oracle-k64-g1", round % 2, SupportKind::target);
          wrong += source->thumbnail("dense", 0, round % 7) == nullptr;
        }
      });
    threads.clear();
    QCOMPARE(wrong.load(), 0);
  }

  void float16_is_exact() {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
      const float value = from_half(static_cast<std::uint16_t>(bits));
      if (!std::isnan(value)) QCOMPARE(to_half(value), static_cast<std::uint16_t>(bits));
    }
    QCOMPARE(from_half(0x3c00), 1.0f);
    QCOMPARE(from_half(0x0001), 0x1p-24f);
    QCOMPARE(from_half(0x7bff), 65504.0f);
    QCOMPARE(to_half(65520.0f), static_cast<std::uint16_t>(0x7c00));
    QCOMPARE(to_half(1.0f + 0x1p-11f), static_cast<std::uint16_t>(0x3c00));  // ties to even
    QCOMPARE(to_half(1.0f + 3 * 0x1p-11f), static_cast<std::uint16_t>(0x3c02));
    QVERIFY(to_half_lossless(std::vector<float>{1.0f, 1.0f + 0x1p-12f}).empty());
    QVERIFY(to_half_lossless(std::vector<float>{1.0f, std::numeric_limits<float>::infinity()}).empty());
    QCOMPARE(to_half_lossless(std::vector<float>{-0.0f, 2.5f}).size(), 2u);
  }

  void checksums_agree() {
    const std::string digits = "123456789";
    const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(digits.data()), digits.size());
    QCOMPARE(crc32c(bytes), 0xe3069283u);  // the check value of CRC-32C
    std::mt19937 random(1);
    std::vector<std::uint8_t> data(1000);
    for (auto& byte : data) byte = static_cast<std::uint8_t>(random());
    for (const std::size_t size : {0, 1, 7, 8, 9, 63, 1000}) {
      const std::span<const std::uint8_t> part(data.data(), size);
      QCOMPARE(crc32c(part), crc32c_by_table(part));
      QCOMPARE(crc32c(part.subspan(size / 2), crc32c(part.first(size / 2))), crc32c(part));
    }
  }
};

QTEST_GUILESS_MAIN(TestRecord)
#include "test_record.moc"
