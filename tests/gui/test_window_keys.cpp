// SPDX-License-Identifier: GPL-3.0-or-later
// Keys that work wherever the focus is, text that stays text, and the palette that finds everything that there is.
#include <QCheckBox>
#include <QComboBox>
#include <QDockWidget>
#include <QLineEdit>
#include <QListWidget>
#include <QSlider>
#include <QSpinBox>
#include <QTemporaryDir>
#include <QToolButton>
#include <QTreeWidget>
#include <QtTest>

#include "gui/actions.h"
#include "gui/command_palette.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/page_keys.h"
#include "gui/window_dialogs.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"
#include "views/common/banner_bar.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/prompt/prompt_panel.h"

using namespace headroom;
using namespace headroom::gui;

class TestWindowKeys : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString record_;

  struct Bench : test::WindowBench {
    Bench(const QString& settings_file, const QString& record)
        : WindowBench(settings_file, without_engine({record}), {1280, 800}) {
      (void)QTest::qWaitForWindowActive(&window);
    }
    views::AttentionPage* attention() { return page<views::AttentionPage>("attention"); }
    /// Where a key goes: to whatever has the focus.
    void press(int key, Qt::KeyboardModifiers modifiers = {}) {
      QTest::keyClick(window.focusWidget() ? window.focusWidget() : &window, static_cast<Qt::Key>(key), modifiers);
      QTest::qWait(5);
    }
  };
  QString ini() { return test::fresh_settings(dir_); }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    record_ = dir_.filePath("run.h5");
    test::SyntheticOptions options;
    options.tokens = 200;
    options.layers = 3;
    test::write_synthetic_record(record_.toStdString(), options);
  }

  void find_and_go_to_work_from_every_page() {
    Bench b(ini(), record_);
    for (int page = 0; page < 5; ++page) {
      b.window.show_page(page);
      b.press(Qt::Key_F, Qt::ControlModifier);
      QCOMPARE(b.window.current_page(), 1);
      QCOMPARE(b.window.focusWidget(), static_cast<QWidget*>(b.attention()->prompt()->find_field()));
      b.window.show_page(page);
      b.press(Qt::Key_G, Qt::ControlModifier);
      QCOMPARE(b.window.current_page(), 1);
      auto* go_to = qobject_cast<QSpinBox*>(b.window.focusWidget());
      QVERIFY(go_to && go_to->accessibleName() == "Go to token");
    }
  }

  void what_is_typed_into_a_field_stays_text() {
    Bench b(ini(), record_);
    b.window.show_page(1);
    b.press(Qt::Key_G, Qt::ControlModifier);
    for (const int key : {Qt::Key_1, Qt::Key_2, Qt::Key_3}) b.press(key);
    QCOMPARE(b.window.current_page(), 1);
    b.press(Qt::Key_Return);
    QTRY_COMPARE(b.state().query_begin, std::int64_t{123});
    b.press(Qt::Key_F, Qt::ControlModifier);
    const views::Viewport before = b.state().viewport;
    auto* field = b.attention()->prompt()->find_field();
    field->clear();
    for (const char letter : std::string("wasd1b?fmp5")) QTest::keyClick(b.window.focusWidget(), letter);
    QTest::qWait(20);
    QCOMPARE(field->text(), QString("wasd1b?fmp5"));
    QCOMPARE(b.window.current_page(), 1);
    QVERIFY(b.state().viewport == before);
    QVERIFY(b.state().pins.empty());
    // Esc leaves the field, and the keys are the page's again. Messages go first.
    while (b.window.banners().dismiss_newest()) {
    }
    b.press(Qt::Key_Escape);
    QVERIFY(!takes_text(b.window.focusWidget()));
    b.press(Qt::Key_Plus);
    QVERIFY(!(b.state().viewport == before));
  }

  void the_maps_keys_work_wherever_the_focus_is_data() {
    QTest::addColumn<QString>("where");
    for (const char* where : {"map", "text", "a choice", "a check box", "a dock", "the rail"})
      QTest::newRow(where) << where;
  }
  void the_maps_keys_work_wherever_the_focus_is() {
    QFETCH(QString, where);
    Bench b(ini(), record_);
    b.window.show_page(1);
    QTRY_VERIFY(b.attention()->map()->data());
    QWidget* focus = b.attention()->map();
    if (where == "text") focus = reinterpret_cast<QWidget*>(b.attention()->prompt()->text());
    if (where == "a choice") focus = b.attention()->findChild<QComboBox*>();
    if (where == "a check box") focus = b.attention()->findChild<QCheckBox*>();
    if (where == "a dock") focus = b.window.findChild<QDockWidget*>("dock_runs")->findChild<QAbstractItemView*>();
    if (where == "the rail")
      for (auto* button : b.window.findChild<QToolBar*>("rail")->findChildren<QToolButton*>())
        if (button->accessibleName() == "Overview") focus = button;
    QVERIFY(focus);
    focus->setFocus();
    QCOMPARE(b.window.focusWidget(), focus);
    b.press(Qt::Key_Plus);
    const views::Viewport zoomed = b.state().viewport;
    QVERIFY(zoomed.key_end - zoomed.key_begin < 200);
    b.press(Qt::Key_D);
    QVERIFY(b.state().viewport.key_begin > zoomed.key_begin);
    b.press(Qt::Key_F);
    QCOMPARE(b.state().viewport.key_end, 200.0);
    const int layer = b.state().layer;
    b.press(Qt::Key_BraceRight, Qt::ShiftModifier);
    QVERIFY(b.state().layer != layer);
    const auto head = b.state().head;
    b.press(Qt::Key_BracketRight);
    QVERIFY(!(b.state().head == head));
    b.window.selection().change([](views::ViewState& state) {
      state.query_begin = 150;
      state.query_end = 151;
      state.keys = {20};
    });
    QTest::qWait(5);
    b.press(Qt::Key_P);
    QCOMPARE(b.state().pins.size(), std::size_t{1});
    // Lists, choices and texts keep their arrows.
    const bool own_arrows = where == "text" || where == "a choice" || where == "a dock";
    b.press(Qt::Key_Up);
    QCOMPARE(b.state().query_begin == 150, own_arrows);
    QCOMPARE(b.window.current_page(), 1);
  }

  void b_takes_the_budget_and_esc_gives_it_back() {
    Bench b(ini(), record_);
    b.press(Qt::Key_B);
    QCOMPARE(b.window.current_page(), page_index(b.window.pages(), "budget"));
    QVERIFY(qobject_cast<QSlider*>(b.window.focusWidget()));
    const double before = b.state().budget;
    b.press(Qt::Key_Right);
    QVERIFY(b.state().budget != before);
  }

  // No key stands for two things on one page, and none of a page's for an action.
  void keys_do_not_contradict_each_other() {
    Bench b(ini(), record_);
    QVector<QKeySequence> window;
    for (const QAction* action : b.window.actions().all()) window += action->shortcuts().toVector();
    for (const Page& page : b.window.pages()) {
      if (!page.commands) continue;
      QVector<QKeyCombination> seen;
      for (const auto& command : page.commands())
        for (const QKeyCombination key : command.typed) {
          QVERIFY2(!seen.contains(key), qPrintable(command.title));
          QVERIFY2(!window.contains(QKeySequence(key)), qPrintable(command.title));
          seen << key;
        }
    }
  }

  void the_list_of_keys_holds_every_key() {
    Bench b(ini(), record_);
    QSet<QString> listed;
    for (const KeyGroup& group : key_groups(b.window.actions().all(), b.window.pages()))
      for (const PageKey& key : group.keys) listed << key.what;
    for (const QAction* action : b.window.actions().all())
      if (!action->shortcuts().isEmpty()) QVERIFY2(listed.contains(plain_text(action)), qPrintable(action->text()));
    for (const Page& page : b.window.pages())
      if (page.commands)
        for (const auto& command : page.commands()) QVERIFY(listed.contains(command.title));
    QTest::keyClick(b.window.focusWidget(), '?');
    QTRY_VERIFY(b.window.findChild<QDialog*>("keys_dialog"));
    QVERIFY(b.window.findChild<QDialog*>("keys_dialog")->findChild<QTreeWidget*>()->topLevelItemCount() >= 3);
  }

  void the_palette_finds_every_action_by_its_words() {
    Bench b(ini(), record_);
    CommandPalette palette(b.window.commands(), {}, &b.window);
    auto* input = palette.findChild<QLineEdit*>();
    for (const QAction* action : b.window.actions().all()) {
      const QString name = plain_text(action);
      input->setText(name);
      QVERIFY2(!palette.shown().isEmpty() && palette.shown().first().title == name, qPrintable(name));
      // The words in another order, and without their ends.
      QStringList words = name.split(' ', Qt::SkipEmptyParts);
      std::reverse(words.begin(), words.end());
      for (QString& word : words) word = word.left(4).toLower();
      input->setText(words.join(' '));
      const auto& shown = palette.shown();
      QVERIFY2(std::any_of(shown.begin(), shown.end(), [&](const Command& one) { return one.title == name; }),
               qPrintable(words.join(' ')));
    }
    input->setText("no such thing at all");
    QVERIFY(palette.shown().isEmpty());
  }

  void the_palette_finds_controls_docks_and_places() {
    Bench b(ini(), record_);
    const auto best = [&](const QString& text) -> Command {
      CommandPalette palette(
          b.window.commands(),
          [&](const QString& typed) { return typed_commands(typed, b.window.selection(), [] {}); }, &b.window);
      palette.findChild<QLineEdit*>()->setText(text);
      return palette.shown().isEmpty() ? Command{} : palette.shown().first();
    };
    const auto run = [&](const QString& text) {
      const Command command = best(text);
      if (command.run) command.run();
      QTest::qWait(5);
      return command.title;
    };
    run("lift uniform");
    QVERIFY(b.state().display.mode == views::MapMode::lift);
    QCOMPARE(b.window.current_page(), 1);
    run("layer 2 head 1");
    QCOMPARE(b.state().layer, 2);
    QCOMPARE(b.state().head.index, 1);
    run("go layer 1");
    QCOMPARE(b.state().layer, 1);
    run("mean heads go");
    QVERIFY(b.state().head.kind == record::HeadSelector::Kind::mean);
    run("token 42");
    QCOMPARE(b.state().query_begin, std::int64_t{42});
    QVERIFY(best("token 4242").title.isEmpty() || !best("token 4242").title.contains("4,242"));
    run("show method dense");
    QCOMPARE(b.state().method, QString("dense"));
    auto* runs = b.window.findChild<QDockWidget*>("dock_runs");
    const bool visible = runs->isVisible();
    run("runs dock");
    QVERIFY(runs->isVisible() != visible);
    run("maps are compared diagonal");
    QVERIFY(b.state().display.compare_mode == views::CompareMode::diagonal_split);
    QCOMPARE(b.window.current_page(), page_index(b.window.pages(), "compare"));
    run("text size 125");
    QCOMPARE(b.settings.text_scale(), 125);
    b.window.set_text_scale(100);
    QVERIFY2(run("target mass").contains("Budget"), qPrintable(best("target mass").title));
  }
};

QTEST_MAIN(TestWindowKeys)
#include "test_window_keys.moc"
