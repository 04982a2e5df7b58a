// SPDX-License-Identifier: GPL-3.0-or-later
// Runs as a table, as it is used: a click on a heading sorts by what the column means, words find, and what goes to the
// trash is asked about first, closed, and there to be brought back.
#include <QDir>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QTabWidget>
#include <QTableView>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/actions.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/runs_table.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"

using namespace headroom;
using namespace headroom::gui;

class TestRunsTable : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QStringList files_;

  struct Bench : test::WindowBench {
    explicit Bench(const QString& settings_file, const QStringList& records)
        : WindowBench(settings_file, without_engine(records), {1280, 720}) {
      (void)QTest::qWaitFor([&] { return window.selection().state().runs.size() == std::size_t(records.size()); },
                            20000);
      window.actions().runs_table->trigger();
      for (QWidget* widget : QApplication::topLevelWidgets())
        if (auto* found = qobject_cast<RunsTable*>(widget); found && found->isVisible()) table = found;
      (void)QTest::qWaitFor([&] { return table && table->files()->rowCount() >= records.size(); }, 20000);
    }
    QTableView* view(const char* name) { return table->findChild<QTableView*>(name); }
    void press(const char* name) { QTest::mouseClick(table->findChild<QPushButton*>(name), Qt::LeftButton); }
    /// A click on the heading of a column.
    void sort_by(QTableView* rows, const QString& title) {
      for (int column = 0; column < rows->model()->columnCount(); ++column) {
        if (rows->model()->headerData(column, Qt::Horizontal).toString() != title) continue;
        QHeaderView* header = rows->horizontalHeader();
        rows->scrollTo(rows->model()->index(0, column));
        QTest::mouseClick(header->viewport(), Qt::LeftButton, {},
                          {header->sectionViewportPosition(column) + 12, header->height() / 2});
      }
    }
    QStringList column(QTableView* rows, const QString& title) {
      QStringList cells;
      for (int column = 0; column < rows->model()->columnCount(); ++column)
        if (rows->model()->headerData(column, Qt::Horizontal).toString() == title)
          for (int row = 0; row < rows->model()->rowCount(); ++row)
            cells << rows->model()->index(row, column).data().toString();
      return cells;
    }
    RunsTable* table = nullptr;
  };

 private slots:
  void initTestCase() {
    load_resources();
    // The trash of whoever runs the test is left alone.
    qputenv("HOME", dir_.path().toUtf8());
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    QVERIFY(QDir().mkpath(dir_.filePath("data")));
    // Names, lengths and sizes in three orders; as words, "1,100" comes before "200" and "90".
    const std::pair<const char*, int> runs[] = {{"beta.h5", 1100}, {"alpha.h5", 200}, {"gamma.h5", 90}};
    for (const auto& [name, tokens] : runs) {
      test::SyntheticOptions options;
      options.tokens = tokens;
      options.layers = 2;
      options.keep_layers = {0};
      if (tokens == 90) options.methods = {"dense", "oracle-k32-g1"};
      files_ << dir_.filePath(name);
      test::write_synthetic_record(files_.last().toStdString(), options);
    }
  }

  void a_click_on_a_heading_sorts_by_what_it_means() {
    Bench b(dir_.filePath("sorting.ini"), files_);
    QVERIFY(b.table);
    QTableView* files = b.view("runs_files");
    QCOMPARE(files->model()->rowCount(), 3);
    b.sort_by(files, "name");
    QCOMPARE(b.column(files, "name"), (QStringList{"alpha", "beta", "gamma"}));
    b.sort_by(files, "name");
    QCOMPARE(b.column(files, "name"), (QStringList{"gamma", "beta", "alpha"}));
    b.sort_by(files, "tokens");
    QCOMPARE(b.column(files, "tokens"), (QStringList{"90", "200", "1,100"}));
    b.sort_by(files, "size");  // "kB" and "MB"
    QCOMPARE(b.column(files, "name"), (QStringList{"gamma", "alpha", "beta"}));
    b.sort_by(files, "size");
    QCOMPARE(b.column(files, "name"), (QStringList{"beta", "alpha", "gamma"}));

    b.table->findChild<QTabWidget*>("runs_tabs")->setCurrentIndex(1);
    QTableView* measured = b.view("runs_measured");
    QTRY_VERIFY(measured->isVisible());
    QCOMPARE(measured->model()->rowCount(), 8);
    b.sort_by(measured, "tokens");
    QCOMPARE(b.column(measured, "run").first(), QString("gamma"));
    QCOMPARE(b.column(measured, "run").last(), QString("beta"));
    b.sort_by(measured, "keys");  // dense has no budget: all keys, at the end
    QCOMPARE(b.column(measured, "keys").first(), QString("32"));
    QCOMPARE(b.column(measured, "method").last(), QString("Dense"));
    // Sorted, the rest of a line stays with it.
    const int line = static_cast<int>(b.column(measured, "keys").indexOf("32"));
    QCOMPARE(b.column(measured, "run")[line], QString("gamma"));
    QCOMPARE(b.column(measured, "tokens")[line], QString("90"));
  }

  void words_find_lines() {
    Bench b(dir_.filePath("finding.ini"), files_);
    QVERIFY(b.table);
    QTest::keyClicks(b.table->findChild<QLineEdit*>("runs_filter"), "GAM");
    QCOMPARE(b.column(b.view("runs_files"), "name"), QStringList{"gamma"});
  }

  void the_trash_is_asked_about_first_and_takes_the_file() {
    const QString name = "to-go.h5", file = dir_.filePath(name);
    QVERIFY(QFile::copy(files_[1], file));
    Bench b(dir_.filePath("trash.ini"), files_ + QStringList{file});
    QVERIFY(b.table);
    QTableView* files = b.view("runs_files");
    QCOMPARE(files->model()->rowCount(), 4);
    b.sort_by(files, "name");
    const int row = static_cast<int>(b.column(files, "name").indexOf("to-go"));
    QVERIFY(row >= 0);
    QVERIFY(!b.table->findChild<QPushButton*>("runs_trash")->isEnabled());  // nothing is chosen
    QTest::mouseClick(files->viewport(), Qt::LeftButton, {}, files->visualRect(files->model()->index(row, 0)).center());
    auto* question = b.table->findChild<QWidget*>("trash_question");
    b.press("runs_trash");
    QVERIFY(question->isVisible() && QFile::exists(file));
    QVERIFY(question->findChild<QLabel*>()->text().contains(name));
    b.press("trash_no");
    QVERIFY(!question->isVisible() && QFile::exists(file));
    QCOMPARE(b.state().runs.size(), std::size_t{4});

    b.press("runs_trash");
    b.press("trash_yes");
    QVERIFY(!question->isVisible());
    QVERIFY(!QFile::exists(file));
    QCOMPARE(b.state().runs.size(), std::size_t{3});
    for (const auto& run : b.state().runs) QVERIFY(run->path().filename() != name.toStdString());
    for (const QString& other : files_) QVERIFY(QFile::exists(other));
    QTRY_VERIFY(b.table->settled() && files->model()->rowCount() == 3);
    QVERIFY(!b.column(files, "name").contains("to-go"));
    const QDir trash(dir_.filePath("data/Trash/files"));
    QCOMPARE(trash.entryList({"to-go*"}, QDir::Files).size(), qsizetype{1});
    QVERIFY(QFileInfo(trash.filePath(trash.entryList({"to-go*"}).first())).size() == QFileInfo(files_[1]).size());
  }
};

QTEST_MAIN(TestRunsTable)
#include "test_runs_table.moc"
