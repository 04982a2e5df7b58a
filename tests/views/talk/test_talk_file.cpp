// SPDX-License-Identifier: GPL-3.0-or-later
// Talk files: round trips, lies, undo, what Check finds, what Pack leaves.
#include <QDir>
#include <QFile>
#include <QListWidget>
#include <QPlainTextEdit>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QtTest>
#include <nlohmann/json.hpp>

#include "../common/page_fixture.h"
#include "base/error.h"
#include "views/common/view_state_json.h"
#include "views/talk/stage.h"
#include "views/talk/talk_book.h"
#include "views/talk/talk_check.h"
#include "views/talk/talk_panel.h"

using namespace headroom;
using namespace headroom::views;
using nlohmann::json;
namespace fs = std::filesystem;

class TestTalkFile : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;

  fs::path path(const char* name) const { return fs::path(dir_.path().toStdString()) / name; }
  RecordPtr record(const char* name, std::uint64_t seed = 1) {
    const fs::path file = path(name);
    fs::create_directories(file.parent_path());
    test::SyntheticOptions options{.tokens = 200, .layers = 3};
    options.seed = seed;
    options.keep_layers = {1};
    test::write_synthetic_record(file, options);
    return record::RunRecord::open(file);
  }
  static ViewState view_of(const RecordPtr& record, int layer = 1) {
    Selection selection;
    selection.open_record(record, layer);
    return selection.state();
  }
  static QByteArray error_of(const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }
  /// Two steps of two records, one of them in Compare with both.
  void fill(TalkBook& book, const RecordPtr& a, const RecordPtr& b) {
    book.start({}, {});
    book.add(view_of(a), "attention", 5, "First");
    ViewState both = view_of(b);
    both.runs = {a, b};
    both.current = 1;
    both.display.baseline = {a, "dense"};
    both.display.candidate = {b, "oracle-k64-g1"};
    book.add(both, "compare", 0, "Second");
    book.set_text(0, StepText::caption, "What the <last> token reads");
    book.set_text(1, StepText::notes, "Say \"why\"\nand breathe – ünïcode");
  }

 private slots:
  void a_talk_survives_its_file() {
    TalkBook book;
    fill(book, record("runs/a.h5"), record("runs/b.h5", 2));
    book.set_title("A talk");
    book.set_live(0, json{{"model", "smollm2"}, {"prompt", "one two"}, {"methods", {"dense"}}, {"budgets", {"64"}}});
    Talk talk = book.talk();
    take_hashes(talk);
    fs::create_directories(path("talks"));
    const fs::path file = path("talks/t.headroom-talk");
    write_talk(talk, file);
    const Talk back = read_talk(file);
    QVERIFY(back == talk);
    QFile text(QString::fromStdString(file.string()));
    QVERIFY(text.open(QIODevice::ReadOnly));
    QVERIFY(text.readAll().contains("\"../runs/a.h5\""));  // relative to the talk
    QCOMPARE(records_of_step(back.steps[1]), (std::vector<std::size_t>{0, 1}));
    // A record that no step shows is not written.
    Talk fewer = talk;
    fewer.steps.erase(fewer.steps.begin() + 1);
    QCOMPARE(read_talk_text(talk_text(fewer, path("talks")), path("talks"), "t").records.size(), std::size_t(1));
    // Never over a record.
    QVERIFY(error_of([&] { write_talk(talk, path("runs/a.h5")); }).contains("would destroy"));
  }

  void lies_in_the_file_are_named() {
    TalkBook book;
    fill(book, record("lie-a.h5"), record("lie-b.h5", 2));
    Talk talk = book.talk();
    take_hashes(talk);
    const json good = json::parse(talk_text(talk, path("")));
    const auto error = [&](const json& object) {
      return error_of([&] { read_talk_text(object.dump(), path(""), "my.headroom-talk"); });
    };
    QCOMPARE(error(good), QByteArray());
    struct Lie {
      const char *pointer, *value, *message;
    };
    const Lie lies[] = {{"/format", "\"slides\"", "\"headroom-talk\", found \"slides\""},
                        {"/version", "3", "later version of Headroom (expected version 2 or earlier, found 3"},
                        {"/records/0/file", "\"\"", "record 1: field \"file\""},
                        {"/records/0/run_id", "\"xyz\"", "16 hexadecimal digits"},
                        {"/records/1/sha256", "\"\"", "record 2: field \"sha256\""},
                        {"/steps/0/page", "\"sundial\"", "step 1: field \"page\""},
                        {"/steps/1/view/current", "2", "step 2, \"view\": field \"current\""},
                        {"/steps/1/view/display/baseline/record", "7", "\"record\" is not valid"},
                        {"/steps/0/view/layer", "-4", "\"layer\""},
                        {"/steps/0/first_token", "-1", "\"first_token\""},
                        {"/steps/0/colour", "1", "unknown field"},
                        {"/steps/0/live", "{\"model\": \"m\"}", "step 1, \"live\""},
                        {"/steps", "{}", "\"steps\""}};
    for (const Lie& lie : lies) {
      json object = good;
      object[json::json_pointer(lie.pointer)] = json::parse(lie.value);
      const QByteArray found = error(object);
      QVERIFY2(found.contains(lie.message) && found.startsWith("my.headroom-talk"),
               (QByteArray(lie.pointer) + ": " + found).constData());
    }
    QVERIFY(error_of([&] { read_talk_text("{\"format\": ", path(""), "t"); }).contains("not valid JSON"));
    QVERIFY(error_of([&] { read_talk(path("none.headroom-talk")); }).contains("none.headroom-talk"));
    QVERIFY(error_of([&] { read_talk(path("")); }).contains("is no file"));
    // Cut off anywhere: one sentence, no crash.
    const std::string text = good.dump();
    for (std::size_t bytes = 0; bytes < text.size(); bytes += 97)
      QVERIFY(!error_of([&] { read_talk_text(text.substr(0, bytes), path(""), "t"); }).isEmpty());
  }

  void every_change_can_be_undone() {
    TalkBook book;
    fill(book, record("undo-a.h5"), record("undo-b.h5", 2));
    const Talk before = book.talk();
    book.saved("t", before);
    QVERIFY(!book.changed_since_saved());
    for (const char* text : {"C", "Ca", "Cap"}) book.set_text(0, StepText::caption, text);
    QVERIFY(book.changed_since_saved());
    book.undo_stack().undo();  // letters of one field go together
    QVERIFY(book.talk() == before);
    QVERIFY(!book.changed_since_saved());
    book.move(0, 1);
    QCOMPARE(book.talk().steps[1].title, QString("First"));
    QCOMPARE(book.current(), 1);
    book.remove(0);
    QCOMPARE(book.count(), 1);
    book.undo_stack().undo();
    book.undo_stack().undo();
    QVERIFY(book.talk() == before);
    book.undo_stack().redo();
    QCOMPARE(book.talk().steps[0].title, QString("Second"));
    book.set_current(0);
    book.update(view_of(book.records()[0], 2), "budget", 0);
    QCOMPARE(book.talk().steps[0].page, QString("budget"));
    QCOMPARE(book.talk().steps[0].title, QString("Second"));  // its words stay
    book.undo_stack().undo();
    QCOMPARE(book.talk().steps[0].page, QString("compare"));
  }

  void the_panel_writes_moves_and_removes() {
    TalkBook book;
    fill(book, record("panel-a.h5"), record("panel-b.h5", 2));
    TalkPanel panel(&book);
    show_page(panel, {340, 700});
    QCOMPARE(panel.steps()->count(), 2);
    book.set_current(0);
    QCOMPARE(panel.caption_field()->toPlainText(), QString("What the <last> token reads"));
    panel.caption_field()->setFocus();
    panel.caption_field()->selectAll();
    QTest::keyClicks(panel.caption_field(), "New words");
    QCOMPARE(book.talk().steps[0].caption, QString("New words"));
    QVERIFY(panel.steps()->item(0)->text().contains("New words"));
    QTest::keyClick(panel.caption_field(), Qt::Key_Z, Qt::ControlModifier);
    QCOMPARE(book.talk().steps[0].caption, QString("What the <last> token reads"));
    panel.steps()->setFocus();
    QTest::keyClick(panel.steps(), Qt::Key_Down, Qt::AltModifier);
    QCOMPARE(book.talk().steps[1].title, QString("First"));
    // A drag: the list moves its rows, the talk follows.
    QVERIFY(panel.steps()->model()->moveRow({}, 1, {}, 0));
    QTRY_COMPARE(book.talk().steps[0].title, QString("First"));
    QVERIFY(panel.steps()->item(0)->text().contains("First"));
    panel.steps()->setCurrentRow(1);
    QTest::keyClick(panel.steps(), Qt::Key_Delete);
    QCOMPARE(book.count(), 1);
    QCOMPARE(panel.steps()->count(), 1);
  }

  void check_finds_what_would_go_wrong() {
    const RecordPtr a = record("check/a.h5"), b = record("check/b.h5", 2);
    TalkBook book;
    fill(book, a, b);
    Talk talk = book.talk();
    take_hashes(talk);
    QVERIFY2(check_talk(talk).empty(), qPrintable(check_talk(talk).empty() ? "" : check_talk(talk)[0].line()));
    // A step that its record does not fit.
    Talk bad = talk;
    bad.steps[0].view["layer"] = 9;
    auto faults = check_talk(bad);
    QCOMPARE(faults.size(), std::size_t(1));
    QCOMPARE(faults[0].step, 0);
    QVERIFY2(faults[0].line().contains("layer") && faults[0].line().contains("0 to 2"), qPrintable(faults[0].line()));
    for (const auto& [pointer, value, word] : {std::tuple{"/method", json("oracle-k1-g1"), "method"},
                                               {"/head", json{{"kind", "head"}, {"index", 6}}, "head"},
                                               {"/keys", json{{199, 201}}, "keys"},
                                               {"/query_end", json(900), "query_end"}}) {
      bad = talk;
      bad.steps[0].view[json::json_pointer(pointer)] = value;
      faults = check_talk(bad);
      QVERIFY2(faults.size() == 1 && faults[0].step == 0 && faults[0].line().contains(word), pointer);
    }
    // Another hash, another run, no file: said of the first step that shows it.
    bad = talk;
    bad.records[1].sha256 = std::string(64, '0');
    faults = check_talk(bad);
    QVERIFY(faults.size() == 1 && faults[0].step == 1 && faults[0].line().contains("has changed"));
    bad = talk;
    bad.records[0].run_id = "0123456789abcdef";
    faults = check_talk(bad);
    QVERIFY(!faults.empty() && faults[0].step == 0 && faults[0].line().contains("another run"));
    fs::remove(path("check/b.h5"));
    faults = check_talk(talk);
    QVERIFY(faults.size() == 1 && faults[0].step == 1);
    QVERIFY2(faults[0].line().contains("b.h5") && faults[0].line().contains("is not there"),
             qPrintable(faults[0].line()));
    QVERIFY(!check_talk(Talk()).empty());
    // A byte that was changed.
    QFile file(QString::fromStdString(path("check/a.h5").string()));
    QVERIFY(file.open(QIODevice::ReadWrite));
    QVERIFY(file.seek(file.size() - 3));
    file.write("x");
    file.close();
    QVERIFY(!check_talk(talk)[0].line().isEmpty());
    QCOMPARE(check_talk(talk)[0].step, 0);
  }

  void pack_is_whole_or_nothing() {
    // Two records of one name.
    const RecordPtr a = record("p1/run.h5"), b = record("p2/run.h5", 2);
    TalkBook book;
    fill(book, a, b);
    Talk talk = book.talk();
    take_hashes(talk);
    const fs::path folder = path("packed");
    const fs::path file = pack_talk(talk, "my talk", folder);
    QCOMPARE(file, folder / "my talk.headroom-talk");
    fs::remove_all(path("p1"));
    fs::remove_all(path("p2"));
    // It goes where one takes it.
    fs::rename(folder, path("stick"));
    const Talk there = read_talk(path("stick/my talk.headroom-talk"));
    QVERIFY(check_talk(there).empty());
    QVERIFY(there.records[0].path != there.records[1].path);
    QCOMPARE(QDir(QString::fromStdString(path("stick").string()))
                 .entryList(QDir::Files | QDir::Dirs | QDir::NoDotAndDotDot)
                 .size(),
             2);
    // Not over anything, and nothing half-written is left.
    const auto names = [&] {
      return QDir(dir_.path()).entryList(QDir::AllEntries | QDir::Hidden | QDir::NoDotAndDotDot);
    };
    const QStringList before = names();
    QVERIFY(error_of([&] { pack_talk(there, "t", path("stick")); }).contains("is there already"));
    fs::remove(there.records[1].path);
    QVERIFY(error_of([&] { pack_talk(there, "t", path("other")); }).contains("is not there"));
    Talk changed = there;
    changed.records[0].sha256 = std::string(64, '1');
    QVERIFY(error_of([&] { pack_talk(changed, "t", path("other")); }).contains("has changed"));
    QVERIFY(error_of([&] { pack_talk(there, "t", path("no/where")); }).contains("above it"));
    QCOMPARE(names(), before);
  }

  void a_view_comes_back_exactly() {
    const RecordPtr a = record("exact-a.h5"), b = record("exact-b.h5", 2);
    ViewState state = view_of(a);
    state.keys = {3, 4, 9};
    state.pins = {{100, 2}};
    state.colour_max = 0.25;
    state.viewport = {10.5, 80, 3, 60.25};
    state.display.missed = true;
    state.display.mode = MapMode::lift;
    TalkBook book;
    book.start({}, {});
    book.add(view_of(b), "budget", 0, "Other");
    book.add(state, "attention", 17, "Step");
    const ViewState back = view_of_step(book.talk(), 1, book.records());
    QVERIFY(back == state);
  }

  void the_stage_says_where_one_is() {
    StageBar bar;
    bar.show_step("Title", "<b>not bold</b>", 3, 12);
    QCOMPARE(bar.number(), QString("3 / 12"));
    QCOMPARE(bar.caption(), QString("<b>not bold</b>"));
    SpeakerWindow speaker;
    speaker.show_step({"Title", "Caption", "Notes", "Then", "more", {}, 3, 12});
    QVERIFY(speaker.next().contains("Then"));
    QVERIFY(speaker.clock().contains("since the start 0:0"));
    FadingHint hint(&bar);
    hint.show_for("Esc leaves", 10);
    QVERIFY(!hint.isHidden());
    QTRY_VERIFY_WITH_TIMEOUT(hint.isHidden(), 10000);
  }
};

QTEST_MAIN(TestTalkFile)
#include "test_talk_file.moc"
