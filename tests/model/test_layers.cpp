// SPDX-License-Identifier: Apache-2.0
// Layers as parts: a toy of one full, one sliding and one recurrent layer, of which the full one alone meets policies
// and observers; every option of a layer against the same written out.
#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>

#include <QtTest>
#include <cmath>
#include <functional>
#include <set>

#include "base/error.h"
#include "listening.h"
#include "model/toy_model.h"

using namespace headroom;
using model::LayerKind;
using test::toy_config;
using test::toy_layer;

namespace {

std::vector<std::int32_t> some_ids(std::size_t count) {
  std::vector<std::int32_t> ids(count);
  for (std::size_t i = 0; i < count; ++i) ids[i] = static_cast<std::int32_t>(i * i * 5 + i * 3) % 61;
  return ids;
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return a.to(at::kDouble).sub(b.to(at::kDouble)).abs().max().item<double>();
}

// Stages by layer.
class Stages final : public StageClock {
 public:
  void begin(Stage stage, int layer) override { seen.insert({layer, stage}); }
  std::set<std::pair<int, Stage>> seen;
};

// Full, sliding, recurrent, with options here and there.
model::ModelConfig three_kinds() {
  auto config =
      toy_config({toy_layer(LayerKind::full), toy_layer(LayerKind::sliding, 5), toy_layer(LayerKind::linear)});
  config.layers[0].attention.qk_norm = config.layers[0].attention.output_gate = true;
  config.layers[1].attention.num_q_heads = config.layers[1].attention.num_kv_heads = 3;
  config.layers[1].attention.head_dim = 10;
  config.layers[1].attention.sinks = true;
  config.layers[2].mlp.width = 40;
  return config;
}

}  // namespace

#define EXPECT_ERROR(expression, wanted, text)                                         \
  try {                                                                                \
    expression;                                                                        \
    QFAIL("nothing was thrown");                                                       \
  } catch (const Error& error) {                                                       \
    QCOMPARE(static_cast<int>(error.kind()), static_cast<int>(wanted));                \
    QVERIFY2(std::string(error.what()).find(text) != std::string::npos, error.what()); \
  }

class TestLayers : public QObject {
  Q_OBJECT

  std::unique_ptr<attention::Policy> dense_ = attention::make_dense_policy();
  std::shared_ptr<const attention::Backend> backend_ = attention::make_torch_backend();
  model::PrefillOptions dense_options() const {
    model::PrefillOptions options;
    options.policy = dense_.get();
    options.backend = options.dense_backend = backend_.get();
    return options;
  }
  std::unique_ptr<model::Decoder> load(const test::ToyCheckpoint& file, const model::ModelConfig& config,
                                       bool plus_one = false, c10::ScalarType dtype = at::kFloat) const {
    return model::load_decoder(file, config, test::toy_parts(plus_one), {.dtype = dtype}, {});
  }
  // After the last layer.
  at::Tensor hidden(const model::Decoder& decoder, const std::vector<std::int32_t>& ids) const {
    at::Tensor result;
    auto options = dense_options();
    options.hidden_observer = [&](int, const at::Tensor& rows) { result = rows; };
    decoder.prefill(ids, options);
    return result;
  }

 private slots:
  void full_layers_alone_are_sparsified() {
    const auto config = three_kinds();
    const test::ToyCheckpoint file(config);
    const auto decoder = load(file, config);
    const test::ListeningPolicy sparse(test::window_policy(6));
    const test::ListeningBackend dense;
    auto options = dense_options();
    options.policy = &sparse;
    options.dense_backend = &dense;
    options.dense_layers = {1, 2};  // not full: nobody asks how
    std::vector<int> observed;
    options.observer = [&](const attention::PreparedLayer& layer, const at::Tensor&, const auto& tiles) {
      observed.push_back(layer.query().layer);
      QVERIFY(!tiles.empty());
    };
    Stages stages;
    options.clock = &stages;
    const auto result = decoder->prefill(some_ids(40), options);
    QCOMPARE(sparse.layers, std::vector<int>{0});
    QCOMPARE(dense.layers, std::vector<int>{});
    QCOMPARE(observed, std::vector<int>{0});
    QVERIFY(difference(result.last_logits, decoder->prefill(some_ids(40), dense_options()).last_logits) > 1e-3);
    for (const Stage stage : {Stage::score, Stage::select}) {
      QVERIFY(!stages.seen.contains({1, stage}) && !stages.seen.contains({2, stage}));
    }
    QVERIFY(stages.seen.contains({1, Stage::attention}) && stages.seen.contains({2, Stage::linear_attention}));
    QVERIFY(!stages.seen.contains({2, Stage::attention}) && !stages.seen.contains({0, Stage::linear_attention}));
  }

