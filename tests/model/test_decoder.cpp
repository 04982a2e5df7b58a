// SPDX-License-Identifier: Apache-2.0
// The decoder on a small random model: cache, chunks, seams to policies and observers, and what it refuses.
#include <ATen/Parallel.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/max.h>

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <thread>

#include "attention/registry.h"
#include "base/error.h"
#include "listening.h"
#include "model/decoder.h"
#include "model/kv_state.h"
#include "model/random_checkpoint.h"
#include "model/row_pieces.h"

using namespace headroom;
using attention::LayerQuery;

namespace {

model::ModelConfig small_config() {
  model::ModelConfig config;
  config.architecture = "llama";
  config.name = "small random model";
  config.width = 48;
  model::LayerSpec layer;
  layer.attention.num_q_heads = 6;
  layer.attention.num_kv_heads = 2;
  layer.attention.head_dim = layer.attention.rope.dims = 8;
  layer.attention.scale = 1 / std::sqrt(8.0);
  layer.mlp.width = 80;
  config.layers.assign(3, layer);
  config.vocabulary = 97;
  config.context_length = 1300;
  config.tied_output = true;
  return config;
}

std::vector<std::int32_t> some_ids(std::size_t count) {
  std::vector<std::int32_t> ids(count);
  for (std::size_t i = 0; i < count; ++i) ids[i] = static_cast<std::int32_t>(i * i * 7 + i * 3) % 97;
  return ids;
}

std::unique_ptr<model::Decoder> load(const checkpoint::Checkpoint& file, c10::ScalarType dtype = at::kFloat) {
  return model::load_decoder(file, small_config(), {.dtype = dtype}, {});
}

const model::KvState& cache_of(const model::PrefillResult& result, std::size_t layer) {
  return dynamic_cast<const model::KvState&>(*result.state.layers[layer]);
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return a.to(at::kDouble).sub(b.to(at::kDouble)).abs().max().item<double>();
}

class Damaged final : public model::RandomCheckpoint {
 public:
  Damaged() : RandomCheckpoint(small_config(), 1) {}
  std::vector<checkpoint::TensorInfo>& list() { return tensors_; }
  float poison = 0;
  void read_part(std::string_view name, std::int64_t first, std::span<float> out) const override {
    RandomCheckpoint::read_part(name, first, out);
    if (poison != 0 && name == "blk.1.ffn_up.weight") std::fill(out.begin(), out.end(), poison);
  }
};

}  // namespace

#define EXPECT_ERROR(expression, wanted, text)                                         \
  try {                                                                                \
    expression;                                                                        \
    QFAIL("nothing was thrown");                                                       \
  } catch (const Error& error) {                                                       \
    QCOMPARE(static_cast<int>(error.kind()), static_cast<int>(wanted));                \
    QVERIFY2(std::string(error.what()).find(text) != std::string::npos, error.what()); \
  }

class TestDecoder : public QObject {
  Q_OBJECT

  model::RandomCheckpoint file_{small_config(), 1};
  std::unique_ptr<attention::Policy> dense_ = attention::make_dense_policy();
  std::shared_ptr<const attention::Backend> backend_ = attention::make_cpu_backend();
  model::PrefillOptions dense_options() const {
    model::PrefillOptions options;
    options.policy = dense_.get();
    options.backend = options.dense_backend = backend_.get();
    return options;
  }

 private slots:
  // Compiled without OpenMP, LibTorch's template would run on one thread without a word.
  void work_is_spread_over_threads() {
    const int before = at::get_num_threads();
    at::set_num_threads(2);
    std::mutex mutex;
    std::set<std::thread::id> threads;
    at::parallel_for(0, 2, 1, [&](std::int64_t, std::int64_t) {
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    });
    at::set_num_threads(before);
    QCOMPARE(threads.size(), std::size_t{2});
  }

  void decoding_continues_the_prefill() {
    const auto decoder = load(file_);
    const auto ids = some_ids(40);
    auto options = dense_options();
    options.extra_capacity = 10;
    auto result = decoder->prefill(std::span(ids).first(30), options);
    at::Tensor last;
    for (std::size_t i = 30; i < 40; ++i) last = decoder->decode(result.state, ids[i]);
    QCOMPARE(result.state.length, std::int64_t{40});
    const auto whole = decoder->prefill(ids, dense_options());
    QVERIFY(difference(last, whole.last_logits) < 1e-4);
    QVERIFY(difference(cache_of(result, 2).k().narrow(1, 0, 40), cache_of(whole, 2).k()) < 1e-4);
    EXPECT_ERROR(decoder->decode(result.state, 1), ErrorKind::input, "cache is full");
  }

