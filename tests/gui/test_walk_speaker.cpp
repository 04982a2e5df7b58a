// SPDX-License-Identifier: GPL-3.0-or-later
// The speaker's way through the window: from two records to a checked talk, shown on the whole screen and left again.
// Pictures: walk_pictures.h.
#include <QDockWidget>
#include <QLineEdit>
#include <QListWidget>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QScreen>
#include <QScrollArea>
#include <QScrollBar>

#include "base/output_file.h"
#include "gui/window_style.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep_fixture.h"
#include "talk_bench.h"
#include "two_screens.h"
#include "views/common/banner_bar.h"
#include "views/talk/talk_check.h"
#include "walk_pictures.h"

using namespace headroom;
using namespace headroom::gui;

namespace {

/// No page that is in sight is longer than its room, once its text has become small enough.
bool nothing_scrolls(const MainWindow& window) {
  QTest::qWait(100);  // what comes late has come
  return QTest::qWaitFor([&] {
    for (const auto* area : window.findChildren<QScrollArea*>("whole_page"))
      if (area->isVisible() && area->verticalScrollBar()->maximum() > 0) return false;
    return true;
  });
}

}  // namespace

class TestWalkSpeaker : public QObject {
  Q_OBJECT
  test::TalkBench bench_;
  QString garden_ = HEADROOM_SOURCE_DIR "/sample_data/records/smollm2-garden.h5", sweep_;
  test::WalkPictures pictures_{"speaker", [](MainWindow& window) {
                                 QTest::qWait(30);
                                 QTRY_VERIFY_WITH_TIMEOUT(window.pages()[window.current_page()].settled(), 20000);
                                 QTest::qWait(200);  // thumbnails of the dock
                               }};

  static void add(test::TalkWindow& b, const QString& page, const QString& title, const QString& caption) {
    const int count = b.book().count();
    b.window.show_page(page_index(b.window.pages(), page));
    test::TalkBench::settle(b.window);
    b.window.activateWindow();  // a window manager that came after the window gives it no focus
    QVERIFY(QTest::qWaitForWindowActive(&b.window));
    QTest::keyClick(&b.window, Qt::Key_D, Qt::ControlModifier);
    QTRY_COMPARE(b.book().count(), count + 1);
    views::TalkPanel& panel = b.talks().panel();
    panel.title_field()->setFocus();
    panel.title_field()->selectAll();
    QTest::keyClicks(panel.title_field(), title);
    panel.caption_field()->setFocus();
    QTest::keyClicks(panel.caption_field(), caption);
    QCOMPARE(b.book().talk().steps.back().title, title);
    QCOMPARE(b.book().talk().steps.back().caption, caption);
  }
  /// F5, and the screen of that size where there is a choice.
  static void present(test::TalkWindow& b, const QString& size) {
    b.window.setFocus();
    QTest::keyClick(&b.window, Qt::Key_F5);
    if (QGuiApplication::screens().size() > 1) {
      QTRY_VERIFY(test::TalkBench::top("screen_choice"));
      for (auto* button : test::TalkBench::top("screen_choice")->findChildren<QPushButton*>())
        if (button->text().contains(size)) return button->click();
      QFAIL("no such screen");
    }
    QTRY_VERIFY(b.window.presenting());
  }

 private slots:
  void initTestCase() {
    bench_.make();
    sweep_ = bench_.file("runs/scored.h5");
    OutputPlace place(sweep_.toStdString(), OutputKind::file);
    record::write_sweep(place, test::sweep_record());
  }

  // Two records and a sweep, four views, words, order, saved, checked, packed, and shown from the packed folder.
  void from_two_records_to_a_checked_talk() {
    const QString talk = bench_.file("walk.headroom-talk"), packed = bench_.file("walk-packed");
    StartOptions options = bench_.with({bench_.second, garden_});
    options.size = {1280, 720};
    options.quiet = true;
    test::TalkWindow b(bench_.ini(), options);
    QTRY_COMPARE(b.window.selection().state().runs.size(), std::size_t(2));
    b.window.open_path(sweep_);
    QTRY_VERIFY(b.window.selection().sweep());
    b.window.selection().change([&](views::ViewState& s) {
      for (std::size_t i = 0; i < s.runs.size(); ++i)
        if (s.runs[i]->length() != 200) s.current = static_cast<int>(i);
      s.sweep_look.page = 0;
    });
    QTRY_VERIFY(b.window.actions().add_to_talk->isEnabled());
    add(b, "overview", "How much is needed", "Of each layer and head: what the budget keeps.");
    auto* dock = b.window.findChild<QDockWidget*>("dock_talk");
    QVERIFY(dock && dock->isVisible());
    b.window.selection().change([](views::ViewState& s) { s.display.missed = true; });
    add(b, "attention", "A layer that retrieves", "The needle is a bright column; orange is what was missed.");
    b.window.selection().change([](views::ViewState& s) { s.sweep_look.page = 1; });
    add(b, "budget", "Over many samples", "Intervals, and the band of one point below dense.");
    QCOMPARE(b.book().talk().steps[2].sweep, 0);
    add(b, "compare", "Two methods beside each other", "The same scale on both.");
    views::TalkPanel& panel = b.talks().panel();
    QTRY_VERIFY_WITH_TIMEOUT(panel.has_picture(3), 20000);
    b.book().set_current(2);
    panel.steps()->setFocus();
    QTest::keyClick(panel.steps(), Qt::Key_Up, Qt::AltModifier);
    QCOMPARE(b.book().talk().steps[1].title, QString("Over many samples"));
    QTest::keyClick(panel.steps(), Qt::Key_Down, Qt::AltModifier);
    QVERIFY(pictures_.take(b.window, "dock"));
    b.talks().save_to(talk);
    QTRY_VERIFY_WITH_TIMEOUT(!b.book().changed_since_saved(), 30000);
    QVERIFY(b.settings.recent_files().contains(talk));
    b.window.actions().check_talk->trigger();
    auto* verdict = panel.findChild<QWidget*>("talk_verdict");
    QTRY_VERIFY_WITH_TIMEOUT(verdict->isVisible(), 30000);
    QVERIFY2(panel.faults()->count() == 0, qPrintable(panel.faults()->count() ? panel.faults()->item(0)->text() : ""));
    QVERIFY(pictures_.take(b.window, "checked"));
    b.talks().pack_to(packed);
    QTRY_VERIFY_WITH_TIMEOUT(b.window.banners().contains("talk:pack"), 30000);
    const views::Talk copy = views::read_talk((packed + "/walk.headroom-talk").toStdString());
    QCOMPARE(copy.sweeps.size(), std::size_t(1));
    QVERIFY(views::check_talk(copy).empty());
  }

