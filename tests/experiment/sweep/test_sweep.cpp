// SPDX-License-Identifier: Apache-2.0
// Sweeps on a tiny model: what a row says against slow, obvious references; a budget of everything is dense for every
// method; stopped and gone on with, in shards and merged, the file is the same.
#include <ATen/ops/log_softmax.h>

#include <QtTest>
#include <fstream>

#include "attention/registry.h"
#include "base/error.h"
#include "base/utf8.h"
#include "experiment/passes/scored_pass.h"
#include "experiment/sweep/sample_scores.h"
#include "experiment/sweep/sweep.h"
#include "indexer/indexer.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep/sweep_merge.h"
#include "support/tiny_model.h"
#include "tasks/task.h"

using namespace headroom;
using namespace headroom::experiment;

namespace {

std::string file_bytes(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

class TestSweep : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::string model_, indexer_;

  std::string path(const std::string& name) const {
    return folder_.filePath(QString::fromStdString(name)).toStdString();
  }
  SweepSpec spec(const std::string& out) const {
    SweepSpec spec;
    spec.model = model_;
    spec.tasks = {"niah_single_1"};
    spec.lengths = {700};
    spec.methods = {"oracle", "sink_window", "random"};
    spec.budgets = {{BudgetKind::tokens, 16}};
    spec.samples = 3;
    spec.calibration = 1;
    spec.max_new_tokens = 6;
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.out = path(out);
    return spec;
  }
  static SweepOutcome run(const SweepSpec& spec, const JobContext& job = {}, const SweepCallbacks& callbacks = {}) {
    auto prepared = prepare_sweep(spec, job);
    return sweep(prepared, job, callbacks);
  }
  /// Every method of the registry that runs on this model, at one budget and granularity.
  std::vector<std::string> all_methods() const {
    std::vector<std::string> names;
    for (const auto& entry : attention::policies())
      if (!entry.traits.is_dense()) names.emplace_back(entry.traits.name);
    return names;
  }
  template <typename Work>
  static QString refused(Work&& work) {
    try {
      work();
    } catch (const Error& error) {
      return QString::fromStdString(error.what());
    }
    return "nothing was refused";
  }

 private slots:
  void initTestCase() {
    qputenv("SOURCE_DATE_EPOCH", "1780000000");
    test::TinyModelOptions options;
    options.layers = 2;
    model_ = path("tiny.gguf");
    test::write_tiny_model(model_, options);
    indexer_ = path("indexer.safetensors");
    const Session session(model_);
    const std::vector<int> layers = {0, 1};
    const auto random = indexer::random_indexer(session.config().width, 16, layers);
    indexer::Indexer mine = *random;
    mine.metadata.base_model_sha256 = session.checkpoint().hash();
    mine.metadata.trained_length = 512;
    indexer::save_indexer(mine, indexer_);
  }

  void a_row_says_what_a_scored_pass_says() {
    const auto outcome = run(spec("row.h5"));
    QVERIFY(outcome.record.meta.complete);
    QCOMPARE(outcome.record.rows.size(), std::size_t{1 + 3 * 4});
    const record::SweepRow& row = outcome.record.rows[2];  // the first scored sample, oracle
    QCOMPARE(outcome.record.meta.methods[row.method].name, "oracle");
    auto prepared = prepare_sweep(spec("reference.h5"));
    const auto prompt = sweep_prompt(prepared, row.sample);
    const auto& decoder = prepared.session->decoder(model::on_one_device(at::kCPU), prepared.dtype, {});
    const auto& ids = prompt.table.ids;
    model::PrefillOptions pass;
    pass.backend = pass.dense_backend = prepared.backends.front().get();
    ScoreOptions score;
    score.max_new_tokens = 6;
    score.ends = prepared.session->tokenizer().end_tokens();
    pass.policy = prepared.methods.methods[0].policy.get();
    const ScoredAnswer dense = scored_pass(decoder, ids, pass, score, nullptr);
    for (std::size_t i = 1; i < prepared.methods.methods.size(); ++i) {
      const record::SweepRow& found = outcome.record.rows[1 + i];
      pass.policy = prepared.methods.methods[i].policy.get();
      const ScoredAnswer answer = scored_pass(decoder, ids, pass, score, &dense);
      QCOMPARE(found.answer, replace_invalid_utf8(prepared.session->tokenizer().decode(answer.ids)));
      QVERIFY(std::abs(found.forced->kl_mean - answer.forced->kl_mean) < 1e-6);
      QVERIFY(std::abs(found.forced->kl_p95 - answer.forced->kl_p95) < 1e-6);
      QCOMPARE(found.forced->top1_flips, answer.forced->top1_flips);
      QCOMPARE(found.forced->first_divergence, answer.forced->first_divergence);
      QCOMPARE(found.forced->positions, answer.forced->positions);
      QCOMPARE(*found.score, tasks::score(*prompt.sample, found.answer));
      QVERIFY(found.forced->nll_mean > 0);
      // 16 keys a row, all of the first 16 rows' histories.
      const double length = static_cast<double>(ids.size());
      QCOMPARE(found.density, (16 * (length - 16) + 136) / (length * (length + 1) / 2));
      QCOMPARE(found.output_l2.size(), std::size_t{2});
      QVERIFY(found.output_l2[0] > 0 && found.output_l2[1] > 0);
    }
    QCOMPARE(outcome.record.rows[1].answer, replace_invalid_utf8(prepared.session->tokenizer().decode(dense.ids)));
    // Curves of the calibration sample: they rise to 1.
    QCOMPARE(outcome.record.curves.size(), std::size_t{1});
    const auto& curves = outcome.record.curves.front();
    QVERIFY(curves.sample.calibration);
    for (std::size_t i = 1; i + 1 < curves.budgets.size(); ++i)
      QVERIFY(curves.at(1, 0, i) >= curves.at(1, 0, i - 1) - 1e-3f);
  }

  void a_budget_of_everything_is_dense_for_every_method_data() {
    QTest::addColumn<int>("granularity");
    QTest::newRow("a query") << 1;
    QTest::newRow("blocks of 16") << 16;
  }
  void a_budget_of_everything_is_dense_for_every_method() {
    QFETCH(int, granularity);
    auto wanted = spec("everything" + std::to_string(granularity) + ".h5");
    wanted.methods = all_methods();
    wanted.budgets = {{BudgetKind::fraction, 1.0}};
    wanted.granularities = {granularity};
    wanted.indexer = indexer_;
    wanted.samples = 2;
    wanted.calibration = 0;
    wanted.prompt_tail = 20;
    const auto outcome = run(wanted);
    QVERIFY(outcome.record.meta.methods.size() >= 5);
    for (const auto& row : outcome.record.rows) {
      const auto& method = outcome.record.meta.methods[row.method];
      const record::SweepRow& dense =
          outcome.record.rows[static_cast<std::size_t>(&row - outcome.record.rows.data()) - row.method];
      QVERIFY2(row.forced->kl_mean < 1e-6 && row.forced->kl_p95 < 1e-6,
               qPrintable(QString("%1: %2").arg(method.id.c_str()).arg(row.forced->kl_mean)));
      QVERIFY2(row.answer == dense.answer && !row.forced->first_divergence, method.id.c_str());
      QVERIFY2(std::abs(row.density - 1) < 1e-9, method.id.c_str());
      // Inside the prompt causal methods alone are scored.
      QCOMPARE(row.prompt_nll.has_value(), method.causal);
      QCOMPARE(row.prompt_kl.has_value(), method.causal && !method.is_dense());
      if (row.prompt_kl) QVERIFY(*row.prompt_kl < 1e-6 && std::abs(*row.prompt_nll - *dense.prompt_nll) < 1e-6);
    }
  }

  void stopped_and_gone_on_with_is_the_same_file() {
    const auto whole = run(spec("whole.h5"));
    for (const int rows : {0, 1, 2, 5, 9}) {
      auto part = spec("part" + std::to_string(rows) + ".h5");
      std::stop_source stop;
      int finished = 0;
      SweepCallbacks callbacks;
      std::string kept;
      callbacks.progress = [&](const SweepProgress&) {
        if (finished == rows) stop.request_stop();
      };
      callbacks.row_finished = [&](const record::SweepRow&) { ++finished; };
      callbacks.record_written = [&](const record::SweepRecord& record, const std::string& file) {
        kept = file;
        QVERIFY(!record.meta.complete);
        QCOMPARE(std::ssize(record.rows), std::ptrdiff_t{rows});
      };
      const QString stopped = refused([&] { run(part, {stop.get_token(), {}}, callbacks); });
      QVERIFY2(stopped.contains("cancel"), qPrintable(stopped));
      QCOMPARE(kept, part.out);
      QVERIFY(refused([&] { run(part); }).contains("--resume"));
      part.resume = true;
      finished = 0;
      const auto outcome = run(part);
      QCOMPARE(outcome.rows_made, std::int64_t{13 - rows});
      QCOMPARE(file_bytes(part.out) == file_bytes(spec("whole.h5").out), true);
    }
    // Going on with what is finished makes nothing anew.
    auto again = spec("whole.h5");
    again.resume = true;
    QCOMPARE(run(again).rows_made, std::int64_t{0});
    QCOMPARE(whole.rows_made, std::int64_t{13});
  }

  void another_setting_is_refused_by_name() {
    auto first = spec("settings.h5");
    first.samples = 1;
    run(first);
    first.resume = true;
    const auto changed = [&](auto&& change) {
      auto other = first;
      change(other);
      return refused([&] { prepare_sweep(other); });
    };
    QVERIFY(changed([](SweepSpec& s) { s.samples = 2; }).contains("another \"samples\""));
    QVERIFY(changed([](SweepSpec& s) { s.seed = 5; }).contains("another \"seed\""));
    QVERIFY(changed([](SweepSpec& s) { s.budgets = {{BudgetKind::tokens, 32}}; }).contains("another \"methods\""));
    QVERIFY(changed([](SweepSpec& s) { s.lengths = {730}; }).contains("another \"lengths\""));
    QVERIFY(changed([](SweepSpec& s) { s.max_new_tokens = 5; }).contains("another \"max_new_tokens\""));
    QVERIFY(changed([](SweepSpec& s) { s.dense_layers = {0}; }).contains("another \"dense_layers\""));
    QVERIFY(changed([](SweepSpec& s) { s.shards = 2; }).contains("another \"shard\""));
    QVERIFY(changed([](SweepSpec& s) { s.calibration = 0; }).contains("another \"calibration\""));
    test::TinyModelOptions options;
    options.layers = 2;
    options.seed = 9;
    test::write_tiny_model(path("other.gguf"), options);
    const QString model = changed([&](SweepSpec& s) { s.model = path("other.gguf"); });
    QVERIFY2(model.contains("another \"model_sha256\""), qPrintable(model));
    QCOMPARE(changed([](SweepSpec&) {}), QString("nothing was refused"));
  }

  void shards_and_merge_are_the_whole() {
    auto one = spec("one.h5");
    one.samples = 4;
    run(one);
    std::vector<record::SweepPart> parts;
    std::int64_t rows = 0;
    for (int shard = 1; shard <= 3; ++shard) {
      auto part = spec("shard" + std::to_string(shard) + ".h5");
      part.samples = 4;
      part.shard = shard;
      part.shards = 3;
      rows += run(part).rows_made;
      parts.push_back({part.out, record::read_sweep(part.out)});
    }
    QCOMPARE(rows, std::int64_t{17});
    OutputPlace place(path("merged.h5"), OutputKind::file);
    record::write_sweep(place, record::merge_sweeps(parts));
    QCOMPARE(file_bytes(path("merged.h5")) == file_bytes(one.out), true);
  }

  void own_prompts_need_no_reference() {
    std::ofstream(path("own.jsonl"))
        << "{\"input\": \"the river runs north of seven hills\", \"index\": 4}\n"
           "{\"messages\": [{\"role\": \"user\", \"content\": \"say something of the sea\"}]}\n";
    auto own = spec("own.h5");
    own.tasks.clear();
    own.lengths.clear();
    own.prompts = path("own.jsonl");
    own.budgets = {{BudgetKind::tokens, 8}};
    own.max_new_tokens.reset();
    const auto outcome = run(own);
    QCOMPARE(outcome.record.rows.size(), std::size_t{2 * 4});
    QVERIFY(!outcome.record.meta.tasks.front().has_score);
    for (const auto& row : outcome.record.rows) {
      QVERIFY(!row.score);
      QVERIFY(row.forced->positions >= 1 && row.forced->positions <= 64);
    }
    QVERIFY(std::any_of(outcome.record.rows.begin(), outcome.record.rows.end(),
                        [](const auto& row) { return row.forced->positions == 64; }));
    QCOMPARE(outcome.record.curves.size(), std::size_t{1});
    // The same with references has scores.
    std::ofstream(path("scored.jsonl")) << "{\"input\": \"one two three\", \"outputs\": [\"a\"], \"index\": 0}\n";
    own.prompts = path("scored.jsonl");
    own.out = path("scored.h5");
    QVERIFY(run(own).record.rows.front().score.has_value());
  }

  void what_cannot_be_swept_is_refused() {
    const auto changed = [&](auto&& change) {
      auto other = spec("refused.h5");
      change(other);
      return refused([&] { prepare_sweep(other); });
    };
    QVERIFY(changed([](SweepSpec& s) { s.tasks = {"nothing"}; }).contains("nothing"));
    QVERIFY(changed([](SweepSpec& s) { s.tasks.clear(); }).contains("--tasks"));
    QVERIFY(changed([](SweepSpec& s) { s.lengths.clear(); }).contains("--lengths"));
    QVERIFY(changed([](SweepSpec& s) { s.lengths = {4096}; }).contains("too long for the model's context"));
    QVERIFY(changed([](SweepSpec& s) { s.tasks = {"niah_single_1", "niah_single_1"}; }).contains("names one twice"));
    QVERIFY(changed([](SweepSpec& s) { s.samples = 0; }).contains("--samples"));
    QVERIFY(changed([](SweepSpec& s) { s.shard = 3, s.shards = 2; }).contains("--shard"));
    QVERIFY(changed([](SweepSpec& s) { s.out.clear(); }).contains("--out"));
    QVERIFY(changed([&](SweepSpec& s) { s.out = model_; }).contains("tiny.gguf"));
    QVERIFY(changed([](SweepSpec& s) { s.dense_layers = {7}; }).contains("--dense-layers"));
    QVERIFY(!QFile::exists(QString::fromStdString(path("refused.h5.rows.jsonl"))));
  }

  void preflight_says_what_samples_can_resolve() {
    auto wanted = spec("preflight.h5");
    wanted.samples = 50;
    const auto found = sweep_preflight(prepare_sweep(wanted));
    QCOMPARE(found.samples, std::int64_t{51});
    QCOMPARE(found.rows, std::int64_t{1 + 50 * 4});
    QVERIFY(found.memory_needed > 0);
    const QString notes = QString::fromStdString(found.notes[0] + found.notes[1]);
    QVERIFY2(notes.contains("50 pairs resolve ±6.0 points at best"), qPrintable(notes));
    QVERIFY2(notes.contains("at least 300 pairs"), qPrintable(notes));
    wanted.samples = 5;
    QVERIFY(
        QString::fromStdString(sweep_preflight(prepare_sweep(wanted)).notes[0]).contains("5 pairs give no interval"));
  }
};

QTEST_GUILESS_MAIN(TestSweep)
#include "test_sweep.moc"
