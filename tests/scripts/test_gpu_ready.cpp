// SPDX-License-Identifier: Apache-2.0
// Whether scripts/setup.sh takes a GPU for usable, by what an nvidia-smi on PATH says: 1.9 GB are fetched for a yes.
#include <QFile>
#include <QProcess>
#include <QTemporaryDir>
#include <QtTest>

class TestGpuReady : public QObject {
  Q_OBJECT

  struct Verdict {
    bool ready = false;
    QString said;
  };
  /// `answers`: body of the fake nvidia-smi, with the queried fields in $fields; none where there is no such program.
  static Verdict ask(const QByteArray& answers) {
    QTemporaryDir folder;
    if (!answers.isNull()) {
      QFile fake(folder.filePath("nvidia-smi"));
      if (!fake.open(QIODevice::WriteOnly)) return {};
      fake.write("#!/bin/bash\nfields=${1#--query-gpu=}\n" + answers + "\n");
      fake.setPermissions(QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    }
    // A folder with nothing but the few tools that the function calls, so that this machine's own nvidia-smi is not seen.
    for (const QString tool : {"timeout", "sed", "dirname", "bash"})
      QFile::link(QStandardPaths::findExecutable(tool), folder.filePath(tool));
    QProcess shell;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert("PATH", folder.path());
    shell.setProcessEnvironment(environment);
    shell.start("/bin/bash", {"-c", "set -euo pipefail; source '" HEADROOM_SOURCE_DIR
                                    "/scripts/setup.sh'; if gpu_ready; then echo ready; else echo not; fi"});
    if (!shell.waitForFinished(30000) || shell.exitCode() != 0) return {true, "the shell failed: " + shell.readAllStandardError()};
    return {shell.readAllStandardOutput().trimmed() == "ready", shell.readAllStandardError()};
  }
  static QByteArray gpus(const char* driver, const char* capabilities) {
    return QByteArray("case $fields in driver_version) printf '") + driver + "\\n' ;; compute_cap,name) printf '" +
           capabilities + "\\n' ;; *) exit 2 ;; esac";
  }

 private slots:
  void a_usable_gpu_alone_is_ready_data() {
    QTest::addColumn<QByteArray>("answers");
    QTest::addColumn<bool>("ready");
    QTest::addColumn<QStringList>("said");
    const auto row = [](const char* name, const QByteArray& answers, bool ready, const QStringList& said) {
      QTest::newRow(name) << answers << ready << said;
    };
    row("no nvidia-smi", QByteArray(), false, {});
    row("a GPU of today", gpus("580.95.05", "9.0, NVIDIA H200"), true, {});
    row("the oldest that will do", gpus("580", "7.5, Tesla T4"), true, {});
    row("two digits", gpus("590.10", "12.0, NVIDIA GeForce RTX 5090"), true, {});
    row("an older and a newer one", gpus("580.1", "6.1, GeForce GTX 1080\\n8.6, GeForce RTX 3090"), true, {"6.1", "7.5"});
    row("too old a GPU", gpus("580.1", "7.0, Tesla V100"), false, {"Tesla V100", "7.0", "7.5", "CPU"});
    row("too old a driver", gpus("470.256.02", "8.6, GeForce RTX 3090"), false, {"470.256.02", "580"});
    row("no devices, exit 0", "echo 'No devices were found'", false, {"No devices were found", "CPU"});
    row("no devices, exit 6", "echo 'No devices were found'; exit 6", false, {"No devices were found"});
    row("cannot reach the driver",
        "echo; echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\"; exit 9", false,
        {"has failed"});
    row("version not available", gpus("[N/A]", "[N/A], [N/A]"), false, {"[N/A]"});
    row("capability not available", gpus("580.1", "[N/A], NVIDIA Something"), false, {"[N/A]", "7.5"});
    row("capability not known", gpus("580.1", "") + " | sed '/^$/d'", false, {"nothing"});
    row("silent", "exit 0", false, {"nothing"});
  }
  void a_usable_gpu_alone_is_ready() {
    QFETCH(QByteArray, answers);
    QFETCH(bool, ready);
    QFETCH(QStringList, said);
    const Verdict verdict = ask(answers);
    QVERIFY2(verdict.ready == ready, qPrintable(verdict.said));
    for (const QString& words : said) QVERIFY2(verdict.said.contains(words), qPrintable(verdict.said));
    if (said.isEmpty()) QCOMPARE(verdict.said, QString());
    QVERIFY2(!verdict.said.contains("syntax") && !verdict.said.contains("integer"), qPrintable(verdict.said));
  }
};

QTEST_GUILESS_MAIN(TestGpuReady)
#include "test_gpu_ready.moc"
