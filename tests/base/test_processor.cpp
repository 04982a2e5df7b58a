// SPDX-License-Identifier: Apache-2.0
// What is said of a processor that lacks x86-64-v2, and that it is said before anything else runs.
#include <QProcess>
#include <QtTest>

#include "base/start/processor.h"

using namespace headroom;

namespace {

unsigned basic_ecx = 0, extended_ecx = 0;
CpuidAnswer asked(unsigned leaf) {
  CpuidAnswer answer{};
  answer.ecx = leaf == 1 ? basic_ecx : leaf == 0x80000001u ? extended_ecx : 0;
  return answer;
}

constexpr unsigned all = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23;

}  // namespace

class TestProcessor : public QObject {
  Q_OBJECT
 private slots:
  void what_is_missing_is_named_data() {
    QTest::addColumn<unsigned>("basic");
    QTest::addColumn<unsigned>("extended");
    QTest::addColumn<QString>("missing");
    QTest::newRow("x86-64-v2") << all << 1u << QString();
    QTest::newRow("more than that") << ~0u << ~0u << QString();
    QTest::newRow("the first x86-64") << 0u << 0u << "SSE3";
    QTest::newRow("Core 2 of 2006") << (1u | 1u << 9 | 1u << 13) << 1u << "SSE4.1";
    QTest::newRow("Core 2 of 2008") << (1u | 1u << 9 | 1u << 13 | 1u << 19) << 1u << "SSE4.2";
    QTest::newRow("K10 of 2007") << (1u | 1u << 13 | 1u << 23) << 1u << "SSSE3";
    QTest::newRow("no POPCNT") << (all & ~(1u << 23)) << 1u << "POPCNT";
    QTest::newRow("no LAHF") << all << 0u << "LAHF in 64-bit mode";
  }
  void what_is_missing_is_named() {
    QFETCH(unsigned, basic);
    QFETCH(unsigned, extended);
    QFETCH(QString, missing);
    basic_ecx = basic;
    extended_ecx = extended;
    const char* found = missing_instructions(asked);
    QCOMPARE(QString(found ? found : ""), missing);
  }

  void it_is_said_before_any_constructor_data() {
    QTest::addColumn<QString>("processor");
    QTest::addColumn<int>("code");
    QTest::addColumn<QString>("output");
    QTest::addColumn<QString>("errors");
    QTest::newRow("this one") << "" << 0 << "constructed\nmain\n" << "";
    QTest::newRow("an old one")
        << "core2" << 4 << ""
        << "headroom: this processor is too old: expected x86-64-v2 (any since 2009), found one "
           "without SSE4.1\n";
  }
  void it_is_said_before_any_constructor() {
    QFETCH(QString, processor);
    QFETCH(int, code);
    QFETCH(QString, output);
    QFETCH(QString, errors);
    QProcess program;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert("HEADROOM_OLD", processor);
    program.setProcessEnvironment(environment);
    program.start(HEADROOM_BINARY_DIR "/tests/old_processor", QStringList());
    QVERIFY(program.waitForFinished(10000));
    QCOMPARE(program.exitCode(), code);
    QCOMPARE(QString(program.readAllStandardOutput()), output);
    QCOMPARE(QString(program.readAllStandardError()), errors);
  }

  void the_programs_hold_the_check() {
    // In the section that runs first; a linker drops what nothing refers to.
    for (const char* name : {"headroom", "headroom-gui"}) {
      QFile program(QStringLiteral(HEADROOM_BINARY_DIR "/%1").arg(name));
      if (!program.open(QIODevice::ReadOnly)) continue;  // not built here
      const QByteArray bytes = program.readAll();
      QVERIFY2(bytes.contains(".preinit_array"), name);
      QVERIFY2(bytes.contains("this processor is too old"), name);
    }
  }
};

QTEST_GUILESS_MAIN(TestProcessor)
#include "test_processor.moc"
