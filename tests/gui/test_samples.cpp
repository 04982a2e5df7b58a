// SPDX-License-Identifier: GPL-3.0-or-later
// The samples that ship with the program, one click away: from the list beside the records to the record that is shown,
// and on to the model, whose terms are read before it is fetched. All in a data folder of the test's own.
#include <QDialog>
#include <QFile>
#include <QLabel>
#include <QMenuBar>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QTabWidget>
#include <QTemporaryDir>
#include <QToolButton>
#include <QtTest>

#include "gui/actions.h"
#include "gui/hint_bar.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/model_fetch.h"
#include "gui/sample_records.h"
#include "support/synthetic_record.h"
#include "views/common/banner_bar.h"

using namespace headroom;
using namespace headroom::gui;

namespace {

constexpr const char* list_text = R"({"format": 1, "first": "plain.h5", "samples": [
  {"record": "hybrid-small*.h5", "title": "Try a hybrid: Small & quick", "about": "Most layers slide.",
   "model": "gemma3-270m"},
  {"record": "not-made-yet*.h5", "title": "Try what is not here", "about": "Nothing.", "model": "smollm2"}]})";

// Not as a raw string: moc stops at it.
constexpr const char* script_text =
    "#!/bin/sh\n"
    "if [ \"$1\" != --accept ]; then\n"
    "  echo 'Small is a model with terms: https://example.org/terms' >&2\n"
    "  echo \"Read the terms, then run: scripts/fetch-model --accept $1\" >&2\n"
    "  exit 2\n"
    "fi\n"
    "[ \"$2\" = gemma3-270m ] || exit 1\n"
    "[ -e \"$HEADROOM_FAKE_MODEL.broken\" ] && { echo \"pip could not fetch $2\" >&2; exit 1; }\n"
    "touch \"$HEADROOM_FAKE_MODEL\"\n";

}  // namespace

