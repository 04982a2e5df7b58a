// SPDX-License-Identifier: GPL-3.0-or-later
// Talks in the window: what a step keeps and brings back, opening, and what is not saved.
#include <QFile>
#include <QPushButton>

#include "base/output_file.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep_fixture.h"
#include "talk_bench.h"
#include "views/common/banner_bar.h"
#include "views/talk/talk_panel.h"

using namespace headroom;
using namespace headroom::gui;

class TestTalk : public QObject {
  Q_OBJECT
  test::TalkBench bench_;

 private slots:
  void initTestCase() { bench_.make(); }

  void a_step_brings_its_view_back_exactly() {
    test::TalkWindow b(bench_.ini(), bench_.with({bench_.first, bench_.second}));
    bench_.make_talk(b, "exact.headroom-talk");
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
      test::TalkWindow b(bench_.ini(), bench_.with({bench_.first, bench_.second}));
      file = bench_.make_talk(b, "opens.headroom-talk");
    }
    test::TalkWindow b(bench_.ini(), bench_.with({file}));
    QTRY_COMPARE(b.book().count(), 3);
    QTRY_VERIFY(b.window.selection().record());
    QTRY_COMPARE(b.window.current_page(), 1);
    QCOMPARE(b.window.selection().state().viewport, (views::Viewport{20, 90, 10, 80}));
    // What is wrong with a talk is a banner, and the one that is open stays.
    QFile bad(bench_.file("bad.headroom-talk"));
    QVERIFY(bad.open(QIODevice::WriteOnly));
    bad.write("{\"format\": \"headroom-talk\", \"version\": 9}");
    bad.close();
    b.window.open_path(bad.fileName());
    QTRY_VERIFY(b.window.banners().text_of("talk:open").contains("later version"));
    QCOMPARE(b.book().count(), 3);
  }

  void a_step_left_before_it_was_drawn_still_gets_its_picture() {
    test::TalkWindow b(bench_.ini(), bench_.with({bench_.first}));
    QTRY_VERIFY(b.window.actions().add_to_talk->isEnabled());
    const QString file = bench_.file("runs/pictured.h5");
    OutputPlace place(file.toStdString(), OutputKind::file);
    record::write_sweep(place, test::sweep_record());
    b.window.open_path(file);
    QTRY_VERIFY(b.window.selection().sweep());
    test::TalkBench::settle(b.window);
    // A sweep, a map and a page that were never drawn: the next view is chosen in the very moment.
    b.window.show_page(page_index(b.window.pages(), "budget"));
    b.window.selection().change([](views::ViewState& s) { s.sweep_look.page = 2, s.sweep_look.keep = 61; });
    b.window.actions().add_to_talk->trigger();
    b.window.show_page(page_index(b.window.pages(), "attention"));
    b.window.selection().change([](views::ViewState& s) { s.layer = 2, s.viewport = {100, 150, 0, 50}; });
    b.window.actions().add_to_talk->trigger();
    b.window.show_page(page_index(b.window.pages(), "compare"));
    b.window.actions().add_to_talk->trigger();
    b.window.show_page(page_index(b.window.pages(), "overview"));
    b.window.selection().change([](views::ViewState& s) { s.layer = 0; });
    QCOMPARE(b.book().count(), 3);
    for (int step = 0; step < 3; ++step)
      QTRY_VERIFY2_WITH_TIMEOUT(b.talks().panel().has_picture(step), qPrintable(QString::number(step)), 20000);
    QCOMPARE(b.window.current_page(), page_index(b.window.pages(), "overview"));  // nobody was sent back
    QCOMPARE(b.window.selection().state().layer, 0);
  }

  void unsaved_steps_are_asked_for() {
    test::TalkWindow b(bench_.ini(), bench_.with({bench_.first}));
    QTRY_VERIFY(b.window.actions().add_to_talk->isEnabled());  // a tick after the record is there
    b.window.actions().add_to_talk->trigger();
    QCOMPARE(b.book().count(), 1);
    b.window.close();
    QTRY_VERIFY(test::TalkBench::top("talk_question"));
    QVERIFY(b.window.isVisible());
    for (auto* button : test::TalkBench::top("talk_question")->findChildren<QPushButton*>())
      if (button->text().contains("Discard")) button->click();
    QTRY_VERIFY(!b.window.isVisible());
  }
};

QTEST_MAIN(TestTalk)
#include "test_talk.moc"
