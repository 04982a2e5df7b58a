// SPDX-License-Identifier: GPL-3.0-or-later
// The window as a reader uses it: opening, damaged files, dropping, keys, closing and undo, a run, an engine that dies.
#include <QComboBox>
#include <QDialog>
#include <QDockWidget>
#include <QLabel>
#include <QLineEdit>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QTabWidget>
#include <QTemporaryDir>
#include <QToolButton>
#include <QtTest>
#include <csignal>
#include <filesystem>

#include "gui/actions.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/new_run_dialog.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"
#include "two_screens.h"
#include "views/common/banner_bar.h"
#include "views/docks/jobs_dock.h"
#include "views/common/theme.h"

using namespace headroom;
using namespace headroom::gui;

class TestWindow : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString good_, other_, bad_;

  struct Bench {
    explicit Bench(const QString& settings_file, const StartOptions& options = {})
        : settings(settings_file), window(settings, options) {
      window.move(40, 40);  // the offscreen cursor sits at the origin
      window.resize(1280, 720);
      window.show();
      // Not the macro: it cannot be used in a constructor that must not return early.
      (void)QTest::qWaitForWindowExposed(&window);
    }
    SettingsStore settings;
    MainWindow window;
    views::BannerBar& banners() { return window.banners(); }
  };
  StartOptions quiet(const QStringList& records = {}) {
    StartOptions options;
    options.use_engine = false;
    options.records = records;
    return options;
  }
  StartOptions with_engine(const char* mode) {
    qputenv("HEADROOM_FAKE", mode);
    qputenv("HEADROOM_FAKE_RECORD", other_.toUtf8());
    StartOptions options;
    options.records = {good_};
    options.engine = HEADROOM_BINARY_DIR "/tests/fake_engine";
    return options;
  }
  QString ini() { return test::fresh_settings(dir_); }
  static QDialog* dialog(const char* name) { return qobject_cast<QDialog*>(find_top(name)); }
  static QWidget* find_top(const char* name) {
    for (QWidget* widget : QApplication::topLevelWidgets()) {
      if (widget->objectName() == name && widget->isVisible()) return widget;
    }
    return nullptr;
  }
  static protocol::RunSpec spec(const QString& out) {
    protocol::RunSpec s;
    s.model = "smollm2";
    s.prompt = "one two three";
    s.out = out.toStdString();
    return s;
  }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    good_ = dir_.filePath("good.h5");
    other_ = dir_.filePath("other.h5");
    bad_ = dir_.filePath("bad.h5");
    test::SyntheticOptions options;
    options.tokens = 200;
    options.layers = 3;
    test::write_synthetic_record(good_.toStdString(), options);
    options.seed = 2;
    test::write_synthetic_record(other_.toStdString(), options);
    QFile whole(good_), cut(bad_);
    QVERIFY(whole.open(QIODevice::ReadOnly) && cut.open(QIODevice::WriteOnly));
    cut.write(whole.readAll().left(20000));
  }

  void opens_the_record_that_was_named() {
    Bench b(ini(), quiet({good_}));
    QTRY_VERIFY(b.window.selection().record());
    QTRY_VERIFY(b.window.windowTitle().contains("good.h5"));
    QVERIFY(b.banners().contains("prompt_notice"));
    QCOMPARE(b.settings.recent_files(), QStringList{good_});
    QVERIFY(!b.window.selection().can_undo());
  }

  void a_record_that_changes_behind_the_window_is_told_data() {
    QTest::addColumn<QString>("how");
    QTest::addColumn<QString>("title");
    QTest::newRow("replaced") << "replace"
                              << "was replaced by another record";
    QTest::newRow("written into") << "write"
                                  << "was written to while it is open";
    QTest::newRow("removed") << "remove"
                             << "is no longer there";
    QTest::newRow("left alone") << "touch another"
                                << "";
  }
  void a_record_that_changes_behind_the_window_is_told() {
    QFETCH(QString, how);
    QFETCH(QString, title);
    QTemporaryDir folder;
    const QString file = folder.filePath("shown.h5"), key = "changed:" + file;
    QVERIFY(QFile::copy(good_, file));
    Bench b(ini(), quiet({file}));
    QTRY_VERIFY(b.window.selection().record());
    const views::RecordPtr before = b.window.selection().record();
    QTest::qWait(300);
    QVERIFY(!b.banners().contains(key));
    if (how == "replace") {
      QVERIFY(QFile::copy(other_, folder.filePath("new.h5")));
      std::filesystem::rename(folder.filePath("new.h5").toStdString(), file.toStdString());
    } else if (how == "write") {
      QFile stream(file);
      QVERIFY(stream.open(QIODevice::ReadWrite) && stream.seek(5000) && stream.write("x") == 1);
    } else if (how == "remove") {
      QVERIFY(QFile::remove(file));
    } else {
      QVERIFY(QFile::copy(other_, folder.filePath("new.h5")));
      QTest::qWait(600);
      QVERIFY(!b.banners().contains(key));
      return;
    }
    QTRY_VERIFY(b.banners().contains(key));
    QVERIFY2(b.banners().text_of(key).contains(title), qPrintable(b.banners().text_of(key)));
    QCOMPARE(b.window.selection().record(), before);  // what is shown stays until one asks
    if (how != "replace") return;
    QPushButton* reload = nullptr;
    for (auto* button : b.banners().findChildren<QPushButton*>())
      if (button->text() == "Reload") reload = button;
    QVERIFY(reload);
    reload->click();
    QTRY_VERIFY(b.window.selection().record() != before);
    QCOMPARE(b.window.selection().state().runs.size(), std::size_t{1});
    QCOMPARE(b.window.selection().record()->file_change(), record::FileChange::none);
    QTest::qWait(400);
    QVERIFY(!b.banners().contains(key));
  }

  void the_last_session_comes_back_and_a_notice_stays_closed() {
    const QString file = ini();
    {
      Bench b(file, quiet({good_}));
      QTRY_VERIFY(b.window.selection().record());
      QVERIFY(b.banners().dismiss_newest());
      b.window.close();
    }
    Bench b(file, quiet());
    QTRY_VERIFY(b.window.selection().record());
    QCOMPARE(QString::fromStdString(b.window.selection().record()->path().string()), good_);
    QVERIFY(!b.banners().contains("prompt_notice"));
  }

  void a_damaged_record_is_a_banner_and_the_last_one_stays() {
    Bench b(ini(), quiet({good_}));
    QTRY_VERIFY(b.window.selection().record());
    const auto before = b.window.selection().record();
    b.window.open_record(bad_);
    QTRY_VERIFY(b.banners().contains("record:" + bad_));
    QVERIFY(b.banners().text_of("record:" + bad_).contains("bad.h5"));
    QCOMPARE(b.window.selection().record(), before);
    b.window.open_record(dir_.filePath("missing.h5"));
    QTRY_VERIFY(b.banners().contains("record:" + dir_.filePath("missing.h5")));
    QTest::keyClick(&b.window, Qt::Key_Escape);
    QVERIFY(!b.banners().contains("record:" + dir_.filePath("missing.h5")));
    QVERIFY(b.banners().contains("record:" + bad_));
  }

  void dropping_files_does_the_obvious() {
    Bench b(ini(), quiet());
    const auto drop = [&](const QString& path) {
      QMimeData data;
      data.setUrls({QUrl::fromLocalFile(path)});
      // Qt delivers a drop to what has accepted the drag before.
      QDragEnterEvent enter(QPoint(10, 10), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
      QApplication::sendEvent(&b.window, &enter);
      QVERIFY(enter.isAccepted());
      QDropEvent event(QPointF(10, 10), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
      QApplication::sendEvent(&b.window, &event);
    };
    drop(good_);
    QTRY_VERIFY(b.window.selection().record());
    const QString text = dir_.filePath("prompt.txt");
    QFile file(text);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("What is the magic number?");
    file.close();
    drop(text);
    QTRY_VERIFY(dialog("new_run_dialog"));
    QCOMPARE(dialog("new_run_dialog")->findChild<QTabWidget*>("prompt_tabs")->currentIndex(), 1);
    QCOMPARE(dialog("new_run_dialog")->findChild<QLineEdit*>("prompt_file")->text(), text);
    dialog("new_run_dialog")->reject();
    QTRY_VERIFY(!dialog("new_run_dialog"));
    drop(dir_.path());  // a folder: a model
    QTRY_VERIFY(dialog("new_run_dialog"));
    QVERIFY(!dialog("new_run_dialog")->findChild<QPushButton*>("start_run")->isEnabled());  // no engine
    dialog("new_run_dialog")->reject();
  }

  void keys_choose_pages_and_present() {
    Bench b(ini(), quiet({good_}));
    QTRY_VERIFY(b.window.selection().record());
    for (int i = 4; i >= 0; --i) {
      QTest::keyClick(&b.window, static_cast<Qt::Key>(Qt::Key_1 + i));
      QCOMPARE(b.window.current_page(), i);
    }
    const qreal before = QApplication::font().pointSizeF();
    QTest::keyClick(&b.window, Qt::Key_F5);
    QVERIFY(b.window.presenting());
    QVERIFY2(QApplication::font().pointSizeF() > 1.7 * before,
             qPrintable(QString::number(QApplication::font().pointSizeF() / before)));
    QTest::keyClick(&b.window, Qt::Key_3);
    QCOMPARE(b.window.current_page(), 2);
    QTest::keyClick(&b.window, Qt::Key_Escape);
    QVERIFY(!b.window.presenting());
    QCOMPARE(QApplication::font().pointSizeF(), before);
    QTest::keyClick(&b.window, Qt::Key_T, Qt::ControlModifier);
    QVERIFY(views::Theme::instance().mode() == views::ThemeMode::dark);
    QTest::keyClick(&b.window, Qt::Key_T, Qt::ControlModifier);
    QVERIFY(views::Theme::instance().mode() == views::ThemeMode::light);
    b.window.set_text_scale(1000);
    QCOMPARE(b.settings.text_scale(), 200);
    b.window.set_text_scale(100);
  }

  void every_action_says_what_it_does() {
    Bench b(ini(), quiet({good_}));
    QSet<QString> keys;
    for (const QAction* action : b.window.actions().all()) {
      QVERIFY(!action->text().isEmpty());
      for (const QKeySequence& key : action->shortcuts()) {
        QVERIFY2(!keys.contains(key.toString()), qPrintable(key.toString()));  // ambiguous keys do nothing in Qt
        keys.insert(key.toString());
      }
    }
  }

  void closing_a_run_can_be_undone() {
    Bench b(ini(), quiet({good_, other_}));
    QTRY_COMPARE(b.window.selection().state().runs.size(), 2u);
    QTRY_VERIFY(b.window.actions().close_run->isEnabled());  // announced with the next tick
    b.window.actions().close_run->trigger();
    QCOMPARE(b.window.selection().state().runs.size(), 1u);
    b.window.selection().undo();
    QCOMPARE(b.window.selection().state().runs.size(), 2u);
    QVERIFY(QFile::exists(other_));
    QTRY_VERIFY(b.window.actions().close_run->isEnabled());
    b.window.actions().close_run->trigger();
    QTRY_COMPARE(b.window.selection().state().runs.size(), 1u);
    b.window.actions().close_run->trigger();
    QTRY_VERIFY(!b.window.actions().export_figure->isEnabled());
    QVERIFY(!b.window.selection().record());
  }

  void docks_hide_and_come_back() {
    Bench b(ini(), quiet({good_}));
    auto* inspector = b.window.findChild<QDockWidget*>("dock_inspector");
    QVERIFY(inspector->isVisible());
    inspector->toggleViewAction()->trigger();
    QVERIFY(!inspector->isVisible());
    b.window.actions().reset_layout->trigger();
    QTRY_VERIFY(inspector->isVisible());
  }

  void a_run_from_the_dialog_opens_its_record() {
    Bench b(ini(), with_engine("normal"));
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    QCOMPARE(b.window.findChild<QToolButton*>("engine_chip")->text(), QString("CPU, 2 cores"));
    NewRunRequest request;
    request.spec = spec(dir_.filePath("made.h5"));
    b.window.actions().new_run->trigger();
    QTRY_VERIFY(dialog("new_run_dialog"));
    QDialog* d = dialog("new_run_dialog");
    const auto* tasks = d->findChild<QComboBox*>("task");  // what the engine can generate
    QTRY_COMPARE(tasks->count(), 2);
    QCOMPARE(tasks->itemText(1), QString("Variable tracking (vt)"));
    QCOMPARE(tasks->currentData().toString(), QString("niah_single_1"));
    d->findChild<QTabWidget*>("prompt_tabs")->setCurrentIndex(0);
    auto* text = d->findChild<QPlainTextEdit*>("prompt_text");
    text->setPlainText({});
    auto* start = d->findChild<QPushButton*>("start_run");
    QVERIFY(!start->isEnabled());  // nothing to ask
    text->setPlainText("What is the magic number?");
    auto* tail = d->findChild<QPlainTextEdit*>("prompt_tail");
    QTRY_VERIFY_WITH_TIMEOUT(tail->toPlainText().contains("assistant"), 5000);
    QVERIFY(d->findChild<QLabel*>("model_facts")->text().contains("llama"));
    auto* budgets = d->findChild<QLineEdit*>("budgets");
    budgets->setText("many");
    QVERIFY(!start->isEnabled());
    budgets->setText("64, 10%");
    QTRY_VERIFY(start->isEnabled());
    start->click();
    QTRY_COMPARE_WITH_TIMEOUT(b.window.selection().state().runs.size(), 2u, 15000);
    // Announced: what is looked at stays until one asks.
    QVERIFY(b.window.selection().record()->path().filename() == "good.h5");
    QPushButton* show = nullptr;
    for (auto* button : b.banners().findChildren<QPushButton*>())
      if (button->text() == "Show") show = button;
    QVERIFY(show);
    show->click();
    QTRY_VERIFY(QString::fromStdString(b.window.selection().record()->path().string()).contains("run-"));
  }

  void a_missing_indexer_offers_ways_on() {
    Bench b(ini(), with_engine("no_indexer"));
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    b.window.actions().new_run->trigger();
    QTRY_VERIFY(dialog("new_run_dialog"));
    QDialog* d = dialog("new_run_dialog");
    auto* without = d->findChild<QPushButton*>("go_on_without_indexer");
    QTRY_VERIFY_WITH_TIMEOUT(without->isVisible(), 5000);
    without->click();
    QTRY_VERIFY_WITH_TIMEOUT(!without->isVisible() && d->findChild<QPushButton*>("start_run")->isEnabled(), 5000);
    d->reject();
  }

  void an_indexer_can_be_distilled_from_the_dialog() {
    qputenv("XDG_CACHE_HOME", dir_.filePath("cache").toUtf8());
    Bench b(ini(), with_engine("no_indexer"));
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    b.window.actions().new_run->trigger();
    QTRY_VERIFY(dialog("new_run_dialog"));
    auto* distill = dialog("new_run_dialog")->findChild<QPushButton*>("distill");
    QTRY_VERIFY_WITH_TIMEOUT(distill->isVisible(), 5000);
    distill->click();
    QTRY_VERIFY(!dialog("new_run_dialog"));
    QTRY_VERIFY_WITH_TIMEOUT(b.banners().contains("indexer"), 10000);
    b.banners().findChild<QWidget*>("banner:indexer")->findChild<QPushButton*>("banner_button")->click();
    QTRY_VERIFY(dialog("new_run_dialog"));
    dialog("new_run_dialog")->reject();
  }

  void an_engine_killed_in_mid_run_is_said_and_restarted() {
    Bench b(ini(), with_engine("slow"));
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    const auto record = b.window.selection().record();
    QVERIFY(record);
    views::JobInfo last;
    connect(&b.window.jobs(), &JobTracker::changed, this, [&](const views::JobInfo& job) { last = job; });
    b.window.jobs().start_run(spec(dir_.filePath("never.h5")));
    QTRY_VERIFY_WITH_TIMEOUT(last.done > 1, 10000);
    QCOMPARE(::kill(static_cast<pid_t>(b.window.engine().process_id()), SIGKILL), 0);
    QTRY_VERIFY_WITH_TIMEOUT(b.banners().contains("engine"), 5000);
    QCOMPARE(last.state, views::JobInfo::State::failed);
    QCOMPARE(b.window.selection().record(), record);
    auto* banner = b.banners().findChild<QWidget*>("banner:engine");
    banner->findChild<QPushButton*>("banner_button")->click();
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    QVERIFY(!b.banners().contains("engine"));
  }

  // The newest message goes first, then a field that is typed in; what is left is the job. Once more changes nothing.
  void escape_cancels_the_running_job() {
    Bench b(ini(), with_engine("slow"));
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    views::JobInfo last;
    connect(&b.window.jobs(), &JobTracker::changed, this, [&](const views::JobInfo& job) { last = job; });
    b.window.jobs().start_run(spec(dir_.filePath("stopped.h5")));
    QTRY_VERIFY_WITH_TIMEOUT(last.done > 1, 10000);
    views::Banner message;
    message.key = "test";
    message.title = "A message";
    b.banners().show_banner(message);
    auto* field = new QLineEdit(&b.window);
    field->show();
    field->setFocus();
    while (b.banners().count() > 0) {
      const int before = b.banners().count();
      QTest::keyClick(&b.window, Qt::Key_Escape);
      QVERIFY(b.banners().count() < before);
    }
    QCOMPARE(last.state, views::JobInfo::State::running);
    QCOMPARE(b.window.focusWidget(), field);
    QTest::keyClick(&b.window, Qt::Key_Escape);
    QVERIFY(b.window.focusWidget() != field);
    QCOMPARE(last.state, views::JobInfo::State::running);
    if (QWidget* other = b.window.focusWidget()) other->clearFocus();
    QTest::keyClick(&b.window, Qt::Key_Escape);
    QTest::keyClick(&b.window, Qt::Key_Escape);
    QTRY_COMPARE_WITH_TIMEOUT(last.state, views::JobInfo::State::cancelled, 10000);
  }

  void first_paint_comes_before_the_engine() {
    qputenv("HEADROOM_FAKE", "silent");
    SettingsStore settings(ini());
    QElapsedTimer clock;
    clock.start();
    MainWindow window(settings, with_engine("silent"));
    window.show();
    QVERIFY(QTest::qWaitForWindowExposed(&window));
    QCOMPARE(window.engine().state(), EngineClient::State::stopped);
    qInfo("first paint after %lld ms", clock.elapsed());
  }
};

int main(int argc, char** argv) {
  const QTemporaryDir folder;
  if (!test::set_large_screen(folder.filePath("screens.json"))) return 1;
  QApplication application(argc, argv);
  application.setAttribute(Qt::AA_Use96Dpi, true);
  TestWindow tests;
  return QTest::qExec(&tests, argc, argv);
}

#include "test_window.moc"
