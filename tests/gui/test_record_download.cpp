// SPDX-License-Identifier: GPL-3.0-or-later
// A remote engine's record comes over whole or not at all: pieces that do not fit, a record that changes, an engine
// that dies leave nothing behind, and the far path decides no place here.
#include <QPushButton>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QtTest>
#include <limits>

#include "gui/engine_client.h"
#include "gui/file_names.h"
#include "gui/record_download.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep/sweep_store.h"
#include "record/sweep_fixture.h"
#include "support/window_bench.h"
#include "views/common/banner_bar.h"

using namespace headroom;
using namespace headroom::gui;

class TestRecordDownload : public QObject {
  Q_OBJECT

  QTemporaryDir dir_;
  QByteArray record_;

  static QStringList kept() {
    return QDir(RecordDownload::folder()).entryList(QDir::Files | QDir::Hidden | QDir::System);
  }
  static QByteArray bytes_of(const QString& path) {
    QFile file(path);
    return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray("cannot be read");
  }
  struct Transfer {
    EngineClient engine;
    QPointer<RecordDownload> download;
    QString arrived;
    QList<Problem> problems;
    qint64 most = 0, least = std::numeric_limits<qint64>::max();

    explicit Transfer(const QString& remote) {
      engine.start({HEADROOM_BINARY_DIR "/tests/fake_engine", {"serve"}, false});
      if (!QTest::qWaitFor([this] { return engine.state() == EngineClient::State::ready; }, 10000)) return;
      download = new RecordDownload(engine, remote, nullptr);
      connect(download, &RecordDownload::finished, download, [this](const QString& path) { arrived = path; });
      connect(download, &RecordDownload::failed, download, [this](const Problem& problem) { problems << problem; });
      connect(download, &RecordDownload::progressed, download, [this](qint64 done, qint64) {
        most = std::max(most, done);
        least = std::min(least, done);
      });
      download->start();
    }
    /// Ended, and the download has taken itself away.
    bool ended() {
      return QTest::qWaitFor([this] { return (!arrived.isEmpty() || !problems.isEmpty()) && !download; }, 10000);
    }
  };