class TestSamples : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;

  QString data(const QString& name) const { return dir_.filePath("share/" + name); }
  void write(const QString& name, const QByteArray& text) const {
    QFile file(data(name));
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write(text);
  }
  QString ini() {
    static int n = 0;
    const QString folder = QString("settings%1").arg(++n);  // the session lies beside it
    QDir(dir_.path()).mkpath(folder);
    return dir_.filePath(folder + "/settings.ini");
  }
  static QString shown(MainWindow& window) {
    const auto record = window.selection().record();
    return record ? QString::fromStdString(record->path().filename().string()) : QString();
  }
  static QAction* action(MainWindow& window, const QString& text) {
    for (QAction* action : window.actions().all())
      if (action->objectName() == "sample:" + text) return action;
    return nullptr;
  }
  static QDialog* run_dialog() {
    for (QWidget* widget : QApplication::topLevelWidgets())
      if (widget->objectName() == "new_run_dialog" && widget->isVisible()) return qobject_cast<QDialog*>(widget);
    return nullptr;
  }
  static void open(MainWindow& window) {
    window.move(40, 40);
    window.resize(1280, 720);
    window.show();
    QVERIFY(QTest::qWaitForWindowExposed(&window));
  }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    qputenv("HEADROOM_DATA", dir_.filePath("share").toUtf8());
    qputenv("HEADROOM_FAKE_MODEL", dir_.filePath("model.gguf").toUtf8());
    QVERIFY(QDir(dir_.path()).mkpath("share/sample_data/records") && QDir(dir_.path()).mkpath("share/scripts"));
    test::SyntheticOptions options;
    options.tokens = 60;
    options.layers = 2;
    test::write_synthetic_record(data("sample_data/records/plain.h5").toStdString(), options);
    options.seed = 2;
    test::write_synthetic_record(data("sample_data/records/hybrid-small-1.h5").toStdString(), options);
    write("scripts/fetch-model", script_text);
    QVERIFY(QFile::setPermissions(data("scripts/fetch-model"), QFile::ReadOwner | QFile::ExeOwner | QFile::WriteOwner));
  }
  void init() { write("sample_data/records/samples.json", list_text); }

  void the_list_says_what_is_there() {
    const SampleRecords found = find_sample_records();
    QVERIFY2(found.problem.isEmpty(), qPrintable(found.problem));
    QCOMPARE(QFileInfo(found.first).fileName(), QString("plain.h5"));  // though another one comes first by name
    QCOMPARE(found.samples.size(), 1);
    QCOMPARE(found.samples[0].model, QString("gemma3-270m"));
    QVERIFY(QFile::remove(data("sample_data/records/samples.json")));
    QCOMPARE(QFileInfo(find_sample_records().first).fileName(), QString("hybrid-small-1.h5"));
  }

  void a_bad_list_is_one_message_data() {
    QTest::addColumn<QByteArray>("text");
    QTest::addColumn<QString>("words");
    const QByteArray good(list_text);
    QTest::newRow("no JSON") << good.left(40) << "samples.json";
    QTest::newRow("format") << QByteArray(good).replace("\"format\": 1", "\"format\": 2") << "format|1|2";
    QTest::newRow("elsewhere") << QByteArray(good).replace("plain.h5", "../plain.h5") << "first|beside the list";
    QTest::newRow("no title") << QByteArray(good).replace("\"title\"", "\"name\"") << "samples[0]|title";
    QTest::newRow("more") << QByteArray(good).replace("\"format\": 1", "\"format\": 1, \"x\": 0") << "unknown field|\"x\"";
    QTest::newRow("large") << QByteArray(100'000, ' ') << "65536";
  }
  void a_bad_list_is_one_message() {
    QFETCH(QByteArray, text);
    QFETCH(QString, words);
    write("sample_data/records/samples.json", text);
    const SampleRecords found = find_sample_records();
    QVERIFY(found.samples.isEmpty() && !found.first.isEmpty());  // something is shown all the same
    for (const QString& word : words.split('|')) QVERIFY2(found.problem.contains(word), qPrintable(found.problem));
    SettingsStore settings(ini());
    StartOptions options;
    options.use_engine = false;
    MainWindow window(settings, options);
    QVERIFY(window.banners().contains("samples"));
  }

  void a_sample_is_one_click_away() {
    SettingsStore settings(ini());
    StartOptions options;
    options.use_engine = false;
    MainWindow window(settings, options);
    open(window);
    QTRY_COMPARE_WITH_TIMEOUT(shown(window), QString("plain.h5"), 20'000);
    const QString title = "Try a hybrid: Small & quick";
    QVERIFY(!action(window, "Try what is not here"));
    QVERIFY(action(window, title));  // in the palette, which lists all actions
    QVERIFY(window.menuBar()->actions().first()->menu()->actions().contains(action(window, title)));
    auto* hints = window.findChild<HintBar*>();
    auto* button = hints->findChild<QToolButton*>("sample:" + title);
    QVERIFY(button && button->isVisible());
    QTest::mouseClick(button, Qt::LeftButton);
    QTRY_COMPARE_WITH_TIMEOUT(shown(window), QString("hybrid-small-1.h5"), 20'000);
    QVERIFY(window.banners().contains("sample"));
    // Its hint is closed like any other; the command stays.
    for (auto* close : button->parentWidget()->parentWidget()->findChildren<QToolButton*>())
      if (close->accessibleName() == "Close this hint") QTest::mouseClick(close, Qt::LeftButton);
    QTRY_VERIFY(!hints->findChild<QToolButton*>("sample:" + title));
    QVERIFY(action(window, title));
    window.actions().hints->trigger();
    QTRY_VERIFY(hints->findChild<QToolButton*>("sample:" + title));
  }

  void without_records_nothing_is_offered() {
    write("sample_data/records/samples.json", QByteArray(list_text).replace("hybrid-small*", "gone*"));
    SettingsStore settings(ini());
    StartOptions options;
    options.use_engine = false;
    MainWindow window(settings, options);
    open(window);
    for (QAction* action : window.actions().all()) QVERIFY(!action->objectName().startsWith("sample:"));
    for (QToolButton* button : window.findChild<HintBar*>()->findChildren<QToolButton*>())
      QVERIFY(!button->objectName().startsWith("sample:"));
  }

  // From the sample to a run of its model: what is missing is fetched where its terms are accepted, and only there.
  void its_model_is_fetched_once_its_terms_are_accepted() {
    qputenv("HEADROOM_FAKE", "unfetched");
    SettingsStore settings(ini());
    StartOptions options;
    options.engine = HEADROOM_BINARY_DIR "/tests/fake_engine";
    MainWindow window(settings, options);
    open(window);
    QTRY_COMPARE_WITH_TIMEOUT(window.engine().state(), EngineClient::State::ready, 20'000);
    action(window, "Try a hybrid: Small & quick")->trigger();
    QTRY_VERIFY(window.banners().contains("sample"));
    window.banners().findChild<QWidget*>("banner:sample")->findChild<QPushButton*>("banner_button")->click();
    QTRY_VERIFY(run_dialog());
    QDialog* dialog = run_dialog();
    dialog->findChild<QTabWidget*>("prompt_tabs")->setCurrentIndex(0);
    dialog->findChild<QPlainTextEdit*>("prompt_text")->setPlainText("What is the magic number?");
    auto* fetch = dialog->findChild<ModelFetch*>();
    auto* start = dialog->findChild<QPushButton*>("start_run");
    auto* go = fetch->findChild<QPushButton*>("fetch_go");
    auto* terms = fetch->findChild<QPlainTextEdit*>("fetch_terms");
    QTRY_VERIFY_WITH_TIMEOUT(fetch->isVisible() && go->isVisible(), 20'000);
    QVERIFY(!start->isEnabled() && terms->isHidden());
    go->click();
    QTRY_VERIFY_WITH_TIMEOUT(terms->isVisible(), 20'000);
    QVERIFY(terms->toPlainText().contains("https://example.org/terms") && !terms->toPlainText().contains("--accept"));
    QVERIFY(!QFile::exists(dir_.filePath("model.gguf")));
    // What fails says why, and can be tried again.
    QFile broken(dir_.filePath("model.gguf.broken"));
    QVERIFY(broken.open(QIODevice::WriteOnly));
    go->click();
    auto* text = fetch->findChild<QLabel*>("fetch_text");
    QTRY_VERIFY_WITH_TIMEOUT(text->text().contains("pip could not fetch gemma3-270m"), 20'000);
    QVERIFY(broken.remove());
    go->click();
    QTRY_VERIFY_WITH_TIMEOUT(start->isEnabled() && fetch->isHidden(), 20'000);
    QVERIFY(QFile::exists(dir_.filePath("model.gguf")));
    dialog->reject();
  }
};

QTEST_MAIN(TestSamples)
#include "test_samples.moc"
