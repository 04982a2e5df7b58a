// SPDX-License-Identifier: Apache-2.0
// What commands say that they need is what they use; and what does not fit under a limit is refused before the work,
// in one sentence. The model is small, but its cache is not.
#include <QtTest>
#include <nlohmann/json.hpp>

#include "support/tiny_model.h"

using namespace headroom;
using nlohmann::json;

namespace {

constexpr std::int64_t mib = 1 << 20;

struct Ended {
  int code = -1;
  QByteArray output, errors;
  std::int64_t most_bytes = 0;  ///< resident, at any time
};

std::int64_t highest_resident(qint64 process) {
  QFile status(QStringLiteral("/proc/%1/status").arg(process));
  if (!status.open(QIODevice::ReadOnly)) return 0;
  for (const QByteArray& line : status.readAll().split('\n'))
    if (line.startsWith("VmHWM:")) return line.mid(6).trimmed().split(' ').front().toLongLong() * 1024;
  return 0;
}

}  // namespace

class TestMemoryLimits : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  QString model_;

  QString path(const char* name) const { return folder_.filePath(name); }
  static QString program() { return QStringLiteral(HEADROOM_BINARY_DIR "/headroom"); }

  /// Timed passes reset what the system notes as the most, so it is asked all the time.
  static Ended run(const QString& command, const QStringList& arguments) {
    QProcess process;
    Ended ended;
    process.start(command, arguments);
    while (!process.waitForFinished(5) && process.state() != QProcess::NotRunning)
      ended.most_bytes = std::max(ended.most_bytes, highest_resident(process.processId()));
    ended.code = process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -2;
    ended.output = process.readAllStandardOutput();
    ended.errors = process.readAllStandardError();
    return ended;
  }
  QString prompt_of(int tokens) const {
    QFile file(path("prompt.txt"));
    if (!file.open(QIODevice::WriteOnly)) qFatal("cannot write the prompt");
    QByteArray text;
    for (int i = 0; text.size() < tokens; ++i) text += QByteArray::number(i * 7919 % 997, 36) + '\n';
    file.write(text.left(tokens));
    return file.fileName();
  }

 private slots:
  void initTestCase() {
    qputenv("XDG_CACHE_HOME", folder_.path().toUtf8());
    model_ = path("tiny.gguf");
    test::TinyModelOptions options;
    options.layers = 24;
    options.q_heads = options.kv_heads = 8;
    options.head_dim = 64;
    options.context = 1 << 20;  // a place of the cache takes 96 KiB
    test::write_tiny_model(model_.toStdString(), options);
  }

  void what_is_said_is_what_is_used_data() {
    QTest::addColumn<QStringList>("arguments");
    const QString prompt = prompt_of(600), record = path("run.h5");
    const QStringList run = {"run", model_, "--prompt-file", prompt, "--repeats", "1", "--plan", "none"};
    const QStringList bench = {"bench", model_, "--lengths", "600", "--repeats", "1", "--plan", "none"};
    QTest::newRow("dense") << run + QStringList{"--methods", "dense"};
    // Dense's answer is decoded along a copy of the cache.
    QTest::newRow("two methods") << run + QStringList{"--methods", "dense,random", "--budget", "64"};
    QTest::newRow("a record") << run +
                                     QStringList{"--methods", "dense,sink_window", "--budget", "400", "--out", record};
    QTest::newRow("bench") << bench + QStringList{"--methods", "dense,oracle", "--budget", "64"};
  }
  void what_is_said_is_what_is_used() {
    QFETCH(QStringList, arguments);
    const Ended ended = run(program(), arguments + QStringList{"--device", "cpu", "--dtype", "f32", "--json"});
    QVERIFY2(ended.code == 0, ended.errors);
    const auto said = json::parse(ended.output.toStdString())["memory_needed"].get<double>();
    const double used = static_cast<double>(ended.most_bytes);
    const auto text = QStringLiteral("said %1 MiB, used %2 MiB").arg(said / mib, 0, 'f', 0).arg(used / mib, 0, 'f', 0);
    QVERIFY2(std::abs(said / used - 1) < 0.15, qPrintable(text));
  }

  void what_does_not_fit_is_refused_before_the_work_data() {
    QTest::addColumn<QStringList>("arguments");
    QFile ids(path("ids.json"));
    QVERIFY(ids.open(QIODevice::WriteOnly));
    ids.write("[3" + QByteArray(",4").repeated(1'000'000) + "]");
    QTest::newRow("run") << QStringList{"run", model_, "--prompt-file", prompt_of(30000), "--methods", "dense"};
    QTest::newRow("bench") << QStringList{"bench", model_, "--lengths", "64,30000", "--methods", "dense"};
    QTest::newRow("logits") << QStringList{"logits", model_, "--ids", ids.fileName(), "--out", path("l.safetensors")};
    QTest::newRow("distill") << QStringList{"distill", model_, "--length", "30000", "--out", path("i.safetensors")};
  }
  void what_does_not_fit_is_refused_before_the_work() {
    QFETCH(QStringList, arguments);
    const Ended ended = run("sh", QStringList{"-c", "ulimit -v 2000000; exec \"$0\" \"$@\"", program()} + arguments +
                                      QStringList{"--device", "cpu", "--dtype", "f32"});
    QCOMPARE(ended.code, 4);
    for (const char* word : {"does not fit into the memory", "it needs", "ulimit -v", "would fit"})
      QVERIFY2(ended.errors.contains(word), ended.errors.constData());
    QVERIFY2(ended.errors.count('\n') == 1, ended.errors.constData());
    QVERIFY(ended.output.isEmpty());
    QVERIFY(ended.most_bytes < 400 * mib);
  }

  void what_is_longer_than_the_length_that_is_named_does_not_fit() {
    const QStringList limited = {"-c",      "ulimit -v 2000000; exec \"$0\" \"$@\"",
                                 program(), "bench",
                                 model_,    "--methods",
                                 "dense",   "--device",
                                 "cpu",     "--dtype",
                                 "f32",     "--repeats",
                                 "1",       "--plan",
                                 "none"};
    const Ended refused = run("sh", limited + QStringList{"--lengths", "30000"});
    const QRegularExpressionMatch found =
        QRegularExpression("a prompt of about (\\d+) tokens would fit").match(QString::fromUtf8(refused.errors));
    QVERIFY2(found.hasMatch(), refused.errors.constData());
    QVERIFY(found.captured(1).toInt() > 1000);
    // The number is rounded down to two digits.
    const int longer = found.captured(1).toInt() * 115 / 100;
    const Ended again = run("sh", limited + QStringList{"--lengths", QString::number(longer)});
    QVERIFY2(again.code == 4, again.errors.constData());
  }
};

QTEST_GUILESS_MAIN(TestMemoryLimits)
#include "test_memory_limits.moc"
