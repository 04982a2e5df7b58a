// SPDX-License-Identifier: GPL-3.0-or-later
// The serving engineer's walk, with the real engine and a tiny model: from a folder of prompts to a file of budgets
// that runs. Each step by what a person would click; pictures: walk_pictures.h.
#include <QComboBox>
#include <QDialog>
#include <QDir>
#include <QDoubleSpinBox>
#include <QFileDialog>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QPainter>
#include <QPushButton>
#include <QTabBar>
#include <QTabWidget>
#include <QTableView>
#include <QTemporaryDir>
#include <QtTest>

#include "base/layer_budgets.h"
#include "base/output_file.h"
#include "gui/actions.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/new_sweep_dialog.h"
#include "gui/runs_table.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep_fixture.h"
#include "support/synthetic_record.h"
#include "support/tiny_model.h"
#include "views/budget/budget_page.h"
#include "views/budget/ship_panel.h"
#include "views/budget/sweep_panel.h"
#include "views/budget/sweep_plot.h"
#include "views/common/banner_bar.h"
#include "walk_pictures.h"

using namespace headroom;
using namespace headroom::gui;

class TestWalkEngineer : public QObject {
  Q_OBJECT
  using State = views::JobInfo::State;
  QTemporaryDir dir_;
  QString model_, prompts_;
  test::WalkPictures pictures_{"engineer", [](MainWindow& window) {
                                 QTest::qWait(30);
                                 QTRY_VERIFY_WITH_TIMEOUT(window.pages()[window.current_page()].settled(), 20000);
                                 QTest::qWait(30);
                               }};