  // Several continuations of one prefill, several tokens at a time.
  void a_state_can_be_cloned() {
    const auto decoder = load(file_);
    const auto ids = some_ids(40);
    auto options = dense_options();
    options.extra_capacity = 10;
    const auto result = decoder->prefill(std::span(ids).first(30), options);
    const at::Tensor all = decoder->logits(ids, {});
    auto first = result.state.clone(), second = result.state.clone();
    const std::vector<std::int32_t> others = {3, 1, 4, 1};
    decoder->decode(second, others);
    const at::Tensor logits = decoder->decode(first, std::span(ids).subspan(30));
    QCOMPARE(logits.size(0), std::int64_t{10});
    QVERIFY(difference(logits, all.narrow(0, 30, 10)) < 1e-4);
    QCOMPARE(result.state.length, std::int64_t{30});
    EXPECT_ERROR(decoder->decode(second, std::span(ids).first(7)), ErrorKind::input,
                 "room for 7 more tokens, found 34 of 40");
    QCOMPARE(second.length, std::int64_t{34});
    EXPECT_ERROR(decoder->decode(second, std::span<const std::int32_t>()), ErrorKind::input, "no tokens");
  }

  // One token, or many, of an answer: a stop is seen between layers, not at the answer's end.
  void decoding_stops_when_it_is_told_to() {
    const auto decoder = load(file_);
    const auto ids = some_ids(40);
    auto options = dense_options();
    options.extra_capacity = 10;
    auto result = decoder->prefill(std::span(ids).first(30), options);
    auto many = result.state.clone();
    std::stop_source stop;
    const JobContext job{stop.get_token(), [](const Progress&) { QFAIL("an answer's layers are no progress"); }};
    decoder->decode(result.state, ids[30], job);
    stop.request_stop();
    EXPECT_ERROR(decoder->decode(result.state, ids[31], job), ErrorKind::cancelled, "cancelled");
    EXPECT_ERROR(decoder->decode(many, std::span(ids).subspan(30), job), ErrorKind::cancelled, "cancelled");
  }

  void chunks_do_not_show() {
    const auto decoder = load(file_);
    const auto ids = some_ids(1100);
    const at::Tensor all = decoder->logits(ids, {});
    QCOMPARE(all.size(0), std::int64_t{1100});
    QVERIFY(difference(all.narrow(0, 0, 300), decoder->logits(std::span(ids).first(300), {})) < 1e-4);
    QVERIFY(difference(all[1099], decoder->prefill(ids, dense_options()).last_logits) < 1e-4);
  }

  void bf16_is_close_to_fp32() {
    const auto ids = some_ids(200);
    const at::Tensor wide = load(file_)->logits(ids, {});
    const auto narrow = load(file_, at::kBFloat16);
    QVERIFY(narrow->dtype() == at::kBFloat16);
    QVERIFY(difference(narrow->logits(ids, {}), wide) < 0.08 * wide.abs().max().item<double>());
    QVERIFY(difference(narrow->logits(ids, {})[199], narrow->prefill(ids, dense_options()).last_logits) < 0.05);
  }

  // The same bits from any number of threads, and where rows that nobody reads are left out.
  void threads_do_not_show() {
    const int before = at::get_num_threads();
    for (const c10::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const auto decoder = load(file_, dtype);
      for (const std::size_t length : {1, 16, 33, 700, 1300}) {
        const auto ids = some_ids(length);
        std::vector<model::PrefillResult> results;
        for (const int threads : {1, 2, 3, 7}) {
          at::set_num_threads(threads);
          auto options = dense_options();
          if (threads == 2) options.hidden_observer = [](int, const at::Tensor&) {};  // reads every row
          results.push_back(decoder->prefill(ids, options));
          QVERIFY(results.front().last_logits.equal(results.back().last_logits));
          for (std::size_t layer = 0; layer < 3; ++layer) {
            QVERIFY(cache_of(results.front(), layer).k().equal(cache_of(results.back(), layer).k()));
            QVERIFY(cache_of(results.front(), layer).v().equal(cache_of(results.back(), layer).v()));
          }
        }
        at::set_num_threads(before);
      }
    }
  }

  // A layer's tensors take the place of the layer before, except where somebody still holds those.
  void kept_tensors_stay() {
    const auto decoder = load(file_);
    std::vector<LayerQuery> kept;
    std::vector<at::Tensor> copies;
    auto options = dense_options();
    options.extra_capacity = 1;
    options.observer = [&](const attention::PreparedLayer& layer, const at::Tensor&, const auto&) {
      const LayerQuery& query = layer.query();
      kept.push_back(query);
      for (const at::Tensor* tensor : {&query.x, &query.q, &query.k, &query.v}) copies.push_back(tensor->clone());
    };
    decoder->prefill(some_ids(70), options);
    QCOMPARE(kept.size(), std::size_t{3});
    for (std::size_t i = 0; i < 3; ++i) {
      const LayerQuery& query = kept[i];
      std::size_t copy = 4 * i;
      for (const at::Tensor* tensor : {&query.x, &query.q, &query.k, &query.v}) QVERIFY(tensor->equal(copies[copy++]));
    }
    QVERIFY(!kept[0].q.equal(kept[1].q) && !kept[0].x.equal(kept[1].x));
  }

