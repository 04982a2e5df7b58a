// SPDX-License-Identifier: Apache-2.0
// --template-arg from the command line to the prompt in the record: used where the template reads it, refused by name
// where it would change nothing.
#include <QtTest>

#include "command_fixture.h"
#include "record/run_record.h"

using namespace headroom;

class TestTemplateArguments : public test::CommandFixture {
  Q_OBJECT

  // No ChatML: jinja2 renders it.
  static constexpr const char* own_template =
      "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
      "{% if enable_thinking is defined and not enable_thinking %}<quiet>{% endif %}"
      "{% if tone is defined %}<tone {{ tone }}>{% endif %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}";

  QString model_with(const QString& name, const test::TinyModelOptions& options) const {
    test::write_tiny_model(native(name), options);
    return path(name);
  }
  test::Finished run(const QString& model, const QStringList& more) const {
    return headroom(QStringList{"run", model, "--device", "cpu", "--repeats", "1", "--methods", "dense",
                                "--max-new-tokens", "1", "--plan", "none", "--out", path("run.h5")} +
                    more);
  }
  std::string prompt_of(const QString& model, const QStringList& more) const {
    QFile::remove(path("run.h5"));
    const auto done = run(model, QStringList{"--prompt", "hello", "--chat"} + more);
    if (done.code != 0) return done.errors.toStdString();
    return record::RunRecord::open(native("run.h5"))->tokens().text;
  }

 private slots:
  void initTestCase() {
    QProcess python;
    python.start("python3", {"-c", "import jinja2"});
    const bool beside = QFile::exists(QDir::homePath() + "/.cache/headroom/venv/bin/python");
    if ((!python.waitForFinished(20000) || python.exitCode() != 0) && !beside) QSKIP("there is no Python with jinja2");
  }
  void init() { QFile::remove(path("run.h5")); }

  void the_prompt_changes_where_the_template_reads_it() {
    const QString model = model_with("own.gguf", {.layers = 2, .chat_template = own_template});
    QCOMPARE(prompt_of(model, {}), std::string("[user] hello\n[assistant]"));
    QCOMPARE(prompt_of(model, {"--template-arg", "enable_thinking=false"}),
             std::string("[user] hello\n<quiet>[assistant]"));
    QCOMPARE(prompt_of(model, {"--template-arg", "enable_thinking=true"}), std::string("[user] hello\n[assistant]"));
    // What is no JSON is a text; several go together.
    QCOMPARE(prompt_of(model, {"--template-arg", "tone=dry and short", "--template-arg", "enable_thinking=false"}),
             std::string("[user] hello\n<quiet><tone dry and short>[assistant]"));
  }

  void what_would_change_nothing_is_refused() {
    const QString own = model_with("own.gguf", {.layers = 2, .chat_template = own_template});
    const QString chatml = model_with("chatml.gguf", {.layers = 2});
    const QString none = model_with("none.gguf", {.layers = 2, .chat = false});
    const auto refused = [&](const QString& model, const QStringList& more, int code,
                             std::initializer_list<QString> words) {
      const auto done = run(model, more);
      return done.code == code && done.output.isEmpty() && says(done, words) && !QFile::exists(path("run.h5"));
    };
    const QStringList chat = {"--prompt", "hello", "--chat"};
    QVERIFY(refused(own, chat + QStringList{"--template-arg", "tones=dry"}, 2,
                    {"--template-arg", "does not use", "enable_thinking", "tone", "'tones'"}));
    QVERIFY(refused(own, chat + QStringList{"--template-arg", "messages=[]"}, 2, {"--template-arg", "messages"}));
    QVERIFY(refused(own, chat + QStringList{"--template-arg", "tone"}, 2, {"--template-arg", "KEY=VALUE"}));
    QVERIFY(refused(own, chat + QStringList{"--template-arg", "tone=a", "--template-arg", "tone=b"}, 2,
                    {"each key once"}));
    QVERIFY(refused(own, {"--prompt", "hello", "--template-arg", "tone=dry"}, 2, {"--template-arg belongs to a chat"}));
    QVERIFY(refused(chatml, chat + QStringList{"--template-arg", "enable_thinking=false"}, 2,
                    {"--template-arg", "does not use", "'enable_thinking'"}));
    QVERIFY(refused(none, {"--task", "niah_single_1", "--length", "300", "--template-arg", "tone=dry"}, 3,
                    {"--template-arg", "no chat template"}));
  }
};

QTEST_GUILESS_MAIN(TestTemplateArguments)
#include "test_template_arguments.moc"
