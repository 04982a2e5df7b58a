// SPDX-License-Identifier: Apache-2.0
// Budgets by layer: each layer keeps its own number of keys, the same number everywhere is the one budget, what cannot
// be meant is refused, and the file that carries them.
#include <QtTest>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/causal.h"
#include "base/error.h"
#include "base/layer_budgets.h"
#include "experiment/run/run.h"
#include "protocol/run_spec.h"
#include "record/run_record.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::experiment;

class TestLayerBudgets : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  protocol::RunSpec spec_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }
  std::shared_ptr<const record::RunRecord> record(protocol::RunSpec spec, const char* name) const {
    spec.out = path(name);
    run(spec, {});
    return record::RunRecord::open(*spec.out);
  }
  static LayerBudgets budgets(std::vector<std::int64_t> keys) {
    LayerBudgets result;
    result.source = "budget.json";
    for (std::size_t i = 0; i < keys.size(); ++i) result.keys[static_cast<int>(i)] = keys[i];
    return result;
  }
  static std::string refusal(const protocol::RunSpec& spec) {
    try {
      run(spec, {});
    } catch (const Error& error) {
      return std::string(error.message()) + " | " + error.detail().place + " | " + error.detail().found;
    }
    return {};
  }

 private slots:
  void initTestCase() {
    test::TinyModelOptions options;
    options.layers = 4;
    test::write_tiny_model(path("tiny.gguf"), options);
    spec_.model = path("tiny.gguf");
    spec_.prompt = std::string();
    for (int i = 0; i < 30; ++i) *spec_.prompt += "item " + std::to_string(i * 7919 % 1000) + "\n";
    spec_.methods = {"dense", "oracle", "sink_window", "random", "static_oracle", "head_oracle", "snapkv"};
    spec_.budgets = {parse_budget("24")};
    spec_.repeats = 1;
    spec_.device = "cpu";
    spec_.dtype = "f32";
    spec_.max_new_tokens = 2;
  }

  void each_layer_keeps_its_own_keys() {
    protocol::RunSpec spec = spec_;
    spec.layer_budgets = budgets({16, 40, 20, 32});
    const auto held = record(spec, "own.h5");
    const std::int64_t length = held->length();
    int found = 0;
    for (const auto& method : held->methods()) {
      const auto parameter = method.parameters.find("layer_budgets");
      if (parameter == method.parameters.end()) continue;
      ++found;
      QCOMPARE(parameter->second, std::string("0:16 1:40 2:20 3:32"));
      QCOMPARE(method.budget_tokens, 27);  // the mean
      QVERIFY2(method.id.find("-k27-g1-layers") != std::string::npos, method.id.c_str());
      double pairs = 0;
      for (const std::int64_t k : {16, 40, 20, 32})
        pairs += causal_pairs(k) + static_cast<double>(length - k) * static_cast<double>(k);
      if (method.name == "oracle" || method.name == "sink_window" || method.name == "random")
        QVERIFY2(std::abs(method.density - pairs / (4 * causal_pairs(length))) < 1e-9, method.id.c_str());
      for (int layer = 0; layer < 4 && method.name == "oracle"; ++layer) {
        const auto support = held->supports(method.id, layer, record::SupportKind::support);
        QVERIFY(support);
        std::int64_t keys = 0;
        for (std::int64_t key = 0; key < length; ++key) keys += support->test(length - 1, key);
        QCOMPARE(keys, spec.layer_budgets->keys.at(layer));
        // T is of the layer's own k, so that the oracle recalls all of it.
        QVERIFY(std::abs(method.oracle_recall_per_layer[static_cast<std::size_t>(layer)] - 1) < 1e-9);
      }
    }
    QCOMPARE(found, 6);
  }

  void the_same_number_everywhere_is_the_one_budget() {
    protocol::RunSpec spec = spec_;
    spec.layer_budgets = budgets({24, 24, 24, 24});
    const auto held = record(spec, "same.h5");
    for (const auto& method : held->methods()) {
      if (!method.parameters.contains("layer_budgets")) continue;
      const auto* one = held->find_method(method.id.substr(0, method.id.find("-layers")));
      QVERIFY2(one && one != &method, method.id.c_str());
      QCOMPARE(method.density, one->density);
      QCOMPARE(method.captured_mass_per_layer, one->captured_mass_per_layer);
      QCOMPARE(method.answer_ids, one->answer_ids);
      QVERIFY(method.fingerprint != one->fingerprint);
    }
  }

  void what_cannot_be_meant_is_refused() {
    protocol::RunSpec spec = spec_;
    spec.out = path("refused.h5");
    spec.layer_budgets = budgets({24, 24, 24});
    QVERIFY2(refusal(spec).find("layer 3 without") != std::string::npos, refusal(spec).c_str());
    spec.dense_layers = {3};
    QCOMPARE(refusal(spec), std::string());
    spec.layer_budgets = budgets({24, 24, 24, 24, 24});
    QVERIFY(!refusal(spec).empty());
    spec.dense_layers = {};
    spec.layer_budgets = budgets({24, 24, 24, 24});
    spec.layer_budgets->model_sha256 = std::string(64, 'b');
    QVERIFY2(refusal(spec).find("another model") != std::string::npos, refusal(spec).c_str());
  }

  void a_specification_carries_them() {
    protocol::RunSpec spec = spec_;
    spec.budgets.clear();
    spec.layer_budgets = budgets({8, 40, 16, 32});
    const auto back = protocol::run_spec_from_json(protocol::to_json(spec));
    QVERIFY(back.layer_budgets == spec.layer_budgets);
    QVERIFY(back.budgets.empty());
  }

  void files_are_read_and_damaged_ones_refused() {
    const auto write = [&](const std::string& text) {
      std::ofstream(path("budget.json")) << text;
      return path("budget.json");
    };
    const std::string good = R"({"kind": "headroom layer budgets", "version": 1, "model_sha256": "abc",
      "layers": [{"layer": 0, "budget": 8, "mass": 0.95}, {"layer": 1, "budget": 16}], "dense_layers": [2],
      "greedy": {"keys_per_layer": 12, "layers": [{"layer": 0, "budget": 4}, {"layer": 1, "budget": 20}]}})";
    const auto by_mass = read_budget_file(write(good));
    QCOMPARE(by_mass.budgets.text(), std::string("0:8 1:16"));
    QCOMPARE(by_mass.budgets.model_sha256, std::string("abc"));
    QCOMPARE(by_mass.dense_layers, std::vector<int>{2});
    QCOMPARE(read_budget_file(path("budget.json"), LayerList::greedy).budgets.text(), std::string("0:4 1:20"));
    for (const std::string bad :
         {R"({"kind": "something else", "layers": []})", R"({"kind": "headroom layer budgets", "layers": []})",
          R"({"kind": "headroom layer budgets", "layers": [{"layer": 0, "budget": 0}]})",
          R"({"kind": "headroom layer budgets", "layers": [{"layer": 0, "budget": 1}, {"layer": 0, "budget": 2}]})",
          R"({"kind": "headroom layer budgets", "layers": [{"layer": -1, "budget": 1}]})", "[]", "{"}) {
      try {
        read_budget_file(write(bad));
        QFAIL(bad.c_str());
      } catch (const Error& error) {
        QVERIFY2(error.detail().place.find("budget.json") != std::string::npos, error.detail().place.c_str());
      }
    }
  }
};

QTEST_APPLESS_MAIN(TestLayerBudgets)
#include "test_layer_budgets.moc"