  void pieces_cover_every_row_once() {
    const int before = at::get_num_threads();
    for (const int threads : {1, 2, 5, 64}) {
      at::set_num_threads(threads);
      for (const std::int64_t length : {1, 15, 16, 31, 32, 100, 511, 513, 2048, 5000, 16384}) {
        const model::RowPieces pieces(3, length, at::kCPU);
        std::mutex mutex;
        std::vector<int> seen(static_cast<std::size_t>(length + 3));
        pieces.run({}, [&](std::int64_t worker, std::int64_t first, std::int64_t rows) {
          const std::lock_guard lock(mutex);
          QVERIFY(worker >= 0 && worker < pieces.workers());
          QVERIFY(rows <= pieces.largest() && rows <= 512);
          QVERIFY(rows >= std::min<std::int64_t>(length, model::RowPieces::least_rows));
          for (std::int64_t row = first; row < first + rows; ++row) ++seen[static_cast<std::size_t>(row)];
        });
        QCOMPARE(std::count(seen.begin() + 3, seen.end(), 1), length);
        QCOMPARE(std::count(seen.begin(), seen.begin() + 3, 0), std::ptrdiff_t{3});
      }
    }
    at::set_num_threads(before);
    const model::RowPieces pieces(0, 4096, at::kCPU);
    EXPECT_ERROR(pieces.run({}, [](std::int64_t, std::int64_t, std::int64_t) { throw usage_error("stop here"); }),
                 ErrorKind::usage, "stop here");
  }

  void dense_layers_and_observers() {
    const auto decoder = load(file_);
    const auto ids = some_ids(64);
    const test::ListeningPolicy sparse(test::window_policy(8));
    const test::ListeningBackend dense;
    auto options = dense_options();
    options.policy = &sparse;
    options.dense_backend = &dense;
    options.dense_layers = {1};
    std::vector<std::int64_t> covered;
    std::vector<int> hidden_layers;
    options.observer = [&](const attention::PreparedLayer& layer, const at::Tensor& output,
                           const std::vector<attention::SupportTile>& tiles) {
      const LayerQuery& query = layer.query();
      QVERIFY(output.sizes() == query.q.sizes());
      QCOMPARE(query.x.size(1), std::int64_t{48});
      std::int64_t rows = 0;
      for (const auto& tile : tiles) rows += tile.rows();
      covered.push_back(rows);
    };
    at::Tensor first;
    options.hidden_observer = [&](int layer, const at::Tensor& hidden) {
      hidden_layers.push_back(layer);
      if (layer == 0) first = hidden;
      if (layer == 2) QVERIFY(difference(first, hidden) > 0);  // copies, not one buffer
    };
    decoder->prefill(ids, options);
    QCOMPARE(sparse.layers, (std::vector<int>{0, 2}));
    QCOMPARE(dense.layers, std::vector<int>{1});
    QCOMPARE(covered, (std::vector<std::int64_t>{64, 0, 64}));
    QCOMPARE(hidden_layers, (std::vector<int>{0, 1, 2}));
  }

  void stops_when_asked() {
    const auto decoder = load(file_);
    std::stop_source stop;
    auto options = dense_options();
    options.job.stop = stop.get_token();
    options.job.progress = [&](const Progress& progress) {
      if (progress.layer == 1) stop.request_stop();
    };
    EXPECT_ERROR(decoder->prefill(some_ids(20), options), ErrorKind::cancelled, "");
  }

  void refuses_bad_prompts() {
    const auto decoder = load(file_);
    EXPECT_ERROR(decoder->prefill({}, dense_options()), ErrorKind::input, "no tokens");
    EXPECT_ERROR(decoder->prefill(some_ids(1301), dense_options()), ErrorKind::input,
                 "expected at most 1300 tokens, found 1301");
    auto past = dense_options();
    past.allow_past_context = true;
    QCOMPARE(decoder->prefill(some_ids(1301), past).state.length, std::int64_t{1301});
    const std::vector<std::int32_t> high = {1, 97}, low = {-1};
    EXPECT_ERROR(decoder->prefill(high, dense_options()), ErrorKind::input, "token 1 of the prompt");
    EXPECT_ERROR(decoder->logits(low, {}), ErrorKind::input, "found -1");
  }

  void refuses_bad_tensors() {
    Damaged missing;
    std::erase_if(missing.list(), [](const auto& tensor) { return tensor.name == "blk.2.attn_k.weight"; });
    EXPECT_ERROR(load(missing), ErrorKind::input, "tensor blk.2.attn_k.weight is missing (expected [16, 48]");
    Damaged shape;
    for (auto& tensor : shape.list()) {
      if (tensor.name == "blk.0.ffn_down.weight") tensor.shape = {80, 48};
    }
    EXPECT_ERROR(load(shape), ErrorKind::input, "expected [48, 80], found [80, 48]");
    Damaged huge;
    huge.poison = std::numeric_limits<float>::max();
    EXPECT_ERROR(load(huge, at::kBFloat16), ErrorKind::input, "blk.1.ffn_up.weight");
    const auto overflowing = load(huge);
    EXPECT_ERROR(overflowing->prefill(some_ids(4), dense_options()), ErrorKind::input, "not finite");
    auto unknown = small_config();
    unknown.architecture = "mamba";
    EXPECT_ERROR(model::load_decoder(file_, unknown, {}, {}), ErrorKind::input, "found mamba");
  }
};

QTEST_GUILESS_MAIN(TestDecoder)
#include "test_decoder.moc"
