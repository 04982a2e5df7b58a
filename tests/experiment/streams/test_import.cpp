// SPDX-License-Identifier: Apache-2.0
// Streams of models that Headroom does not know (GPT-NeoX; Cohere 2 with its windows) become records whose maps are
// what transformers says of their attention; a model's own selection is held against the oracle; files that lie are
// refused.
#include <QtTest>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/safetensors_file.h"
#include "experiment/streams/import.h"
#include "record/run_record.h"

using namespace headroom;
using namespace headroom::experiment;
using checkpoint::DType;

namespace {

constexpr std::int64_t length = 48, k = 8;

/// A safetensors file taken apart, to be changed and written again.
struct Parts {
  struct Tensor {
    std::vector<std::int64_t> shape;
    DType dtype = DType::f32;
    std::vector<std::uint8_t> bytes;
  };
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;

  template <typename T>
  void put(const std::string& name, DType dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
    Tensor tensor{std::move(shape), dtype, std::vector<std::uint8_t>(values.size() * sizeof(T))};
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
    tensors[name] = std::move(tensor);
  }
};

std::string fixture(const char* name) {
  return std::string(HEADROOM_SOURCE_DIR "/tests/experiment/streams/") + name + ".safetensors";
}

Parts take_apart(const std::string& path) {
  const auto file = checkpoint::SafetensorsFile::open(path);
  Parts parts;
  parts.metadata = file->metadata();
  for (std::size_t i = 0; i < file->tensors().size(); ++i) {
    const auto& info = file->tensors()[i];
    Parts::Tensor tensor{info.shape, info.dtype, std::vector<std::uint8_t>(info.bytes)};
    file->read(i, 0, tensor.bytes);
    parts.tensors[info.name] = std::move(tensor);
  }
  return parts;
}

/// Head-averaged probabilities as transformers gives them, [L, L].
std::vector<float> mass_of(const char* name, int layer) {
  std::vector<float> mass(length * length);
  checkpoint::SafetensorsFile::open(fixture(name))->read_f32("layers." + std::to_string(layer) + ".mass", mass);
  return mass;
}

/// The k keys of most mass of each row, the row's own among them.
std::vector<std::int32_t> best_keys(const std::vector<float>& mass) {
  std::vector<std::int32_t> keys(length * k, -1);
  for (std::int64_t row = 0; row < length; ++row) {
    std::vector<std::int32_t> order;
    for (std::int32_t key = 0; key < row; ++key) order.push_back(key);
    std::ranges::stable_sort(order, std::greater(),
                             [&](std::int32_t key) { return mass[static_cast<std::size_t>(row * length + key)]; });
    order.insert(order.begin(), static_cast<std::int32_t>(row));
    std::copy_n(order.begin(), std::min<std::int64_t>(k, row + 1), keys.begin() + row * k);
  }
  return keys;
}

}  // namespace