  void prefill_chunks_and_tokens_agree() {
    const auto config = three_kinds();
    const test::ToyCheckpoint file(config);
    const auto decoder = load(file, config);
    const auto ids = some_ids(400);
    const at::Tensor all = decoder->logits(ids, {});
    QVERIFY(difference(hidden(*decoder, ids), test::toy_reference(file, config, ids)) < 1e-4);
    // 300 rows at a time are dealt out to threads, few are not.
    for (const std::vector<std::size_t>& chunks :
         {std::vector<std::size_t>{400}, {100, 300}, {7, 1, 64, 328}, std::vector<std::size_t>(400, 1)}) {
      auto options = dense_options();
      options.extra_capacity = static_cast<std::int64_t>(400 - chunks.front());
      auto result = decoder->prefill(std::span(ids).first(chunks.front()), options);
      QVERIFY(difference(result.last_logits, all[static_cast<std::int64_t>(chunks.front()) - 1]) < 1e-4);
      std::size_t done = chunks.front();
      for (std::size_t i = 1; i < chunks.size(); done += chunks[i++]) {
        const auto logits = decoder->decode(result.state, std::span(ids).subspan(done, chunks[i]));
        const auto rows = static_cast<std::int64_t>(chunks[i]);
        QVERIFY(difference(logits, all.narrow(0, static_cast<std::int64_t>(done), rows)) < 1e-4);
      }
      QCOMPARE(result.state.length, std::int64_t{400});
    }
  }

  void states_of_every_kind_are_cloned() {
    const auto config = three_kinds();
    const test::ToyCheckpoint file(config);
    const auto decoder = load(file, config);
    const auto ids = some_ids(50);
    auto options = dense_options();
    options.extra_capacity = 10;
    const auto result = decoder->prefill(std::span(ids).first(40), options);
    auto first = result.state.clone(), second = result.state.clone();
    decoder->decode(first, 5);
    const at::Tensor all = decoder->logits(ids, {});
    QVERIFY(difference(decoder->decode(second, std::span(ids).last(10)), all.narrow(0, 40, 10)) < 1e-4);
  }

  void options_data() {
    QTest::addColumn<std::function<void(model::ModelConfig&)>>("change");
    QTest::addColumn<bool>("plus_one");
    const auto row = [](const char* name, std::function<void(model::AttentionSpec&)> change) {
      QTest::newRow(name) << std::function([change](model::ModelConfig& config) { change(config.layers[0].attention); })
                          << false;
    };
    row("scale", [](auto& a) { a.scale = 0.7; });
    row("RoPE base", [](auto& a) { a.rope.base = 1e4; });
    row("RoPE factors", [](auto& a) { a.rope.factors = {1, 2, 3, 8}; });
    row("RoPE magnitude", [](auto& a) { a.rope.magnitude = 1.2; });
    row("partial RoPE", [](auto& a) { a.rope.dims = 4; });
    row("no RoPE", [](auto& a) { a.rope.dims = 0; });
    row("q/k norms", [](auto& a) { a.qk_norm = true; });
    row("biases of q, k, v", [](auto& a) { a.qkv_bias = true; });
    row("bias of the output", [](auto& a) { a.output_bias = true; });
    row("output gate", [](auto& a) { a.output_gate = true; });
    row("all of them", [](auto& a) {
      a.rope.dims = 6;
      a.qk_norm = a.qkv_bias = a.output_bias = a.output_gate = true;
    });
    const auto model_row = [](const char* name, bool plus_one, std::function<void(model::ModelConfig&)> change) {
      QTest::newRow(name) << change << plus_one;
    };
    model_row("post norms", false, [](auto& config) { config.norm.after = true; });
    model_row("norms of 1 + w", true, [](auto& config) { config.norm.after = true; });
    model_row("GeGLU", false, [](auto& config) { config.layers[0].mlp.kind = model::MlpKind::geglu_tanh; });
    model_row("sinks in a full layer", false, [](auto& config) { config.layers[0].attention.sinks = true; });
    model_row("embedding scale", false, [](auto& config) { config.embedding_scale = 5.5; });
    const auto window_row = [&](const char* name, std::int64_t window,
                                std::function<void(model::AttentionSpec&)> more) {
      model_row(name, false, [=](auto& config) {
        config.layers[0].kind = LayerKind::sliding;
        config.layers[0].attention.window = window;
        more(config.layers[0].attention);
      });
    };
    const auto plain = [](model::AttentionSpec&) {};
    window_row("window of 1", 1, plain);
    window_row("window of 7", 7, plain);
    window_row("window of 290", 290, plain);
    window_row("sinks", 20, [](auto& a) { a.sinks = true; });
    window_row("soft cap", 20, [](auto& a) { a.soft_cap = 0.5; });
    window_row("sinks, soft cap, gate", 290, [](auto& a) {
      a.sinks = a.output_gate = true;
      a.soft_cap = 2;
    });
  }
  // Longer than a chunk of a sliding layer's rows.
  void options() {
    QFETCH(std::function<void(model::ModelConfig&)>, change);
    QFETCH(bool, plus_one);
    const auto ids = some_ids(600);
    const auto plain = toy_config({toy_layer(LayerKind::full)});
    auto config = plain;
    change(config);
    const test::ToyCheckpoint file(config, plus_one);
    const at::Tensor expected = test::toy_reference(file, config, ids);
    const at::Tensor found = hidden(*load(file, config, plus_one), ids);
    QVERIFY2(difference(found, expected) < 1e-4, std::to_string(difference(found, expected)).c_str());
    const test::ToyCheckpoint plain_file(plain);
    QVERIFY(difference(expected, test::toy_reference(plain_file, plain, ids)) > 1e-2);
    const at::Tensor narrow = hidden(*load(file, config, plus_one, at::kBFloat16), ids);
    QVERIFY2(difference(narrow, expected) < 0.1 * expected.abs().max().item<double>(),
             std::to_string(difference(narrow, expected)).c_str());
  }

