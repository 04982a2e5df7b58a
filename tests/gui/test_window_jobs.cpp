// SPDX-License-Identifier: GPL-3.0-or-later
// The window while the engine works: the Jobs dock that comes and goes, restarting, connecting, closing.
#include <QDialog>
#include <QDockWidget>
#include <QLabel>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/actions.h"
#include "gui/close_question.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "support/synthetic_record.h"
#include "views/common/banner_bar.h"
#include "views/docks/jobs_dock.h"

using namespace headroom;
using namespace headroom::gui;

class TestWindowJobs : public QObject {
  Q_OBJECT
  using State = views::JobInfo::State;
  QTemporaryDir dir_;
  QString record_;

  struct Bench {
    Bench(const QString& settings_file, const QString& record) : settings(settings_file) {
      StartOptions options;
      options.records = {record};
      options.engine = HEADROOM_BINARY_DIR "/tests/fake_engine";
      window = std::make_unique<MainWindow>(settings, options);
      window->move(40, 40);
      window->resize(1280, 720);
      QObject::connect(&window->jobs(), &JobTracker::changed, window.get(),
                       [this](const views::JobInfo& job) { cards[job.id] = job; });
      window->show();
      (void)QTest::qWaitForWindowExposed(window.get());
      (void)QTest::qWaitFor([this] { return window->engine().state() == EngineClient::State::ready; }, 10000);
    }
    QDockWidget* dock() const { return window->findChild<QDockWidget*>("dock_jobs"); }
    QString run(const QString& out) {
      protocol::RunSpec spec;
      spec.model = "smollm2";
      spec.prompt = "one two three";
      if (!out.isEmpty()) spec.out = out.toStdString();
      const QString id = window->jobs().start_run(spec);
      (void)QTest::qWaitFor([&] { return cards[id].done > 1 || cards[id].state != State::running; }, 10000);
      return id;
    }
    CloseQuestion* question() const {
      auto* asked = window->findChild<CloseQuestion*>();
      return asked && asked->isVisible() ? asked : nullptr;
    }
    void choose(const char* name) { question()->findChild<QPushButton*>(name)->click(); }
    SettingsStore settings;
    std::unique_ptr<MainWindow> window;
    QMap<QString, views::JobInfo> cards;
  };
  Bench bench(const char* mode) {
    static int n = 0;
    qputenv("HEADROOM_FAKE", mode);
    return Bench(dir_.filePath(QString("settings%1.ini").arg(++n)), record_);
  }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    record_ = dir_.filePath("shown.h5");
    test::SyntheticOptions options;
    options.tokens = 200;
    options.layers = 3;
    test::write_synthetic_record(record_.toStdString(), options);
    qputenv("HEADROOM_FAKE_RECORD", record_.toUtf8());
  }

  void the_dock_opens_itself_once_a_job() {
    Bench b = bench("slow");
    QVERIFY(b.dock()->isHidden());
    const QString id = b.run(dir_.filePath("a.h5"));
    QVERIFY(b.dock()->isVisible());
    b.dock()->close();  // the reader has seen it
    const qint64 done = b.cards[id].done;
    QTRY_VERIFY_WITH_TIMEOUT(b.cards[id].done > done + 3, 10000);
    QVERIFY(b.dock()->isHidden());
    b.run(dir_.filePath("b.h5"));  // waits behind the first: another job
    QTRY_VERIFY(b.dock()->isVisible());
  }

  void the_dock_goes_when_nothing_runs_if_it_came_by_itself_data() {
    QTest::addColumn<bool>("opened_by_hand");
    QTest::newRow("by itself") << false;
    QTest::newRow("by hand") << true;
  }
  void the_dock_goes_when_nothing_runs_if_it_came_by_itself() {
    QFETCH(bool, opened_by_hand);
    Bench b = bench("normal");
    if (opened_by_hand) b.dock()->toggleViewAction()->trigger();
    const QString id = b.run(dir_.filePath("c.h5"));
    QTRY_COMPARE_WITH_TIMEOUT(b.cards[id].state, State::done, 10000);
    QVERIFY(b.dock()->isVisible());  // how it ended can be read
    if (opened_by_hand) {
      QTest::qWait(5000);
      QVERIFY(b.dock()->isVisible());
    } else {
      QTRY_VERIFY_WITH_TIMEOUT(b.dock()->isHidden(), 8000);
    }
  }

  void two_cards_are_told_apart_and_one_bar_shows_the_whole() {
    Bench b = bench("slow");
    const QString first = b.run(dir_.filePath("d.h5"));
    protocol::RunSpec other;
    other.model = "smollm2";
    other.prompt = "one two three";
    other.methods = {"sink_window"};
    other.budgets = {{BudgetKind::tokens, 128}};
    const QString second = b.window->jobs().start_run(other);
    const auto title = [&](const QString& id) {
      return b.window->findChild<QWidget*>("job:" + id)->findChild<QLabel*>("job_title")->text();
    };
    QTRY_VERIFY(b.window->findChild<QWidget*>("job:" + second));
    QVERIFY(title(first) != title(second));
    QVERIFY2(title(second).contains("sink_window") && title(second).contains("128 keys"), qPrintable(title(second)));
    auto* bar = b.window->findChild<QWidget*>("job:" + first)->findChild<QProgressBar*>("job_bar");
    QCOMPARE(bar->maximum(), 1000);
    QVERIFY(bar->value() < 100);  // of the whole, though its first phase says more
  }

  void an_answer_is_read_while_it_grows() {
    Bench b = bench("answers");
    const QString id = b.run(dir_.filePath("answer.h5"));
    QTRY_VERIFY(b.window->findChild<QWidget*>("job:" + id));
    auto* answer = b.window->findChild<QWidget*>("job:" + id)->findChild<QLabel*>("job_answer");
    QTRY_VERIFY_WITH_TIMEOUT(!answer->isHidden(), 30'000);
    QCOMPARE(answer->text(), QString("So far: the garden <b>is</b> 🌱"));  // as text, never as markup
    QCOMPARE(answer->textFormat(), Qt::PlainText);
    b.window->jobs().cancel(id);
    QTRY_VERIFY_WITH_TIMEOUT(answer->isHidden(), 10'000);
  }

  void a_restart_that_would_lose_a_job_asks_first() {
    Bench b = bench("slow");
    const QString id = b.run(dir_.filePath("e.h5"));
    const qint64 engine = b.window->engine().process_id();
    b.window->actions().restart_engine->trigger();
    QVERIFY(b.window->banners().contains("restart"));
    QCOMPARE(b.window->engine().process_id(), engine);
    QCOMPARE(b.cards[id].state, State::running);
    b.window->banners().findChild<QWidget*>("banner:restart")->findChild<QPushButton*>("banner_button")->click();
    QTRY_VERIFY_WITH_TIMEOUT(
        b.window->engine().state() == EngineClient::State::ready && b.window->engine().process_id() != engine, 10000);
    QCOMPARE(b.cards[id].state, State::failed);
    QVERIFY(!b.window->banners().contains("engine") && !b.window->banners().contains("job"));
    QVERIFY(!b.window->jobs().anything_running());
    b.window->actions().restart_engine->trigger();  // nothing to lose: at once
    QVERIFY(!b.window->banners().contains("restart"));
  }

  void connecting_elsewhere_says_what_it_ends() {
    Bench b = bench("slow");
    const QString id = b.run(dir_.filePath("f.h5"));
    b.window->actions().connect_engine->trigger();
    QDialog* dialog = b.window->findChild<QDialog*>("connect_dialog");
    QVERIFY(dialog);
    auto* connect = dialog->findChild<QPushButton*>("connect");
    const qint64 engine = b.window->engine().process_id();
    connect->click();
    QVERIFY(dialog->findChild<QPlainTextEdit*>("steps")->toPlainText().contains("connecting ends it"));
    QCOMPARE(b.window->engine().process_id(), engine);
    QCOMPARE(b.cards[id].state, State::running);
    connect->click();
    QVERIFY(b.window->engine().process_id() != engine);
    QCOMPARE(b.cards[id].state, State::failed);
    dialog->reject();
  }

  void closing_with_nothing_at_work_asks_nothing() {
    Bench b = bench("normal");
    QVERIFY(b.window->close());
    QVERIFY(!b.question());
  }

  void closing_can_wait_for_the_job() {
    Bench b = bench("slow");
    const QString id = b.run(dir_.filePath("g.h5"));
    QVERIFY(!b.window->close());
    QTRY_VERIFY(b.question());
    b.choose("close_not");
    QTRY_VERIFY(!b.question());
    QVERIFY(b.window->isVisible());
    QVERIFY(!b.window->close());
    QTRY_VERIFY(b.question());
    b.choose("close_wait");
    QVERIFY(b.window->isVisible() && b.window->banners().contains("closing"));
    QCOMPARE(b.cards[id].state, State::running);
    b.window->jobs().cancel(id);  // stands for its end
    QTRY_VERIFY_WITH_TIMEOUT(!b.window->isVisible(), 5000);
  }

  void a_window_that_waits_stays_where_the_job_fails() {
    Bench b = bench("slow");
    const QString id = b.run(dir_.filePath("h.h5"));
    QVERIFY(!b.window->close());
    QTRY_VERIFY(b.question());
    b.choose("close_wait");
    b.window->engine().kill("for a test");
    QTRY_COMPARE(b.cards[id].state, State::failed);
    QTest::qWait(100);
    QVERIFY(b.window->isVisible() && b.window->banners().contains("engine"));
  }

  void closing_can_stop_the_job() {
    Bench b = bench("slow");
    const QString id = b.run(dir_.filePath("i.h5"));
    QVERIFY(!b.window->close());
    QTRY_VERIFY(b.question());
    b.choose("close_stop");
    QTRY_VERIFY_WITH_TIMEOUT(!b.window->isVisible(), 5000);
    QCOMPARE(b.cards[id].state, State::cancelled);
  }

  void an_engine_that_cannot_go_on_alone_says_so() {
    Bench b = bench("slow");  // the fake one keeps nothing
    const QString id = b.run(dir_.filePath("j.h5"));
    QVERIFY(!b.window->close());
    QTRY_VERIFY(b.question());
    b.choose("close_background");
    QTRY_VERIFY(b.window->banners().contains("closing"));
    QVERIFY(b.window->isVisible());
    QCOMPARE(b.cards[id].state, State::running);
  }
};

QTEST_MAIN(TestWindowJobs)
#include "test_window_jobs.moc"
