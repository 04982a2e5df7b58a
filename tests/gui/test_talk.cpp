// SPDX-License-Identifier: GPL-3.0-or-later
// Talks in the window: from two records to a checked talk, presenting on one of two screens and coming back to exactly
// where the window was, live runs with their recorded twins, and what is exported.
#include <QDialog>
#include <QDockWidget>
#include <QImage>
#include <QLineEdit>
#include <QListWidget>
#include <QMenuBar>
#include <QPlainTextEdit>
#include <QProcess>
#include <QPushButton>
#include <QScreen>
#include <QStatusBar>
#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "gui/actions.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/talk_desk.h"
#include "gui/talk_html.h"
#include "gui/talk_stage.h"
#include "gui/window_style.h"
#include "protocol/base64.h"
#include "support/synthetic_record.h"
#include "two_screens.h"
#include "views/common/banner_bar.h"
#include "views/common/record_queries.h"
#include "views/talk/talk_panel.h"

using namespace headroom;
using namespace headroom::gui;
using nlohmann::json;
class TestTalk : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString first_, second_, live_;

  struct Bench {
    explicit Bench(const QString& file, const StartOptions& options) : settings(file), window(settings, options) {
      window.show();
      (void)QTest::qWaitForWindowExposed(&window);
    }
    SettingsStore settings;
    MainWindow window;
    TalkDesk& talks() { return window.talks(); }
    views::TalkBook& book() { return window.talks().book(); }
    TalkStage& stage() { return window.stage(); }
  };
  StartOptions with(const QStringList& records) {
    StartOptions options;
    options.use_engine = false;
    options.records = records;
    options.size = {1100, 650};
    return options;
  }
  QString ini() {
    static int n = 0;
    return dir_.filePath(QString("settings%1.ini").arg(++n));
  }
  static QWidget* top(const char* name) {
    for (QWidget* widget : QApplication::topLevelWidgets())
      if (widget->objectName() == name && widget->isVisible()) return widget;
    return nullptr;
  }
  /// For people to look at: HEADROOM_PICTURES names a folder.
  static void picture(QWidget& widget, const QString& name) {
    const QString folder = qEnvironmentVariable("HEADROOM_PICTURES");
    if (folder.isEmpty()) return;
    QDir().mkpath(folder);
    QTest::qWait(400);
    widget.grab().save(folder + "/" + name + ".png");
  }
  static void settle(MainWindow& window) {
    QTRY_VERIFY_WITH_TIMEOUT(window.pages()[window.current_page()].settled(), 20000);
  }
  /// A talk of three steps of two records, saved.
  QString make_talk(Bench& b, const char* name) {
    [&] {
      QTRY_COMPARE_WITH_TIMEOUT(b.window.selection().state().runs.size(), std::size_t(2), 20000);
      QTRY_VERIFY(b.window.actions().add_to_talk->isEnabled());
      b.window.show_page(1);
      b.window.selection().change([](views::ViewState& s) {
        s.current = 0;
        s.layer = 1;
        s.colour_max = 0.3;
        s.keys = {3, 4};
        s.viewport = {20, 90, 10, 80};
      });
      b.window.actions().add_to_talk->trigger();
      b.window.show_page(2);
      b.window.selection().change([](views::ViewState& s) { s.budget = 40; });
      b.window.actions().add_to_talk->trigger();
      b.window.show_page(4);
      b.window.selection().change([](views::ViewState& s) { s.current = 1; });
      b.window.actions().add_to_talk->trigger();
      b.book().set_text(0, views::StepText::title, "Where the last token looks");
      b.book().set_text(0, views::StepText::caption, "Two keys hold it: </script> and \"they\"");
      b.book().set_text(0, views::StepText::notes, "Breathe.");
      b.talks().save_to(dir_.filePath(name));
      QTRY_VERIFY(!b.book().changed_since_saved());
    }();
    return dir_.filePath(name);
  }
 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    QVERIFY(QDir(dir_.path()).mkdir("runs"));
    first_ = dir_.filePath("runs/first.h5");
    second_ = dir_.filePath("runs/second.h5");
    live_ = dir_.filePath("runs/live.h5");
    test::SyntheticOptions options{.tokens = 200, .layers = 3};
    test::write_synthetic_record(first_.toStdString(), options);
    options.seed = 2;
    test::write_synthetic_record(second_.toStdString(), options);
    options.seed = 3;
    test::write_synthetic_record(live_.toStdString(), options);
  }

  // The speaker's walk: two records, three views, words, order, saved, checked, packed.
  void from_two_records_to_a_checked_talk() {
    Bench b(ini(), with({first_, second_}));
    QTRY_COMPARE(b.window.selection().state().runs.size(), std::size_t(2));
    b.window.show_page(0);
    settle(b.window);
    QTest::keyClick(&b.window, Qt::Key_D, Qt::ControlModifier);
    QTRY_COMPARE(b.book().count(), 1);
    auto* dock = b.window.findChild<QDockWidget*>("dock_talk");
    QVERIFY(dock && dock->isVisible());
    b.window.show_page(1);
    b.window.selection().change([](views::ViewState& s) { s.layer = 2; });
    settle(b.window);
    QTest::keyClick(&b.window, Qt::Key_D, Qt::ControlModifier);
    b.window.show_page(2);
    settle(b.window);
    QTest::keyClick(&b.window, Qt::Key_D, Qt::ControlModifier);
    QTRY_COMPARE(b.book().count(), 3);
    views::TalkPanel& panel = b.talks().panel();
    panel.steps()->setCurrentRow(1);
    panel.title_field()->setFocus();
    panel.title_field()->selectAll();
    QTest::keyClicks(panel.title_field(), "Layer 2 retrieves");
    panel.caption_field()->setFocus();
    QTest::keyClicks(panel.caption_field(), "The needle is a bright column.");
    QCOMPARE(b.book().talk().steps[1].title, QString("Layer 2 retrieves"));
    panel.steps()->setFocus();
    QTest::keyClick(panel.steps(), Qt::Key_Up, Qt::AltModifier);
    QCOMPARE(b.book().talk().steps[0].title, QString("Layer 2 retrieves"));
    picture(b.window, "talk-dock");
    const QString file = dir_.filePath("walk.headroom-talk");
    b.talks().save_to(file);
    QTRY_VERIFY(!b.book().changed_since_saved());
    QVERIFY(b.settings.recent_files().contains(file));
    b.window.actions().check_talk->trigger();
    auto* verdict = panel.findChild<QWidget*>("talk_verdict");
    QTRY_VERIFY(verdict->isVisible());
    QCOMPARE(panel.faults()->count(), 0);
    picture(b.window, "talk-checked");
    b.talks().pack_to(dir_.filePath("walk-packed"));
    QTRY_VERIFY(b.window.banners().contains("talk:pack"));
    const views::Talk packed = views::read_talk(dir_.filePath("walk-packed/walk.headroom-talk").toStdString());
    QVERIFY(views::check_talk(packed).empty());
  }

  void a_step_brings_its_view_back_exactly() {
    Bench b(ini(), with({first_, second_}));
    make_talk(b, "exact.headroom-talk");
    const views::ViewState before = b.window.selection().state();
    b.talks().show_step(0);
    const views::ViewState wanted = views::view_of_step(b.book().talk(), 0, b.book().records());
    views::ViewState shown = b.window.selection().state();
    QCOMPARE(shown.runs[std::size_t(shown.current)], wanted.runs[std::size_t(wanted.current)]);
    shown.runs = wanted.runs;
    shown.current = wanted.current;
    QVERIFY(shown == wanted);
    QCOMPARE(b.window.current_page(), 1);
    QCOMPARE(b.window.selection().state().runs.size(), std::size_t(2));  // nothing is closed
    b.window.selection().undo();
    QVERIFY(b.window.selection().state() == before);
  }

  void a_talk_opens_with_its_records() {
    QString file;
    {
      Bench b(ini(), with({first_, second_}));
      file = make_talk(b, "opens.headroom-talk");
    }
    Bench b(ini(), with({file}));
    QTRY_COMPARE(b.book().count(), 3);
    QTRY_VERIFY(b.window.selection().record());
    QTRY_COMPARE(b.window.current_page(), 1);
    QCOMPARE(b.window.selection().state().viewport, (views::Viewport{20, 90, 10, 80}));
    // What is wrong with a talk is a banner, and the one that is open stays.
    QFile bad(dir_.filePath("bad.headroom-talk"));
    QVERIFY(bad.open(QIODevice::WriteOnly));
    bad.write("{\"format\": \"headroom-talk\", \"version\": 9}");
    bad.close();
    b.window.open_path(bad.fileName());
    QTRY_VERIFY(b.window.banners().text_of("talk:open").contains("later version"));
    QCOMPARE(b.book().count(), 3);
  }

  void unsaved_steps_are_asked_for() {
    Bench b(ini(), with({first_}));
    QTRY_VERIFY(b.window.actions().add_to_talk->isEnabled());  // a tick after the record is there
    b.window.actions().add_to_talk->trigger();
    QCOMPARE(b.book().count(), 1);
    b.window.close();
    QTRY_VERIFY(top("talk_question"));
    QVERIFY(b.window.isVisible());
    for (auto* button : top("talk_question")->findChildren<QPushButton*>())
      if (button->text().contains("Discard")) button->click();
    QTRY_VERIFY(!b.window.isVisible());
  }

  void presenting_hides_everything_steps_and_comes_back_to_the_same_place() {
    const QString settings = ini();
    Bench b(settings, with({first_, second_}));
    make_talk(b, "present.headroom-talk");
    b.book().set_current(0);
    b.window.setGeometry(60, 30, 1100, 650);
    QTRY_COMPARE(b.window.geometry(), QRect(60, 30, 1100, 650));
    const QRect place = b.window.geometry();
    const qreal size = QApplication::font().pointSizeF();
    QList<QDockWidget*> docks = b.window.findChildren<QDockWidget*>();
    QList<bool> visible;
    for (auto* dock : docks) visible << dock->isVisible();
    // The room of a page; what the page holds by then decides whether it scrolls in there.
    const auto room = [&b] { return b.window.pages()[1].widget->parentWidget()->parentWidget()->geometry(); };
    const QRect map = room();
    QTest::keyClick(&b.window, Qt::Key_F5);
    QTRY_VERIFY(top("screen_choice"));  // there are two
    QPushButton* here = nullptr;
    for (auto* button : top("screen_choice")->findChildren<QPushButton*>())
      if (button->text().contains("this window's")) here = button;
    QVERIFY(here && here->text().contains("1280"));
    here->click();
    QTRY_VERIFY(b.window.presenting());
    QTRY_COMPARE(b.window.size(), QSize(1280, 720));
    for (QWidget* chrome : {static_cast<QWidget*>(b.window.menuBar()), static_cast<QWidget*>(b.window.statusBar())})
      QVERIFY(!chrome->isVisible());
    for (auto* dock : docks) QVERIFY(!dock->isVisible());
    QVERIFY(b.window.findChild<QWidget*>("leave_hint")->isVisible());
    QVERIFY(QApplication::font().pointSizeF() > 1.2 * size);
    auto* bar = b.window.findChild<views::StageBar*>("stage_bar");
    QVERIFY(bar->isVisible());
    QCOMPARE(bar->number(), QString("1 / 3"));
    QCOMPARE(bar->title(), QString("Where the last token looks"));
    // Notes are on the other screen.
    QTRY_VERIFY(top("speaker_window"));
    QCOMPARE(static_cast<views::SpeakerWindow*>(top("speaker_window"))->notes(), QString("Breathe."));
    QVERIFY(!b.window.screen()->geometry().intersects(top("speaker_window")->geometry()));
    QCOMPARE(b.window.selection().state().colour_max, 0.3);  // scales are the step's
    QTest::keyClick(&b.window, Qt::Key_Right);
    QCOMPARE(bar->number(), QString("2 / 3"));
    QCOMPARE(b.window.current_page(), 2);
    QCOMPARE(b.window.selection().state().budget, 40.0);
    QTest::keyClick(&b.window, Qt::Key_End);
    QTest::keyClick(&b.window, Qt::Key_PageDown);
    QCOMPARE(bar->number(), QString("3 / 3"));
    QTest::keyClick(&b.window, Qt::Key_PageUp);
    QCOMPARE(b.stage().step(), 1);
    QTest::keyClick(&b.window, Qt::Key_Home);
    // Wherever the focus is: the map has the arrows otherwise.
    b.window.pages()[1].widget->setFocus();
    if (QWidget* focus = QApplication::focusWidget()) QTest::keyClick(focus, Qt::Key_Right);
    QCOMPARE(b.stage().step(), 1);
    QTest::keyClick(&b.window, Qt::Key_Left);
    QCOMPARE(b.window.selection().state().viewport, (views::Viewport{20, 90, 10, 80}));
    QVERIFY(b.window.screen()->geometry().contains(b.window.geometry()));
    QTest::keyClick(&b.window, Qt::Key_Escape);
    QVERIFY(!b.window.presenting());
    QTRY_COMPARE(b.window.geometry(), place);
    QCOMPARE(QApplication::font().pointSizeF(), size);
    for (int i = 0; i < docks.size(); ++i) QCOMPARE(docks[i]->isVisible(), visible[i]);
    QTRY_COMPARE(room(), map);
    QVERIFY(!top("speaker_window"));
    QVERIFY(!bar->isVisible());
    // On a larger screen text has its 1.75 times, and the way back is the same.
    QTest::keyClick(&b.window, Qt::Key_F5);
    QTRY_VERIFY(top("screen_choice"));
    for (auto* button : top("screen_choice")->findChildren<QPushButton*>())
      if (button->text().contains("1600")) button->click();
    QTRY_COMPARE(b.window.size(), QSize(1600, 1000));
    QCOMPARE(b.window.screen()->name(), QString("desk"));
    QVERIFY(std::abs(QApplication::font().pointSizeF() / size - 1.75) < 0.05);
    QTest::keyClick(&b.window, Qt::Key_Escape);
    QTRY_COMPARE(b.window.geometry(), place);
    // What is saved is the window, not the stage.
    b.window.set_presenting(true);
    QTRY_COMPARE(b.window.size(), QSize(1280, 720));
    b.window.close();
    QTRY_VERIFY(!b.window.isVisible());
    Bench again(settings, with({}));
    QCOMPARE(again.window.geometry(), place);
  }

  void everything_fits_a_small_projector_data() {
    QTest::addColumn<int>("text");
    QTest::addColumn<bool>("dark");
    for (const int text : {100, 125, 150}) QTest::addRow("%d", text) << text << false;
    QTest::addRow("100 dark") << 100 << true;
  }
  void everything_fits_a_small_projector() {
    QFETCH(int, text);
    QFETCH(bool, dark);
    Bench b(ini(), with({first_, second_}));
    make_talk(b, "fits.headroom-talk");
    b.window.actions().dark->setChecked(!dark);
    b.window.actions().dark->trigger();
    b.window.set_text_scale(text);
    b.book().set_current(0);
    b.window.set_presenting(true);
    QTRY_VERIFY(b.window.presenting());
    for (int page = 0; page < b.window.pages().size(); ++page) {
      b.window.show_page(page);
      settle(b.window);
      QTRY_COMPARE(b.window.size(), QSize(1280, 720));
      const Page& shown = b.window.pages()[page];
      const QRect on_screen(shown.widget->mapTo(&b.window, QPoint()), shown.widget->size());
      QVERIFY2(b.window.rect().contains(on_screen), qPrintable(shown.id));
      QVERIFY2(shown.widget->minimumSizeHint().height() <= shown.widget->height(), qPrintable(shown.id));
      picture(b.window, QString("present-%1-%2%3").arg(shown.id).arg(text).arg(dark ? "-dark" : ""));
    }
    b.window.set_presenting(false);
    b.window.set_text_scale(100);
    views::Theme::instance().set_mode(views::ThemeMode::light);
  }

  void a_live_step_and_its_recorded_twin() {
    qputenv("HEADROOM_FAKE", "normal");
    qputenv("HEADROOM_FAKE_RECORD", live_.toUtf8());
    StartOptions options = with({first_, second_});
    options.use_engine = true;
    options.engine = HEADROOM_BINARY_DIR "/tests/fake_engine";
    Bench b(ini(), options);
    make_talk(b, "live.headroom-talk");
    b.book().set_live(0, json{{"model", "smollm2"}, {"prompt", "one two three"}, {"budgets", {"64"}}});
    b.book().set_current(0);
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    b.window.set_presenting(true);
    QTRY_VERIFY(b.stage().active());
    auto* bar = b.window.findChild<views::StageBar*>("stage_bar");
    QVERIFY2(bar->source().contains("Recorded"), qPrintable(bar->source()));
    const views::RecordPtr recorded = b.window.selection().record();
    QTest::keyClick(&b.window, Qt::Key_T);  // nothing to change to yet
    QCOMPARE(b.window.selection().record(), recorded);
    QTest::keyClick(&b.window, Qt::Key_L);
    QTRY_VERIFY_WITH_TIMEOUT(b.stage().shows_live(), 20000);
    QTRY_VERIFY(bar->source().startsWith("Live"));
    QVERIFY(b.window.selection().record() != recorded);
    QCOMPARE(b.window.selection().state().viewport, (views::Viewport{20, 90, 10, 80}));
    picture(b.window, "present-live");
    QTest::keyClick(&b.window, Qt::Key_T);
    QCOMPARE(b.window.selection().record(), recorded);
    QVERIFY(bar->source().startsWith("Recorded"));
    QTest::keyClick(&b.window, Qt::Key_T);
    QVERIFY(b.stage().shows_live());
    QTest::keyClick(&b.window, Qt::Key_Right);
    QTest::keyClick(&b.window, Qt::Key_Left);
    QVERIFY(b.stage().shows_live());
    QTest::keyClick(&b.window, Qt::Key_Escape);
    QVERIFY(!b.window.presenting());
    b.book().undo_stack().setClean();
  }

  void a_live_step_without_an_engine_says_so() {
    Bench b(ini(), with({first_, second_}));
    make_talk(b, "alone.headroom-talk");
    b.book().set_live(1, json{{"model", "smollm2"}, {"prompt", "one"}, {"budgets", {"64"}}});
    b.book().set_current(1);
    b.window.set_presenting(true);
    QTest::keyClick(&b.window, Qt::Key_L);
    auto* bar = b.window.findChild<views::StageBar*>("stage_bar");
    QTRY_VERIFY(bar->source().contains("no engine is ready"));
    QCOMPARE(b.window.current_page(), 2);
    QTest::keyClick(&b.window, Qt::Key_Escape);
    b.book().undo_stack().setClean();
  }

  void a_step_whose_record_is_gone_is_said_on_the_stage() {
    QString file;
    {
      Bench b(ini(), with({first_, second_}));
      file = make_talk(b, "gone.headroom-talk");
    }
    QVERIFY(QFile::rename(second_, second_ + ".away"));
    Bench b(ini(), with({file}));
    QTRY_VERIFY_WITH_TIMEOUT(b.window.banners().contains("talk:records"), 20000);
    b.window.set_presenting(true);
    QTRY_VERIFY(b.stage().active());
    QTest::keyClick(&b.window, Qt::Key_End);
    auto* bar = b.window.findChild<views::StageBar*>("stage_bar");
    QVERIFY2(bar->problem().contains("second.h5"), qPrintable(bar->problem()));
    QTest::keyClick(&b.window, Qt::Key_Home);
    QVERIFY(bar->problem().isEmpty());
    b.window.set_presenting(false);
    b.window.actions().check_talk->trigger();
    QTRY_COMPARE_WITH_TIMEOUT(b.talks().panel().faults()->count(), 1, 20000);
    QVERIFY(b.talks().panel().faults()->item(0)->text().contains("second.h5"));
    QVERIFY(QFile::rename(second_ + ".away", second_));
  }

  void exports_hold_what_the_record_holds() {
    QString file;
    {
      Bench b(ini(), with({first_, second_}));
      file = make_talk(b, "export.headroom-talk");
    }
    const auto run = [&](const QStringList& arguments, QByteArray* out = nullptr) {
      QProcess process;
      process.start(HEADROOM_BINARY_DIR "/headroom-gui", arguments);
      if (!process.waitForFinished(120000)) return -1;
      if (out) *out = process.readAllStandardOutput() + process.readAllStandardError();
      return process.exitCode();
    };
    QByteArray said;
    QCOMPARE(run({"--check-talk", file}, &said), 0);
    QVERIFY2(said.contains("3 steps, 2 records"), said);
    const QString html = dir_.filePath("talk.html"), pdf = dir_.filePath("talk.pdf"),
                  pictures = dir_.filePath("slides");
    QVERIFY2(run({"--export-talk", file, "-o", html}, &said) == 0, said);
    QVERIFY2(said.contains("3 steps, "), said);
    QCOMPARE(run({"--export-talk", file, "-o", pdf}), 0);
    QCOMPARE(run({"--export-talk", file, "-o", pictures}), 0);
    QCOMPARE(run({"--export-talk", file, "-o", pictures}, &said), 3);
    QVERIFY2(said.contains("is there already"), said);
    QCOMPARE(QDir(pictures).entryList(QDir::Files).size(), 3);
    const QImage slide(pictures + "/01-where-the-last-token-looks.png");
    QCOMPARE(slide.size(), QSize(2560, 1440));
    QFile paper(pdf);
    QVERIFY(paper.open(QIODevice::ReadOnly));
    const QByteArray pages = paper.readAll();
    QVERIFY(pages.startsWith("%PDF-") && pages.contains("/Count 3") && pages.contains("/MediaBox [0 0 960"));

    QFile page(html);
    QVERIFY(page.open(QIODevice::ReadOnly));
    const QByteArray text = page.readAll();
    QVERIFY(text.size() < 8 << 20);
    // Nothing outside is named: the only addresses are data, and the page forbids itself any other.
    for (const char* outside :
         {"http:", "https:", "<link", "@import", "url(", "src=\"/", "fetch(", "XMLHttp", "import("})
      QVERIFY2(!text.contains(outside), outside);
    QVERIFY(text.contains("default-src 'none'"));
    QCOMPARE(text.count("</script>"), 2);  // a caption ends no script
    const QByteArray mark = "id=\"talk-data\">";
    const auto from = text.indexOf(mark) + mark.size();
    const json data = json::parse(text.mid(from, text.indexOf("</script>", from) - from).toStdString());
    QCOMPARE(data["steps"].size(), std::size_t(3));
    QCOMPARE(data["steps"][0]["notes"].get<std::string>(), std::string("Breathe."));
    QVERIFY(data["steps"][2]["picture"].get<std::string>().starts_with("data:image/"));
    // The map's cells are those of the record.
    const auto record = record::RunRecord::open(first_.toStdString());
    const json& map = data["steps"][0]["map"];
    const views::MapDataPtr whole = views::load_map_data(
        {record, QString::fromStdString(views::read_talk(file.toStdString()).steps[0].view["method"]), 1, {}});
    QVERIFY(whole->stream);
    int compared = 0;
    for (const json& grid : data["maps"][map["grids"].get<std::string>()]) {
      const auto bytes = protocol::base64_decode(grid["max"].get<std::string>(), "grid");
      const std::int64_t query = grid["query"], key = grid["key"], cell = grid["cell"], rows = grid["rows"],
                         columns = grid["columns"];
      std::size_t at = 0;
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c) {
          if (key + c * cell > query + (r + 1) * cell - 1) continue;
          const auto code = static_cast<std::uint16_t>(bytes[2 * at] | bytes[2 * at + 1] << 8);
          ++at;
          if (cell != 1 || (r * columns + c) % 7) continue;
          const double exact = record::probability(*whole->stream, {}, query + r, key + c);
          if (exact < 1e-11) continue;
          QVERIFY2(
              std::abs(probability_of(code) / exact - 1) < 0.001,
              qPrintable(QString("%1 %2: %3, %4").arg(query + r).arg(key + c).arg(probability_of(code)).arg(exact)));
          ++compared;
        }
      QCOMPARE(2 * at, bytes.size());
    }
    QVERIFY(compared > 200);
    QCOMPARE(data["records"][map["record"].get<std::size_t>()]["tokens"].size(), std::size_t(200));
    // The curves, too, and the read-out's density is the page's.
    const json& budget = data["steps"][1]["budget"];
    const auto curves = views::recall_curves(*record, *record->mass_curves("dense"), -1);
    QCOMPARE(budget["mean"].get<std::vector<double>>(), curves.mean);
    QCOMPARE(budget["budget"].get<double>(), 40.0);
  }
};

int main(int argc, char** argv) {
  QTemporaryDir folder;
  if (!test::set_two_screens(folder.filePath("screens.json"))) return 1;
  QApplication::setStyle(new WindowStyle);
  QApplication application(argc, argv);
  TestTalk test;
  return QTest::qExec(&test, argc, argv);
}
#include "test_talk.moc"
