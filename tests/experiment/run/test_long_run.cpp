// SPDX-License-Identifier: Apache-2.0
// What only records of long prompts have, written by a run itself: stored tiles, supports as lists. A model of one
// small layer makes that bearable at more than 16,384 tokens; wide heads have stored tiles at a sixth of that.
#include <QtTest>
#include <cmath>
#include <filesystem>

#include "experiment/run/preflight.h"
#include "experiment/run/prepared_run.h"
#include "experiment/run/record_builder.h"
#include "experiment/run/run.h"
#include "record/parts.h"
#include "record/pyramid.h"
#include "record/run_record.h"
#include "record/tiles.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::experiment;
using record::HeadSelector;

namespace {

constexpr HeadSelector head_mean{HeadSelector::Kind::mean, 0}, second_head{HeadSelector::Kind::head, 1};

std::int64_t bytes_of_kind(const record::RunRecord& record, const char* kind) {
  for (const auto& part : record::sizes_by_kind(record.parts()))
    if (part.kind == kind) return part.bytes;
  return 0;
}

/// Stored values have 8 bits of mantissa.
bool same(float stored, float exact) {
  return std::isnan(exact) ? std::isnan(stored) || stored == 0
                           : std::abs(stored - exact) <= std::abs(exact) / 128 + 1e-9f;
}

}  // namespace

