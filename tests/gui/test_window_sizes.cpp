// SPDX-License-Identifier: GPL-3.0-or-later
// Nothing is clipped or lies over something else: every page and dialog, 75 to 200 % text, 1280x720 and 1024x640.
#include <QDialog>
#include <QDockWidget>
#include <QLabel>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/actions.h"
#include "gui/close_question.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/talk_desk.h"
#include "gui/window_style.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"
#include "text_fits.h"
#include "views/common/banner_bar.h"
#include "views/docks/jobs_dock.h"
#include "views/talk/talk_panel.h"

using namespace headroom;
using namespace headroom::gui;

class TestWindowSizes : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString record_;

  struct Bench : test::WindowBench {
    Bench(const QString& settings_file, const QString& record) : WindowBench(settings_file, options(record)) {}
    static StartOptions options(const QString& record) {
      StartOptions options;
      options.records = {record};
      options.engine = HEADROOM_BINARY_DIR "/tests/fake_engine";
      return options;
    }
  };
  QString ini() { return test::fresh_settings(dir_); }
  static void calm() {
    for (int i = 0; i < 6; ++i) {
      QCoreApplication::processEvents();
      QCoreApplication::sendPostedEvents();
      QTest::qWait(10);
    }
  }
  /// Asks until nothing is wrong, or says what stays wrong: layouts settle over several rounds of the event loop.
  static QString wrong(const QWidget* root) {
    QStringList list;
    (void)QTest::qWaitFor(
        [&] {
          list = test::misfits(root);
          return list.isEmpty();
        },
        1500);
    return list.mid(0, 12).join("\n");
  }
  static void sizes_and_scales() {
    QTest::addColumn<QSize>("size");
    QTest::addColumn<int>("scale");
    for (const QSize size : {QSize(1280, 720), QSize(1024, 640)})
      for (const int scale : {75, 100, 150, 200})
        QTest::newRow(qPrintable(QString("%1x%2 at %3 %").arg(size.width()).arg(size.height()).arg(scale)))
            << size << scale;
  }

 private slots:
  void initTestCase() {
    QApplication::setStyle(new WindowStyle);
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    qputenv("HEADROOM_FAKE", "normal");
    record_ = dir_.filePath("a-record-with-a-rather-long-name.h5");
    test::SyntheticOptions options;
    options.tokens = 300;
    options.layers = 6;
    options.sliding_layers = {3};
    test::write_synthetic_record(record_.toStdString(), options);
  }

  void the_check_can_fail() {
    QWidget box;
    auto* label = new QLabel("A text that is longer than this", &box);
    label->setGeometry(0, 0, 30, 30);
    auto* button = new QPushButton("Press", &box);
    button->setGeometry(10, 10, 100, 30);
    box.resize(90, 60);
    box.show();
    QVERIFY(QTest::qWaitForWindowExposed(&box));
    QCOMPARE(test::misfits(&box).size(), 3);
  }

  void pages_data() { sizes_and_scales(); }
  void pages() {
    QFETCH(QSize, size);
    QFETCH(int, scale);
    Bench b(ini(), record_);
    b.window.resize(size);
    b.window.set_text_scale(scale);
    calm();
    QVERIFY2(b.window.size() == size, qPrintable(QString("%1x%2").arg(b.window.width()).arg(b.window.height())));
    QStringList all;
    for (int page = 0; page < b.window.pages().size(); ++page) {
      b.window.show_page(page);
      calm();
      if (const QString text = wrong(&b.window); !text.isEmpty())
        all << QString("page %1:\n%2").arg(b.window.pages()[page].id, text);
      if (qEnvironmentVariableIsSet("HEADROOM_PICTURES"))
        b.window.grab().save(QString("%1/%2-%3-%4.png")
                                 .arg(qEnvironmentVariable("HEADROOM_PICTURES"), b.window.pages()[page].id)
                                 .arg(size.width())
                                 .arg(scale));
    }
    b.window.set_text_scale(100);
    QVERIFY2(all.isEmpty(), qPrintable(all.join('\n')));
  }

  void the_talk_beside_each_page_data() {
    QTest::addColumn<QSize>("size");
    QTest::addColumn<int>("scale");
    for (const int scale : {100, 150}) QTest::addRow("%d", scale) << QSize(1280, 720) << scale;
  }
  void the_talk_beside_each_page() {
    QFETCH(QSize, size);
    QFETCH(int, scale);
    Bench b(ini(), record_);
    b.window.resize(size);
    b.window.set_text_scale(scale);
    calm();
    QTRY_VERIFY(b.window.actions().add_to_talk->isEnabled());
    QStringList all;
    for (int page = 0; page < b.window.pages().size(); ++page) {
      b.window.show_page(page);
      b.window.actions().add_to_talk->trigger();  // opens the dock
      calm();
      if (const QString text = wrong(&b.window); !text.isEmpty())
        all << QString("page %1:\n%2").arg(b.window.pages()[page].id, text);
    }
    QVERIFY(b.window.talks().panel().isVisible());
    QCOMPARE(b.window.talks().book().count(), 5);
    b.window.set_text_scale(100);
    QVERIFY2(all.isEmpty(), qPrintable(all.join('\n')));
  }

  void pages_that_are_not_seen_follow_later() {
    Bench b(ini(), record_);
    calm();
    b.window.show_page(0);
    const auto size_of = [&](int page) { return b.window.pages()[page].widget->font().pointSizeF(); };
    const qreal before = size_of(0);
    b.window.set_text_scale(150);
    QVERIFY(size_of(0) > before * 1.4);
    QCOMPARE(size_of(1), before);  // not all of them at once
    b.window.show_page(2);
    QVERIFY(size_of(2) > before * 1.4);  // before it is seen
    for (int page = 0; page < b.window.pages().size(); ++page) QTRY_VERIFY(size_of(page) > before * 1.4);
    // What was waiting takes the last size, and nothing of the one before.
    b.window.set_text_scale(200);
    b.window.set_text_scale(100);
    for (int page = 0; page < b.window.pages().size(); ++page) QTRY_COMPARE(size_of(page), before);
  }

  void results_of_a_job_are_seen_in_large_text() {
    Bench b(ini(), record_);
    b.window.resize(1280, 720);
    b.window.set_text_scale(150);
    views::JobInfo job;
    job.id = "1";
    job.title = "Dense; Oracle top-k, 512 keys; Indexer, 512 keys, on a prompt of 3,968 tokens, a long title";
    job.phase = "oracle recorded";
    for (const char* id : {"dense", "oracle-k512-g1", "indexer-k512-g1"}) {
      views::PartialResult result;
      result.id = id;
      job.partial.append(result);
    }
    auto* dock = b.window.findChild<QDockWidget*>("dock_jobs");
    auto* jobs = b.window.findChild<views::JobsDock*>();
    jobs->show_job(job);
    dock->show();
    const auto last = [&]() -> QLabel* {
      for (QLabel* label : jobs->findChildren<QLabel*>())
        if (label->text() == "indexer-k512-g1") return label;
      return nullptr;
    };
    QVERIFY(last());
    QTRY_COMPARE(last()->visibleRegion().boundingRect().size(), last()->size());
    b.window.set_text_scale(100);
  }

  void dialogs_data() { sizes_and_scales(); }
  void dialogs() {
    QFETCH(QSize, size);
    QFETCH(int, scale);
    Bench b(ini(), record_);
    b.window.resize(size);
    b.window.set_text_scale(scale);
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    Actions& actions = b.window.actions();
    QStringList all;
    const auto look = [&](const QString& name, QDialog* dialog) {
      if (!dialog) return void(all << name + ": did not open");
      calm();
      if (const QString text = wrong(dialog); !text.isEmpty()) all << name + ":\n" + text;
      if (dialog->width() > size.width() || dialog->height() > size.height())
        all << QString("%1: %2x%3 is larger than the window").arg(name).arg(dialog->width()).arg(dialog->height());
      if (qEnvironmentVariableIsSet("HEADROOM_PICTURES"))
        dialog->grab().save(QString("%1/dialog-%2-%3-%4.png")
                                .arg(qEnvironmentVariable("HEADROOM_PICTURES"), name)
                                .arg(size.width())
                                .arg(scale));
      dialog->close();
      calm();
    };
    const auto opened = [&](QAction* action) -> QDialog* {
      action->trigger();
      calm();
      return qobject_cast<QDialog*>(QApplication::activeModalWidget());
    };
    for (QAction* action : {actions.new_run, actions.export_figure, actions.connect_engine, actions.palette,
                            actions.keys, actions.about})
      look(plain_text(action).replace(' ', '-').toLower(), opened(action));
    // These leave the window usable beside them.
    const std::pair<QAction*, const char*> beside[] = {{actions.new_sweep, "new_sweep_dialog"},
                                                       {actions.runs_table, "runs_table"}};
    for (const auto& [action, name] : beside) {
      action->trigger();
      calm();
      QDialog* found = nullptr;
      for (auto* one : b.window.findChildren<QDialog*>(name))
        if (one->isVisible()) found = one;
      look(name, found);
    }
    auto* question = new CloseQuestion("Oracle top-k, 512 keys, a long title", 2, &b.window);
    question->setAttribute(Qt::WA_DeleteOnClose);
    question->open();
    look("close", question);
    b.window.set_text_scale(100);
    QVERIFY2(all.isEmpty(), qPrintable(all.join('\n')));
  }
};

QTEST_MAIN(TestWindowSizes)
#include "test_window_sizes.moc"
