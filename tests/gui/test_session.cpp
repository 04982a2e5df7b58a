// SPDX-License-Identifier: GPL-3.0-or-later
// The session comes back: records, page and place; what is gone is said; a broken file never keeps the window shut.
#include <QDockWidget>
#include <QFile>
#include <QPushButton>
#include <QTemporaryDir>
#include <QtTest>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "gui/file_names.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"
#include "views/common/banner_bar.h"

using namespace headroom;
using namespace headroom::gui;

class TestSession : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString a_, b_, other_;

  struct Bench : test::WindowBench {
    Bench(const QString& settings_file, const QStringList& records)
        : WindowBench(settings_file, without_engine(records), {1280, 720}, false) {}
  };
  QString ini() { return test::fresh_settings(dir_); }
  static QString session_file(const QString& settings) { return QString(settings).replace(".ini", ".session.json"); }
  static QString shown(Bench& bench) {
    const auto record = bench.window.selection().record();
    return record ? name_from_path(record->path()) : QString();
  }
  /// Leaves a session with two records behind, `b_` shown at a place.
  void leave(const QString& settings, const QString& first, const QString& second) {
    Bench bench(settings, {first, second});
    QTRY_COMPARE(bench.state().runs.size(), std::size_t{2});
    QTRY_COMPARE(shown(bench), second);
    bench.window.selection().change([](views::ViewState& state) {
      state.method = "oracle-k64-g1";
      state.layer = 2;
      state.head = {record::HeadSelector::Kind::head, 3};
      state.query_begin = 100;
      state.query_end = 104;
      state.keys = {5, 6};
      state.pins = {{90, 10}};
      state.viewport = {80, 120, 0, 40};
      state.display.mode = views::MapMode::lift;
      state.display.compare_mode = views::CompareMode::difference;
      state.display.candidate_2 = {state.runs[0], "dense"};
      state.display.missed = false;
    });
    bench.window.show_page(3);
    bench.window.findChild<QDockWidget*>("dock_inspector")->hide();
    bench.window.close();
  }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    a_ = dir_.filePath("a.h5");
    b_ = dir_.filePath("b.h5");
    other_ = dir_.filePath("other.h5");
    test::SyntheticOptions options;
    options.tokens = 200;
    options.layers = 3;
    test::write_synthetic_record(a_.toStdString(), options);
    options.seed = 2;
    test::write_synthetic_record(b_.toStdString(), options);
    options.seed = 3;
    options.tokens = 60;
    test::write_synthetic_record(other_.toStdString(), options);
  }

  void records_page_place_and_docks_come_back() {
    const QString settings = ini();
    leave(settings, a_, b_);
    Bench bench(settings, {});
    QTRY_COMPARE(bench.state().runs.size(), std::size_t{2});
    QTRY_COMPARE(shown(bench), b_);
    QCOMPARE(bench.window.current_page(), 3);
    const views::ViewState& state = bench.state();
    QCOMPARE(state.layer, 2);
    QCOMPARE(state.head.index, 3);
    QCOMPARE(state.query_begin, std::int64_t{100});
    QVERIFY((state.keys == std::set<std::int64_t>{5, 6}));
    QCOMPARE(state.pins.size(), std::size_t{1});
    QVERIFY((state.viewport == views::Viewport{80, 120, 0, 40}));
    QVERIFY(state.display.mode == views::MapMode::lift);
    QVERIFY(state.display.compare_mode == views::CompareMode::difference);
    QCOMPARE(state.display.missed, std::optional<bool>(false));
    QCOMPARE(state.display.candidate_2.run, state.runs[0]);
    QVERIFY(!bench.window.selection().can_undo());
    QVERIFY(!bench.window.findChild<QDockWidget*>("dock_inspector")->isVisible());
    QVERIFY(!bench.window.banners().contains("session"));
  }

  void a_record_that_is_gone_is_said_and_the_rest_comes_back() {
    const QString settings = ini(), gone = dir_.filePath("gone.h5");
    QVERIFY(QFile::copy(a_, gone));
    leave(settings, gone, b_);
    QVERIFY(QFile::remove(gone));
    Bench bench(settings, {});
    QTRY_VERIFY(bench.window.banners().contains("session"));
    QVERIFY(bench.window.banners().text_of("session").contains("gone.h5"));
    QTRY_COMPARE(shown(bench), b_);
    QCOMPARE(bench.state().layer, 2);  // the place is there all the same
    QVERIFY(!bench.state().display.candidate_2.run);
    QCOMPARE(bench.state().runs.size(), std::size_t{1});
  }

  void sweeps_belong_to_the_session_and_one_that_is_gone_is_said() {
    const QString settings = ini();
    leave(settings, a_, b_);
    QFile file(session_file(settings));
    QVERIFY(file.open(QIODevice::ReadOnly));
    Session session = session_from_json(nlohmann::json::parse(file.readAll().toStdString()), "the session");
    file.close();
    QVERIFY(session.sweeps.empty());
    session.sweeps = {"/nowhere/S.h5"};
    const nlohmann::json json = session_to_json(session);
    QVERIFY(session_from_json(json, "the session").sweeps == session.sweeps);
    QVERIFY(file.open(QIODevice::WriteOnly | QIODevice::Truncate));
    file.write(QByteArray::fromStdString(json.dump()));
    file.close();
    Bench bench(settings, {});
    QTRY_VERIFY(bench.window.banners().text_of("session").contains("S.h5"));
    QTRY_COMPARE(shown(bench), b_);
  }

  void without_the_shown_record_the_other_is_shown() {
    const QString settings = ini(), gone = dir_.filePath("shown.h5");
    QVERIFY(QFile::copy(b_, gone));
    leave(settings, a_, gone);
    QVERIFY(QFile::remove(gone));
    Bench bench(settings, {});
    QTRY_COMPARE(shown(bench), a_);
    QVERIFY(bench.window.banners().text_of("session").contains("shown.h5"));
  }

  void another_run_in_the_same_file_is_not_shown_at_the_old_place() {
    const QString settings = ini(), file = dir_.filePath("replaced.h5");
    QVERIFY(QFile::copy(b_, file));
    leave(settings, a_, file);
    QVERIFY(QFile::remove(file) && QFile::copy(other_, file));
    Bench bench(settings, {});
    QTRY_COMPARE(shown(bench), file);
    QTRY_VERIFY(bench.window.banners().text_of("session").contains("replaced.h5"));
    QVERIFY(bench.state().query_end <= 60 && bench.state().pins.empty());
  }

  void a_broken_file_never_keeps_the_window_shut_data() {
    QTest::addColumn<QByteArray>("text");
    QTest::addColumn<QString>("said");
    QTest::newRow("empty") << QByteArray() << "";
    QTest::newRow("no JSON") << QByteArray("{\"version\": 1, \"rec") << "";
    QTest::newRow("not an object") << QByteArray("[1, 2]") << "";
    QTest::newRow("no records") << QByteArray(R"({"version": 1, "shown": 0, "page": "overview", "state": {}})")
                                << "records";
    QTest::newRow("a relative path") << QByteArray(R"({"version": 1, "records": [{"file": "x.h5", "run_id": ""}],
        "shown": 0, "page": "overview", "state": {}})") << "file";
    QTest::newRow("shown out of range") << QByteArray(R"({"version": 1, "records": [], "shown": 7, "page": "",
        "state": {}})") << "shown";
    QTest::newRow("a state of nonsense") << QByteArray(R"({"version": 1, "records": [{"file": "/x.h5", "run_id": ""}],
        "shown": 0, "page": "overview", "state": {"layer": "many"}})") << "layer";
    QTest::newRow("deep") << QByteArray(100000, '[') << "";
    QTest::newRow("of a newer program") << QByteArray(R"({"version": 99})") << "newer";
  }
  void a_broken_file_never_keeps_the_window_shut() {
    QFETCH(QByteArray, text);
    QFETCH(QString, said);
    const QString settings = ini();
    QFile file(session_file(settings));
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write(text);
    file.close();
    {
      SettingsStore store(settings);
      store.set_last_record(a_);
    }
    Bench bench(settings, {});
    QTRY_COMPARE(shown(bench), a_);
    QVERIFY(bench.window.banners().contains("session"));
    const QString words = bench.window.banners().text_of("session");
    auto* banner = bench.window.banners().findChild<QWidget*>("banner:session");
    QVERIFY2(words.contains(said) || banner, qPrintable(words));
    if (said == "newer") QVERIFY(QFile::exists(session_file(settings) + ".v99"));
  }

  void it_is_written_after_changes_and_not_at_each_of_them() {
    const QString settings = ini();
    Bench bench(settings, {a_});
    QTRY_VERIFY(bench.window.selection().record());
    const QString file = session_file(settings);
    QTRY_VERIFY_WITH_TIMEOUT(QFile::exists(file), 10000);
    const auto layer = [&] {
      QFile in(file);
      if (!in.open(QIODevice::ReadOnly)) return -1;
      return nlohmann::json::parse(in.readAll().toStdString())["state"]["layer"].get<int>();
    };
    for (int i = 0; i < 50; ++i) {
      bench.window.selection().change([i](views::ViewState& state) { state.layer = i % 3; });
      QTest::qWait(1);
    }
    bench.window.selection().change([](views::ViewState& state) { state.layer = 1; });
    QTRY_COMPARE_WITH_TIMEOUT(layer(), 1, 10000);
  }

  void names_that_are_no_text_come_back_too() {
    Session session;
    session.records = {{std::filesystem::path("/tmp/a\xff.h5"), "run"}};
    session.shown = 0;
    session.page = "budget";
    session.state = nlohmann::json::object();
    const Session back = session_from_json(nlohmann::json::parse(session_to_json(session).dump()), "test");
    QVERIFY(back.records.front().file == session.records.front().file);
  }
};

QTEST_MAIN(TestSession)
#include "test_session.moc"
