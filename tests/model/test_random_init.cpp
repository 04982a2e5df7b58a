// SPDX-License-Identifier: Apache-2.0
// Models that are nowhere on disk: the published configurations have the parameters that their publishers count, and
// every family's configuration becomes a model of random weights that computes, measures and says what it needs.
#include <ATen/ops/isfinite.h>

#include <QtTest>
#include <cmath>

#include "base/error.h"
#include "checkpoint/config_json.h"
#include "experiment/bench/bench.h"
#include "experiment/run/random_model.h"
#include "model/decoder.h"
#include "model/family_case.h"
#include "model/random_checkpoint.h"

using namespace headroom;

class TestRandomInit : public QObject {
  Q_OBJECT

  static model::ModelConfig read(const std::filesystem::path& file) {
    return model::read_model_config(*checkpoint::open_config(file));
  }
  static std::filesystem::path published(const std::string& name) {
    return std::filesystem::path(HEADROOM_SOURCE_DIR "/resources/configs") / (name + ".json");
  }

 private slots:
  void published_configurations_have_their_parameters_data() {
    QTest::addColumn<std::string>("name");
    QTest::addColumn<qlonglong>("parameters");
    QTest::addColumn<qlonglong>("cache_bytes");  // a token, bf16
    const auto row = [](const char* name, qlonglong parameters, qlonglong cache_bytes) {
      QTest::newRow(name) << std::string(name) << parameters << cache_bytes;
    };
    row("llama-3.1-8b", 8'030'261'248, 131072);
    row("qwen3-8b", 8'190'735'360, 147456);
    row("smollm2-135m", 134'515'008, 23040);
    row("gpt-oss-20b", 20'914'757'184, 49152);
    // The text part: vision, and the block that predicts further ahead, are no part of the configuration's model.
    row("qwen3.5-0.8b", 752'393'024, 12288);
    row("qwen3.5-9b", 8'953'803'264, 32768);
  }
  void published_configurations_have_their_parameters() {
    QFETCH(std::string, name);
    QFETCH(qlonglong, parameters);
    QFETCH(qlonglong, cache_bytes);
    const model::ModelConfig config = read(published(name));
    QCOMPARE(config.name, name);
    const model::RandomCheckpoint file(config, 1);
    qlonglong found = 0;
    for (const auto& tensor : file.tensors()) found += tensor.elements();
    QCOMPARE(found, parameters);
    QCOMPARE(static_cast<qlonglong>(2 * config.kv_values_per_token()), cache_bytes);
  }

  void every_configuration_that_comes_along_is_read() {
    const auto names = experiment::known_configs();
    QVERIFY(names.size() >= 5);
    for (const std::string& name : names) QVERIFY(read(published(name)).num_layers() > 0);
  }

  void random_weights_compute_data() {
    QTest::addColumn<std::string>("name");
    for (const std::string& name : test::family_case_names()) QTest::newRow(name.c_str()) << name;
  }
  void random_weights_compute() {
    QFETCH(std::string, name);
    const auto one = test::read_family_case(name);
    const model::ModelConfig config = read(one.folder / "config.json");
    const model::RandomCheckpoint file(config, 1), other(config, 2);
    const auto decoder = model::load_decoder(file, config, {.dtype = at::kFloat}, {});
    const at::Tensor logits = decoder->logits(one.ids, {});
    QVERIFY(at::isfinite(logits).all().item<bool>());
    QVERIFY(logits.std().item<double>() > 1e-2);
    // A recurrence must not grow with the prompt.
    std::vector<std::int32_t> many;
    while (std::ssize(many) < std::min<std::int64_t>(600, config.context_length)) many.push_back(one.ids[many.size() % one.ids.size()]);
    const at::Tensor later = decoder->logits(many, {});
    QVERIFY(later.abs().max().item<double>() < 20 * logits.abs().max().item<double>());
    QVERIFY(logits.equal(model::load_decoder(file, config, {.dtype = at::kFloat}, {})->logits(one.ids, {})));
    QVERIFY(!logits.equal(model::load_decoder(other, config, {.dtype = at::kFloat}, {})->logits(one.ids, {})));
  }

  void a_configuration_is_timed() {
    experiment::BenchSpec spec;
    spec.config = HEADROOM_SOURCE_DIR "/tests/model/families/gemma3/config.json";
    spec.lengths = {256};
    spec.methods = {"dense", "oracle", "indexer"};
    spec.budgets = {parse_budget("16")};
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.repeats = 1;
    const auto report = experiment::bench(spec, {});
    QVERIFY(report.rows.size() >= 3);
    for (const auto& row : report.rows) QVERIFY(row.ttft.median > 0);
  }

  void what_is_no_configuration_is_refused() {
    QTemporaryDir folder;
    const auto refused = [&](const char* text) -> std::string {
      QFile file(folder.filePath("c.json"));
      if (!file.open(QIODevice::WriteOnly)) return "not written";
      file.write(text);
      file.close();
      try {
        read(folder.filePath("c.json").toStdString());
      } catch (const Error& error) {
        return error.kind() == ErrorKind::input ? error.what() : "another kind";
      }
      return "nothing";
    };
    QVERIFY(refused("GGUF").find("c.json") != std::string::npos);
    QVERIFY(refused("{}").find("architectures") != std::string::npos);
    const std::string missing = refused(R"({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 8})");
    QVERIFY2(missing.find("num_hidden_layers") != std::string::npos, missing.c_str());
    try {
      experiment::bench({.config = "no-such-config", .lengths = {8}}, {});
      QFAIL("nothing was refused");
    } catch (const Error& error) {
      QVERIFY2(std::string(error.what()).find("qwen3-8b") != std::string::npos, error.what());
    }
  }
};

QTEST_GUILESS_MAIN(TestRandomInit)
#include "test_random_init.moc"
