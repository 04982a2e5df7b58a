// SPDX-License-Identifier: GPL-3.0-or-later
// A result of `headroom bench --json` in the window: opened, looked at, exported, closed, brought back; a broken one is
// one message and changes nothing.
#include <QComboBox>
#include <QFile>
#include <QImage>
#include <QPushButton>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/actions.h"
#include "gui/exporter.h"
#include "gui/file_names.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/render_driver.h"
#include "support/bench_fixture.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"
#include "views/common/banner_bar.h"
#include "views/timing/bench_model.h"
#include "views/timing/context_plot.h"
#include "views/timing/timing_model.h"
#include "views/timing/timing_page.h"

using namespace headroom;
using namespace headroom::gui;

class TestWindowBench : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString run_, bench_, single_;

  struct Bench : test::WindowBench {
    Bench(const QString& settings_file, const QStringList& records)
        : WindowBench(settings_file, without_engine(records), {1280, 720}, false) {}
    views::TimingPage* timing() { return page<views::TimingPage>("timing"); }
    QComboBox* chooser() { return timing()->findChild<QComboBox*>(); }
    /// The words of a row in a column of the table, both by their titles.
    QString cell(int row, const QString& column) {
      views::BenchModel* model = timing()->bench_model();
      for (int i = 0; i < model->columnCount(); ++i)
        if (model->headerData(i, Qt::Horizontal, Qt::DisplayRole).toString() == column)
          return model->index(row, i).data().toString();
      return "no such column";
    }
    QString all_words() {
      QStringList words;
      for (const QLabel* label : timing()->findChildren<QLabel*>()) words << label->text();
      return words.join('\n');
    }
  };
  QString ini() { return test::fresh_settings(dir_); }

 private slots:
  void initTestCase() {
    load_resources();
    run_ = dir_.filePath("run.h5");
    test::SyntheticOptions options;
    options.tokens = 200;
    options.layers = 3;
    test::write_synthetic_record(run_.toStdString(), options);
    bench_ = dir_.filePath("h200.json");
    test::write_bench(bench_.toStdString(), test::small_bench());
    record::BenchReport single = test::small_bench();
    for (auto& row : single.rows) row.ttft.repeats = 1;
    single.weights = "ab12";
    single.complete = false;
    single_ = dir_.filePath("single.JSON");
    test::write_bench(single_.toStdString(), single);
  }

  void a_bench_file_is_opened_and_shown() {
    Bench bench(ini(), {run_});
    QTRY_VERIFY(bench.window.selection().record() != nullptr);
    bench.window.open_path(bench_);  // as a drop does
    QTRY_COMPARE(bench.state().benches.size(), std::size_t{1});
    QCOMPARE(bench.window.pages()[bench.window.current_page()].id, QString("timing"));
    QTRY_COMPARE(bench.chooser()->currentText(), QString("Bench: h200.json"));
    const auto* model = bench.timing()->bench_model();
    QCOMPARE(model->rowCount(), 12);
    QCOMPARE(bench.cell(0, "method"), QString("Dense, cuDNN"));
    QCOMPARE(bench.cell(1, "method"), QString("Dense, FA2"));
    QCOMPARE(bench.cell(10, "length"), QString("32,768"));
    QCOMPARE(bench.cell(10, "method"), QString("Indexer top-k, 512 keys"));
    QCOMPARE(bench.cell(10, "time to first token"), QString("1.00 s [0.98–1.04]"));
    QCOMPARE(bench.cell(10, "over the fastest dense"), QString("1.60x"));
    QCOMPARE(bench.cell(10, "over FA2"), QString("1.76x"));
    QCOMPARE(bench.cell(10, "density"), QString("6.3 %"));
    QCOMPARE(bench.cell(10, "plan"), QString("sparse in 4 of 4 layers"));
    QCOMPARE(bench.cell(10, "peak memory"), QString("20.0 GB"));
    QCOMPARE(bench.cell(0, "over the fastest dense"), QString("baseline"));
    // No speedup of a reference, nor where nothing sparse ran; what ran on a busy machine is a hint.
    QCOMPARE(bench.cell(3, "over the fastest dense"), QString("none: a reference"));
    QCOMPARE(bench.cell(4, "over the fastest dense"), QString("none: nothing sparse ran"));
    QCOMPARE(bench.cell(4, "over FA2"), QString("–"));
    QCOMPARE(bench.cell(11, "over the fastest dense"), QString("2.00x, on a busy machine"));
    QCOMPARE(bench.cell(11, "over FA2"), QString("2.20x, on a busy machine"));
    for (const char* words :
         {"NVIDIA H200", "5 timed passes a row", "Random weights: no quality", "Supports: each method's own",
          "2.00x at 4,096 tokens", "Oracle top-k, 512 keys: a reference"})
      QVERIFY2(bench.all_words().contains(words), words);
    QVERIFY(!bench.all_words().contains("did not finish"));
  }

  void the_plot_holds_every_row_that_has_a_ratio() {
    Bench bench(ini(), {bench_});
    QTRY_VERIFY(bench.window.selection().bench() != nullptr);
    QTRY_COMPARE(bench.timing()->context_plot()->picture().points.size(), std::size_t{9});
    const auto& picture = bench.timing()->context_plot()->picture();
    QStringList families;
    std::set<std::pair<int, int>> looks;
    for (const auto& point : picture.points) {
      QVERIFY(!point.family.contains("Oracle"));
      QVERIFY(point.low <= point.ratio && point.ratio <= point.high);
      QCOMPARE(point.firm, !point.family.contains("Sinks"));
      QCOMPARE(point.look == 0, point.family.contains("Dense"));
      if (families.contains(point.family)) continue;
      families << point.family;
      QVERIFY2(looks.insert({point.look, point.mark}).second, qPrintable(point.family));
    }
    QCOMPARE(families.size(), 5);
    QCOMPARE(picture.bounds.size(), std::size_t{2});
    QCOMPARE(picture.bounds.back(), std::pair(32768.0, 2.0));
    for (const char* words : {"Dense, FA2", "Dense, cuDNN", "Dense, LibTorch", "Indexer top-k, 512 keys", "bound"})
      QVERIFY2(bench.timing()->context_plot()->legend_html().contains(QString(words).replace(' ', "&nbsp;")), words);
    QVERIFY(bench.timing()->context_plot()->yAxis->label().contains("fastest dense"));
  }

  void single_passes_are_hints_and_a_bench_that_was_stopped_says_so() {
    Bench bench(ini(), {single_});
    QTRY_VERIFY(bench.window.selection().bench() != nullptr);
    QTRY_COMPARE(bench.cell(10, "over the fastest dense"), QString("1.60x, a single pass"));
    for (const auto& point : bench.timing()->context_plot()->picture().points) QVERIFY(!point.firm);
    QVERIFY(bench.all_words().contains("did not finish") && !bench.all_words().contains("Random weights"));
    QVERIFY(bench.all_words().contains("no spread is known"));
  }

  void it_is_exported() {
    Bench bench(ini(), {run_});
    QTRY_VERIFY(bench.window.selection().record() != nullptr);
    bench.window.open_record(bench_);
    QTRY_VERIFY(bench.window.selection().bench() != nullptr);
    QVERIFY(bench.window.actions().export_figure->isEnabled());
    views::Exportable& view = bench.view("timing");
    FigureOptions options;
    options.format = FigureFormat::csv;
    const QString csv = dir_.filePath("bench.csv"), png = dir_.filePath("bench.png");
    QCOMPARE(write_figure(view, bench.window.selection(), csv, options), QString());
    QFile file(csv);
    QVERIFY(file.open(QIODevice::ReadOnly));
    const QByteArray text = file.readAll();
    QVERIFY2(text.contains("# Source: bench result h200.json") && !text.contains("# Layer"), text.constData());
    QVERIFY(text.contains("length,method,time to first token,over the fastest dense,over FA2,over cuDNN,over LibTorch,"
                          "density,plan,peak memory"));
    QVERIFY2(text.contains("\"32,768\",\"Indexer top-k, 512 keys\",1.00 s [0.98–1.04],1.60x,1.76x"), text.constData());
    options.format = FigureFormat::png;
    options.size = {900, 700};
    QCOMPARE(write_figure(view, bench.window.selection(), png, options), QString());
    QVERIFY(!QImage(png).isNull());
    QVERIFY(QImage(png).text("Source").contains("h200.json"));
    // Never over what it is drawn from.
    QFile::link(bench_, dir_.filePath("same.png"));
    QVERIFY_THROWS_EXCEPTION(Error, write_figure(view, bench.window.selection(), dir_.filePath("same.png"), options));
    QVERIFY(QFile::remove(dir_.filePath("same.png")));
    // Without a window, and of nothing but this view.
    CommandLine line = read_command_line({"--export", bench_, "--view", "timing", "-o", png});
    QCOMPARE(export_view(line), 0);
    line.view = "overview";
    QCOMPARE(export_view(line), 2);
  }

  void it_is_chosen_closed_and_brought_back() {
    Bench bench(ini(), {run_, bench_, single_});
    QTRY_COMPARE(bench.state().benches.size(), std::size_t{2});
    QTRY_VERIFY(bench.window.selection().record() != nullptr);
    bench.window.show_page(page_index(bench.window.pages(), "timing"));
    QComboBox* chooser = bench.chooser();
    const auto choose = [&](const QString& text) {
      const int index = chooser->findText(text);
      QVERIFY2(index >= 0, qPrintable(text));
      chooser->setCurrentIndex(index);
      emit chooser->activated(index);
    };
    auto* close = bench.timing()->findChild<QPushButton*>("close_bench");
    choose("Total, all methods");
    QTRY_VERIFY(!close->isVisible());
    QVERIFY(bench.timing()->model()->rowCount() > 5 && !bench.all_words().contains("H200"));
    choose("Bench: h200.json");
    QTRY_VERIFY(close->isVisible());
    QTRY_COMPARE(chooser->currentText(), QString("Bench: h200.json"));
    QCOMPARE(bench.timing()->bench_model()->rowCount(), 12);
    close->click();
    QTRY_COMPARE(bench.state().benches.size(), std::size_t{1});
    QTRY_COMPARE(chooser->findText("Bench: h200.json"), -1);
    QVERIFY(!bench.window.selection().bench());
    bench.window.selection().undo();
    QTRY_COMPARE(chooser->currentText(), QString("Bench: h200.json"));
    // Opened again: the same one.
    bench.window.open_record(bench_);
    QTest::qWait(300);
    QCOMPARE(bench.state().benches.size(), std::size_t{2});
  }

  void the_session_brings_it_back() {
    const QString settings = ini();
    {
      Bench bench(settings, {run_, bench_, single_});
      QTRY_COMPARE(bench.state().benches.size(), std::size_t{2});
      QTRY_VERIFY(bench.window.selection().record() != nullptr);
      bench.window.selection().open_bench(bench.state().benches[0]);
      QCoreApplication::processEvents();
      bench.window.close();
    }
    Bench bench(settings, {});
    QTRY_COMPARE(bench.state().benches.size(), std::size_t{2});
    QTRY_VERIFY(bench.window.selection().record() != nullptr);
    QTRY_COMPARE(bench.chooser()->currentText(), QString("Bench: h200.json"));
    QCOMPARE(bench.window.pages()[bench.window.current_page()].id, QString("timing"));
    QVERIFY(!bench.window.banners().contains("session"));
    bench.window.close();
  }

  void a_session_of_a_bench_alone_comes_back() {
    const QString settings = ini();
    {
      Bench bench(settings, {bench_});
      QTRY_VERIFY(bench.window.selection().bench() != nullptr);
      bench.window.close();
    }
    Bench bench(settings, {});
    QTRY_VERIFY(bench.window.selection().bench() != nullptr);
    QTRY_COMPARE(bench.chooser()->currentText(), QString("Bench: h200.json"));
    bench.window.close();
  }

  void what_is_no_bench_result_is_one_message_data() {
    QTest::addColumn<QByteArray>("bytes");
    QTest::addColumn<QString>("words");
    QFile file(bench_);
    QVERIFY(file.open(QIODevice::ReadOnly));
    const QByteArray whole = file.readAll();
    QTest::newRow("empty") << QByteArray() << "is not valid JSON";
    QTest::newRow("cut short") << whole.left(whole.size() / 2) << "is not valid JSON (expected a JSON value, found";
    QTest::newRow("of something else") << QByteArray("{\"model\": \"x\"}") << "is not a result of headroom bench";
    QTest::newRow("a wrong type") << QByteArray(whole).replace("\"length\": 4096", "\"length\": \"many\"")
                                  << "row 1: field \"length\" is not valid (expected a whole number";
    QTest::newRow("NaN") << QByteArray(whole).replace("\"repeats\": 5,", "\"repeats\": NaN,") << "is not valid JSON";
  }
  void what_is_no_bench_result_is_one_message() {
    QFETCH(QByteArray, bytes);
    QFETCH(QString, words);
    const QString path = dir_.filePath("broken.json");
    QFile file(path);
    QVERIFY(file.open(QIODevice::WriteOnly | QIODevice::Truncate));
    file.write(bytes);
    file.close();
    Bench bench(ini(), {run_});
    QTRY_VERIFY(bench.window.selection().record() != nullptr);
    const int page = bench.window.current_page();
    const views::ViewState before = bench.state();
    bench.window.open_path(path);
    QTRY_VERIFY(bench.window.banners().contains("record:" + path));
    const QString said = bench.window.banners().text_of("record:" + path);
    QVERIFY2(said.contains(words), qPrintable(said));
    QVERIFY(bench.state() == before);
    QCOMPARE(bench.window.current_page(), page);
  }

  // Pictures to look at: HEADROOM_BENCH_PICTURES=FOLDER, HEADROOM_BENCH_FILE=FILE.json.
  void pictures_on_request() {
    const QString folder = qEnvironmentVariable("HEADROOM_BENCH_PICTURES");
    if (folder.isEmpty()) return;
    const QString file = qEnvironmentVariable("HEADROOM_BENCH_FILE", bench_);
    for (const bool dark : {false, true})
      for (const QSize size : {QSize(1600, 1000), QSize(1280, 720)}) {
        const QString settings = ini();
        {
          SettingsStore store(settings);
          store.set_theme(dark ? views::ThemeMode::dark : views::ThemeMode::light);
          store.sync();
        }
        test::WindowBench bench(settings, test::WindowBench::without_engine({run_, file}), size, true);
        QTRY_VERIFY(bench.window.selection().bench() != nullptr);
        QTest::qWait(800);
        bench.window.grab().save(
            QString("%1/bench-%2-%3.png").arg(folder, dark ? "dark" : "light").arg(size.width()));
      }
    views::Theme::instance().set_mode(views::ThemeMode::light);
  }
};

QTEST_MAIN(TestWindowBench)
#include "test_window_bench.moc"
