// SPDX-License-Identifier: Apache-2.0
// A model whose layers have windows but for every third: only the full ones are sparsified, recorded and distilled; the
// record shows the others as what they are.
#include <QtTest>
#include <cmath>
#include <nlohmann/json.hpp>

#include "experiment/distil/distill.h"
#include "experiment/run/run.h"
#include "indexer/indexer.h"
#include "record/run_record.h"
#include "small_run.h"

using namespace headroom;
using namespace headroom::experiment;

class TestHybridRun : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }
  const std::vector<std::int64_t> full_ = {2, 5};

  protocol::RunSpec spec(const char* out) const {
    auto spec = test::small_run(path("hybrid.gguf"), {.layers = 7, .window = 16, .full_every = 3});
    spec.out = path(out);
    return spec;
  }
  void check_kinds(const record::RunRecord& record) const {
    QCOMPARE(record.meta().architecture, std::string("gemma3"));
    QCOMPARE(record.meta().num_layers(), std::int64_t{7});
    for (std::int64_t layer = 0; layer < 7; ++layer) {
      const bool full = std::ranges::find(full_, layer) != full_.end();
      QCOMPARE(record.meta().layer(layer).kind, std::string(full ? "full" : "sliding"));
      QCOMPARE(record.meta().layer(layer).window, std::int64_t{full ? 0 : 16});
      QCOMPARE(record.meta().layer(layer).num_q_heads, std::int64_t{4});
      for (const auto& method : record.methods()) {
        const auto available = record.availability(method.id, static_cast<int>(layer));
        QCOMPARE(available.stream, full);
        QCOMPARE(available.supports, full && method.id != "dense");
        QCOMPARE(std::isnan(method.captured_mass_per_layer[static_cast<std::size_t>(layer)]), !full);
      }
    }
  }

 private slots:
  void full_layers_alone_are_sparsified_and_recorded() {
    run(spec("run.h5"), {});
    const auto record = record::RunRecord::open(path("run.h5"));
    check_kinds(*record);
    const auto& oracle = *record->find_method("oracle-k24-g1");
    for (const std::int64_t layer : full_) {
      const auto support = record->supports(oracle.id, static_cast<int>(layer), record::SupportKind::support);
      const std::int64_t last = record->length() - 1;
      QCOMPARE(support->count(last, 0, record->length()), std::int64_t{24});
      QVERIFY(oracle.captured_mass_per_layer[static_cast<std::size_t>(layer)] > 0);
    }
    // What a sparse layer changes is carried on by those that follow, and by none before.
    QCOMPARE(oracle.output_l2_per_layer[1], 0.0);
    QVERIFY(oracle.output_l2_per_layer[2] > 0 && oracle.output_l2_per_layer[6] > 0);
  }

  void an_indexer_is_distilled_for_full_layers_and_runs() {
    DistillSpec distillation;
    distillation.model = path("hybrid.gguf");
    distillation.out = path("indexer.safetensors");
    distillation.steps = 24;
    distillation.length = 256;
    distillation.index_dim = 16;
    distillation.warmup = 2;
    distillation.eval_every = 12;
    distillation.held_out = 1;
    distillation.recall_budgets = {32, 8};
    distillation.learning_rate = 1e-2;
    distillation.device = "cpu";
    distillation.dtype = "f32";
    std::vector<DistillFigures> seen;
    DistillCallbacks callbacks;
    callbacks.evaluated = [&](const DistillFigures& figures) { seen.push_back(figures); };
    distill(distillation, {}, callbacks);
    QCOMPARE(seen.size(), std::size_t{2});
    QCOMPARE(seen[1].together.layers.size(), full_.size());
    QVERIFY(seen[1].together.mean.kl < seen[0].together.mean.kl);
    const auto indexer = indexer::load_indexer(path("indexer.safetensors"));
    QCOMPARE(indexer.layers.size(), full_.size());
    for (const std::int64_t layer : full_) QVERIFY(indexer.layers.contains(static_cast<int>(layer)));

    auto wanted = spec("indexed.h5");
    wanted.methods = {"dense", "oracle", "indexer"};
    wanted.indexer = path("indexer.safetensors");
    run(wanted, {});
    const auto record = record::RunRecord::open(path("indexed.h5"));
    check_kinds(*record);
    const auto& method = *record->find_method("indexer-k24-g1");
    for (const std::int64_t layer : full_) QVERIFY(method.captured_mass_per_layer[static_cast<std::size_t>(layer)] > 0);
    QVERIFY(method.oracle_recall_mean && *method.oracle_recall_mean > 0);
  }
};

QTEST_GUILESS_MAIN(TestHybridRun)
#include "test_hybrid_run.moc"