  // What was packed is all that the talk needs, and the way back from the stage leads to where the window was.
  void shown_from_the_packed_folder_and_left() {
    StartOptions options = bench_.with({bench_.file("walk-packed/walk.headroom-talk")});
    options.size = {1100, 650};
    test::TalkWindow b(bench_.ini(), options);
    QTRY_COMPARE_WITH_TIMEOUT(b.book().count(), 4, 20000);
    QTRY_VERIFY_WITH_TIMEOUT(b.window.selection().record(), 20000);
    b.window.setGeometry(120, 90, 1100, 650);
    QTRY_COMPARE(b.window.geometry(), QRect(120, 90, 1100, 650));
    for (const bool maximised : {false, true}) {
      if (maximised) b.window.showMaximized();
      QTRY_COMPARE(b.window.isMaximized(), maximised);
      QTest::qWait(200);
      const QRect before = b.window.geometry();
      const qreal text = QApplication::font().pointSizeF();
      b.book().set_current(0);
      present(b, "1280");
      QTRY_VERIFY(b.window.presenting() && b.window.isFullScreen());
      QTRY_COMPARE(b.window.size(), b.window.screen()->size());
      QVERIFY(nothing_scrolls(b.window));
      for (int step = 1; step < 4; ++step) {
        QTest::keyClick(&b.window, Qt::Key_Right);
        QCOMPARE(b.stage().step(), step);
        test::TalkBench::settle(b.window);
        QVERIFY(nothing_scrolls(b.window));
        if (step != 1) continue;  // the map's page takes any size of text
        QTRY_VERIFY2(QApplication::font().pointSizeF() > 1.5 * text,
                     qPrintable(QString::number(QApplication::font().pointSizeF() / text)));
      }
      b.stage().go_to(2);
      QVERIFY(b.window.selection().sweep());
      QVERIFY(b.window.selection().sweep()->path.native().find("walk-packed") != std::string::npos);
      QTest::keyClick(&b.window, Qt::Key_Escape);
      QTRY_VERIFY(!b.window.presenting() && !b.window.isFullScreen());
      QTRY_COMPARE(b.window.isMaximized(), maximised);
      QTRY_COMPARE(b.window.geometry(), before);
      QTest::qWait(300);  // a window manager may answer late
      QCOMPARE(b.window.geometry(), before);
      QCOMPARE(QApplication::font().pointSizeF(), text);
    }
    b.window.showNormal();
    QTRY_COMPARE(b.window.geometry(), QRect(120, 90, 1100, 650));
    if (!pictures_.wanted()) return;
    for (const QSize size : {QSize(1600, 1000), QSize(1280, 720)}) {
      present(b, QString::number(size.width()));
      QTRY_COMPARE(b.window.size(), size);
      QTRY_VERIFY_WITH_TIMEOUT(!b.window.findChild<QWidget*>("leave_hint")->isVisible(), 10000);
      for (int step = 0; step < 4; ++step)
        for (const auto mode : {views::ThemeMode::light, views::ThemeMode::dark})
          for (const int scale : {100, 150}) {
            b.stage().go_to(step);
            views::Theme::instance().set_mode(mode);
            b.window.set_text_scale(scale);
            test::TalkBench::settle(b.window);
            QTest::qWait(250);  // layouts of layouts
            QCOMPARE(b.window.size(), size);
            QVERIFY(pictures_.save(b.window, QString("present-%1").arg(step + 1), size, mode, scale));
          }
      QTest::keyClick(&b.window, Qt::Key_Escape);
      QTRY_VERIFY(!b.window.presenting());
    }
    b.window.set_text_scale(100);
    views::Theme::instance().set_mode(views::ThemeMode::light);
  }
};

int main(int argc, char** argv) {
  QTemporaryDir folder;
  // A projector and a desk, unless a real display is there.
  if (qEnvironmentVariable("QT_QPA_PLATFORM").startsWith("offscreen") &&
      !test::set_two_screens(folder.filePath("screens.json")))
    return 1;
  QApplication::setStyle(new WindowStyle);
  QApplication application(argc, argv);
  TestWalkSpeaker test;
  return QTest::qExec(&test, argc, argv);
}
#include "test_walk_speaker.moc"
