// SPDX-License-Identifier: GPL-3.0-or-later
// A record of imported streams in the window: it says that it is static, shows maps and curves of every method, and
// neither times nor answers.
#include <QAbstractItemView>
#include <QDockWidget>
#include <QLabel>
#include <QRegularExpression>
#include <QTemporaryDir>
#include <QtTest>
#include <functional>

#include "experiment/streams/import.h"
#include "gui/icons.h"
#include "record/run_record.h"
#include "record/static_stream.h"
#include "support/window_bench.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/overview/answer_sentence.h"

using namespace headroom;
using headroom::test::WindowBench;

class TestImportedRecord : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::string file_;
  std::unique_ptr<WindowBench> bench_;

  /// All that labels, trees and tables below `widget` say, whether a click is needed to see it or not.
  static QString words_of(const QWidget& widget) {
    QStringList words;
    for (const auto* label : widget.findChildren<QLabel*>()) words << label->text() << label->accessibleName();
    for (const auto* view : widget.findChildren<QAbstractItemView*>()) {
      const auto* model = view->model();
      const std::function<void(const QModelIndex&)> walk = [&](const QModelIndex& parent) {
        for (int row = 0; model && row < model->rowCount(parent); ++row) {
          for (int column = 0; column < model->columnCount(parent); ++column)
            words << model->index(row, column, parent).data().toString();
          walk(model->index(row, 0, parent));
        }
      };
      if (model) walk({});
    }
    return words.join('\n');
  }
  QWidget* show(const char* page) {
    const int index = gui::page_index(bench_->window.pages(), page);
    bench_->window.show_page(index);
    QCoreApplication::processEvents();
    return bench_->window.pages()[index].widget;
  }

 private slots:
  void initTestCase() {
    gui::load_resources();
    qputenv("XDG_DATA_HOME", folder_.filePath("data").toUtf8());
    experiment::ImportSpec spec;
    spec.streams = HEADROOM_SOURCE_DIR "/tests/experiment/streams/neox.streams.safetensors";
    spec.out = file_ = folder_.filePath("imported.h5").toStdString();
    spec.methods.names = {"dense", "oracle", "sink_window", "quest"};
    spec.methods.budgets = {Budget{BudgetKind::tokens, 8}};
    spec.device = "cpu";
    experiment::import_streams(spec, {});
    bench_ = std::make_unique<WindowBench>(folder_.filePath("settings.ini"),
                                           WindowBench::without_engine({QString::fromStdString(file_)}),
                                           QSize(1280, 720));
    QVERIFY(bench_->window.selection().record());
  }
  void cleanupTestCase() { bench_.reset(); }

  void the_sentence_that_answers_says_static() {
    const QString said = QString::fromUtf8(record::static_label);
    QCOMPARE(said, QString("static: the stream is the model's own"));
    const auto record = bench_->window.selection().record();
    QCOMPARE(record->methods().size(), std::size_t{4});
    for (const auto& method : record->methods()) {
      QVERIFY(record::is_static(method));
      if (method.is_dense()) continue;
      const QString sentence =
          views::answer_sentence(*record, method, *record->find_method("dense"), {}).text();
      QVERIFY2(sentence.contains("of the mass; " + said), qPrintable(sentence));
      QVERIFY2(!sentence.contains("time") && !sentence.contains("answer"), qPrintable(sentence));
    }
    const QString overview = words_of(*show("overview"));
    QVERIFY2(overview.contains(said), qPrintable(overview));
  }

  void the_inspector_says_where_it_comes_from() {
    show("overview");
    QString words;
    for (const auto* dock : bench_->window.findChildren<QDockWidget*>()) words += words_of(*dock);
    for (const char* said : {"static: the stream is the model's own", "Imported from neox.streams.safetensors",
                             "not timed"})
      QVERIFY2(words.contains(said), qPrintable(QString(said) + " is not in: " + words));
  }

  void maps_are_drawn_for_every_method() {
    auto* page = static_cast<views::AttentionPage*>(show("attention"));
    for (const int layer : {0, 1}) {
      bench_->window.selection().change([&](views::ViewState& state) { state.layer = layer; });
      QTRY_VERIFY_WITH_TIMEOUT(page->map()->data() && page->map()->data()->source.layer == layer && page->settled(),
                               20'000);
      QVERIFY2(page->map()->notice().isEmpty(), qPrintable(page->map()->notice()));
    }
  }

  void no_times_are_shown() {
    const QString timing = words_of(*show("timing"));
    QVERIFY2(timing.contains("not timed"), qPrintable(timing));
    QVERIFY2(!timing.contains("0 ms") && !timing.contains("nan", Qt::CaseInsensitive), qPrintable(timing));
    for (const char* page : {"budget", "compare"}) {
      const QString words = words_of(*show(page));
      QVERIFY2(!words.contains(QRegularExpression("\\bnan\\b")), qPrintable(words));
    }
  }
};

QTEST_MAIN(TestImportedRecord)
#include "test_imported_record.moc"
