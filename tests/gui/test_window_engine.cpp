// SPDX-License-Identifier: GPL-3.0-or-later
// The window with the real engine and a tiny model: a run from the dialog to its open record, and an engine that is
// killed in the middle of a run.
#include <QComboBox>
#include <QDialog>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QTabWidget>
#include <QTemporaryDir>
#include <QtTest>
#include <csignal>

#include "gui/actions.h"
#include "gui/close_question.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/new_run_dialog.h"
#include "support/synthetic_record.h"
#include "support/tiny_model.h"
#include "views/common/banner_bar.h"

using namespace headroom;
using namespace headroom::gui;

class TestWindowEngine : public QObject {
  Q_OBJECT
  using State = views::JobInfo::State;
  QTemporaryDir dir_;
  QString model_, shown_;

  struct Bench {
    Bench(const QString& settings_file, const QString& record)
        : settings(settings_file), window(settings, options(record)) {
      window.move(40, 40);
      window.resize(1280, 720);
      QObject::connect(&window.jobs(), &JobTracker::changed, &window, [this](const views::JobInfo& job) {
        last = job;
        most_partial = std::max(most_partial, static_cast<int>(job.partial.size()));
        if (on_job) on_job();
      });
      window.show();
      (void)QTest::qWaitForWindowExposed(&window);
    }
    static StartOptions options(const QString& record) {
      StartOptions options;
      options.records = {record};
      options.engine = HEADROOM_BINARY_DIR "/headroom";
      return options;
    }
    views::JobInfo last;
    int most_partial = 0;
    std::function<void()> on_job;
    SettingsStore settings;
    MainWindow window;
  };
  static QDialog* dialog() {
    for (QWidget* widget : QApplication::topLevelWidgets())
      if (widget->objectName() == "new_run_dialog" && widget->isVisible()) return qobject_cast<QDialog*>(widget);
    return nullptr;
  }
  /// Clicks "Show" in what announces a finished run; false where there is none.
  static bool show_finished(Bench& b) {
    for (auto* button : b.window.banners().findChildren<QPushButton*>())
      if (button->text() == "Show") return button->click(), true;
    return false;
  }
  protocol::RunSpec spec(const QString& out, int words) const {
    protocol::RunSpec s;
    s.model = model_.toStdString();
    s.prompt = QString("seven ").repeated(words).toStdString();
    s.methods = {"dense", "oracle"};
    s.budgets = {{BudgetKind::tokens, 16}};
    s.repeats = 1;
    s.max_new_tokens = 2;
    s.out = dir_.filePath(out).toStdString();
    return s;
  }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    qputenv("XDG_CACHE_HOME", dir_.filePath("cache").toUtf8());
    model_ = QString::fromStdString(test::write_tiny_model(dir_.filePath("tiny.gguf").toStdString()).string());
    shown_ = dir_.filePath("shown.h5");
    test::SyntheticOptions options;
    options.tokens = 120;
    options.layers = 2;
    test::write_synthetic_record(shown_.toStdString(), options);
  }

  void a_run_from_the_dialog_ends_in_its_open_record() {
    Bench b(dir_.filePath("a.ini"), shown_);
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 15000);
    QTRY_COMPARE(b.window.selection().state().runs.size(), 1u);
    b.window.actions().new_run->trigger();
    QTRY_VERIFY(dialog());
    QDialog* d = dialog();
    d->findChild<QComboBox*>("model")->setEditText(model_);
    d->findChild<QTabWidget*>("prompt_tabs")->setCurrentIndex(0);
    d->findChild<QPlainTextEdit*>("prompt_text")->setPlainText(QString("The magic number is seven. ").repeated(12));
    d->findChild<QLineEdit*>("budgets")->setText("16, 32");
    auto* without = d->findChild<QPushButton*>("go_on_without_indexer");
    auto* start = d->findChild<QPushButton*>("start_run");
    QTRY_VERIFY_WITH_TIMEOUT(without->isVisible(), 10000);  // nobody has trained one for this model
    without->click();
    QTRY_VERIFY_WITH_TIMEOUT(!without->isVisible() && start->isEnabled(), 10000);
    QTRY_VERIFY_WITH_TIMEOUT(d->findChild<QPlainTextEdit*>("prompt_tail")->toPlainText().contains("magic number"),
                             10000);
    start->click();
    QTRY_COMPARE_WITH_TIMEOUT(b.last.state, State::done, 30000);
    QVERIFY(b.most_partial >= 2);
    QTRY_COMPARE_WITH_TIMEOUT(b.window.selection().state().runs.size(), 2u, 5000);
    QTRY_VERIFY(show_finished(b));
    const auto record = b.window.selection().record();
    QVERIFY(record->path().string().starts_with(dir_.filePath("data").toStdString()));
    QVERIFY(record->meta().complete);
    QVERIFY(record->find_method("oracle-k16-g1") && record->find_method("oracle-k32-g1"));
    QCOMPARE(b.window.selection().state().query_end, record->length());
    QVERIFY(!b.window.banners().contains("job") && !b.window.banners().contains("engine"));
  }

  void an_engine_killed_in_mid_run_can_be_restarted() {
    Bench b(dir_.filePath("b.ini"), shown_);
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 15000);
    QTRY_VERIFY(b.window.selection().record());
    const auto record = b.window.selection().record();
    const qint64 first = b.window.engine().process_id();
    b.on_job = [&] {  // at its first sign of work
      if (b.last.state == State::running && !b.last.phase.isEmpty()) ::kill(static_cast<pid_t>(first), SIGKILL);
    };
    b.window.jobs().start_run(spec("never.h5", 250));
    QTRY_COMPARE_WITH_TIMEOUT(b.last.state, State::failed, 20000);
    b.on_job = {};
    QVERIFY(b.window.banners().contains("engine"));
    QCOMPARE(b.window.selection().record(), record);
    QVERIFY(!QFile::exists(dir_.filePath("never.h5")));
    // Nobody can tidy up behind SIGKILL: where it came late, a part is there, and no other test is to find it.
    for (const QString& part : QDir(dir_.path()).entryList({"never.h5.*.part"}, QDir::Files | QDir::Hidden))
      QVERIFY(QFile::remove(dir_.filePath(part)));
    b.window.banners()
        .findChild<QWidget*>("banner:engine")
        ->findChild<QPushButton*>("banner_button")  // Restart
        ->click();
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 15000);
    QVERIFY(!b.window.banners().contains("engine"));
    QVERIFY(b.window.engine().process_id() != first);
    b.window.jobs().start_run(spec("second.h5", 40));
    QTRY_COMPARE_WITH_TIMEOUT(b.last.state, State::done, 20000);
    QTRY_COMPARE_WITH_TIMEOUT(b.window.selection().state().runs.size(), 2u, 5000);
    QCOMPARE(b.window.selection().record(), record);
    QTRY_VERIFY(show_finished(b));
    QCOMPARE(b.window.selection().record()->path().filename().string(), std::string("second.h5"));
  }

  // The job goes on while no window is there, and stands in the Jobs dock when one comes back: still at work, or done.
  void a_job_kept_in_the_background_is_there_on_return_data() {
    QTest::addColumn<bool>("done_meanwhile");
    QTest::newRow("still at work") << false;
    QTest::newRow("done meanwhile") << true;
  }
  void a_job_kept_in_the_background_is_there_on_return() {
    QFETCH(bool, done_meanwhile);
    const QString settings = dir_.filePath(QString("return%1.ini").arg(done_meanwhile));
    const QString out = QString("kept%1.h5").arg(done_meanwhile);
    qint64 engine = 0;
    {
      Bench b(settings, shown_);
      QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 15000);
      engine = b.window.engine().process_id();
      auto asked = spec(out, 250);
      asked.repeats = done_meanwhile ? 2 : 40;
      b.window.jobs().start_run(asked);
      QTRY_VERIFY_WITH_TIMEOUT(!b.last.phase.isEmpty(), 20000);
      QVERIFY(!b.window.close());
      auto* question = b.window.findChild<CloseQuestion*>();
      QVERIFY(question);
      question->findChild<QPushButton*>("close_background")->click();
      QTRY_VERIFY_WITH_TIMEOUT(!b.window.isVisible(), 5000);
    }
    const QString record = dir_.filePath(out);
    if (done_meanwhile) {
      QTRY_VERIFY_WITH_TIMEOUT(QFile::exists(record), 30000);
      // Nothing is left to do: it does not stay for ever.
      QTRY_VERIFY_WITH_TIMEOUT(!QFile::exists(QString("/proc/%1/exe").arg(engine)) ||
                                   QFile::symLinkTarget(QString("/proc/%1/exe").arg(engine)).isEmpty(),
                               10000);
    } else {
      QVERIFY(!QFile::exists(record));
    }
    Bench b(settings, shown_);
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 15000);
    QTRY_VERIFY_WITH_TIMEOUT(b.last.title.contains("tiny"), 10000);
    if (!done_meanwhile) {
      QTRY_VERIFY_WITH_TIMEOUT(b.window.jobs().anything_running(), 5000);
      b.window.jobs().cancel_all();
      QTRY_COMPARE_WITH_TIMEOUT(b.last.state, State::cancelled, 10000);
    } else {
      QTRY_COMPARE_WITH_TIMEOUT(b.last.state, State::done, 10000);
      QCOMPARE(b.last.message, record);
    }
    QVERIFY(QDir(dir_.path()).entryList({"*.part"}).isEmpty());
  }

  void stopping_on_the_way_out_leaves_nothing_half_written() {
    Bench b(dir_.filePath("stop.ini"), shown_);
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 15000);
    auto asked = spec("stopped.h5", 250);
    asked.repeats = 200;
    b.window.jobs().start_run(asked);
    QTRY_VERIFY_WITH_TIMEOUT(!b.last.phase.isEmpty(), 20000);
    QTRY_VERIFY_WITH_TIMEOUT(!QDir(dir_.path()).entryList({"*.part"}, QDir::Files | QDir::Hidden).isEmpty(), 10000);
    QVERIFY(!b.window.close());
    b.window.findChild<CloseQuestion*>()->findChild<QPushButton*>("close_stop")->click();
    QTRY_VERIFY_WITH_TIMEOUT(!b.window.isVisible(), 6000);
    QCOMPARE(b.last.state, State::cancelled);
    QVERIFY(QDir(dir_.path()).entryList({"*.part"}, QDir::Files | QDir::Hidden).isEmpty());
  }

  // Whoever ends the window without a word (a crash of the session, a logout) leaves nothing half written either.
  void a_window_that_is_gone_ends_its_engine_in_order() {
    {
      Bench b(dir_.filePath("gone.ini"), shown_);
      QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 15000);
      auto asked = spec("gone.h5", 250);
      asked.repeats = 200;
      b.window.jobs().start_run(asked);
      QTRY_VERIFY_WITH_TIMEOUT(!QDir(dir_.path()).entryList({"*.part"}, QDir::Files | QDir::Hidden).isEmpty(), 20000);
    }
    QVERIFY(QDir(dir_.path()).entryList({"*.part"}, QDir::Files | QDir::Hidden).isEmpty());
  }
};

QTEST_MAIN(TestWindowEngine)
#include "test_window_engine.moc"
