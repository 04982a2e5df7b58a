// SPDX-License-Identifier: GPL-3.0-or-later
// What ends in the background takes nobody's place: a finished run is announced, a dialog exports what it was opened
// on, and no answer of an earlier question stands beside a new one.
#include <QDialog>
#include <QImage>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QTabWidget>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/actions.h"
#include "gui/export_dialog.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"
#include "views/common/banner_bar.h"
#include "views/common/theme.h"
#include "views/map/attention_page.h"
#include "views/prompt/prompt_panel.h"
#include "views/prompt/prompt_text.h"

using namespace headroom;
using namespace headroom::gui;

class TestWindowTruth : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString good_, other_;

  struct Bench : test::WindowBench {
    Bench(const QString& settings_file, const StartOptions& options)
        : WindowBench(settings_file, options, {1280, 720}, false) {}
    QPushButton* banner_button(const QString& text) const {
      for (auto* button : window.findChildren<QPushButton*>())
        if (button->text() == text && button->isVisible()) return button;
      return nullptr;
    }
  };
  QString ini() { return test::fresh_settings(dir_); }
  StartOptions with_engine(const char* mode, const QStringList& records) {
    qputenv("HEADROOM_FAKE", mode);
    qputenv("HEADROOM_FAKE_RECORD", other_.toUtf8());
    StartOptions options;
    options.records = records;
    options.engine = HEADROOM_BINARY_DIR "/tests/fake_engine";
    return options;
  }
  protocol::RunSpec spec(const QString& out) {
    protocol::RunSpec s;
    s.model = "smollm2";
    s.prompt = "one two three";
    s.out = dir_.filePath(out).toStdString();
    return s;
  }
  static QString id_of(const views::RecordPtr& record) { return QString::fromStdString(record->meta().run_id); }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    good_ = dir_.filePath("good.h5");
    other_ = dir_.filePath("other.h5");
    test::SyntheticOptions options;
    options.tokens = 300;
    options.layers = 3;
    test::write_synthetic_record(good_.toStdString(), options);
    options.seed = 2;
    options.tokens = 260;
    test::write_synthetic_record(other_.toStdString(), options);
  }

  void a_finished_run_is_announced_and_shown_when_asked() {
    Bench b(ini(), with_engine("normal", {good_}));
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    QTRY_VERIFY(b.window.selection().record());
    const auto before = b.window.selection().record();
    const QString path = dir_.filePath("made.h5");
    b.window.jobs().start_run(spec("made.h5"));
    QTRY_VERIFY_WITH_TIMEOUT(b.window.banners().contains("run:" + path), 15000);
    QCOMPARE(b.window.selection().record(), before);
    QVERIFY(b.window.banners().text_of("run:" + path).startsWith("Done: made.h5"));
    QCOMPARE(b.window.selection().state().runs.size(), std::size_t{2});  // in the list of runs, and in Budget's plot
    QVERIFY(!b.window.selection().can_undo());
    QPushButton* show = b.banner_button("Show");
    QVERIFY(show);
    show->click();
    QTRY_VERIFY(b.window.selection().record() != before);
    QVERIFY(!b.window.banners().contains("run:" + path));
    b.window.selection().undo();
    QCOMPARE(b.window.selection().record(), before);
  }

  void with_nothing_open_a_finished_run_is_shown_at_once() {
    Bench b(ini(), with_engine("normal", {good_}));
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    QTRY_VERIFY(b.window.selection().record());
    b.window.selection().close_record(0);
    b.window.jobs().start_run(spec("first.h5"));
    QTRY_VERIFY_WITH_TIMEOUT(b.window.selection().record(), 15000);
    QVERIFY(!b.window.banners().contains("run:" + dir_.filePath("first.h5")));
  }

  void an_open_dialog_exports_what_it_was_opened_on_data() {
    QTest::addColumn<QString>("page");
    for (const char* page : {"overview", "attention", "budget", "timing", "compare"})
      QTest::newRow(page) << QString(page);
  }
  void an_open_dialog_exports_what_it_was_opened_on() {
    QFETCH(QString, page);
    StartOptions options;
    options.use_engine = false;
    options.records = {good_};
    Bench b(ini(), options);
    QTRY_VERIFY(b.window.selection().record());
    const auto asked = b.window.selection().record();
    b.window.selection().change(
        [](views::ViewState& s) { s.layer = 1, s.method = "indexer-k64-g1", s.display.mode = views::MapMode::lift; });
    b.window.show_page(page_index(b.window.pages(), page));
    QTRY_VERIFY(b.window.actions().export_figure->isEnabled());
    b.window.actions().export_figure->trigger();
    auto* dialog = b.window.findChild<ExportDialog*>();
    QVERIFY(dialog);
    const QString file = dir_.filePath(page + "-asked.png");
    for (auto* field : dialog->findChildren<QLineEdit*>())  // spin boxes have one, too
      if (field->text().endsWith(".png")) field->setText(file);
    // Meanwhile the window goes on to another run and another place.
    b.window.open_record(other_);
    QTRY_VERIFY(b.window.selection().record() != asked);
    b.window.selection().change(
        [](views::ViewState& s) { s.layer = 2, s.method = "dense", s.display.mode = views::MapMode::probability; });
    QCoreApplication::processEvents();
    QPushButton* save = nullptr;
    for (auto* button : dialog->findChildren<QPushButton*>())
      if (button->text().contains("Save")) save = button;
    QVERIFY(save);
    save->click();
    QTRY_VERIFY_WITH_TIMEOUT(QFile::exists(file), 30000);
    const QImage image(file);
    QCOMPARE(image.text("Run"), id_of(asked));
    QCOMPARE(image.text("Layer"), QString("1"));
    QCOMPARE(image.text("Method"), QString("indexer-k64-g1"));
    // The scale is that of the map, and there is none where there is no map.
    if (page == "attention")
      QVERIFY2(image.text("Scale").startsWith("lift over uniform, "), qPrintable(image.text("Scale")));
    else if (page == "compare")
      QVERIFY2(image.text("Scale").startsWith("p, "), qPrintable(image.text("Scale")));
    else
      QVERIFY(image.text("Scale").isEmpty());
  }

  // The same picture, whether the page was looked at or never shown.
  void a_figure_does_not_depend_on_what_was_loaded() {
    StartOptions options;
    options.use_engine = false;
    options.records = {good_};
    Bench b(ini(), options);
    QTRY_VERIFY(b.window.selection().record());
    const int attention = page_index(b.window.pages(), "attention");
    const auto picture = [&] {
      FigureOptions figure;
      figure.scale = 1;
      const FigureStudio studio(figure_subject(b.window.selection(), b.window.pages()), nullptr);
      views::Exportable& view = studio.view("attention");
      const QString problem = await_figure(view, studio.selection(), figure);
      const QImage image = figure_image(view, studio.selection(), figure);
      view.exported();
      return problem.isEmpty() ? image : QImage();
    };
    b.window.selection().change([](views::ViewState& s) { s.layer = 2; });
    b.window.show_page(attention);
    const auto& page = b.window.pages()[attention];
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 20000);
    QTest::qWait(50);
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 20000);
    const QImage looked_at = picture();
    QVERIFY(!looked_at.isNull());
    b.window.show_page(0);
    b.window.selection().change([](views::ViewState& s) { s.layer = 1; });
    const QImage hidden = picture();  // at once: the hidden page still holds layer 2
    QVERIFY(!hidden.isNull() && hidden != looked_at);
    b.window.selection().change([](views::ViewState& s) { s.layer = 2; });
    QCOMPARE(picture(), looked_at);
  }

  void a_new_prompt_does_not_stand_beside_the_end_of_the_old_one() {
    Bench b(ini(), with_engine("normal", {good_}));
    QTRY_COMPARE_WITH_TIMEOUT(b.window.engine().state(), EngineClient::State::ready, 10000);
    b.window.actions().new_run->trigger();
    QDialog* dialog = nullptr;
    QTRY_VERIFY((dialog = b.window.findChild<QDialog*>("new_run_dialog")));
    dialog->findChild<QTabWidget*>("prompt_tabs")->setCurrentIndex(0);
    auto* text = dialog->findChild<QPlainTextEdit*>("prompt_text");
    auto* tail = dialog->findChild<QPlainTextEdit*>("prompt_tail");
    text->setPlainText("What is the magic number?");
    QTRY_VERIFY_WITH_TIMEOUT(tail->toPlainText().contains("magic number"), 10000);
    QVERIFY(!dialog->findChild<QLabel*>("needs")->text().isEmpty());
    text->setPlainText("Something else");
    QVERIFY(tail->toPlainText().isEmpty());
    QVERIFY(dialog->findChild<QLabel*>("needs")->text().isEmpty());
    dialog->reject();
  }
};

QTEST_MAIN(TestWindowTruth)
#include "test_window_truth.moc"