class TestImport : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }
  std::string written(const Parts& parts, const char* name = "streams.safetensors") const {
    std::vector<checkpoint::TensorToWrite> tensors;
    for (const auto& [tensor, content] : parts.tensors)
      tensors.push_back({tensor, content.shape, content.dtype, content.bytes});
    OutputPlace place(path(name), OutputKind::file);
    return checkpoint::write_safetensors(place, tensors, parts.metadata).string();
  }
  ImportSpec spec(const std::string& streams) const {
    ImportSpec wanted;
    wanted.streams = streams;
    wanted.out = path("run.h5");
    wanted.methods.budgets = {Budget{BudgetKind::tokens, k}};
    wanted.device = "cpu";
    return wanted;
  }
  std::shared_ptr<const record::RunRecord> record(const ImportSpec& wanted) const {
    return record::RunRecord::open(import_streams(wanted, {}).record_path);
  }

 private slots:
  void maps_are_those_of_transformers_data() {
    QTest::addColumn<QList<int>>("full");
    QTest::newRow("neox") << QList<int>{0, 1};
    QTest::newRow("cohere2") << QList<int>{3};
  }
  void maps_are_those_of_transformers() {
    QFETCH(QList<int>, full);
    const std::string name = QTest::currentDataTag();
    const auto run = record(spec(fixture((name + ".streams").c_str())));
    QCOMPARE(run->methods().size(), std::size_t{2});
    QVERIFY(run->tokens().text.starts_with("w"));
    QVERIFY(!run->meta().warnings.empty() && run->meta().warnings[0].find("static") != std::string::npos);
    for (int layer = 0; layer < run->meta().num_layers(); ++layer) {
      const bool is_full = full.contains(layer);
      QCOMPARE(run->meta().is_full(layer), is_full);
      if (!is_full) QCOMPARE(run->meta().layer(layer).kind, std::string("sliding"));
      if (!is_full) QCOMPARE(run->meta().layer(layer).window, std::int64_t{8});
      const auto stream = run->layer_stream("dense", layer);
      QCOMPARE(stream != nullptr, is_full);
      if (!is_full) continue;
      const auto mass = mass_of((name + ".mass").c_str(), layer);
      const auto best = best_keys(mass);
      double worst = 0, kept = 0;
      const std::int64_t heads = stream->num_q_heads, group = heads / stream->num_kv_heads, d = stream->head_dim;
      for (std::int64_t row = 0; row < length; ++row) {
        std::vector<float> found(length);
        for (std::int64_t head = 0; head < heads; ++head)
          for (std::int64_t key = 0; key <= row; ++key) {
            double product = 0;
            for (std::int64_t i = 0; i < d; ++i)
              product += double{stream->q[static_cast<std::size_t>((head * length + row) * d + i)]} *
                         stream->k[static_cast<std::size_t>(((head / group) * length + key) * d + i)];
            found[static_cast<std::size_t>(key)] += static_cast<float>(
                std::exp(product * stream->scale - stream->lse[static_cast<std::size_t>(head * length + row)]) /
                static_cast<double>(heads));
          }
        for (std::int64_t key = 0; key < length; ++key)
          worst = std::max(worst, std::abs(double{found[static_cast<std::size_t>(key)]} -
                                           mass[static_cast<std::size_t>(row * length + key)]));
        for (std::int64_t i = row * k; row >= k && i < (row + 1) * k; ++i)
          kept += mass[static_cast<std::size_t>(row * length + best[static_cast<std::size_t>(i)])] /
                  static_cast<double>(length - k);
      }
      QVERIFY2(worst < 1e-5, qPrintable(QString::number(worst)));
      const auto* oracle = run->find_method("oracle-k8-g1");
      QVERIFY(oracle);
      QVERIFY(std::abs(oracle->captured_mass_per_layer[static_cast<std::size_t>(layer)] - kept) < 1e-5);
      QVERIFY(kept > 0.3 && kept < 0.99);  // there is something to keep and something to lose
    }
  }

  void a_models_own_selection_is_held_against_the_oracle_data() {
    QTest::addColumn<int>("bytes");  // of the tensor's elements
    QTest::newRow("list") << 4;
    QTest::newRow("bits") << 1;
    QTest::newRow("heads") << 4;
    QTest::newRow("newest") << 4;
  }
  void a_models_own_selection_is_held_against_the_oracle() {
    const QString form = QTest::currentDataTag();
    Parts parts = take_apart(fixture("neox.streams"));
    for (int layer = 0; layer < 2; ++layer) {
      const std::string name = "layers." + std::to_string(layer) + ".selected";
      auto keys = best_keys(mass_of("neox.mass", layer));
      if (form == "newest")
        for (std::int64_t row = 0; row < length; ++row)
          for (std::int64_t i = 0; i < k; ++i)
            keys[static_cast<std::size_t>(row * k + i)] = static_cast<std::int32_t>(i <= row ? row - i : -1);
      if (form == "bits") {
        std::vector<std::uint8_t> bits(length * length / 8);
        for (std::int64_t row = 0; row < length; ++row)
          for (std::int64_t i = 0; i < k; ++i)
            if (const auto key = keys[static_cast<std::size_t>(row * k + i)]; key >= 0)
              bits[static_cast<std::size_t>(row * length / 8 + key / 8)] |= static_cast<std::uint8_t>(1 << (key % 8));
        parts.put(name, DType::u8, {length, length / 8}, bits);
      } else if (form == "heads") {
        std::vector<std::int32_t> all;
        for (int head = 0; head < 4; ++head) all.insert(all.end(), keys.begin(), keys.end());
        parts.put(name, DType::i32, {4, length, k}, all);
      } else {
        parts.put(name, DType::i32, {length, k}, keys);
      }
    }
    const auto run = record(spec(written(parts)));
    QCOMPARE(run->methods().size(), std::size_t{3});
    const auto* own = run->find_method(selected_method);
    const auto* oracle = run->find_method("oracle-k8-g1");
    QVERIFY(own && oracle && own->budget && own->oracle_recall_mean);
    QCOMPARE(own->budget_tokens, k);
    QCOMPARE(own->density, oracle->density);
    QVERIFY(own->label.find("static") != std::string::npos);
    if (form == "newest") {
      QVERIFY(own->captured_mass_mean < oracle->captured_mass_mean - 0.02);
      QVERIFY(*own->oracle_recall_mean < 0.9);
    } else if (form != "heads") {  // there each head has its own best keys
      QVERIFY(std::abs(own->captured_mass_mean - oracle->captured_mass_mean) < 1e-6);
      QCOMPARE(*own->oracle_recall_mean, 1.0);
    }
    QVERIFY(run->supports(selected_method, 0, record::SupportKind::support, form == "heads" ? 3 : 0));
  }

  void outputs_are_compared_where_there_are_values() {
    const auto with = record(spec(fixture("neox.streams")));
    const auto& drift = with->find_method("oracle-k8-g1")->output_l2_per_layer;
    QCOMPARE(drift.size(), std::size_t{2});
    QVERIFY2(drift[0] > 0 && drift[0] < 3, qPrintable(QString::number(drift[0])));
    Parts parts = take_apart(fixture("neox.streams"));
    parts.tensors.erase("layers.1.v");
    const auto without = record(spec(written(parts)));
    for (const double value : without->find_method("oracle-k8-g1")->output_l2_per_layer) QVERIFY(std::isnan(value));
  }

  void without_a_text_ids_stand_for_it() {
    Parts parts = take_apart(fixture("neox.streams"));
    parts.tensors.erase("token_offsets");
    parts.metadata.erase("text");
    const auto run = record(spec(written(parts)));
    const auto& tokens = run->tokens();
    QCOMPARE(tokens.text.substr(0, static_cast<std::size_t>(tokens.end[0])), std::to_string(tokens.ids[0]) + " ");
  }

  void files_that_lie_are_refused_data() {
    QTest::addColumn<QStringList>("words");
    const auto row = [](const char* name, QStringList words) { QTest::newRow(name) << words; };
    row("no streams", {"headroom_streams", "no such key"});
    row("another version", {"headroom_streams", "\"2\""});
    row("an unknown key", {"'rope'"});
    row("no layers", {"'layers'", "missing"});
    row("a layer of another kind", {"layer 1", "kind", "fulll"});
    row("a layer with another field", {"layer 1", "softcap"});
    row("no scale", {"layer 1", "scale"});
    row("nothing full", {"no layer is full"});
    row("k is missing", {"layers.1.k", "nothing"});
    row("q of another length", {"layers.0.q", "[4, 48, 8]", "[4, 47, 8]"});
    row("heads that do not divide", {"layers.0.k", "divisor of 4", "3"});
    row("head sizes that differ", {"layers.0.k", "[4, 48, 8]", "[4, 48, 4]"});
    row("a tensor of no layer", {"layers.2.q", "would not be read"});
    row("not finite", {"layers.0.q", "flat index 5", "NaN"});
    row("whole numbers", {"layers.0.q", "I32"});
    row("no ids", {"token_ids"});
    row("a negative id", {"token_ids", "place 3", "-7"});
    row("text alone", {"belong together"});
    row("offsets past the text", {"token_offsets", "token 47"});
    row("a later key", {"layers.0.selected", "query 4", "0 to 4", "9"});
    row("a key twice", {"layers.0.selected", "query 4", "twice"});
    row("a query without keys", {"layers.0.selected", "query 0", "no key"});
    row("a list with a hole", {"layers.0.selected", "query 4", "behind its end"});
    row("later bits", {"layers.0.selected", "query 0", "later"});
    row("one layer's selection", {"layers.1.selected", "missing"});
  }
  void files_that_lie_are_refused() {
    QFETCH(QStringList, words);
    const QString lie = QTest::currentDataTag();
    Parts parts = take_apart(fixture("neox.streams"));
    auto layers = nlohmann::json::parse(parts.metadata["layers"]);
    const auto floats = [](std::size_t count) { return std::vector<float>(count, 0.5f); };
    const auto select = [&](const std::function<void(std::vector<std::int32_t>&)>& change, int only = -1) {
      for (int layer = 0; layer < 2; ++layer) {
        if (only >= 0 && layer != only) continue;
        auto keys = best_keys(mass_of("neox.mass", layer));
        change(keys);
        parts.put("layers." + std::to_string(layer) + ".selected", DType::i32, {length, k}, keys);
      }
    };
    if (lie == "no streams") parts.metadata.erase("headroom_streams");
    if (lie == "another version") parts.metadata["headroom_streams"] = "2";
    if (lie == "an unknown key") parts.metadata["rope"] = "1";
    if (lie == "no layers") parts.metadata.erase("layers");
    if (lie == "a layer of another kind") layers[1]["kind"] = "fulll";
    if (lie == "a layer with another field") layers[1]["softcap"] = 30;
    if (lie == "no scale") layers[1].erase("scale");
    if (lie == "nothing full") layers = nlohmann::json::parse(R"([{"kind": "linear"}, {"kind": "omitted"}])");
    if (parts.metadata.contains("layers")) parts.metadata["layers"] = layers.dump();
    if (lie == "k is missing") parts.tensors.erase("layers.1.k");
    if (lie == "q of another length") parts.put("layers.0.q", DType::f32, {4, 47, 8}, floats(4 * 47 * 8));
    if (lie == "heads that do not divide") parts.put("layers.0.k", DType::f32, {3, 48, 8}, floats(3 * 48 * 8));
    if (lie == "head sizes that differ") parts.put("layers.0.k", DType::f32, {4, 48, 4}, floats(4 * 48 * 4));
    if (lie == "a tensor of no layer") parts.put("layers.2.q", DType::f32, {4, 48, 8}, floats(4 * 48 * 8));
    if (lie == "not finite") {
      auto values = floats(4 * 48 * 8);
      values[5] = std::nanf("");
      parts.put("layers.0.q", DType::f32, {4, 48, 8}, values);
    }
    if (lie == "whole numbers") parts.put("layers.0.q", DType::i32, {4, 48, 8}, std::vector<std::int32_t>(4 * 48 * 8));
    if (lie == "no ids") parts.tensors.erase("token_ids");
    if (lie == "a negative id") {
      std::vector<std::int64_t> ids(length, 1);
      ids[3] = -7;
      parts.put("token_ids", DType::i64, {length}, ids);
    }
    if (lie == "text alone") parts.tensors.erase("token_offsets");
    if (lie == "offsets past the text") parts.metadata["text"].resize(parts.metadata["text"].size() - 1);
    if (lie == "a later key") select([](auto& keys) { keys[4 * k] = 9; });
    if (lie == "a key twice") select([](auto& keys) { keys[4 * k + 1] = keys[4 * k]; });
    if (lie == "a query without keys") select([](auto& keys) { keys[0] = -1; });
    if (lie == "a list with a hole") select([](auto& keys) { keys[4 * k + 1] = -1; });
    if (lie == "later bits") {
      for (const char* name : {"layers.0.selected", "layers.1.selected"})
        parts.put(name, DType::u8, {length, length / 8}, std::vector<std::uint8_t>(length * length / 8, 255));
    }
    if (lie == "one layer's selection") select([](auto&) {}, 0);
    const auto file = written(parts);
    QString said;
    try {
      import_streams(spec(file), {});
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::input);
      said = QString::fromUtf8(error.what());
    }
    QVERIFY2(said.contains(QString::fromStdString(file)), qPrintable("said: " + said));
    for (const QString& word : words) QVERIFY2(said.contains(word), qPrintable(word + " is not in: " + said));
    QVERIFY(!QFile::exists(folder_.filePath("run.h5")) || QFile::remove(folder_.filePath("run.h5")));
  }

  void what_streams_do_not_hold_is_refused() {
    auto wanted = spec(fixture("neox.streams"));
    for (const auto& [method, word] : {std::pair("indexer", "indexer"), std::pair("selected", "does not say"),
                                       std::pair("nonsense", "nonsense")}) {
      wanted.methods.names = {"dense", method};
      QString said;
      try {
        import_streams(wanted, {});
      } catch (const Error& error) {
        said = QString::fromUtf8(error.what());
      }
      QVERIFY2(said.contains(word), qPrintable(said));
    }
    wanted.out = wanted.streams;  // the input
    QVERIFY_THROWS_EXCEPTION(Error, import_streams(wanted, {}));
  }

  void a_cancel_keeps_what_was_finished() {
    std::stop_source source;
    RunCallbacks callbacks;
    std::string kept;
    callbacks.method_finished = [&](const auto&) { source.request_stop(); };
    callbacks.record_written = [&](const auto&, const std::string& file) { kept = file; };
    auto wanted = spec(fixture("neox.streams"));
    wanted.out = path("cancelled.h5");
    QVERIFY_THROWS_EXCEPTION(Error, import_streams(wanted, {source.get_token(), {}}, callbacks));
    const auto run = record::RunRecord::open(kept);
    QVERIFY(!run->meta().complete);
    QCOMPARE(run->methods().size(), std::size_t{1});
  }
};

QTEST_GUILESS_MAIN(TestImport)
#include "test_import.moc"
