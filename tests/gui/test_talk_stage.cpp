// SPDX-License-Identifier: GPL-3.0-or-later
// Presenting a talk on one of two screens and coming back to exactly where the window was; live runs with their
// recorded twins.
#include <QDockWidget>
#include <QListWidget>
#include <QMenuBar>
#include <QPushButton>
#include <QScreen>
#include <QScrollArea>
#include <QScrollBar>
#include <QStatusBar>
#include <cmath>
#include <nlohmann/json.hpp>

#include "gui/window_style.h"
#include "talk_bench.h"
#include "text_fits.h"
#include "two_screens.h"
#include "views/common/banner_bar.h"

using namespace headroom;
using namespace headroom::gui;
using nlohmann::json;

class TestTalkStage : public QObject {
  Q_OBJECT
  test::TalkBench bench_;

 private slots:
  void initTestCase() { bench_.make(); }

  void a_page_is_presented_whole_and_as_large_as_it_fits() {
    test::TalkWindow b(bench_.ini(), bench_.with({bench_.first}));
    const qreal size = QApplication::font().pointSizeF();
    b.window.set_text_scale(150);
    b.window.show_page(0);
    b.window.set_presenting(true);
    QTRY_COMPARE(b.window.size(), QSize(1280, 720));
    const auto* overview = b.window.findChild<QScrollArea*>("whole_page");
    QTRY_VERIFY(overview && overview->isVisible());
    QTRY_COMPARE(overview->verticalScrollBar()->maximum(), 0);  // nobody scrolls before an audience
    b.window.show_page(2);
    QTRY_VERIFY(QApplication::font().pointSizeF() > 1.2 * size);  // though other parts of the page are higher
    b.window.set_presenting(false);
    b.window.set_text_scale(100);
  }

  void presenting_hides_everything_steps_and_comes_back_to_the_same_place() {
    const QString settings = bench_.ini();
    test::TalkWindow b(settings, bench_.with({bench_.first, bench_.second}));
    bench_.make_talk(b, "present.headroom-talk");
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
    QTRY_VERIFY(test::TalkBench::top("screen_choice"));  // there are two
    QPushButton* here = nullptr;
    for (auto* button : test::TalkBench::top("screen_choice")->findChildren<QPushButton*>())
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
    QTRY_VERIFY(test::TalkBench::top("speaker_window"));
    QCOMPARE(static_cast<views::SpeakerWindow*>(test::TalkBench::top("speaker_window"))->notes(), QString("Breathe."));
    QVERIFY(!b.window.screen()->geometry().intersects(test::TalkBench::top("speaker_window")->geometry()));
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
    QVERIFY(!test::TalkBench::top("speaker_window"));
    QVERIFY(!bar->isVisible());
    // On a larger screen text has its 1.75 times, and the way back is the same.
    QTest::keyClick(&b.window, Qt::Key_F5);
    QTRY_VERIFY(test::TalkBench::top("screen_choice"));
    for (auto* button : test::TalkBench::top("screen_choice")->findChildren<QPushButton*>())
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
    test::TalkWindow again(settings, bench_.with({}));
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
    test::TalkWindow b(bench_.ini(), bench_.with({bench_.first, bench_.second}));
    bench_.make_talk(b, "fits.headroom-talk");
    b.window.actions().dark->setChecked(!dark);
    b.window.actions().dark->trigger();
    b.window.set_text_scale(text);
    b.book().set_current(0);
    b.window.set_presenting(true);
    QTRY_VERIFY(b.window.presenting());
    for (int page = 0; page < b.window.pages().size(); ++page) {
      b.window.show_page(page);
      test::TalkBench::settle(b.window);
      QTRY_COMPARE(b.window.size(), QSize(1280, 720));
      const Page& shown = b.window.pages()[page];
      const QRect on_screen(shown.widget->mapTo(&b.window, QPoint()), shown.widget->size());
      QVERIFY2(b.window.rect().contains(on_screen), qPrintable(shown.id));
      QVERIFY2(shown.widget->minimumSizeHint().height() <= shown.widget->height(), qPrintable(shown.id));
      // No word is cut, none lies over another.
      QStringList wrong;
      (void)QTest::qWaitFor([&] { return (wrong = test::misfits(&b.window)).isEmpty(); }, 3000);
      QVERIFY2(wrong.isEmpty(), qPrintable(shown.id + ":\n" + wrong.mid(0, 12).join("\n")));
    }
    b.window.set_presenting(false);
    b.window.set_text_scale(100);
    views::Theme::instance().set_mode(views::ThemeMode::light);
  }

  void a_live_step_and_its_recorded_twin() {
    qputenv("HEADROOM_FAKE", "normal");
    qputenv("HEADROOM_FAKE_RECORD", bench_.live.toUtf8());
    StartOptions options = bench_.with({bench_.first, bench_.second});
    options.use_engine = true;
    options.engine = HEADROOM_BINARY_DIR "/tests/fake_engine";
    test::TalkWindow b(bench_.ini(), options);
    bench_.make_talk(b, "live.headroom-talk");
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
    test::TalkWindow b(bench_.ini(), bench_.with({bench_.first, bench_.second}));
    bench_.make_talk(b, "alone.headroom-talk");
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
      test::TalkWindow b(bench_.ini(), bench_.with({bench_.first, bench_.second}));
      file = bench_.make_talk(b, "gone.headroom-talk");
    }
    QVERIFY(QFile::rename(bench_.second, bench_.second + ".away"));
    test::TalkWindow b(bench_.ini(), bench_.with({file}));
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
    QVERIFY(QFile::rename(bench_.second + ".away", bench_.second));
  }
};

int main(int argc, char** argv) {
  QTemporaryDir folder;
  if (!test::set_two_screens(folder.filePath("screens.json"))) return 1;
  QApplication::setStyle(new WindowStyle);
  QApplication application(argc, argv);
  TestTalkStage test;
  return QTest::qExec(&test, argc, argv);
}
#include "test_talk_stage.moc"
