// SPDX-License-Identifier: Apache-2.0
// File names are bytes: what is written stands under the very bytes that were asked for, what is said of them is UTF-8.
#include <QProcess>
#include <QTemporaryDir>
#include <QtTest>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "record/run_record.h"
#include "support/tiny_model.h"

using namespace headroom;
namespace fs = std::filesystem;

class TestFileNames : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;

  struct Finished {
    int code = -1;
    QByteArray output, errors;
  };
  /// Through a shell script: QProcess cannot pass bytes that are not UTF-8.
  Finished headroom(const QByteArray& arguments) const {
    std::ofstream(dir_.filePath("call.sh").toStdString(), std::ios::binary)
        << "exec '" HEADROOM_BINARY_DIR "/headroom' " << arguments.toStdString() << "\n";
    QProcess shell;
    shell.setWorkingDirectory(dir_.path());
    shell.start("sh", {"call.sh"});
    if (!shell.waitForFinished(60000)) return {};
    return {shell.exitCode(), shell.readAllStandardOutput(), shell.readAllStandardError()};
  }
  static bool is_utf8(const QByteArray& bytes) { return !first_invalid_utf8(bytes.toStdString()); }

 private slots:
  void cleanupTestCase() {
    std::error_code failed;  // QTemporaryDir does not find names that are not UTF-8
    fs::remove_all(dir_.path().toStdString(), failed);
  }

  void any_bytes_name_a_file_data() {
    QTest::addColumn<QByteArray>("stem");
    QTest::addColumn<QByteArray>("shown");
    QTest::newRow("Latin-1") << QByteArray(
                                    "gr\xf6\xdf"
                                    "e")
                             << QByteArray("gr\\xf6\\xdfe");
    QTest::newRow("cut UTF-8") << QByteArray("\xf0\x9f\x93") << QByteArray("\\xf0\\x9f\\x93");
    QTest::newRow("UTF-8") << QByteArray(
                                  "gr\xc3\xb6\xc3\x9f"
                                  "e")
                           << QByteArray(
                                  "gr\xc3\xb6\xc3\x9f"
                                  "e");
    QTest::newRow("line end") << QByteArray("a\nb\x1b") << QByteArray("a\\nb\\x1b");
  }
  void any_bytes_name_a_file() {
    QFETCH(QByteArray, stem);
    QFETCH(QByteArray, shown);
    const fs::path folder = dir_.path().toStdString();
    const auto file = [&](const char* ending) { return folder / (stem.toStdString() + ending); };
    test::write_tiny_model(file(".gguf"));
    qputenv("XDG_CACHE_HOME", dir_.path().toUtf8());

    const auto run = headroom("run '" + stem +
                              ".gguf' --device cpu --repeats 1 --max-new-tokens 2 --budget 8 "
                              "--methods dense,oracle --prompt 'one two three four five six' --json --out '" +
                              stem + ".h5'");
    QVERIFY2(run.code == 0 && is_utf8(run.errors), run.errors.constData());
    QVERIFY(is_utf8(run.output));
    QVERIFY(nlohmann::json::parse(run.output.toStdString(), nullptr, false).is_object());
    QVERIFY(fs::exists(file(".h5")));
    const auto record = record::RunRecord::open(file(".h5"));
    QVERIFY(is_utf8(QByteArray::fromStdString(record->meta().model_path + record->meta().spec_json)));

    const auto table = headroom("run '" + stem +
                                ".gguf' --device cpu --repeats 1 --max-new-tokens 2 --methods dense "
                                "--prompt 'one two' --out '" +
                                stem + ".h5'");
    QVERIFY2(table.code == 0 && is_utf8(table.output) && table.output.contains(shown + ".h5"),
             table.output.constData());
    for (const QByteArray command :
         {QByteArray("info '" + stem + ".h5'"), QByteArray("info '" + stem + ".gguf'"),
          QByteArray("info '" + stem + ".h5' --json"), QByteArray("info '" + stem + ".gguf' --json")}) {
      const auto info = headroom(command);
      QVERIFY2(info.code == 0 && is_utf8(info.output), (command + info.errors).constData());
    }
    for (const char* ending : {".csv", ".json", ".tex"}) {
      const auto written = headroom("export '" + stem + ".h5' --view timing -o '" + stem + ending + "'");
      QVERIFY2(written.code == 0 && is_utf8(written.errors) && written.errors.contains(shown + ending),
               written.errors.constData());
      QVERIFY(fs::exists(file(ending)));
    }
    for (const QByteArray& command :
         {QByteArray("run 'no-" + stem + ".gguf' --prompt x"), QByteArray("info 'no-" + stem + ".h5'"),
          QByteArray("export 'no-" + stem + ".h5' --view timing -o x.csv"),
          QByteArray("tokenize 'no-" + stem + ".gguf'")}) {
      const auto refused = headroom(command + " </dev/null");
      QCOMPARE(refused.code, 3);
      QVERIFY2(is_utf8(refused.errors) && refused.errors.contains("no-" + shown), refused.errors.constData());
      QCOMPARE(refused.errors.count('\n'), 1);
    }
  }
};

QTEST_GUILESS_MAIN(TestFileNames)
#include "test_file_names.moc"
