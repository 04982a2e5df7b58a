// SPDX-License-Identifier: Apache-2.0
// Every registered method through a run: with a budget of everything it answers as dense does, with a small one its
// record holds supports for each of its head groups, and what it says of pairs is what they hold.
#include <ATen/core/Tensor.h>

#include <QtTest>
#include <cmath>

#include "attention/registry.h"
#include "base/causal.h"
#include "experiment/bench/bench_setup.h"
#include "experiment/passes/dense_streams.h"
#include "experiment/passes/scored_pass.h"
#include "experiment/run/run.h"
#include "indexer/indexer.h"
#include "record/run_record.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::experiment;

class TestEveryMethod : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }

  protocol::RunSpec spec() const {
    protocol::RunSpec spec;
    spec.model = path("tiny.gguf");
    spec.prompt = std::string();
    for (int i = 0; i < 45; ++i) *spec.prompt += "item " + std::to_string(i * 7919 % 1000) + "\n";
    spec.methods.clear();
    for (const attention::PolicyEntry& entry : attention::policies())
      if (!entry.traits.needs_index) spec.methods.emplace_back(entry.traits.name);
    spec.repeats = 1;
    spec.plan = "none";
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.max_new_tokens = 6;
    return spec;
  }

 private slots:
  void initTestCase() {
    test::TinyModelOptions options;
    options.layers = 4;
    test::write_tiny_model(path("tiny.gguf"), options);
  }

  void a_budget_of_everything_answers_as_dense() {
    auto everything = spec();
    everything.budgets = {parse_budget("100%")};
    const auto outcome = run(everything, {});
    QCOMPARE(outcome.methods.size(), everything.methods.size());
    const auto& dense = outcome.methods.front();
    QVERIFY(dense.is_dense());
    for (const record::MethodSummary& method : outcome.methods) {
      if (method.is_dense()) continue;
      QVERIFY2(method.answer_ids == dense.answer_ids, method.id.c_str());
      QVERIFY2(*method.kl_to_dense < 1e-6 && method.forced->kl_p95 < 1e-6, method.id.c_str());
      QVERIFY2(std::abs(method.density - 1) < 1e-9, method.id.c_str());
    }
  }

  void so_does_an_indexer_and_a_share_of_everything() {
    const auto session = std::make_shared<Session>(path("tiny.gguf"));
    const auto& decoder = session->decoder(model::on_one_device(at::kCPU), at::kFloat, {});
    const auto backends =
        attention::make_backends(c10::Device(c10::DeviceType::CPU), at::kFloat, full_head_dims(session->config()));
    std::vector<std::int32_t> ids;
    for (const auto& token : session->tokenizer().encode(*spec().prompt)) ids.push_back(token.id);
    const auto dense_policy = attention::make_dense_policy();
    model::PrefillOptions pass;
    pass.policy = dense_policy.get();
    pass.backend = pass.dense_backend = backends.front().get();
    const auto streams = std::make_shared<DenseStreams>();
    QVERIFY(!streams->holds(ids));
    streams->fill(decoder, ids, pass);
    QVERIFY(streams->holds(ids) && !streams->holds(std::span(ids).first(5)));
    ScoreOptions options;
    options.max_new_tokens = 6;
    const auto dense = scored_pass(decoder, ids, pass, options, nullptr);
    for (const attention::PolicyEntry& entry : attention::policies()) {
      if (entry.traits.is_dense()) continue;
      for (const char* budget : {"100%", "p1"}) {
        if (budget[0] == 'p' && !entry.traits.takes_mass_budget) continue;
        attention::PolicySettings settings;
        settings.budget = parse_budget(budget);
        settings.granularity = entry.traits.least_granularity;
        settings.dense_stream = streams;
        const std::vector<int> layers = {0, 1, 2, 3};
        settings.index = indexer::random_indexer(session->config().width, 16, layers);
        const auto policy = entry.make(entry.traits, settings);
        pass.policy = policy.get();
        const auto found = scored_pass(decoder, ids, pass, options, &dense);
        QVERIFY2(found.ids == dense.ids && found.forced->kl_p95 < 1e-6, policy->id().c_str());
      }
    }
  }

  void records_hold_supports_of_every_head_group() {
    auto small = spec();
    small.budgets = {parse_budget("24")};
    small.out = path("all.h5");
    const auto outcome = run(small, {});
    const auto record = record::RunRecord::open(path("all.h5"));
    const std::int64_t length = record->length();
    QVERIFY(length > 128);
    for (const record::MethodSummary& method : record->methods()) {
      if (method.is_dense()) continue;
      const auto& sizes = record->meta().layer(3);
      const auto groups = num_support_groups(method.scope, sizes.num_q_heads, sizes.num_kv_heads);
      double pairs = 0;
      for (int layer = 0; layer < 4; ++layer) {
        double of_layer = 0;
        for (std::int64_t group = 0; group < groups; ++group) {
          const auto support =
              record->supports(method.id, layer, record::SupportKind::support, static_cast<int>(group));
          of_layer += support ? static_cast<double>(support->count_all()) : causal_pairs(length);
        }
        pairs += of_layer / static_cast<double>(groups);
      }
      QVERIFY2(std::abs(method.density - pairs / (4 * causal_pairs(length))) < 1e-6, method.id.c_str());
      QVERIFY2(method.captured_mass_mean > 0 && method.captured_mass_mean <= 1 + 1e-6, method.id.c_str());
      QVERIFY2(method.oracle_recall_mean && *method.oracle_recall_mean >= 0, method.id.c_str());
      QVERIFY2(method.granularity == (method.name == "xattention" || method.name == "flex_prefill" ? 64 : 1),
               method.id.c_str());
    }
    const auto recall = [&](const char* id) { return *record->find_method(id)->oracle_recall_mean; };
    QCOMPARE(recall("oracle-k24-g1"), 1.0);
    QCOMPARE(recall("head_oracle-k24-g1"), 1.0);
    QVERIFY(recall("static_oracle-k24-g1") > 0.5 && recall("static_oracle-k24-g1") < 1);
    // The first layer's stream is dense's own.
    QCOMPARE(record->find_method("static_oracle-k24-g1")->oracle_recall_per_layer[0], 1.0);
  }

  // Its dense run goes over the prompt and the answer.
  void a_static_oracle_scores_a_reference_answer() {
    auto task = spec();
    task.prompt.reset();
    task.task = "niah_single_1";
    task.length = 512;
    task.methods = {"static_oracle", "dense", "oracle"};
    task.budgets = {parse_budget("100%")};
    const auto outcome = run(task, {});
    QCOMPARE(outcome.methods.size(), std::size_t{3});
    QVERIFY(outcome.methods[0].is_dense() && outcome.methods[0].reference_answer);
    for (const auto& method : outcome.methods) {
      QVERIFY(method.reference_answer);
      QVERIFY(std::abs(method.reference_answer->nll_mean - outcome.methods[0].reference_answer->nll_mean) < 1e-5);
    }
    task.budgets = {parse_budget("40")};
    const auto small = run(task, {});
    QVERIFY(small.methods[1].reference_answer->nll_mean != outcome.methods[0].reference_answer->nll_mean);
  }

  void a_benchmark_refuses_what_needs_a_dense_run() {
    BenchSpec bench;
    bench.model = path("tiny.gguf");
    bench.methods = {"static_oracle"};
    bench.budgets = {parse_budget("24")};
    const BenchModel model = open_bench_model(bench);
    try {
      sparse_methods(bench, model);
      QFAIL("not refused");
    } catch (const Error& error) {
      QVERIFY(error.kind() == ErrorKind::usage && std::string(error.what()).find("dense run") != std::string::npos);
    }
  }
};

QTEST_GUILESS_MAIN(TestEveryMethod)
#include "test_every_method.moc"
