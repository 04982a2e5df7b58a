// SPDX-License-Identifier: Apache-2.0
// What names of models mean: paths, fetched models, and those that ship as an adapter with a manifest.
#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QtTest>

#include "base/error.h"
#include "base/named_model.h"

using namespace headroom;

class TestNamedModel : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  void write(const QString& name, const QByteArray& bytes) const {
    const QString path = folder_.filePath(name);
    QDir().mkpath(QFileInfo(path).path());
    QFile file(path);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write(bytes);
  }
  static void expect_refusal(const std::string& name, const std::optional<std::string>& adapter,
                             const std::vector<std::string>& words) {
    try {
      find_named_model(name, adapter);
    } catch (const Error& error) {
      QVERIFY2(error.kind() == ErrorKind::input, error.what());
      for (const std::string& word : words)
        QVERIFY2(std::string(error.what()).find(word) != std::string::npos,
                 (word + " not in: " + error.what()).c_str());
      return;
    }
    QFAIL("nothing was refused");
  }

 private slots:
  void initTestCase() {
    qputenv("HEADROOM_DATA", folder_.path().toUtf8());
    qputenv("XDG_CACHE_HOME", folder_.filePath("cache").toUtf8());
    write("sample_data/models/tiny-hybrid/model.json", R"({"format": 1, "base": "smollm2", "title": "Tiny"})");
  }

  void paths_are_themselves() {
    const auto named = find_named_model("some/where.gguf", "adapters/one");
    QCOMPARE(named.path.string(), std::string("some/where.gguf"));
    QCOMPARE(named.adapter->string(), std::string("adapters/one"));
    QVERIFY(!find_named_model("/a/b").adapter);
    write("here.gguf", "x");
    QDir::setCurrent(folder_.path());
    QCOMPARE(find_named_model("here.gguf").path.string(), std::string("here.gguf"));
  }

  void a_name_means_base_and_adapter() {
    expect_refusal("tiny-hybrid", {}, {"tiny-hybrid: the adapter of this model is not here", "train.py"});
    write("sample_data/models/tiny-hybrid/adapter_model.safetensors", "x");
    expect_refusal("tiny-hybrid", {}, {"smollm2", "fetch-model"});
    write("cache/headroom/models/SmolLM2-135M-Instruct.Q4_1.gguf", "x");
    const auto named = find_named_model("tiny-hybrid");
    QVERIFY(named.path.string().ends_with("models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    QVERIFY(named.adapter && named.adapter->string().ends_with("sample_data/models/tiny-hybrid"));
    expect_refusal("tiny-hybrid", "another", {"--adapter", "tiny-hybrid means a base with its adapter", "another"});
    QVERIFY(shipped_model_names() == std::vector<std::string>{"tiny-hybrid"});
  }

  void words_that_mean_nothing_list_the_names() {
    expect_refusal("tiny-hybrd", {}, {"no such model", "smollm2, gemma3-270m, tiny-hybrid"});
  }

  void manifests_are_not_trusted() {
    const QString file = "sample_data/models/bad/model.json";
    write("sample_data/models/bad/adapter_model.safetensors", "x");
    for (const auto& [text, word] : {std::pair{"", "JSON"},
                                     {"[1]", "object"},
                                     {R"({"format": 1})", "\"base\" is missing"},
                                     {R"({"format": 2, "base": "smollm2"})", "\"format\""},
                                     {R"({"format": 1, "base": "../../etc/passwd"})", "\"base\""},
                                     {R"({"format": 1, "base": "unheard-of"})", "no model that can be fetched"},
                                     {R"({"format": 1, "base": "bad"})", "no model that can be fetched"},
                                     {R"({"format": 1, "base": "smollm2", "extra": 1})", "\"extra\""}}) {
      write(file, text);
      expect_refusal("bad", {}, {"bad/model.json", word});
    }
    write(file, QByteArray(1 << 20, ' '));
    expect_refusal("bad", {}, {"too large"});
  }
};

QTEST_GUILESS_MAIN(TestNamedModel)
#include "test_named_model.moc"
