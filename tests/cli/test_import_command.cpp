// SPDX-License-Identifier: Apache-2.0
// `headroom import` and `headroom reseal` as people call them: a record comes out and opens, or one line says why not.
#include <hdf5.h>

#include <QtTest>
#include <nlohmann/json.hpp>
#include <set>

#include "command_fixture.h"

using namespace headroom;
using nlohmann::json;

class TestImportCommand : public test::CommandFixture {
  Q_OBJECT

  static QString streams() {
    return QStringLiteral(HEADROOM_SOURCE_DIR "/tests/experiment/streams/neox.streams.safetensors");
  }
  test::Finished import(const QStringList& more, const QString& from = streams()) const {
    return headroom(QStringList{"import", from, "--out", path("run.h5"), "--device", "cpu"} + more);
  }
  static json object(const test::Finished& done) { return json::parse(done.output.toStdString(), nullptr, false); }
  static bool one_line(const test::Finished& done) {
    return done.output.isEmpty() && done.errors.startsWith("headroom: ") && done.errors.count('\n') == 1;
  }

 private slots:
  void initTestCase() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }
  void init() { QFile::remove(path("run.h5")); }

  void a_record_for_people_and_for_programs() {
    const auto shown = import({"--budget", "8"});
    QVERIFY2(shown.code == 0, shown.errors);
    for (const char* words : {"48 tokens", "(static)", "oracle", "recall", "run.h5", "contains the full prompt"})
      QVERIFY2(shown.output.contains(words), shown.output);
    const json made = object(import({"--budget", "8,25%,p0.9", "--json"}));
    QVERIFY(made.is_object());
    std::set<std::string> ids;
    for (const auto& method : made["methods"]) ids.insert(method["id"]);
    QCOMPARE(ids, (std::set<std::string>{"dense", "oracle-k8-g1", "oracle-f25-g1", "oracle-p0.9-g1"}));
    const json info = object(headroom({"info", path("run.h5"), "--json"}));
    QCOMPARE(info["kind"], "record");
    QCOMPARE(info["model_sha256"].get<std::string>().size(), std::size_t{64});
    QVERIFY(info["warnings"][0].get<std::string>().find("static") != std::string::npos);
    QVERIFY(info["layers"][0]["kind"] == "full" && info["layers"].size() == 2);
    const auto csv = headroom({"export", path("run.h5"), "--view", "budget", "-o", path("budget.csv")});
    QVERIFY2(csv.code == 0 && read(path("budget.csv")).contains("oracle-k8-g1"), csv.errors);
  }

  // Every policy that looks at q and k alone; the model's stream is dense's, so both oracles choose the same.
  void policies_that_need_q_and_k_alone() {
    const QStringList names = {"dense",      "oracle",     "head_oracle", "value_oracle",   "static_oracle", "random",
                               "sink_window", "tri_shape", "triangle_mix", "block_topk",    "quest",         "snapkv",
                               "vertical_slash", "flex_prefill", "xattention"};
    const auto done = import({"--methods", names.join(','), "--budget", "16", "--json"});
    QVERIFY2(done.code == 0, done.errors);
    const json made = object(done);
    QCOMPARE(made["methods"].size(), static_cast<std::size_t>(names.size()));
    std::map<std::string, json> by_name;
    for (const auto& method : made["methods"]) {
      const std::string name = method["name"];
      by_name[name] = method;
      QVERIFY2(method["label"].get<std::string>().starts_with("static"), name.c_str());
      QCOMPARE(method["ttft_ms"]["repeats"], 0);
      if (name == "dense") continue;
      const double mass = method["captured_mass"]["mean"], recall = method["oracle_recall"]["mean"];
      QVERIFY2(mass > 0 && mass < 1 && recall > 0 && recall <= 1, name.c_str());
      const double most = by_name["oracle"]["captured_mass"]["mean"];
      QVERIFY2(name == "head_oracle" || mass <= most + 1e-6, name.c_str());
    }
    for (const auto& name : names) QVERIFY2(by_name.contains(name.toStdString()), qPrintable(name));
    QCOMPARE(by_name["static_oracle"]["captured_mass"], by_name["oracle"]["captured_mass"]);
    QCOMPARE(by_name["static_oracle"]["oracle_recall"]["mean"], 1.0);
    QVERIFY(by_name["random"]["oracle_recall"]["mean"] < 0.9);
  }

  void what_cannot_be_imported_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<int>("code");
    QTest::addColumn<QString>("words");
    QTest::newRow("an indexer") << QStringList{"--methods", "dense,indexer"} << 2 << "methods that need q and k alone";
    QTest::newRow("no selection") << QStringList{"--methods", "selected"} << 3 << "layers.N.selected";
    QTest::newRow("a layer") << QStringList{"--keep-layers", "7"} << 3 << "keep-layers";
    QTest::newRow("a budget") << QStringList{"--budget", "none"} << 2 << "none";
  }
  void what_cannot_be_imported() {
    QFETCH(QStringList, arguments);
    QFETCH(int, code);
    QFETCH(QString, words);
    const auto done = import(arguments);
    QCOMPARE(done.code, code);
    QVERIFY2(one_line(done) && QString::fromUtf8(done.errors).contains(words), done.errors);
    QVERIFY(!QFile::exists(path("run.h5")));
  }

  void files_that_are_no_streams() {
    const QByteArray whole = read(streams());
    const auto cut = import({}, write("cut.safetensors", whole.chopped(100)));
    QCOMPARE(cut.code, 3);
    QVERIFY2(one_line(cut) && says(cut, {"cut.safetensors"}), cut.errors);
    const auto missing = import({}, path("nothing.safetensors"));
    QCOMPARE(missing.code, 3);
    QVERIFY2(one_line(missing) && says(missing, {"nothing.safetensors"}), missing.errors);
    const auto weights =
        import({}, QStringLiteral(HEADROOM_SOURCE_DIR "/tests/model/families/llama/model.safetensors"));
    QCOMPARE(weights.code, 3);
    QVERIFY2(one_line(weights) && says(weights, {"headroom_streams"}), weights.errors);
    QVERIFY(!QFile::exists(path("run.h5")));
  }

  void a_changed_record_is_refused_and_written_anew() {
    QVERIFY(import({"--budget", "8"}).code == 0);
    const hid_t file = H5Fopen(native("run.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    QVERIFY(file >= 0);
    const hid_t group = H5Gcreate2(file, "/notes", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    QVERIFY(group >= 0);
    H5Gclose(group);
    H5Fclose(file);
    const auto refused = headroom({"info", path("run.h5")});
    QCOMPARE(refused.code, 3);
    QVERIFY2(one_line(refused) && says(refused, {"run.h5", "changed since it was written"}), refused.errors);
    const auto done = headroom({"reseal", path("run.h5"), "--out", path("new.h5")});
    QVERIFY2(done.code == 0 && done.output.contains("new.h5"), done.errors);
    const json info = object(headroom({"info", path("new.h5"), "--json"}));
    QCOMPARE(info["methods"].size(), std::size_t{2});
    QVERIFY(info["warnings"][0].get<std::string>().find("static") != std::string::npos);
    QCOMPARE(headroom({"info", path("run.h5")}).code, 3);  // the input stays as it was
  }

  void what_cannot_be_resealed() {
    const QString text = write("text.h5", "this is no record");
    const auto done = headroom({"reseal", text, "--out", path("anew.h5")});
    QCOMPARE(done.code, 3);
    QVERIFY2(one_line(done) && says(done, {"text.h5"}), done.errors);
    const auto onto_itself = headroom({"reseal", text, "--out", text});
    QVERIFY(onto_itself.code == 2 || onto_itself.code == 3);
    QVERIFY2(one_line(onto_itself), onto_itself.errors);
    QCOMPARE(read(text), QByteArray("this is no record"));
    QCOMPARE(headroom({"reseal", text}).code, 2);  // --out is missing
    QVERIFY(!QFile::exists(path("anew.h5")) && parts().isEmpty());
  }
};

QTEST_GUILESS_MAIN(TestImportCommand)
#include "test_import_command.moc"
