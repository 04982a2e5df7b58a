// SPDX-License-Identifier: Apache-2.0
// What is said of NVIDIA drivers that cannot be used, with a libcuda.so.1 of ours in the place of the machine's.
#include <QProcess>
#include <QtTest>

class TestDriver : public QObject {
  Q_OBJECT
 private slots:
  void unusable_drivers_are_told_apart_data() {
    QTest::addColumn<QString>("driver");
    QTest::addColumn<QString>("version");
    QTest::addColumn<QString>("says");
    QTest::newRow("old") << "whole" << "11040" << "the NVIDIA driver is too old";
    QTest::newRow("old stub") << "no_count" << "11040" << "(CUDA 11.4)";
    QTest::newRow("older than versions") << "no_version" << "" << "the NVIDIA driver is too old";
    QTest::newRow("stub of today") << "no_count" << "13000" << "expected cuDeviceGetCount in libcuda.so.1";
    QTest::newRow("no device") << "whole" << "13000" << "the NVIDIA driver does not start";
  }
  void unusable_drivers_are_told_apart() {
    QFETCH(QString, driver);
    QFETCH(QString, version);
    QFETCH(QString, says);
    QProcess program;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert("LD_LIBRARY_PATH", HEADROOM_BINARY_DIR "/tests/drivers/" + driver);
    environment.insert("HEADROOM_FAKE_CUDA", version);
    program.setProcessEnvironment(environment);
    program.start(HEADROOM_BINARY_DIR "/headroom", {"verify", "--device", "cuda"});
    QVERIFY(program.waitForFinished(60000));
    const QString errors = program.readAllStandardError();
    if (errors.contains("built without CUDA")) QSKIP("this build never opens a driver");
    QVERIFY2(errors.contains(says), qPrintable(errors));
    QVERIFY2(!errors.contains("damaged"), qPrintable(errors));
    QCOMPARE(program.exitCode(), 4);
  }
};

QTEST_GUILESS_MAIN(TestDriver)
#include "test_driver.moc"