  void grab(MainWindow& window, const char* name, QWidget* dialog = nullptr) {
    QVERIFY(pictures_.take(window, name, dialog));
  }
  template <typename T>
  static T* top_level() {
    for (QWidget* widget : QApplication::topLevelWidgets())
      if (auto* found = qobject_cast<T*>(widget); found && found->isVisible()) return found;
    return nullptr;
  }
  static bool press(MainWindow& window, const QString& banner, const QString& text) {
    auto* holder = window.banners().findChild<QWidget*>("banner:" + banner);
    if (!holder) return false;
    for (auto* button : holder->findChildren<QPushButton*>())
      if (button->text() == text) return button->click(), true;
    return false;
  }
  static void pick(QWidget& page, const char* name, const QString& text) {
    auto* box = page.findChild<QComboBox*>(name);
    const int index = box->findText(text, Qt::MatchContains);
    QVERIFY2(index >= 0, name);
    box->setCurrentIndex(index);
    emit box->activated(index);
  }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    qputenv("XDG_CACHE_HOME", dir_.filePath("cache").toUtf8());
    model_ = QString::fromStdString(test::write_tiny_model(dir_.filePath("tiny.gguf").toStdString()).string());
    prompts_ = dir_.filePath("prompts");
    QVERIFY(QDir().mkpath(prompts_));
    for (int i = 0; i < 6; ++i) {
      QFile file(QDir(prompts_).filePath(QString("ticket-%1.txt").arg(i)));
      QVERIFY(file.open(QIODevice::WriteOnly));
      for (int line = 0; line < 20 + 6 * i; ++line)
        file.write(
            QString("Order %1 was sent to customer %2.\n").arg(line * 37 % 101).arg((line + i) * 53 % 89).toUtf8());
      file.write("Which customer got order 37?\n");
    }
  }

  void from_a_folder_of_prompts_to_a_budget_file() {
    SettingsStore settings(dir_.filePath("settings.ini"));
    StartOptions options;
    options.engine = HEADROOM_BINARY_DIR "/headroom";
    const QString shown = dir_.filePath("shown.h5");
    test::SyntheticOptions synthetic;
    synthetic.tokens = 160;
    synthetic.layers = 2;
    test::write_synthetic_record(shown.toStdString(), synthetic);
    options.records = {shown};
    options.quiet = true;
    MainWindow window(settings, options);
    window.move(40, 40);
    window.resize(1280, 720);
    QMap<QString, views::JobInfo> jobs;
    connect(&window.jobs(), &JobTracker::changed, &window, [&](const views::JobInfo& job) { jobs[job.id] = job; });
    const auto ended = [&](State state) { return !jobs.isEmpty() && jobs.last().state == state; };
    window.show();
    QVERIFY(QTest::qWaitForWindowExposed(&window));
    QTRY_COMPARE_WITH_TIMEOUT(window.engine().state(), EngineClient::State::ready, 30000);
    QTRY_COMPARE(window.selection().state().runs.size(), 1u);

    // 1. A sweep over the folder: New sweep…, the folder, two methods, three budgets.
    window.actions().new_sweep->trigger();
    QTRY_VERIFY(top_level<NewSweepDialog>());
    auto* dialog = top_level<NewSweepDialog>();
    dialog->findChild<QComboBox*>("sweep_model")->setEditText(model_);
    dialog->findChild<QTabWidget*>("sweep_source")->setCurrentIndex(1);
    dialog->findChild<QLineEdit*>("sweep_prompts")->setText(prompts_);
    auto* methods = dialog->findChild<QListWidget*>("sweep_method_list");
    for (int i = 0; i < methods->count(); ++i) {
      const QString name = methods->item(i)->data(Qt::UserRole).toString();
      methods->item(i)->setCheckState(name == "oracle" || name == "sink_window" ? Qt::Checked : Qt::Unchecked);
    }
    dialog->findChild<QLineEdit*>("sweep_budgets")->setText("24, 64, 192");
    const QString file = dialog->findChild<QLineEdit*>("sweep_out")->text();
    auto* start = dialog->findChild<QPushButton*>("start_sweep");
    auto* needs = dialog->findChild<QLabel*>("sweep_needs");
    QTRY_VERIFY2_WITH_TIMEOUT(needs->text().contains("6 samples, 42 rows"),
                              qPrintable(needs->text() + dialog->findChild<QLabel*>("sweep_message")->text()), 30000);
    QVERIFY(needs->text().contains("no task score"));
    QTRY_VERIFY(start->isEnabled());
    grab(window, "new-sweep", dialog);
    start->click();

    // 2. Rows come in; the Budget page shows them when asked.
    QTRY_VERIFY_WITH_TIMEOUT(ended(State::done), 150000);
    QVERIFY(QTest::qWaitFor([&] { return press(window, "sweep:" + file, "Show"); }, 20000));
    QTRY_VERIFY(window.selection().sweep() && !window.selection().sweep()->growing);
    QCOMPARE(window.selection().sweep()->record.rows.size(), 42u);
    auto* page = window.findChild<views::BudgetPage*>();
    QTRY_VERIFY(page->isVisible());
    QTRY_COMPARE(page->sweep_panel()->plot()->picture().points.size(), 6u);
    grab(window, "sweep");

    // 3. A sample that differs is recorded and its maps opened.
    pick(*page, "sweep_method", "24 keys");
    page->findChild<QTabWidget*>("sweep_tabs")->setCurrentIndex(2);
    auto* samples = page->findChild<QTableView*>("sweep_samples");
    QTRY_COMPARE(samples->model()->rowCount(), 6);
    samples->setCurrentIndex(samples->model()->index(5, 0));
    grab(window, "samples");
    auto* record = page->findChild<QPushButton*>("record_sample");
    QTRY_VERIFY(record->isEnabled());
    jobs.clear();
    record->click();
    QTRY_VERIFY_WITH_TIMEOUT(ended(State::done), 150000);
    QTRY_VERIFY_WITH_TIMEOUT(window.selection().state().runs.size() == 2, 20000);
    const QString recorded = QString::fromStdString(window.selection().state().runs.back()->path().string());
    QVERIFY(QTest::qWaitFor([&] { return press(window, "run:" + recorded, "Show its maps"); }, 20000));
    QTRY_COMPARE(window.pages()[window.current_page()].id, QString("attention"));
    grab(window, "maps");

    // 4. A number to ship: targets in, the smallest budget out.
    window.show_page(2);
    page->findChild<QTabBar*>("budget_tabs")->setCurrentIndex(2);
    QTRY_VERIFY(page->ship_panel()->isVisible() && page->ship_panel()->settled());
    page->findChild<QDoubleSpinBox*>("ship_keep")->setValue(1);
    page->findChild<QDoubleSpinBox*>("ship_worst")->setValue(20);
    QTRY_VERIFY2(page->ship_panel()->headline().contains(" keys</b>"), qPrintable(page->ship_panel()->headline()));
    QTRY_VERIFY(page->findChild<QPushButton*>("write_budgets")->isEnabled());
    grab(window, "number-to-ship");

    // 5. Budgets for each layer go into a file that the command line takes.
    page->findChild<QPushButton*>("write_budgets")->click();
    QTRY_VERIFY(window.findChild<QFileDialog*>("budget_file_dialog"));
    auto* save = window.findChild<QFileDialog*>("budget_file_dialog");
    const QString budget_file = dir_.filePath("budget.json");
    emit save->fileSelected(budget_file);
    save->close();
    QTRY_VERIFY(QFile::exists(budget_file));
    const BudgetFile budgets = read_budget_file(budget_file.toStdString());
    QCOMPARE(budgets.budgets.keys.size(), 3u);
    QVERIFY(window.banners().contains("budgets"));

    // 6. And they run, beside one budget for all layers of the same size.
    jobs.clear();
    page->findChild<QPushButton*>("run_layer_budgets")->click();
    QTRY_VERIFY_WITH_TIMEOUT(ended(State::done), 150000);
    QTRY_VERIFY_WITH_TIMEOUT(window.selection().state().runs.size() == 3, 20000);
    const auto run = window.selection().state().runs.back();
    int by_layer = 0, one = 0;
    for (const auto& method : run->methods()) {
      const auto found = method.parameters.find("layer_budgets");
      if (found != method.parameters.end()) {
        ++by_layer;
        QCOMPARE(found->second, budgets.budgets.text());
      } else if (!method.is_dense()) {
        ++one;
        QCOMPARE(method.budget_tokens, std::min<std::int64_t>(budgets.budgets.mean(), run->length()));
      }
    }
    QVERIFY(by_layer > 0 && by_layer == one);
    grab(window, "budgets-run");

    // 7. Everything in one table, with a note.
    window.actions().runs_table->trigger();
    QTRY_VERIFY(top_level<RunsTable>());
    auto* table = top_level<RunsTable>();
    QTRY_VERIFY_WITH_TIMEOUT(table->settled() && table->files()->rowCount() >= 4, 20000);
    QVERIFY(table->measurements()->rowCount() >= 8);
    table->files()->setData(table->files()->index(0, 1), "to show on Monday", Qt::EditRole);
    QVERIFY(QString::fromUtf8(settings.blob("run_notes")).contains("Monday"));
    grab(window, "runs-table", table);
    table->close();
    QVERIFY(!window.banners().contains("job") && !window.banners().contains("engine"));
  }

  void a_sweep_of_tasks_opens_by_its_file() {
    const QString file = dir_.filePath("scored.h5");
    record::SweepRecord scored = test::sweep_record();
    const char* titles[] = {"Dense", "Oracle", "Oracle", "Indexer", "Indexer"};
    const int looks[] = {0, 1, 1, 2, 2};
    for (std::size_t i = 0; i < scored.meta.methods.size(); ++i) {
      scored.meta.methods[i].title = titles[i];
      scored.meta.methods[i].look = looks[i];
    }
    OutputPlace place(file.toStdString(), OutputKind::file);
    record::write_sweep(place, scored);
    SettingsStore settings(dir_.filePath("scored.ini"));
    StartOptions options;
    options.use_engine = false;
    options.records = {file};
    MainWindow window(settings, options);
    window.move(40, 40);
    window.resize(1280, 720);
    window.show();
    QVERIFY(QTest::qWaitForWindowExposed(&window));
    QTRY_VERIFY(window.selection().sweep());
    QTRY_COMPARE(window.pages()[window.current_page()].id, QString("budget"));
    QTRY_VERIFY(window.actions().export_figure->isEnabled());
    auto* page = window.findChild<views::BudgetPage*>();
    QTRY_COMPARE(page->sweep_panel()->plot()->picture().points.size(), 4u);
    QVERIFY(page->csv().contains("oracle-k64-g1"));
    grab(window, "scored-sweep");
    page->findChild<QTabWidget*>("sweep_tabs")->setCurrentIndex(1);
    grab(window, "gaps-by-task");
    page->findChild<QTabBar*>("budget_tabs")->setCurrentIndex(2);
    QTRY_VERIFY(page->ship_panel()->isVisible() && page->ship_panel()->settled());
    page->findChild<QDoubleSpinBox*>("ship_worst")->setValue(60);
    page->findChild<QDoubleSpinBox*>("ship_keep")->setValue(80);
    grab(window, "scored-ship");
    QImage figure(1400, 900, QImage::Format_ARGB32_Premultiplied);
    QPainter painter(&figure);
    window.selection().change([](views::ViewState& state) { state.sweep_look.page = 1; });
    page->render(painter, QRectF(0, 0, 1400, 900), {});
    painter.end();
    if (const QString folder = qEnvironmentVariable("HEADROOM_WALK_PICTURES"); !folder.isEmpty())
      QVERIFY(figure.save(QDir(folder).filePath("engineer-figure.png")));
  }
};

QTEST_MAIN(TestWalkEngineer)
#include "test_walk_engineer.moc"
