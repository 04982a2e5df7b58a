// SPDX-License-Identifier: GPL-3.0-or-later
// Sweeps in talks: named by relative path and hash, checked and packed like records; a step of a sweep alone needs no
// record.
#include <QFile>
#include <QTemporaryDir>
#include <QtTest>
#include <nlohmann/json.hpp>

#include "../../record/sweep_fixture.h"
#include "../common/page_fixture.h"
#include "base/error.h"
#include "base/output_file.h"
#include "record/sweep/sweep_file.h"
#include "views/talk/talk_book.h"
#include "views/talk/talk_check.h"

using namespace headroom;
using namespace headroom::views;
using nlohmann::json;
namespace fs = std::filesystem;

class TestTalkSweeps : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  fs::path record_file_, sweep_file_;

  fs::path path(const char* name) const { return fs::path(dir_.path().toStdString()) / name; }
  static QByteArray error_of(const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }
  static ViewState with_sweep(ViewState state, const SweepPtr& sweep) {
    state.sweeps = {sweep};
    state.sweep = 0;
    state.sweep_look.page = 1;
    state.sweep_look.quantity = 1;
    return state;
  }
  /// A step of the record alone, one of its sweep too, and one of the sweep alone.
  Talk talk() {
    const RecordPtr record = record::RunRecord::open(record_file_);
    const SweepPtr sweep = read_open_sweep(sweep_file_);
    Selection selection;
    selection.open_record(record, 1);
    TalkBook book;
    book.start({}, {});
    book.add(with_sweep(selection.state(), sweep), "attention", 0, "A map");
    book.add(with_sweep(selection.state(), sweep), "budget", 0, "Both");
    book.add(with_sweep({}, sweep), "budget", 0, "Samples");
    return book.talk();
  }

 private slots:
  void initTestCase() {
    record_file_ = path("runs/a.h5");
    sweep_file_ = path("runs/s.h5");
    fs::create_directories(record_file_.parent_path());
    fs::create_directories(path("talks"));
    test::write_synthetic_record(record_file_, {.tokens = 120, .layers = 2});
    OutputPlace place(sweep_file_, OutputKind::file);
    record::write_sweep(place, test::sweep_record());
  }

  void a_step_keeps_its_sweep() {
    Talk made = talk();
    QCOMPARE(made.sweeps.size(), std::size_t(1));
    QCOMPARE(made.steps[0].sweep, -1);  // it shows none of it
    QCOMPARE(made.steps[1].sweep, 0);
    QCOMPARE(made.steps[2].sweep, 0);
    take_hashes(made);
    const fs::path file = path("talks/t.headroom-talk");
    write_talk(made, file);
    QVERIFY(read_talk(file) == made);
    QFile text(QString::fromStdString(file.string()));
    QVERIFY(text.open(QIODevice::ReadOnly));
    const json object = json::parse(text.readAll().toStdString());
    QCOMPARE(object["version"].get<int>(), 2);
    QCOMPARE(object["sweeps"][0]["file"].get<std::string>(), std::string("../runs/s.h5"));
    QVERIFY(check_talk(made).empty());
    const SweepPtr sweep = read_open_sweep(sweep_file_);
    const ViewState back = view_of_step(made, 2, {nullptr}, {sweep});
    QVERIFY(back.runs.empty() && back.current == -1 && back.sweeps == std::vector<SweepPtr>{sweep});
    QCOMPARE(back.sweep_look.quantity, 1);
    QVERIFY(error_of([&] { (void)view_of_step(made, 2, {nullptr}, {nullptr}); }).contains("its sweep cannot be shown"));
    // Without sweeps a talk is what it always was.
    Talk plain = made;
    plain.steps.resize(1);
    QVERIFY(talk_text(plain, path("talks")).find("\"version\": 1") != std::string::npos);
    QVERIFY(talk_text(plain, path("talks")).find("sweep\":") == std::string::npos);
  }

  void what_is_wrong_is_said() {
    Talk made = talk();
    take_hashes(made);
    const std::string text = talk_text(made, path("talks"));
    const auto with = [&](auto&& edit) {
      json object = json::parse(text);
      edit(object);
      return error_of([&] { (void)read_talk_text(object.dump(), path("talks"), "t"); });
    };
    QVERIFY(with([](json& o) { o["steps"][1]["sweep"] = 1; }).contains("step 2"));
    QVERIFY(with([](json& o) { o["steps"][1]["sweep"] = "x"; }).contains("sweep"));
    QVERIFY(with([](json& o) { o["sweeps"][0]["sha256"] = "12"; }).contains("64 hexadecimal digits"));
    QVERIFY(with([](json& o) { o["sweeps"][0]["file"] = ""; }).contains("the path of a sweep"));
    QVERIFY(with([](json& o) { o["sweeps"][0]["more"] = 1; }).contains("sweep 1"));
    // A method that it does not have, and another file in its place.
    Talk other = made;
    other.steps[2].view["sweep_look"]["method"] = "no-such-method";
    auto faults = check_talk(other);
    QCOMPARE(faults.size(), std::size_t(1));
    QVERIFY2(faults[0].line().contains("no such method"), qPrintable(faults[0].line()));
    QCOMPARE(faults[0].step, 2);
    other = made;
    other.sweeps[0].path = record_file_;
    faults = check_talk(other);
    QCOMPARE(faults.size(), std::size_t(1));
    QVERIFY2(faults[0].line().contains("has changed"), qPrintable(faults[0].line()));
    other.sweeps[0].sha256.clear();  // then it is read, and is no sweep
    QCOMPARE(check_talk(other).size(), std::size_t(1));
    other.sweeps[0].path = path("runs/gone.h5");
    faults = check_talk(other);
    QVERIFY2(faults.size() == 1 && faults[0].line().contains("is not there"), qPrintable(faults[0].line()));
    QVERIFY(error_of([&] { write_talk(made, sweep_file_); }).size() > 0);  // never over its own sweep
  }

  void a_packed_talk_holds_it() {
    Talk made = talk();
    take_hashes(made);
    const fs::path packed = pack_talk(made, "t", path("packed"));
    QVERIFY(fs::exists(path("packed/sweeps/s.h5")) && fs::exists(path("packed/records/a.h5")));
    const Talk back = read_talk(packed);
    QVERIFY(check_talk(back).empty());
    QCOMPARE(back.sweeps[0].sha256, made.sweeps[0].sha256);
    Talk lied = made;
    lied.sweeps[0].sha256 = std::string(64, 'a');
    QVERIFY(error_of([&] { (void)pack_talk(lied, "t", path("packed-2")); }).contains("has changed"));
    QVERIFY(!fs::exists(path("packed-2")));
  }

  void undo_keeps_what_was_saved() {
    const SweepPtr sweep = read_open_sweep(sweep_file_);
    TalkBook book;
    book.start({}, {});
    book.add(with_sweep({}, sweep), "budget", 0, "Samples");
    Talk hashed = book.talk();
    take_hashes(hashed);
    book.saved("t", hashed);
    book.remove(0);
    QCOMPARE(without_spare_records(book.talk()).sweeps.size(), std::size_t(0));
    book.undo_stack().undo();
    QCOMPARE(book.talk().steps[0].sweep, 0);
    QVERIFY(!book.talk().sweeps[0].sha256.empty());
    QCOMPARE(book.sweeps()[0], sweep);
    ViewState run_page = with_sweep({}, sweep);
    run_page.sweep_look.page = 0;  // the run is what is shown: no sweep is named
    QVERIFY(!shows_sweep(run_page));
  }
};

QTEST_MAIN(TestTalkSweeps)
#include "test_talk_sweeps.moc"
