// SPDX-License-Identifier: GPL-3.0-or-later
// The one selection: merged announcements, undo, and the defaults of a newly opened record.
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QtTest>
#include <algorithm>
#include <numeric>

#include "support/synthetic_record.h"
#include "views/common/opening.h"
#include "views/common/selection.h"

using namespace headroom;
using namespace headroom::views;

class TestSelection : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;

  RecordPtr make(const char* name, test::SyntheticOptions options) {
    const std::filesystem::path file = folder_.filePath(QLatin1String(name)).toStdString();
    test::write_synthetic_record(file, options);
    return record::RunRecord::open(file);
  }

 private slots:
  void one_announcement_a_tick_says_what_changed() {
    Selection selection;
    QSignalSpy spy(&selection, &Selection::changed);
    selection.change([](ViewState& s) { s.query_begin = 3, s.query_end = 4; });
    selection.change([](ViewState& s) { s.keys = {1}; });
    selection.change([](ViewState& s) { s.layer = 2; });
    selection.change([](ViewState& s) { s.layer = 0; });  // back again: not a change any more
    QCOMPARE(spy.count(), 0);
    QTRY_COMPARE(spy.count(), 1);
    QCOMPARE(spy.at(0).at(0).toUInt(), unsigned(Selection::Queries | Selection::Keys));
    selection.change([](ViewState&) {});
    QTest::qWait(10);
    QCOMPARE(spy.count(), 1);
  }

  void undo_and_redo_walk_the_steps() {
    Selection selection;
    for (int layer = 1; layer <= 3; ++layer) selection.change([layer](ViewState& s) { s.layer = layer; });
    selection.undo();
    QCOMPARE(selection.state().layer, 2);
    selection.undo();
    selection.redo();
    QCOMPARE(selection.state().layer, 2);
    selection.change([](ViewState& s) { s.layer = 9; });
    QVERIFY(!selection.can_redo());
    selection.undo();
    QCOMPARE(selection.state().layer, 2);
  }

  void closing_a_run_takes_its_pins_and_keys() {
    const RecordPtr first = make("closed.h5", {.tokens = 200, .layers = 2}),
                    other = make("stays.h5", {.tokens = 200, .layers = 2, .seed = 5});
    Selection selection;
    selection.open_record(other);
    selection.open_record(first);
    selection.change([](ViewState& s) { s.keys = {7}, s.pins = {{50, 7}}, s.query_begin = 50, s.query_end = 51; });
    selection.set_hover({50, 7});
    selection.close_record(1);
    QCOMPARE(selection.record(), other);
    QVERIFY(selection.state().keys.empty() && selection.state().pins.empty());
    QCOMPARE(selection.state().query_begin, std::int64_t{199});  // another text: as it is opened
    QCOMPARE(selection.hover(), MapPoint{});
    selection.undo();
    QCOMPARE(selection.record(), first);
    QCOMPARE(selection.state().pins.size(), std::size_t{1});
    selection.redo();  // closes it again
    QCOMPARE(selection.state().runs, std::vector<RecordPtr>{other});
    QCOMPARE(selection.record(), other);
    QVERIFY(selection.state().pins.empty());
    selection.undo();
    QCOMPARE(selection.state().runs.size(), std::size_t{2});
    selection.change([](ViewState& s) { s.layer = 1; });
    selection.undo();
    QVERIFY(selection.can_redo());
    selection.add_record(make("done.h5", {.tokens = 150, .layers = 2}));  // a run has ended meanwhile
    QVERIFY(selection.can_redo());
    selection.redo();
    QCOMPARE(selection.state().layer, 1);
    QCOMPARE(selection.state().runs.size(), std::size_t{3});
    QCOMPARE(selection.record(), first);
    while (selection.record()) selection.close_record(0);
    QVERIFY(selection.state().keys.empty() && selection.state().pins.empty());
    QCOMPARE(selection.state().query_end, std::int64_t{0});
  }

  void how_things_are_shown_can_be_undone() {
    Selection selection;
    QSignalSpy spy(&selection, &Selection::changed);
    selection.change([](ViewState& s) { s.display.mode = MapMode::lift; });
    selection.change([](ViewState& s) { s.display.missed_from = 0.2; }, QStringLiteral("missed from"));
    selection.change([](ViewState& s) { s.display.missed_from = 0.3; }, QStringLiteral("missed from"));
    QTRY_COMPARE(spy.count(), 1);
    QCOMPARE(spy.at(0).at(0).toUInt(), unsigned(Selection::Display));
    selection.undo();
    QCOMPARE(selection.state().display.missed_from, usual_missed_from);
    QVERIFY(selection.state().display.mode == MapMode::lift);
    selection.undo();
    QVERIFY(selection.state().display.mode == MapMode::probability);
  }

  void a_drag_is_one_step_and_two_drags_are_two() {
    Selection selection;
    for (int drag = 0; drag < 2; ++drag) {
      for (int i = 1; i <= 5; ++i) selection.change([](ViewState& s) { s.budget += 1; }, QStringLiteral("budget"));
      selection.end_merge();
    }
    selection.undo();
    QCOMPARE(selection.state().budget, 517.0);
    selection.undo();
    QCOMPARE(selection.state().budget, 512.0);
    QVERIFY(!selection.can_undo());
  }

  void undo_is_bounded() {
    Selection selection;
    for (int i = 1; i <= 300; ++i) selection.change([i](ViewState& s) { s.layer = i; });
    int steps = 0;
    for (; selection.can_undo(); ++steps) selection.undo();
    QCOMPARE(steps, 200);
    QCOMPARE(selection.state().layer, 100);
  }

  void hover_is_not_undoable() {
    Selection selection;
    QSignalSpy spy(&selection, &Selection::hover_changed);
    selection.set_hover({5, 3});
    selection.set_hover({5, 3});
    QCOMPARE(spy.count(), 1);
    QVERIFY(!selection.can_undo());
  }

  void a_record_opens_at_its_worst_kept_sparse_layer() {
    test::SyntheticOptions options;
    options.tokens = 160;
    options.layers = 4;
    options.keep_layers = {1, 3};
    const RecordPtr record = make("a.h5", options);
    Selection selection;
    selection.open_record(record);
    const ViewState& state = selection.state();
    QCOMPARE(state.method, QStringLiteral("indexer-k64-g1"));  // what it misses can be seen; the oracle misses nothing
    QCOMPARE(state.baseline, QStringLiteral("dense"));
    const auto& captured = record->find_method("indexer-k64-g1")->captured_mass_per_layer;
    QCOMPARE(state.layer, captured[1] <= captured[3] ? 1 : 3);
    QVERIFY(state.head.kind == record::HeadSelector::Kind::mean);
    QCOMPARE(state.query_begin, std::int64_t{159});
    QCOMPARE(state.query_end, std::int64_t{160});
    QCOMPARE(state.budget, 64.0);
    QCOMPARE(state.viewport, (Viewport{0, 160, 0, 160}));
    QVERIFY(!selection.can_undo());
    // A layer that does not exist is not taken over when the method changes.
    selection.change([](ViewState& s) { s.method = QStringLiteral("dense"), s.layer = 99; });
    QVERIFY(selection.state().layer < 4);
  }

  void the_retrieval_layer_is_where_the_last_query_stands_out() {
    test::SyntheticOptions options;
    options.tokens = 160;
    options.layers = 5;
    options.keep_layers = {0, 2, 3};
    const RecordPtr record = make("retrieval.h5", options);
    const std::string method = record::opening_method(*record);
    QCOMPARE(method, std::string("indexer-k64-g1"));
    int expected = -1;
    double most = 0;
    for (const int layer : {0, 2, 3}) {
      const auto stream = test::synthetic_stream(options, method, layer);
      const auto row = record::probability_row(stream, {}, 159);
      const auto usual = record->mass_received(method, layer, static_cast<int>(options.num_q_heads));
      std::vector<double> beyond;
      for (std::size_t key = 4; key < 160 - 64; ++key) beyond.push_back(double(row[key]) - double(usual[key]));
      std::sort(beyond.rbegin(), beyond.rend());
      const double score = std::accumulate(beyond.begin(), beyond.begin() + 8, 0.0);
      if (score > most) most = score, expected = layer;
    }
    QVERIFY(expected >= 0);
    QCOMPARE(retrieval_layer(*record).value_or(-1), expected);
    Selection selection;
    selection.open_record(record, expected);
    QCOMPARE(selection.state().layer, expected);
    selection.open_record(make("dense.h5", {.tokens = 60, .layers = 2, .methods = {"dense"}}), 77);
    QVERIFY(selection.state().layer < 2);  // no such layer
    QVERIFY(!retrieval_layer(*selection.record()));  // all keys of a short prompt are sinks or local
  }

  void another_record_of_the_same_tokens_keeps_the_place() {
    test::SyntheticOptions options;
    options.tokens = 160;
    options.layers = 3;
    const RecordPtr a = make("same_a.h5", options), b = make("same_b.h5", options);
    options.tokens = 96;
    const RecordPtr shorter = make("shorter.h5", options);
    Selection selection;
    selection.open_record(a);
    selection.change([](ViewState& s) {
      s.query_begin = 150, s.query_end = 151, s.keys = {20, 120}, s.pins = {{150, 20}};
      s.viewport = {100, 160, 0, 60};
    });
    selection.open_record(b);
    QCOMPARE(selection.state().query_begin, std::int64_t{150});
    QCOMPARE(selection.state().viewport, (Viewport{100, 160, 0, 60}));
    selection.open_record(shorter);
    QCOMPARE(selection.state().query_begin, std::int64_t{95});  // the last token of the other text
    QCOMPARE(selection.state().query_end, std::int64_t{96});
    QVERIFY(selection.state().keys.empty() && selection.state().pins.empty());
    QCOMPARE(selection.state().viewport, (Viewport{0, 96, 0, 96}));
    QCOMPARE(selection.state().runs.size(), std::size_t{3});
    selection.undo();
    QCOMPARE(selection.record(), b);
    QCOMPARE(selection.state().query_begin, std::int64_t{150});
    selection.open_record(a);  // known already: shown, not added again
    QCOMPARE(selection.state().runs.size(), std::size_t{3});
  }
};

QTEST_MAIN(TestSelection)
#include "test_selection.moc"
