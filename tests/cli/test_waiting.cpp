// SPDX-License-Identifier: Apache-2.0
// How the program's OpenMP threads wait, as OpenMP itself prints it; that the second start keeps arguments, input and
// descriptors, happens once, and leaves nothing in what it starts in turn.
#include <QtTest>
#include <nlohmann/json.hpp>

#include "support/tiny_model.h"

using namespace headroom;

class TestWaiting : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  static QString program() { return QStringLiteral(HEADROOM_BINARY_DIR "/headroom"); }

  /// Without what CTest sets for this test.
  static QProcessEnvironment environment() {
    auto variables = QProcessEnvironment::systemEnvironment();
    for (const char* name : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}) variables.remove(name);
    return variables;
  }

  static QByteArray output_of(const QString& command, const QStringList& arguments,
                              const QProcessEnvironment& variables, const QByteArray& in = {}) {
    QProcess process;
    process.setProcessEnvironment(variables);
    process.setProcessChannelMode(QProcess::MergedChannels);
    process.start(command, arguments);
    process.write(in);
    process.closeWriteChannel();
    if (!process.waitForFinished(60000)) qFatal("%s hangs", qPrintable(command));
    return process.readAll();
  }

 private slots:
  void passive_unless_the_user_says_otherwise_data() {
    QTest::addColumn<QByteArray>("variable");
    QTest::addColumn<QByteArray>("value");
    QTest::addColumn<QByteArray>("spins");
    QTest::newRow("nothing set") << QByteArray() << QByteArray() << QByteArray("5000");
    QTest::newRow("passive") << QByteArray("OMP_WAIT_POLICY") << QByteArray("PASSIVE") << QByteArray("0");
    QTest::newRow("active") << QByteArray("OMP_WAIT_POLICY") << QByteArray("ACTIVE") << QByteArray("30000000000");
    QTest::newRow("spins") << QByteArray("GOMP_SPINCOUNT") << QByteArray("1234") << QByteArray("1234");
    QTest::newRow("a name that begins alike")
        << QByteArray("OMP_WAIT_POLICY_OF_MINE") << QByteArray("ACTIVE") << QByteArray("5000");
  }
  void passive_unless_the_user_says_otherwise() {
    QFETCH(QByteArray, variable);
    QFETCH(QByteArray, value);
    QFETCH(QByteArray, spins);
    auto variables = environment();
    variables.insert("OMP_DISPLAY_ENV", "VERBOSE");
    if (!variable.isEmpty()) variables.insert(variable, value);
    const QByteArray shown = output_of(program(), {"--version"}, variables);
    QVERIFY2(shown.contains("GOMP_SPINCOUNT = '" + spins + "'"), shown.constData());
    QCOMPARE(shown.count("OPENMP DISPLAY ENVIRONMENT BEGIN"), 1);  // OpenMP is loaded once
  }

  // From the shell's path, by a relative name, through a link, and with the program's own name changed.
  void found_however_it_is_called_data() {
    QTest::addColumn<QString>("command");
    QTest::newRow("path") << "PATH=" HEADROOM_BINARY_DIR ":$PATH; headroom --version";
    QTest::newRow("relative") << "cd " HEADROOM_BINARY_DIR "; ./headroom --version";
    QTest::newRow("link") << "ln -sf " HEADROOM_BINARY_DIR "/headroom \"$0\"/link; \"$0\"/link --version";
    QTest::newRow("the shell's place is taken") << "exec " HEADROOM_BINARY_DIR "/headroom --version";
    QTest::newRow("without other variables")
        << "env -i OMP_DISPLAY_ENV=VERBOSE " HEADROOM_BINARY_DIR "/headroom --version";
  }
  void found_however_it_is_called() {
    QFETCH(QString, command);
    auto variables = environment();
    variables.insert("OMP_DISPLAY_ENV", "VERBOSE");
    const QByteArray shown = output_of("bash", {"-c", command, folder_.path()}, variables);
    QVERIFY2(shown.contains("GOMP_SPINCOUNT = '5000'"), shown.constData());
  }

  void where_the_loader_is_called_by_hand_the_program_runs_as_it_is() {
    auto variables = environment();
    const QByteArray loader = output_of(
        "sh", {"-c", "readelf -l " HEADROOM_BINARY_DIR "/headroom | sed -n 's/.*interpreter: \\(.*\\)]/\\1/p'"},
        variables);
    if (!loader.startsWith('/')) QSKIP("readelf is not there");
    const QByteArray direct = output_of(program(), {"--version"}, variables);
    QCOMPARE(output_of(QString::fromUtf8(loader.trimmed()), {program(), "--version"}, variables), direct);
  }

  void input_arguments_and_descriptors_are_kept() {
    const QString model = folder_.filePath("tiny.gguf");
    test::write_tiny_model(model.toStdString(), {.layers = 1});
    const QByteArray ids = output_of(program(), {"tokenize", model, "--json"}, environment(), "the a");
    QVERIFY2(nlohmann::json::parse(ids.toStdString())["ids"].size() > 0, ids.constData());
    // A descriptor that the caller opened.
    QFile file(folder_.filePath("text"));
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("the a");
    file.close();
    const QString through = "exec 7<\"$1\"; exec \"$0\" tokenize \"$2\" --json < /dev/fd/7";
    QCOMPARE(output_of("bash", {"-c", through, program(), file.fileName(), model}, environment()), ids);
  }

  // llama.cpp has its own threads, and they wait as the user wants them to.
  void what_it_starts_sees_what_the_user_set_data() {
    QTest::addColumn<QByteArray>("policy");
    QTest::newRow("nothing") << QByteArray();
    QTest::newRow("passive") << QByteArray("PASSIVE");
    QTest::newRow("active") << QByteArray("ACTIVE");
  }
  void what_it_starts_sees_what_the_user_set() {
    QFETCH(QByteArray, policy);
    const QString model = folder_.filePath("tiny.gguf"), seen = folder_.filePath("seen");
    test::write_tiny_model(model.toStdString(), {.layers = 1});
    QFile::remove(seen);
    QFile python(folder_.filePath("python"));
    QVERIFY(python.open(QIODevice::WriteOnly));
    python.write(
        "#!/bin/sh\nenv > " + seen.toUtf8() +
        "\nif grep -q probe; then echo '{\"version\": \"0\"}'; else\n"
        "echo '{\"flash_attention\": true, \"ms\": [1]}'\necho '{\"flash_attention\": false, \"ms\": [1]}'\nfi\n");
    python.setPermissions(QFile::ReadOwner | QFile::ExeOwner);
    python.close();
    auto variables = environment();
    variables.insert("XDG_CACHE_HOME", folder_.path());
    if (!policy.isEmpty()) variables.insert("OMP_WAIT_POLICY", policy);
    const QByteArray said = output_of(program(),
                                      {"bench", model, "--device", "cpu", "--lengths", "32", "--methods", "dense",
                                       "--repeats", "1", "--llama-cpp", python.fileName()},
                                      variables);
    QFile file(seen);
    QVERIFY2(file.open(QIODevice::ReadOnly), said.constData());
    const QByteArray list = file.readAll();
    QCOMPARE(list.contains("OMP_WAIT_POLICY="), !policy.isEmpty());
    QVERIFY2(!list.contains("GOMP_SPINCOUNT="), list.constData());
    QVERIFY(policy.isEmpty() || list.contains("OMP_WAIT_POLICY=" + policy));
  }
};

QTEST_GUILESS_MAIN(TestWaiting)
#include "test_waiting.moc"