class TestLongRun : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }

  /// A byte is a token.
  protocol::RunSpec spec_of(const char* model, std::size_t tokens) const {
    protocol::RunSpec spec;
    spec.model = path(model);
    spec.prompt = std::string();
    for (int i = 0; spec.prompt->size() < tokens; ++i) *spec.prompt += "item " + std::to_string(i * 7919 % 1000) + "\n";
    spec.prompt->resize(tokens);
    spec.methods = {"dense", "oracle"};
    spec.budgets = {parse_budget("64")};
    spec.repeats = 1;
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.plan = "none";
    spec.max_new_tokens = 1;
    return spec;
  }

  /// The stored tile is the one that q and k make.
  static void compare_tile(const record::RunRecord& record, const std::string& method, HeadSelector head,
                           record::TileAddress at) {
    const auto stored = record.stored_tile(method, 0, head, at);
    QVERIFY(stored.has_value());
    const auto exact = record::compute_tile(*record.layer_stream(method, 0), head, at);
    QCOMPARE(stored->rows, exact.rows);
    QCOMPARE(stored->columns, exact.columns);
    for (std::size_t i = 0; i < exact.max.size(); ++i) {
      QVERIFY2(same(stored->max[i], exact.max[i]), qPrintable(QString("max %1").arg(i)));
      QVERIFY2(same(stored->mean[i], exact.mean[i]), qPrintable(QString("mean %1").arg(i)));
    }
  }

  static void compare_overlay(const record::RunRecord& record, const std::string& method, record::TileAddress at) {
    using Kind = record::SupportKind;
    const auto stored = record.stored_overlay(method, 0, 0, head_mean, at);
    QVERIFY(stored.has_value());
    const auto wasted = record.supports(method, 0, Kind::wasted);
    const auto exact = record::compute_overlay(*record.supports(method, 0, Kind::support),
                                               *record.supports(method, 0, Kind::target), wasted.get(), at);
    QVERIFY(stored->hit == exact.hit && stored->missed == exact.missed && stored->selected == exact.selected);
    QVERIFY(stored->wasted == exact.wasted);
  }

 private slots:
  /// 33 rows of 65,032 numbers a layer and method are 700 MB in 36 layers: a limit has to hold without them, too.
  void mass_by_key_keeps_to_its_share() {
    model::ModelConfig config;
    config.layers.resize(9);
    for (auto& layer : config.layers) layer.attention.num_q_heads = 3;
    const std::int64_t layer_bytes = 2 * 4 * 1000 * 4;
    const auto chosen = [&](const std::vector<int>& kept, double layers) {
      return layers_with_marginals(config, kept, 2, 1000,
                                   static_cast<std::int64_t>(layers * layer_bytes / marginal_share) + 8);
    };
    QCOMPARE(chosen({}, 9).size(), std::size_t{9});
    QCOMPARE(chosen({7}, 4), (std::vector<int>{0, 2, 4, 7}));
    QCOMPARE(chosen({7}, 1), std::vector<int>{7});
    QVERIFY(chosen({}, 0.5).empty());
    QCOMPARE(chosen({7, 2, 7}, 0.5), (std::vector<int>{2, 7}));  // what is asked for is kept

    test::write_tiny_model(path("short.gguf"), {});
    protocol::RunSpec spec = spec_of("short.gguf", 500);
    spec.keep_layers = {1};
    spec.record_limit = 120'000;
    spec.out = path("short.h5");
    const auto outcome = run(spec, {});
    const auto record = record::RunRecord::open(outcome.record_path);
    const std::string& note = record->meta().kept_note;
    QVERIFY2(note.find("Mass by key: 1 of 3 layers") != std::string::npos, note.c_str());
    QVERIFY(record->mass_received("dense", 0, 0).empty());
    QCOMPARE(record->mass_received("dense", 1, 0).size(), std::size_t{500});
    QVERIFY(bytes_of_kind(*record, "mass by key") < spec.record_limit / 4);
  }

  void initTestCase() {
    test::TinyModelOptions narrow;
    narrow.layers = 1;
    narrow.width = narrow.mlp_width = 32;
    narrow.q_heads = 2;
    narrow.kv_heads = 1;
    narrow.context = 17000;
    test::write_tiny_model(path("narrow.gguf"), narrow);
    test::TinyModelOptions wide;
    wide.layers = 2;
    wide.q_heads = 8;
    wide.kv_heads = 1;
    wide.head_dim = 64;
    wide.context = 3000;
    test::write_tiny_model(path("wide.gguf"), wide);
  }

  void beyond_16384_tokens_tiles_are_stored_and_supports_are_lists() {
    auto spec = spec_of("narrow.gguf", 16500);
    spec.out = path("long.h5");
    const auto prepared = prepare_run(spec);
    const auto promised = preflight(prepared);
    run(prepared, {});
    const auto opened = record::RunRecord::open(*spec.out);
    const std::string oracle = "oracle-k64-g1";
    QCOMPARE(opened->length(), std::int64_t{16500});
    QVERIFY2(opened->meta().kept_note.find("Stored tiles: 1 of 1 layers") != std::string::npos,
             opened->meta().kept_note.c_str());
    const auto support = opened->supports(oracle, 0, record::SupportKind::support);
    QVERIFY(support && !support->is_whole());
    const auto levels = record::pyramid_levels(16500, {"full", 2, 1, 16, 0, 0});
    QVERIFY(levels.mean > 0 && levels.heads > 0);
    for (const auto& method : {std::string("dense"), oracle}) {
      const auto stored = opened->stored_levels(method, 0);
      QVERIFY(stored.has_tile(head_mean, levels.mean) && !stored.has_tile(head_mean, levels.mean - 1));
      QVERIFY(stored.has_tile(second_head, levels.heads));
      const int top = record::num_levels(16500) - 1;
      compare_tile(*opened, method, second_head, {top, 0, 0});
      compare_tile(*opened, method, head_mean, {top, 0, 0});
    }
    compare_overlay(*opened, oracle, {record::num_levels(16500) - 1, 0, 0});
    // What was promised before compression is no less than what came, with what the file itself takes.
    const std::int64_t bytes = opened->file_bytes();
    QVERIFY2(bytes * 10 <= promised.record_bytes * 11,
             qPrintable(QString("%1 promised, %2 written").arg(promised.record_bytes).arg(bytes)));
    QVERIFY2(promised.keeps.find("stored tiles of 1 of 1 layers") != std::string::npos, promised.keeps.c_str());
    QVERIFY(bytes_of_kind(*opened, "pyramids") > 0);
    const record::LayerMeta sizes{"full", 2, 1, 16, 0, 0};
    QVERIFY(bytes_of_kind(*opened, "pyramids") <=
            record::pyramid_bytes(16500, sizes, 0) + record::pyramid_bytes(16500, sizes, 1));
    QVERIFY(bytes_of_kind(*opened, "supports") <= 3 * record::support_bytes(16500, 64));
  }

  void the_record_limit_holds_for_stored_tiles_too() {
    auto spec = spec_of("wide.gguf", 2200);
    spec.keep_queries = 1;  // tiles and supports are what competes
    std::int64_t whole = 0, tiles = 0;
    for (const bool short_of_room : {false, true}) {
      spec.out = path(short_of_room ? "small.h5" : "all.h5");
      if (short_of_room) spec.record_limit = whole - tiles * 3 / 4;
      run(spec, {});
      const auto opened = record::RunRecord::open(*spec.out);
      const std::string& note = opened->meta().kept_note;
      int layers = 0;
      for (int layer = 0; layer < 2; ++layer) layers += opened->stored_levels("dense", layer).any();
      const std::string said = "Stored tiles: " + std::to_string(layers) + " of 2 layers";
      QVERIFY2(note.find(said) != std::string::npos, note.c_str());
      if (!short_of_room) {
        QCOMPARE(layers, 2);
        whole = opened->file_bytes();
        tiles = bytes_of_kind(*opened, "pyramids");
        QVERIFY(tiles > 0);
        continue;
      }
      QVERIFY2(layers < 2, note.c_str());
      QVERIFY2(note.find("did not fit under the record limit") != std::string::npos, note.c_str());
      QVERIFY2(opened->file_bytes() <= spec.record_limit,
               qPrintable(QString("%1 of %2 bytes").arg(opened->file_bytes()).arg(spec.record_limit)));
      // What is there is whole.
      for (int layer = 0; layer < 2; ++layer) {
        const auto levels = opened->stored_levels("dense", layer);
        QCOMPARE(levels.any(), opened->stored_levels("oracle-k64-g1", layer).any());
        if (levels.any())
          QVERIFY(opened->stored_tile("dense", layer, head_mean, {record::num_levels(2200) - 1, 0, 0}).has_value());
      }
    }
  }
};

QTEST_GUILESS_MAIN(TestLongRun)
#include "test_long_run.moc"
