// SPDX-License-Identifier: Apache-2.0
// `headroom logits` as other programs call it: exit codes, messages, and the file it writes.
#include <QFile>
#include <QProcess>
#include <QTemporaryDir>
#include <QtTest>

#include "base/error.h"
#include "base/paths.h"
#include "checkpoint/safetensors_file.h"

using namespace headroom;

class TestLogitsCommand : public QObject {
  Q_OBJECT

  struct Result {
    int code;
    QByteArray errors;
  };
  QTemporaryDir folder_;
  QString path(const char* name) const { return folder_.filePath(name); }
  Result run(const QByteArray& ids) const {
    QFile file(path("ids.json"));
    file.open(QIODevice::WriteOnly);
    file.write(ids);
    file.close();
    QProcess process;
    process.start(HEADROOM_BINARY_DIR "/headroom",
                  {"logits", "smollm2", "--ids", path("ids.json"), "--out", path("out.safetensors")});
    if (!process.waitForFinished(60000) || process.exitStatus() != QProcess::NormalExit)
      return {-1, process.readAllStandardError()};
    return {process.exitCode(), process.readAllStandardError()};
  }

 private slots:
  void hostile_json_is_refused() {
    for (const QByteArray& ids :
         {QByteArray(), QByteArray("["), QByteArray("[1,"), QByteArray("[1.5]"), QByteArray("[1e3]"),
          QByteArray("[1 2]"), QByteArray("[1] x"), QByteArray("{\"ids\": [1]}"), QByteArray(100000, '['),
          QByteArray("[99999999999999999999]"), QByteArray("[-]"), QByteArray("[\"1\"]"), QByteArray("[1,]"),
          QByteArray("\0[1]", 4)}) {
      const Result result = run(ids);
      QVERIFY2(result.code == 3, ids.left(30) + ": " + result.errors);
      QVERIFY2(result.errors.contains("ids.json"), result.errors);
      QVERIFY(!QFile::exists(path("out.safetensors")));
    }
  }

  void writes_one_row_a_token() {
    try {
      resolve_model("smollm2");
    } catch (const Error& error) {
      QSKIP(error.what());
    }
    for (const char* ids : {"[]", "[49152]", "[-1]"}) QCOMPARE(run(ids).code, 3);
    const Result result = run(" [ 1,2 ,\n 3 ] ");
    QVERIFY2(result.code == 0, result.errors);
    QProcess piped;  // ids that another program writes
    piped.start(HEADROOM_BINARY_DIR "/headroom",
                {"logits", "smollm2", "--ids", "/dev/stdin", "--out", path("piped.safetensors")});
    piped.write("[1, 2, 3]");
    piped.closeWriteChannel();
    QVERIFY(piped.waitForFinished(60000));
    QVERIFY2(piped.exitCode() == 0, piped.readAllStandardError());
    QCOMPARE(checkpoint::SafetensorsFile::open(path("piped.safetensors").toStdString())->hash(),
             checkpoint::SafetensorsFile::open(path("out.safetensors").toStdString())->hash());
    const auto file = checkpoint::SafetensorsFile::open(path("out.safetensors").toStdString());
    QCOMPARE(file->find("logits")->shape, (std::vector<std::int64_t>{3, 49152}));
    QVERIFY(file->find("logits")->dtype == checkpoint::DType::f32);
  }
};

QTEST_GUILESS_MAIN(TestLogitsCommand)
#include "test_logits_command.moc"