  // As transformers rounds it, or as llama.cpp does not: the square root of 1152 is 34 in bf16.
  void an_embedding_scale_may_be_rounded() {
    const auto ids = some_ids(64);
    auto config = toy_config({toy_layer(LayerKind::full)});
    config.embedding_scale = std::sqrt(1152.0);
    const test::ToyCheckpoint file(config);
    const at::Tensor exact = hidden(*load(file, config), ids).to(at::kDouble);
    const auto scale_of = [&](const at::Tensor& found) {
      return found.to(at::kDouble).mul(exact).sum().item<double>() / exact.mul(exact).sum().item<double>();
    };
    for (const bool rounds : {false, true}) {
      config.rounds_embedding_scale = rounds;
      const double wide = scale_of(hidden(*load(file, config), ids));
      const double narrow = scale_of(hidden(*load(file, config, false, at::kBFloat16), ids));
      QVERIFY2(std::abs(wide - 1) < 1e-6, std::to_string(wide).c_str());
      QVERIFY2(std::abs(narrow - (rounds ? 34 / std::sqrt(1152.0) : 1)) < 5e-4, std::to_string(narrow).c_str());
    }
  }

  void what_no_part_implements_is_refused() {
    const auto config = three_kinds();
    const test::ToyCheckpoint file(config);
    auto parts = test::toy_parts();
    parts.mixers.pop_back();
    EXPECT_ERROR(model::load_decoder(file, config, parts, {.dtype = at::kFloat}, {}), ErrorKind::input,
                 "layer 2: no mixer of this kind is implemented (expected full, sliding, found linear)");
    auto capped = config;
    capped.layers[0].attention.soft_cap = 30;
    EXPECT_ERROR(load(file, capped), ErrorKind::input,
                 "layer 0: the option soft_cap is not implemented in full layers");
  }

  // A weight that is named and not used, or used and not named, is a fault of the family.
  void every_named_weight_is_used() {
    const auto config = three_kinds();
    const test::ToyCheckpoint file(config);
    auto parts = test::toy_parts();
    parts.family.plan = [](const checkpoint::Checkpoint& checkpoint, const model::ModelConfig& asked) {
      auto plan = test::toy_family().plan(checkpoint, asked);
      plan.layers[1]["forgotten"] = plan.layers[1]["mlp_norm"];
      return plan;
    };
    EXPECT_ERROR(model::load_decoder(file, config, parts, {.dtype = at::kFloat}, {}), ErrorKind::internal,
                 "layer 1: no part takes the weights forgotten");
    parts.family.plan = [](const checkpoint::Checkpoint& checkpoint, const model::ModelConfig& asked) {
      auto plan = test::toy_family().plan(checkpoint, asked);
      plan.layers[0].erase("k_norm");
      return plan;
    };
    EXPECT_ERROR(model::load_decoder(file, config, parts, {.dtype = at::kFloat}, {}), ErrorKind::internal,
                 "layer 0: the weights k_norm are not in the family's plan");
  }
};

QTEST_GUILESS_MAIN(TestLayers)
#include "test_layers.moc"
