// SPDX-License-Identifier: Apache-2.0
// A record as others read it: h5py opens it, numpy recomputes what it says, and the example of docs/record.md runs.
#include <QtTest>

#include "base/paths.h"
#include "support/tiny_model.h"

using namespace headroom;

class TestRecordInPython : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  QString model_, prompt_;
  const QString python_ = QString::fromStdString((cache_folder() / "venv" / "bin" / "python").string());

  static int start(const QString& program, const QStringList& arguments, QByteArray& output) {
    QProcess process;
    process.setProcessChannelMode(QProcess::MergedChannels);
    process.start(program, arguments);
    if (!process.waitForFinished(120'000)) return -1;
    output = process.readAll();
    return process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -2;
  }

 private slots:
  void initTestCase() {
    QByteArray output;
    if (start(python_, {"-c", "import numpy, h5py"}, output) != 0)
      QSKIP("numpy and h5py are not there: scripts/test installs them");
    model_ = folder_.filePath("tiny.gguf");
    test::write_tiny_model(model_.toStdString());
    QFile file(prompt_ = folder_.filePath("prompt.txt"));
    QVERIFY(file.open(QIODevice::WriteOnly));
    for (int i = 0; i < 60; ++i)
      file.write(QByteArray("river ") + QByteArray::number(i * i) + (i % 7 ? " runs north é " : ".\n"));
  }

  void numbers_are_those_of_numpy_data() {
    QTest::addColumn<QStringList>("options");
    QTest::newRow("bf16") << QStringList{"--dtype", "bf16"};
    QTest::newRow("f32, forced keys") << QStringList{"--dtype", "f32", "--sinks", "3", "--local", "5"};
    QTest::newRow("chat, last rows") << QStringList{"--chat", "--keep-queries", "last:50"};
  }
  void numbers_are_those_of_numpy() {
    QFETCH(QStringList, options);
    const QString record = folder_.filePath("run.h5");
    QByteArray output;
    QVERIFY2(start(HEADROOM_BINARY_DIR "/headroom",
                   QStringList{"run", model_, "--device", "cpu", "--prompt-file", prompt_, "--methods",
                               "dense,oracle,sink_window,random", "--budget", "32,10%", "--granularity", "1,16",
                               "--repeats", "1", "--max-new-tokens", "4", "--out", record} +
                       options,
                   output) == 0,
             output);
    const int code = start(python_,
                           {HEADROOM_SOURCE_DIR "/tests/support/check_record.py", record, "--example",
                            HEADROOM_SOURCE_DIR "/docs/record.md"},
                           output);
    QVERIFY2(code == 0, output);
    QVERIFY2(output.contains("0 differ"), output);
  }
};

QTEST_GUILESS_MAIN(TestRecordInPython)
#include "test_record_in_python.moc"