 private slots:
  void initTestCase() {
    qputenv("XDG_CACHE_HOME", dir_.path().toUtf8());
    qputenv("HEADROOM_FAKE", "normal");
    QRandomGenerator random(1);
    for (int i = 0; i < 700'000; ++i) {  // more than two pieces
      const quint32 word = random.generate();
      record_.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    QFile file(dir_.filePath("far.h5"));
    QVERIFY(file.open(QIODevice::WriteOnly) && file.write(record_) == record_.size());
    qputenv("HEADROOM_FAKE_RECORD", file.fileName().toUtf8());
  }
  void init() {
    qunsetenv("HEADROOM_FAKE_PIECES");
    QDir(RecordDownload::folder()).removeRecursively();
  }

  void it_comes_over_whole() {
    Transfer transfer("/far/away/my run.h5");
    QVERIFY(transfer.ended());
    QVERIFY2(transfer.problems.isEmpty(), transfer.problems.isEmpty() ? "" : qPrintable(transfer.problems[0].message));
    QVERIFY(bytes_of(transfer.arrived) == record_);
    QCOMPARE(transfer.most, record_.size());
    QCOMPARE(kept(), QStringList{QFileInfo(transfer.arrived).fileName()});
  }

  void the_far_path_decides_no_place_here_data() {
    QTest::addColumn<QString>("remote");
    QTest::newRow("upwards") << "/x/../../../../../../etc/passwd";
    QTest::newRow("hidden") << "/x/.bashrc";
    QTest::newRow("odd letters") << QString::fromUtf8("/x/a\nb;$(c)|d\xc3\xa4.h5");
    QTest::newRow("long") << "/x/" + QString(3000, 'y') + ".h5";
    QTest::newRow("nothing") << QString();
  }
  void the_far_path_decides_no_place_here() {
    QFETCH(QString, remote);
    Transfer transfer(remote);
    QVERIFY(transfer.ended());
    QVERIFY2(transfer.problems.isEmpty(), transfer.problems.isEmpty() ? "" : qPrintable(transfer.problems[0].message));
    QCOMPARE(QFileInfo(transfer.arrived).absolutePath(), QFileInfo(RecordDownload::folder()).absoluteFilePath());
    QVERIFY(transfer.arrived.endsWith(".h5"));
    QVERIFY(bytes_of(transfer.arrived) == record_);
  }

  void what_does_not_fit_leaves_nothing_data() {
    QTest::addColumn<QString>("words");
    QTest::newRow("changed") << "changed while it was transferred";
    QTest::newRow("shifted") << "do not fit together";
    QTest::newRow("empty") << "do not fit together";
    QTest::newRow("refused") << "could not be transferred";
    QTest::newRow("endless") << "too large";
  }
  void what_does_not_fit_leaves_nothing() {
    QFETCH(QString, words);
    qputenv("HEADROOM_FAKE_PIECES", QTest::currentDataTag());
    Transfer transfer("/far/run.h5");
    QVERIFY(transfer.ended());
    QVERIFY(transfer.arrived.isEmpty());
    QCOMPARE(transfer.problems.size(), 1);
    QVERIFY2(transfer.problems[0].message.contains(words), qPrintable(transfer.problems[0].message));
    QVERIFY2(kept().isEmpty(), qPrintable(kept().join(' ')));
  }

  void a_lost_connection_loses_nothing_that_had_come() {
    qputenv("HEADROOM_FAKE_PIECES", "dies");
    Transfer cut("/far/run.h5");
    QVERIFY(cut.ended());
    QCOMPARE(cut.problems.size(), 1);
    QVERIFY(cut.most > 0 && cut.most < record_.size());
    qunsetenv("HEADROOM_FAKE_PIECES");
    Transfer again("/far/run.h5");
    QVERIFY(again.ended());
    QVERIFY2(again.problems.isEmpty(), qPrintable(again.problems.value(0).message));
    QVERIFY2(again.least > cut.most, "it began again from nothing");
    QVERIFY(bytes_of(again.arrived) == record_);
    QCOMPARE(kept(), QStringList{QFileInfo(again.arrived).fileName()});
  }

  void what_is_here_of_another_version_is_dropped() {
    qputenv("HEADROOM_FAKE_PIECES", "dies");
    Transfer cut("/far/run.h5");
    QVERIFY(cut.ended());
    qunsetenv("HEADROOM_FAKE_PIECES");
    const QStringList files = kept().filter(".partial-of");
    QCOMPARE(files.size(), 1);
    QFile of(RecordDownload::folder() + "/" + files[0]);
    QVERIFY(of.open(QIODevice::WriteOnly | QIODevice::Truncate) && of.write("an older one") > 0);
    of.close();
    Transfer again("/far/run.h5");
    QVERIFY(again.ended());
    QVERIFY(bytes_of(again.arrived) == record_);
    QCOMPARE(kept(), QStringList{QFileInfo(again.arrived).fileName()});
  }

  void what_is_here_of_a_record_is_asked_about_data() {
    QTest::addColumn<QString>("answer");
    QTest::addColumn<bool>("arrives");
    QTest::newRow("continue") << "Continue" << true;
    QTest::newRow("start again") << "Start again" << true;
    QTest::newRow("leave") << "Leave it there" << false;
    QTest::newRow("cancel the job") << QString() << false;
  }
  void what_is_here_of_a_record_is_asked_about() {
    QFETCH(QString, answer);
    QFETCH(bool, arrives);
    const QString far = dir_.filePath("job.h5");
    qputenv("HEADROOM_FAKE_PIECES", "dies");
    Transfer cut(far);
    QVERIFY(cut.ended());
    qunsetenv("HEADROOM_FAKE_PIECES");
    QVERIFY(cut.most > 0);
    const QStringList left = kept();
    QCOMPARE(left.size(), 2);

    test::WindowBench bench(dir_.filePath("part.ini"), test::WindowBench::without_engine({}));
    MainWindow& window = bench.window;
    window.engine().start({HEADROOM_BINARY_DIR "/tests/fake_engine", {"serve"}, true, "far"});
    QTRY_COMPARE_WITH_TIMEOUT(window.engine().state(), EngineClient::State::ready, 10000);
    views::JobInfo last;
    qint64 first = 0;
    connect(&window.jobs(), &JobTracker::changed, this, [&](const views::JobInfo& job) {
      last = job;
      if (first == 0 && job.phase.startsWith("Transferring")) first = job.done;
    });
    QSignalSpy finished(&window.jobs(), &JobTracker::finished);
    protocol::RunSpec spec;
    spec.model = "smollm2";
    spec.prompt = "a prompt";
    spec.out = far.toStdString();
    const QString job = window.jobs().start_run(spec), key = "part:" + job;
    QTRY_VERIFY_WITH_TIMEOUT(window.banners().contains(key), 20000);
    QVERIFY2(window.banners().text_of(key).contains("A part of job.h5 is here"),
             qPrintable(window.banners().text_of(key)));
    QTest::qWait(50);
    QVERIFY(finished.isEmpty() && first == 0);  // nothing comes over before it is answered
    QCOMPARE(kept(), left);
    if (answer.isEmpty()) {
      window.jobs().cancel(job);
    } else {
      QPushButton* button = nullptr;
      for (auto* one : window.banners().findChild<QWidget*>("banner:" + key)->findChildren<QPushButton*>())
        if (one->text() == answer) button = one;
      QVERIFY(button && button->isVisible());
      QTest::mouseClick(button, Qt::LeftButton);
    }
    QTRY_COMPARE_WITH_TIMEOUT(last.state, views::JobInfo::State::done, 20000);
    QVERIFY(!window.banners().contains(key) && !window.jobs().anything_running());
    if (!arrives) {
      QVERIFY2(last.message.contains("stays there: " + far), qPrintable(last.message));
      QVERIFY(finished.isEmpty());
      QCOMPARE(kept(), left);
      return;
    }
    QCOMPARE(finished.size(), 1);
    QVERIFY(bytes_of(finished[0][1].toString()) == record_);
    QVERIFY2(answer == "Continue" ? first > cut.most : first > 0 && first <= cut.most,
             qPrintable(QString::number(first)));
    QVERIFY(kept().filter("partial").isEmpty());
  }

  void two_of_one_record_do_not_mix() {
    Transfer first("/far/run.h5"), second("/far/run.h5");
    QVERIFY(first.ended() && second.ended());
    QVERIFY(bytes_of(first.arrived) == record_);
    QVERIFY(bytes_of(second.arrived) == record_);
  }

  void a_far_sweep_grows_row_by_row() {
    const record::SweepRecord all = test::sweep_record();
    const QString store_file = dir_.filePath("far.h5.rows.jsonl"), far = "/far/away/far.h5.rows.jsonl";
    QFile::remove(store_file);
    record::SweepStore store(store_file.toStdString(), all.meta, "a processor", nullptr);
    qputenv("HEADROOM_FAKE_RECORD", store_file.toUtf8());
    const auto record_again =
        qScopeGuard([this] { qputenv("HEADROOM_FAKE_RECORD", dir_.filePath("far.h5").toUtf8()); });

    test::WindowBench bench(dir_.filePath("far-sweep.ini"), test::WindowBench::without_engine({}));
    MainWindow& window = bench.window;
    window.engine().start({HEADROOM_BINARY_DIR "/tests/fake_engine", {"serve"}, true, "far"});
    QTRY_COMPARE_WITH_TIMEOUT(window.engine().state(), EngineClient::State::ready, 10000);
    const auto tell = [&] {
      protocol::JobRow row;
      row.store = far.toStdString();
      emit window.jobs().row_finished("1", row);
    };
    const auto rows_shown = [&]() -> std::size_t {
      const auto& sweeps = window.selection().state().sweeps;
      return sweeps.empty() || !sweeps[0]->growing ? 0 : sweeps[0]->record.rows.size();
    };
    store.add(all.rows[0]);
    tell();
    QTRY_COMPARE_WITH_TIMEOUT(rows_shown(), 1u, 10000);
    for (std::size_t i = 1; i < 6; ++i) {
      store.add(all.rows[i]);
      tell();
    }
    QTRY_COMPARE_WITH_TIMEOUT(rows_shown(), 6u, 10000);
    QCOMPARE(window.selection().state().sweeps.size(), 1u);
    // The place that the file itself will have, with what has come of it so far beside it.
    const QString here = name_from_path(window.selection().state().sweeps[0]->path);
    QCOMPARE(here, RecordDownload::place_of(window.engine(), "/far/away/far.h5"));
    QVERIFY(bytes_of(here + ".rows.jsonl") == bytes_of(store_file));
    OutputPlace place(here.toStdString());
    record::write_sweep(place, all);
    window.open_path(here);
    QTRY_VERIFY_WITH_TIMEOUT(!window.selection().state().sweeps[0]->growing, 10000);
    QCOMPARE(window.selection().state().sweeps[0]->record.rows.size(), all.rows.size());
    QVERIFY(!QFile::exists(here + ".rows.jsonl"));
  }

  void a_folder_that_cannot_be_written_is_said() {
    QFile in_its_place(QFileInfo(RecordDownload::folder()).absoluteFilePath());
    QVERIFY(in_its_place.open(QIODevice::WriteOnly));
    Transfer transfer("/far/run.h5");
    QVERIFY(transfer.ended());
    QVERIFY(transfer.arrived.isEmpty());
    QVERIFY2(transfer.problems.size() == 1 && transfer.problems[0].message.contains("cannot be written"),
             qPrintable(transfer.problems.value(0).message));
    in_its_place.remove();
  }
};

QTEST_MAIN(TestRecordDownload)
#include "test_record_download.moc"
