// SPDX-License-Identifier: Apache-2.0
// Which modules PEFT's configuration of an adapter names: expressions as Python's re has them, lists, layers, ranks.
#include <QElapsedTimer>
#include <QtTest>
#include <fstream>

#include "base/error.h"
#include "checkpoint/adapter_config.h"

using namespace headroom;
using checkpoint::AdapterConfig;
using checkpoint::NamePattern;

class TestAdapterConfig : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  AdapterConfig read(const std::string& more) const {
    const std::filesystem::path file = folder_.filePath("adapter_config.json").toStdString();
    std::ofstream(file) << R"({"peft_type": "LORA", "r": 8, "lora_alpha": 16, )" << more << "}";
    return AdapterConfig(file);
  }
  static std::string module(int layer, const char* rest) {
    return "model.layers." + std::to_string(layer) + "." + rest;
  }
  static void expect_refusal(const std::function<void()>& work, const std::vector<std::string>& words) {
    try {
      work();
    } catch (const Error& error) {
      for (const std::string& word : words)
        QVERIFY2(std::string(error.what()).find(word) != std::string::npos,
                 (word + " not in: " + error.what()).c_str());
      return;
    }
    QFAIL("nothing was refused");
  }

 private slots:
  void patterns_match_as_in_python_data() {
    QTest::addColumn<QString>("pattern");
    QTest::addColumn<QString>("name");
    QTest::addColumn<bool>("matches");
    const auto row = [](const char* pattern, const char* name, bool matches) {
      QTest::newRow((std::string(pattern) + " on " + name).c_str()) << pattern << name << matches;
    };
    // Each as `re.fullmatch(pattern, name) is not None` says in Python 3.11.
    row(".*q_proj", "model.layers.0.self_attn.q_proj", true);
    row("q_proj", "model.layers.0.self_attn.q_proj", false);
    row(R"(.*\.layers\.(0|2)\.self_attn\.[qk]_proj)", "model.layers.2.self_attn.k_proj", true);
    row(R"(.*\.layers\.(0|2)\.self_attn\.[qk]_proj)", "model.layers.1.self_attn.k_proj", false);
    row(R"(.*\.layers\.(0|2)\.self_attn\.[qk]_proj)", "model.layers.2.self_attn.v_proj", false);
    row(R"(model\.layers\.\d{1,2}\.mlp\.(?:up|down)_proj)", "model.layers.17.mlp.up_proj", true);
    row(R"(model\.layers\.\d{1,2}\.mlp\.(?:up|down)_proj)", "model.layers.117.mlp.up_proj", false);
    row(R"((?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|up_proj))))", "model.layers.3.mlp.up_proj",
        true);
    row(R"((?:.*?(?:language|text).*?(?:q_proj|k_proj).*?))", "model.language_model.layers.1.q_proj", true);
    row("a|b|", "", true);
    row("(a|)(b|)", "ab", true);
    row("a{2,3}", "aaaa", false);
    row("a{2,3}", "aaa", true);
    row("a{,2}b", "aab", true);
    row("(ab)+?c", "ababc", true);
    row("[^.]+", "q_proj", true);
    row("[^.]+", "a.b", false);
    row("[]a-c-]+", "a-]b", true);
    row(R"(x\b.y)", "x.y", true);
    row(R"(x\b.y)", "xay", false);
    row(R"(x\B.y)", "xay", true);
    row("^a$", "a", true);
    row("a^b", "ab", false);
    row("(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false);
    row("(?P<which>a)b", "ab", true);
    row(R"(\w+\s\D)", "q_9 x", true);
  }
  void patterns_match_as_in_python() {
    QFETCH(QString, pattern);
    QFETCH(QString, name);
    QFETCH(bool, matches);
    QCOMPARE(NamePattern(pattern.toStdString(), "here").matches(name.toStdString()), matches);
  }

  void what_is_no_regular_expression_is_refused_data() {
    QTest::addColumn<QString>("pattern");
    QTest::addColumn<QString>("word");
    QTest::newRow("look-ahead") << "(?!v).*" << "look-around";
    QTest::newRow("flag") << "(?i)a" << "flag";
    QTest::newRow("back reference") << R"((a)\1)" << "'\\x5c1'";
    QTest::newRow("possessive") << "a++" << "possessive";
    QTest::newRow("open group") << "(a" << "'('";
    QTest::newRow("closed group") << "a)" << "closes nothing";
    QTest::newRow("open class") << "[a" << "'['";
    QTest::newRow("count of nothing") << "*a" << "count of nothing";
    QTest::newRow("backslash") << "a\\" << "at the end";
    QTest::newRow("backward range") << "[z-a]" << "range";
    QTest::newRow("large counts") << "((((a{999}){999}){999}){999}){999}" << "multiply";
    QTest::newRow("large counts of nothing") << "((((){999}){999}){999}){999}" << "multiply";
    QTest::newRow("nesting") << QString(5000, '(') << "nested";
    QTest::newRow("length") << QString(100000, 'a') << "too long";
  }
  void what_is_no_regular_expression_is_refused() {
    QFETCH(QString, pattern);
    QFETCH(QString, word);
    QElapsedTimer timer;
    timer.start();
    try {
      NamePattern(pattern.toStdString(), "here");
    } catch (const Error& error) {
      const QString text = error.what();
      QVERIFY2(error.kind() == ErrorKind::input && text.startsWith("here: "), error.what());
      // Quoted bytes are escaped; the words are not.
      QVERIFY2(text.contains(word) || text.contains(QString(word).replace("\\x5c", "\\")), error.what());
      QVERIFY(timer.elapsed() < 2000);
      return;
    }
    QFAIL("nothing was refused");
  }

  void lists_name_whole_parts() {
    const auto config = read(R"("target_modules": ["q_proj", "mlp.up_proj", "model.layers.4.self_attn.v_proj"])");
    QVERIFY(config.targets(module(0, "self_attn.q_proj"), false));
    QVERIFY(config.targets(module(0, "mlp.up_proj"), false));
    QVERIFY(!config.targets(module(0, "self_attn.my_q_proj"), false));
    QVERIFY(!config.targets(module(0, "other.up_proj"), false));
    QVERIFY(config.targets(module(4, "self_attn.v_proj"), false));
    QVERIFY(!config.targets(module(14, "self_attn.v_proj"), false));
    QVERIFY(config.targets("q_proj", false));
  }

  void layers_are_counted_by_their_first_number() {
    const auto config = read(R"("target_modules": ["up_proj", "model.layers.5.mlp.up_proj"],
                                "layers_to_transform": [1, 3])");
    QVERIFY(config.targets(module(1, "mlp.up_proj"), false));
    QVERIFY(!config.targets(module(2, "mlp.up_proj"), false));
    QVERIFY(config.targets(module(3, "mlp.experts.2.up_proj"), false));
    QVERIFY(!config.targets(module(2, "mlp.experts.3.up_proj"), false));
    QVERIFY(config.targets(module(5, "mlp.up_proj"), false));  // named whole: the layers do not matter
    const auto named = read(R"("target_modules": ["up_proj"], "layers_to_transform": 2,
                               "layers_pattern": ["h", "lay.rs"])");
    QVERIFY(named.targets(module(2, "mlp.up_proj"), false));
    QVERIFY(!named.targets("model.blocks.2.mlp.up_proj", false));
    QVERIFY(named.targets("h.2.mlp.up_proj", false));
  }

  void all_linear_leaves_the_output_out() {
    const auto config = read(R"("target_modules": "All-Linear", "exclude_modules": ".*gate_proj")");
    QVERIFY(config.targets(module(0, "mlp.up_proj"), false));
    QVERIFY(!config.targets(module(0, "mlp.gate_proj"), false));
    QVERIFY(!config.targets("lm_head", true));
  }

  void ranks_and_scales_are_by_module() {
    const auto config = read(R"("target_modules": "all-linear",
        "rank_pattern": {"q_proj": 4, "^model.layers.1.mlp.up_proj": 2}, "alpha_pattern": {"layers.[01].mlp.*": 5})");
    QCOMPARE(config.rank(module(0, "self_attn.q_proj")), std::int64_t{4});
    QCOMPARE(config.scale(module(0, "self_attn.q_proj")), 4.0);
    QCOMPARE(config.scale(module(1, "mlp.up_proj")), 2.5);
    QCOMPARE(config.rank(module(11, "mlp.up_proj")), std::int64_t{8});
    QCOMPARE(config.scale(module(11, "mlp.up_proj")), 2.0);
    const auto square = read(R"("target_modules": "all-linear", "use_rslora": true)");
    QCOMPARE(square.scale(module(0, "mlp.up_proj")), 16 / std::sqrt(8.0));
  }

  void what_contradicts_itself_is_refused() {
    expect_refusal([&] { read(R"("target_modules": ".*up_proj", "layers_to_transform": [1])"); },
                   {"'layers_to_transform'", "[1]"});
    expect_refusal([&] { read(R"("target_modules": ["up_proj"], "layers_pattern": "layers")"); },
                   {"'layers_pattern'", "layers_to_transform"});
    expect_refusal([&] { read(R"("target_modules": ["up_proj"], "layers_to_transform": [-1])"); },
                   {"layers_to_transform"});
    expect_refusal([&] { read(R"("target_modules": null)"); }, {"'target_modules'", "null"});
    expect_refusal([&] { read(R"("target_modules": "all-linear", "lora_dropout": 0.1, "corda": 1)"); }, {"'corda'"});
  }

  // A file may name many modules, and none may cost much.
  void many_entries_take_no_long_time() {
    std::string entries;
    for (int i = 0; i < 16000; ++i)
      entries += (i ? ", \"" : "\"") + std::to_string(i) + ".model.layers.9.self_attn.q_proj\": 3";
    const auto config = read(R"("target_modules": "all-linear", "rank_pattern": {)" + entries + "}");
    QElapsedTimer timer;
    timer.start();
    for (int layer = 0; layer < 200; ++layer) QCOMPARE(config.rank(module(layer, "self_attn.q_proj")), std::int64_t{8});
    QVERIFY2(timer.elapsed() < 5000, std::to_string(timer.elapsed()).c_str());
  }
};

QTEST_GUILESS_MAIN(TestAdapterConfig)
#include "test_adapter_config.moc"
