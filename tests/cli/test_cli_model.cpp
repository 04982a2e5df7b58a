// SPDX-License-Identifier: Apache-2.0
// `headroom info` and `headroom tokenize` on a tiny model: answers, exit codes, one clear line for bad input.
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QProcess>
#include <QtTest>

#include "support/gguf_writer.h"
#include "support/tiny_model.h"

using namespace headroom;

class TestCliModel : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  QString model_;

  struct Answer {
    int code = -1;
    QByteArray out, err;
    QJsonObject json() const { return QJsonDocument::fromJson(out).object(); }
  };
  static Answer headroom(const QStringList& arguments, const QByteArray& in = {}) {
    QProcess process;
    process.start(HEADROOM_BINARY_DIR "/headroom", arguments);
    process.write(in);
    process.closeWriteChannel();
    if (!process.waitForFinished(60'000)) return {};
    return {process.exitCode(), process.readAllStandardOutput(), process.readAllStandardError()};
  }
  static QByteArray line(const QJsonValue& value) {
    return QJsonDocument(QJsonObject{{"v", value}}).toJson(QJsonDocument::Compact);
  }

 private slots:
  void initTestCase() {
    model_ = folder_.filePath("tiny.gguf");
    test::write_tiny_model(model_.toStdString(), {.layers = 2});
  }

  void tokenize_answers_as_documented() {
    const QByteArray text = "the a\n<|im_end|>";
    const Answer plain = headroom({"tokenize", model_}, text);
    QCOMPARE(plain.code, 0);
    const Answer json = headroom({"tokenize", model_, "--json"}, text);
    const QJsonObject object = json.json();
    QByteArray joined;
    for (const auto& id : object["ids"].toArray())
      joined += (joined.isEmpty() ? "" : " ") + QByteArray::number(id.toInt());
    QCOMPARE(plain.out, joined + "\n");
    QString pieces;
    int at = 0;
    for (qsizetype i = 0; i < object["ids"].toArray().size(); ++i) {
      pieces += object["pieces"].toArray()[i].toString();
      QCOMPARE(object["offsets"].toArray()[i].toArray()[0].toInt(), at);
      at = object["offsets"].toArray()[i].toArray()[1].toInt();
    }
    QCOMPARE(pieces.toUtf8(), text);
    QCOMPARE(at, static_cast<int>(text.size()));

    const QJsonArray special = headroom({"tokenize", model_, "--json", "--special"}, text).json()["ids"].toArray();
    QCOMPARE(special.last().toInt(), 2);
    QVERIFY(special.size() < object["ids"].toArray().size());
    QVERIFY(headroom({"tokenize", model_, "--bos"}, "a").out.startsWith("1 "));
    QVERIFY(!headroom({"tokenize", model_, "--no-bos"}, "a").out.startsWith("1 "));
    QCOMPARE(headroom({"tokenize", model_}, "").out, QByteArray("\n"));
  }

  void jsonl_answers_line_by_line() {
    const Answer answer = headroom({"tokenize", model_, "--jsonl"}, "\"a\\nb\"\n\"\"\n\"\\u00e9\"\n");
    QCOMPARE(answer.code, 0);
    const auto lines = answer.out.split('\n');
    QCOMPARE(lines.size(), 4);
    QCOMPARE(QJsonDocument::fromJson(lines[0]).object()["ids"].toArray().size(), 3);
    QVERIFY(QJsonDocument::fromJson(lines[1]).object()["ids"].toArray().isEmpty());
    const Answer wrong = headroom({"tokenize", model_, "--jsonl"}, "\"a\"\n[1]\n");
    QCOMPARE(wrong.code, 3);
    QVERIFY(wrong.err.contains("line 2"));
  }

  void info_tells_what_a_model_is() {
    const QJsonObject info = headroom({"info", model_, "--json"}).json();
    QCOMPARE(info["architecture"].toString(), QString("llama"));
    QCOMPARE(info["layers"].toInt(), 2);
    QCOMPARE(line(info["layer_kinds"]), QByteArray(R"({"v":["full","full"]})"));
    QCOMPARE(info["q_heads"].toInt(), 4);
    QCOMPARE(info["kv_heads"].toInt(), 2);
    QCOMPARE(info["context"].toInt(), 2048);
    QCOMPARE(info["sha256"].toString().size(), 64);
    QVERIFY(info["tokenizer"].toObject()["chat_template"].toBool());
    const Answer text = headroom({"info", model_});
    QVERIFY(text.code == 0 && text.out.contains(QFileInfo(model_).completeBaseName().toUtf8()));
  }

  void info_tells_how_positions_are_rotated_data() {
    QTest::addColumn<std::vector<float>>("factors");  // linear, then the tensor's
    QTest::addColumn<QByteArray>("row");
    QTest::addColumn<QString>("kind");
    QTest::newRow("not scaled") << std::vector<float>{} << QByteArray("base 10000, not scaled") << QString();
    QTest::newRow("linear") << std::vector<float>{4} << QByteArray("base 10000, scaled by 4 (linear)") << "linear";
    QTest::newRow("by frequency") << std::vector<float>{2, 1, 1, 1, 2, 4, 8, 8, 8}
                                  << QByteArray("base 10000, frequencies divided by 2 to 16") << "by frequency";
  }
  void info_tells_how_positions_are_rotated() {
    QFETCH(std::vector<float>, factors);
    QFETCH(QByteArray, row);
    QFETCH(QString, kind);
    const QString file = folder_.filePath("rope.gguf");
    test::write_tiny_model(file.toStdString(),
                           {.layers = 1, .more = [&](test::GgufWriter& gguf) {
                              if (!factors.empty()) gguf.add("llama.rope.scaling.factor", factors[0]);
                              if (factors.size() > 1)
                                gguf.add_tensor("rope_freqs.weight", {8}, {factors.begin() + 1, factors.end()});
                            }});
    const Answer text = headroom({"info", file});
    QVERIFY2(text.out.contains(row), text.out + text.err);
    const QJsonValue scaling = headroom({"info", file, "--json"}).json()["rope_scaling"];
    QCOMPARE(scaling.isNull(), factors.empty());
    QCOMPARE(scaling.toObject()["kind"].toString(), kind);
  }

  // A scaling by its name and numbers, of either format and before anything is loaded.
  void info_names_the_scaling_of_positions_data() {
    QTest::addColumn<bool>("gguf");
    QTest::addColumn<QString>("said");  // in config.json, or of GGUF's keys
    QTest::addColumn<QByteArray>("row");
    QTest::addColumn<QString>("fields");
    const auto row = [](const char* name, bool gguf, const char* said, const char* row, const char* fields) {
      QTest::newRow(name) << gguf << QString(said) << QByteArray(row) << QString(fields);
    };
    row("llama3", false,
        R"("rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 512)",
        "base 500000, frequencies divided by 1 to 8 (llama3: factor 8, original context 512, low_freq_factor 1, "
        "high_freq_factor 4)",
        R"({"type": "llama3", "factor": 8, "original_context": 512, "low_freq_factor": 1, "high_freq_factor": 4})");
    row("yarn", false,
        R"("rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "beta_fast": 16.0,
           "attention_factor": 1.25)",
        "values times 1.25 (yarn: factor 4, original context 512, beta_fast 16, beta_slow 1)",
        R"({"type": "yarn", "factor": 4, "original_context": 512, "beta_fast": 16, "beta_slow": 1,
            "magnitude": 1.25})");
    row("linear", false, R"("type": "linear", "factor": 2.5)", "base 500000, scaled by 2.5 (linear)",
        R"({"type": "linear", "factor": 2.5})");
    row("yarn in GGUF", true, "yarn", "(yarn: factor 4, original context 512, beta_fast 32, beta_slow 1)",
        R"({"type": "yarn", "factor": 4, "original_context": 512, "beta_fast": 32, "beta_slow": 1,
            "rope_freqs": false})");
    row("linear in GGUF", true, "linear", "base 10000, scaled by 4 (linear)", R"({"type": "linear", "factor": 4})");
    row("a tensor in GGUF", true, "tensor",
        "base 10000, frequencies divided by 1 to 8 (factors of rope_freqs.weight)",
        R"({"type": null, "rope_freqs": true})");
    row("both in GGUF", true, "linear and tensor",
        "base 10000, frequencies divided by 4 to 32 (linear: factor 4; factors of rope_freqs.weight)",
        R"({"type": "linear", "factor": 4, "rope_freqs": true})");
  }
  void info_names_the_scaling_of_positions() {
    QFETCH(bool, gguf);
    QFETCH(QString, said);
    QFETCH(QByteArray, row);
    QFETCH(QString, fields);
    const QString file = folder_.filePath(gguf ? "scaled.gguf" : "scaled.json");
    if (gguf) {
      test::write_tiny_model(file.toStdString(), {.layers = 1, .more = [&](test::GgufWriter& writer) {
        if (const QString type = said.section(' ', 0, 0); type != "tensor") {
          writer.add("llama.rope.scaling.type", type.toStdString());
          writer.add("llama.rope.scaling.factor", 4.0f);
          if (type == "yarn") writer.add("llama.rope.scaling.original_context_length", std::uint32_t{512});
        }
        if (said.endsWith("tensor")) writer.add_tensor("rope_freqs.weight", {8}, {1, 1, 1, 2, 4, 8, 8, 8});
      }});
    } else {
      QFile config(file);
      QVERIFY(config.open(QIODevice::WriteOnly));
      config.write(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 300, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "rope_theta": 500000.0, "rope_scaling": {)" + said.toUtf8() + "}}");
    }
    const Answer text = headroom({"info", file});
    QVERIFY2(text.code == 0 && text.out.contains(row), text.out + text.err);
    const QJsonObject scaling = headroom({"info", file, "--json"}).json()["rope_scaling"].toObject();
    const QJsonObject expected = QJsonDocument::fromJson(fields.toUtf8()).object();
    QVERIFY(!expected.isEmpty());
    for (auto field = expected.begin(); field != expected.end(); ++field)
      QVERIFY2(scaling.contains(field.key()) && scaling[field.key()] == field.value(),
               QJsonDocument(scaling).toJson() + field.key().toUtf8());
    for (const char* key : {"factor", "original_context", "low_freq_factor", "beta_fast"})
      QCOMPARE(scaling.contains(key), expected.contains(key));
  }

  // Before anything is loaded, of a configuration alone, too.
  void info_tells_what_layers_and_a_prefill_need() {
    const QString config = HEADROOM_SOURCE_DIR "/tests/model/families/gemma3/config.json";
    const Answer text = headroom({"info", config, "--length", "400"});
    QCOMPARE(text.code, 0);
    for (const char* words : {"6 sliding attention (window 12), 1 full attention", "base 10000, not scaled (6 layers)",
                              "base 1000000, not scaled (1 layer)", "224 bytes a token in bf16", "400 tokens, dense"})
      QVERIFY2(text.out.contains(words), text.out + text.err);
    const QJsonObject info = headroom({"info", config, "--length", "600", "--json"}).json();
    QCOMPARE(info["kv_bytes_per_token"].toObject()["f32"].toInt(), 448);
    QCOMPARE(info["layer_groups"].toArray().size(), 2);
    const QJsonObject prefill = info["prefill"].toObject(), memory = prefill["memory"].toObject()["f32"].toObject();
    QVERIFY(prefill["past_context"].toBool());
    QCOMPARE(memory["cache"].toInt(), 600 * 448);
    QCOMPARE(memory["weights"].toInt(), 4 * info["parameters"].toInt());
    QVERIFY(memory["cpu"].toDouble() > memory["weights"].toDouble() + memory["cache"].toDouble());
    QVERIFY(headroom({"info", model_, "--json"}).json()["prefill"].isNull());
    const Answer sinks = headroom({"info", HEADROOM_SOURCE_DIR "/tests/model/families/gpt_oss/config.json"});
    QVERIFY2(sinks.out.contains("2 sliding attention (window 12, learned sinks), 2 full attention (learned sinks)"),
             sinks.out);
    // A SentencePiece vocabulary has no way to split text, and no part of the line says one.
    const QString pieces = folder_.filePath("pieces.gguf");
    test::write_tiny_model(pieces.toStdString(), {.layers = 1, .scores = true});
    const Answer words = headroom({"info", pieces});
    QVERIFY2(words.code == 0 && words.out.contains("tokenizer      llama, ChatML template\n"), words.out + words.err);
    QVERIFY(headroom({"info", model_}).out.contains("tokenizer      gpt2, split smollm, ChatML template\n"));
    QCOMPARE(headroom({"info", model_, "--length", "0"}).code, 2);
  }

  // Standard error, JSON and record say the same.
  void bytes_without_a_token_are_told() {
    const QString holes = folder_.filePath("holes.gguf"), record = folder_.filePath("holes.h5");
    test::write_tiny_model(holes.toStdString(), {.layers = 1, .without_bytes = "\x13"});
    const Answer lines = headroom({"tokenize", holes, "--jsonl"}, "\"ab\"\n\"a\\u0013b\\u0013\"\n");
    QCOMPARE(lines.code, 0);
    QVERIFY2(lines.err.startsWith("headroom: line 2: 2 bytes of the text") && lines.err.contains("0x13 at byte 1") &&
                 lines.err.count('\n') == 1,
             lines.err);
    const auto warnings = [&](const QByteArray& json) {
      return QJsonDocument::fromJson(json).object()["warnings"].toArray();
    };
    const auto answers = lines.out.split('\n');
    QVERIFY(warnings(answers[0]).isEmpty() && answers[0].contains("warnings"));
    QVERIFY(warnings(answers[1])[0].toString().contains("0x13 at byte 1"));
    const Answer one = headroom({"tokenize", holes, "--json"}, "a\x13");
    QVERIFY2(one.err.contains("1 byte of the text") && warnings(one.out).size() == 1, one.err);

    const Answer run = headroom({"run", holes, "--prompt", "a\x13 b", "--methods", "dense", "--device", "cpu",
                                 "--repeats", "1", "--max-new-tokens", "1", "--out", record, "--json"});
    QVERIFY2(run.code == 0, run.err);
    const QString said = warnings(run.out)[0].toString();
    QVERIFY2(said.startsWith("1 byte of the prompt") && run.err.contains("headroom: " + said.toUtf8() + "\n"), run.err);
    QVERIFY(run.json()["chat"].isBool() && !run.json()["chat"].toBool());
    QVERIFY(headroom({"info", record}).out.contains("warning        " + said.toUtf8()));
    QCOMPARE(warnings(headroom({"info", record, "--json"}).out)[0].toString(), said);
  }

  void a_prompt_is_read_from_a_pipe() {
    const auto run = [&](const QString& file, const QByteArray& in) {
      return headroom({"run", model_, "--prompt-file", file, "--methods", "dense", "--device", "cpu", "--repeats", "1",
                       "--max-new-tokens", "1", "--json"},
                      in);
    };
    const Answer piped = run("/dev/stdin", "the river runs");
    QVERIFY2(piped.code == 0, piped.err);
    QFile file(folder_.filePath("river.txt"));
    QVERIFY(file.open(QIODevice::WriteOnly) && file.write("the river runs") == 14);
    file.close();
    QCOMPARE(piped.json()["tokens"], run(file.fileName(), {}).json()["tokens"]);
    const Answer nothing = run("/dev/stdin", "");
    QVERIFY2(nothing.code == 3 && nothing.err.contains("is empty"), nothing.err);
  }

  void distill_says_what_runs_and_what_came_of_it() {
    const QStringList small = {"distill",         model_, "--steps",     "1",
                               "--length",        "64",   "--index-dim", "8",
                               "--eval-every",    "1",    "--held-out",  "1",
                               "--recall-budget", "16,4", "--out",       folder_.filePath("i.safetensors")};
    qputenv("CUDA_VISIBLE_DEVICES", "-1");
    const Answer table = headroom(small);
    const Answer json = headroom(small + QStringList{"--json"});
    const Answer missing = headroom(small + QStringList{"--device", "cuda"});
    qunsetenv("CUDA_VISIBLE_DEVICES");
    QVERIFY2(table.code == 0, table.err);
    QVERIFY2(table.err.contains("running on the CPU"), table.err);  // no GPU was asked for, none is used: it says why
    for (const char* word : {"recall@16", "recall@4", "captured@16", "oracle@4", "mean", "needle prompts"})
      QVERIFY2(table.out.contains(word), table.out);
    QCOMPARE(json.code, 0);
    QCOMPARE(json.json()["needles"].toObject()["layers"].toArray().size(), 2);
    QVERIFY(json.json()["text"].isNull());
    QCOMPARE(missing.code, 4);
    QVERIFY2(missing.out.isEmpty() && missing.err.count('\n') == 1, missing.err);
  }

  void commands_that_are_none() {
    for (const char* name : {"swep", "fuse", "nonsense"}) {
      const Answer answer = headroom({name, "a.h5", "--out", "b.h5"});
      QCOMPARE(answer.code, 2);
      QVERIFY2(answer.err.contains(name) && answer.err.count('\n') == 1 && answer.err.size() < 100, answer.err);
    }
    QVERIFY(QRegularExpression("^[0-9]+\\.[0-9]+\\.[0-9]+\n$").match(headroom({"--version"}).out).hasMatch());
    QVERIFY(headroom({"--help"}).out.contains("distill"));
  }

  void alone_it_opens_the_window() {
    QProcessEnvironment nothing = QProcessEnvironment::systemEnvironment();
    for (const char* name : {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"}) nothing.remove(name);
    const auto start = [&](const QString& program, const QProcessEnvironment& environment) {
      QProcess process;
      process.setProcessEnvironment(environment);
      process.start(program, QStringList());
      if (!process.waitForFinished(60'000)) return Answer{};
      return Answer{process.exitCode(), process.readAllStandardOutput(), process.readAllStandardError()};
    };
    const Answer blind = start(HEADROOM_BINARY_DIR "/headroom", nothing);
    QCOMPARE(blind.code, 4);
    QVERIFY2(blind.err.contains("display") && blind.err.count('\n') == 1, blind.err);

    if (QFile::exists(HEADROOM_BINARY_DIR "/headroom-gui")) {
      QProcessEnvironment lost = nothing;
      lost.insert("DISPLAY", "nowhere.invalid:77");
      lost.insert("QT_QPA_PLATFORM", "xcb");
      const Answer away = start(HEADROOM_BINARY_DIR "/headroom", lost);
      QCOMPARE(away.code, 4);
      QVERIFY2(away.err.contains("display") && away.err.count('\n') == 1, away.err);
    }

    // The window's program is looked for beside this one: a copy of it shows which.
    const QString copy = folder_.filePath("headroom"), window = folder_.filePath("headroom-gui");
    QVERIFY(QFile::copy(HEADROOM_BINARY_DIR "/headroom", copy));
    QProcessEnvironment seeing = nothing;
    seeing.insert("DISPLAY", ":99");
    const Answer absent = start(copy, seeing);
    QCOMPARE(absent.code, 4);
    QVERIFY2(absent.err.contains("headroom-gui") && absent.err.count('\n') == 1, absent.err);
    test::write_file(window.toStdString(), "#!/bin/sh\necho opened with $# arguments\n");
    QVERIFY(QFile::setPermissions(window, QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner));
    const Answer there = start(copy, seeing);
    QCOMPARE(there.code, 0);
    QCOMPARE(there.out, QByteArray("opened with 0 arguments\n"));
  }

  void bad_input_is_one_line_and_exit_code_3() {
    const QString bad = folder_.filePath("bad.gguf");
    const auto check = [&](const QStringList& arguments, const QByteArray& in, int code) {
      const Answer answer = headroom(arguments, in);
      QCOMPARE(answer.code, code);
      QVERIFY2(answer.out.isEmpty() && answer.err.startsWith("headroom: ") && answer.err.count('\n') == 1, answer.err);
    };
    test::write_file(bad.toStdString(), "not a model");
    check({"info", bad}, {}, 3);
    check({"info", folder_.filePath("nothing.gguf")}, {}, 3);
    check({"info", folder_.path()}, {}, 3);
    test::write_file(bad.toStdString(), test::tiny_model_bytes({.layers = 2}).substr(0, 100'000));
    check({"info", bad}, {}, 3);
    check({"tokenize", bad}, "x", 3);
    check({"tokenize", model_}, "a\xff", 3);
    check({"tokenize", model_},
          QByteArray("\xff\xfe"
                     "a\0",
                     4),
          3);
    check({"tokenize"}, {}, 2);
    check({"info", folder_.filePath("two\nlines\x1b.gguf")}, {}, 3);
    check({"tokenize", model_, "--bos", "--no-bos"}, "a", 2);
  }
};

QTEST_MAIN(TestCliModel)
#include "test_cli_model.moc"
