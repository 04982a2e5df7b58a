// SPDX-License-Identifier: Apache-2.0
// `headroom generate`, and `headroom run` with samples from files and texts of the user's.
#include <nlohmann/json.hpp>

#include "command_fixture.h"

using namespace headroom;
using nlohmann::json;
using test::Finished;

class TestTaskCommands : public test::CommandFixture {
  Q_OBJECT

  QStringList generate(const QStringList& more) const { return QStringList{"generate", model_} + more; }
  QStringList run(const QStringList& more) const {
    return QStringList{"run",    model_,      "--device", "cpu",    "--repeats", "1",
                       "--json", "--methods", "dense",    "--plan", "none"} +
           more;
  }

 private slots:
  void initTestCase() {
    qputenv("XDG_CACHE_HOME", folder_.path().toUtf8());
    test::TinyModelOptions options;
    options.context = 4096;
    model_ = path("tiny.gguf");
    test::write_tiny_model(model_.toStdString(), options);
  }

  void tasks_are_listed() {
    const auto listed = headroom({"tasks", "--json"});
    const auto all = json::parse(listed.output.toStdString())["tasks"];
    QCOMPARE(all.size(), std::size_t{13});
    QCOMPARE(all[12]["name"], "qa_2");
    QCOMPARE(all[12]["metric"], "string_match_part");
    QCOMPARE(all[0]["family"], "in-family");
    QCOMPARE(all[8]["graded"], true);
    QVERIFY(headroom({"tasks"}).output.contains("niah_multikey_3  Long needle among needles."));
  }

  void what_is_generated_is_what_runs() {
    const QString file = path("vt.jsonl");
    const auto made =
        headroom(generate({"--task", "vt", "--length", "1500", "--samples", "3", "--seed", "40", "--out", file}));
    QVERIFY2(made.code == 0, made.errors.constData());
    QVERIFY(made.output.contains("vt.jsonl"));
    const QList<QByteArray> lines = read(file).trimmed().split('\n');
    QCOMPARE(lines.size(), 3);
    for (int i = 0; i < 3; ++i) {
      const auto line = json::parse(lines[i].toStdString());
      QCOMPARE(line["index"], i);
      QCOMPARE(line["outputs"].size(), std::size_t{5});
      QVERIFY(line["length"] <= 1500 && line["length"] >= 1485);
      QCOMPARE(line["task"], "vt");
    }
    // To standard output, the same bytes.
    const auto printed = headroom(generate({"--task", "vt", "--length", "1500", "--samples", "3", "--seed", "40"}));
    QCOMPARE(printed.output, read(file));

    const auto of_file = headroom(run({"--prompts", file, "--index", "2"}));
    const auto of_task = headroom(run({"--task", "vt", "--length", "1500", "--seed", "42"}));
    QVERIFY2(of_file.code == 0 && of_task.code == 0, (of_file.errors + of_task.errors).constData());
    const auto a = json::parse(of_file.output.toStdString()), b = json::parse(of_task.output.toStdString());
    QCOMPARE(a["tokens"], b["tokens"]);
    QVERIFY(a["tokens"] <= 1500 - 30);
    QCOMPARE(a["methods"][0]["text"], b["methods"][0]["text"]);
    QCOMPARE(a["methods"][0]["task_score"], b["methods"][0]["task_score"]);
    QVERIFY(a["methods"][0]["task_score"].is_number());
  }

  void a_haystack_of_the_users_is_generated_with() {
    const QString own = write("own.txt", "Seven bells rang over the empty square. Nobody counted them.");
    const auto made = headroom(generate({"--task", "niah_single_2", "--length", "700", "--haystack", own, "--bare"}));
    QVERIFY2(made.code == 0 && made.output.contains("Nobody counted them."), made.errors.constData());
    const auto refused = headroom(generate({"--task", "vt", "--length", "700", "--haystack", own}));
    QVERIFY2(refused.code == 2 && refused.errors.contains("niah_single_2"), refused.errors.constData());
  }

  void what_cannot_be_done_is_said_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<int>("code");
    QTest::addColumn<QByteArray>("words");
    const auto row = [](const char* name, const QStringList& arguments, int code, const char* words) {
      QTest::newRow(name) << arguments << code << QByteArray(words);
    };
    row("unknown task", {"generate", "%M", "--task", "vd", "--length", "900"}, 2,
        "known are: niah_single_1, niah_single_2");
    row("short", {"generate", "%M", "--task", "cwe", "--length", "90"}, 2, "is too small for cwe: it needs");
    row("no length", {"generate", "%M", "--task", "vt"}, 2, "--length");
    row("no samples", {"generate", "%M", "--task", "vt", "--length", "900", "--samples", "0"}, 2, "--samples");
    row("model", {"generate", "/nowhere.gguf", "--task", "vt", "--length", "900"}, 3, "/nowhere.gguf");
    row("over the model", {"generate", "%M", "--task", "vt", "--length", "900", "--out", "%M"}, 3, "tiny.gguf");
    row("index", {"run", "%M", "--prompts", "%F", "--index", "5"}, 3, "p.jsonl: has no prompt of this index");
    row("two sources", {"run", "%M", "--prompts", "%F", "--prompt", "x"}, 2, "exactly one");
    row("line", {"run", "%M", "--prompts", "%B"}, 3, "b.jsonl:2: unknown field");
    row("over the prompts", {"run", "%M", "--prompts", "%F", "--out", "%F"}, 3, "p.jsonl");
    row("haystack", {"run", "%M", "--prompt", "x", "--haystack", "%F"}, 2, "--haystack belongs to --task");
  }
  void what_cannot_be_done_is_said() {
    QFETCH(QStringList, arguments);
    QFETCH(int, code);
    QFETCH(QByteArray, words);
    const QByteArray before = read(model_);
    const QString good = write("p.jsonl", "{\"input\": \"a\"}\n");
    const QString bad = write("b.jsonl", "{\"input\": \"a\"}\n{\"input\": \"a\", \"seed\": 1}\n");
    arguments.replaceInStrings("%M", model_).replaceInStrings("%F", good).replaceInStrings("%B", bad);
    const auto result = headroom(arguments);
    QVERIFY2(result.code == code && result.errors.contains(words), result.errors.constData());
    QVERIFY(result.output.isEmpty());
    QCOMPARE(read(model_), before);
    QCOMPARE(read(good), QByteArray("{\"input\": \"a\"}\n"));
  }
};

QTEST_GUILESS_MAIN(TestTaskCommands)
#include "test_task_commands.moc"
