// SPDX-License-Identifier: GPL-3.0-or-later
// The view as JSON: nothing is forgotten, nothing false is taken.
#include <QtTest>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "page_fixture.h"
#include "views/common/view_state_json.h"

using namespace headroom;
using namespace headroom::views;
using nlohmann::json;

class TestViewStateJson : public QObject {
  Q_OBJECT

  /// Every field other than a new state has it.
  static ViewState unusual() {
    const RecordPtr first = small_record(), second = make_record("second.h5", {.tokens = 200, .layers = 2});
    ViewState state;
    state.runs = {first, second};
    state.current = 1;
    state.baseline = "dense";
    state.method = "oracle-k64-g1";
    state.layer = 1;
    state.head = {record::HeadSelector::Kind::group, 1};
    state.query_begin = 17;
    state.query_end = 23;
    state.keys = {1, 2, 3, 9, 40};
    state.pins = {{50, 3}, {20, 20}};
    state.budget = 77.25;
    state.viewport = {-1.5, 100.125, 3, 99.1};
    state.colour_min = 1e-5;
    state.colour_max = 0.3;
    DisplayState& d = state.display;
    d.mode = MapMode::lift;
    d.show_mean = d.hide_bands = d.hit = d.wasted = d.grid_table = d.all_budgets = d.density_axis = true;
    d.differences_only = true;
    d.minimap = false;
    d.missed = false;
    d.missed_from = 0.01;
    d.lift_min = 0.2;
    d.lift_max = 50;
    d.grid_statistic = "entropy";
    d.layer_order = 2;
    d.unit = BudgetUnit::mass;
    d.curve_stream = "oracle-k64-g1";
    d.curve_scope = 1;
    d.target = 99;
    d.timing_layers = "indexer-k64-g1";
    d.compare_mode = CompareMode::diagonal_split;
    d.baseline = {first, "dense"};
    d.candidate = {second, "indexer-k64-g1"};
    d.compare_quantity = 3;
    d.missed_question = MissedQuestion::why;
    d.missed_scope = MissedScope::answer;
    d.rank_to = 64;
    d.answer_position = 2;
    SweepLook& l = state.sweep_look;
    l.page = 2;
    l.task = 1;
    l.length = 4096;
    l.quantity = 2;
    l.keys_axis = l.ship_from_runs = l.greedy = true;
    l.budget = "k128";
    l.method = "oracle-k128-g1";
    l.ship_family = "indexer";
    l.keep = 97;
    l.worst = 88;
    d.candidate_2 = {first, "oracle-k64-g1"};
    d.candidate_3 = {nullptr, "dense"};
    d.candidate_4 = {first, "indexer-k64-g1"};
    d.compare_chosen = 2;
    return state;
  }
  static QByteArray error_of(const json& object, std::size_t records = 2) {
    try {
      check_view_state_json(object, records, "the view");
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }
  /// Bytes of the struct that no field of the table covers and no alignment explains.
  static std::string uncovered(const std::vector<FieldPlace>& fields, std::size_t size, std::size_t alignment) {
    std::size_t end = 0;
    const auto rounded = [](std::size_t at, std::size_t to) { return (at + to - 1) / to * to; };
    for (const FieldPlace& field : fields) {
      if (rounded(end, field.alignment) != field.offset) return "before " + field.key;
      end = field.offset + field.size;
    }
    return rounded(end, alignment) == size ? "" : "at the end";
  }

 private slots:
  void every_field_is_in_the_table() {
    QCOMPARE(uncovered(view_state_layout(), sizeof(ViewState), alignof(ViewState)), std::string());
    QCOMPARE(uncovered(display_state_layout(), sizeof(DisplayState), alignof(DisplayState)), std::string());
    // A field left out is seen.
    std::vector<FieldPlace> fields = display_state_layout();
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (fields[i].size < 8) continue;
      std::vector<FieldPlace> fewer = fields;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      QVERIFY2(!uncovered(fewer, sizeof(DisplayState), alignof(DisplayState)).empty(), fields[i].key.c_str());
    }
  }

  void every_field_survives() {
    const ViewState state = unusual();
    const json object = view_state_to_json(state, state.runs), blank = view_state_to_json({}, state.runs);
    // That it is unusual in every field is part of the test.
    for (const auto& [key, value] : object.items()) QVERIFY2(blank.at(key) != value, key.c_str());
    for (const auto& [key, value] : object.at("display").items())
      QVERIFY2(blank.at("display").at(key) != value, key.c_str());
    const ViewState back = view_state_from_json(json::parse(object.dump()), state.runs, "test");
    QVERIFY(back == state);
    QCOMPARE(view_state_to_json(back, back.runs).dump(), object.dump());
  }

  void records_are_those_of_the_caller() {
    ViewState state = unusual();
    const RecordPtr first = state.runs[0], second = state.runs[1];
    state.runs = {make_record("open-too.h5", {.tokens = 100, .layers = 1}), first, second};
    state.current = 2;
    const std::vector<RecordPtr> named = records_named(state);
    QCOMPARE(named, (std::vector<RecordPtr>{second, first}));
    const json object = view_state_to_json(state, named);
    QCOMPARE(object.at("current").get<int>(), 0);
    QCOMPARE(object.at("display").at("baseline").at("record").get<int>(), 1);
    const ViewState back = view_state_from_json(object, named, "test");
    QCOMPARE(back.runs, named);
    QCOMPARE(back.display.candidate.run, second);
    QVERIFY_EXCEPTION_THROWN(view_state_to_json(state, {first}), Error);
    // One that could not be opened.
    QVERIFY_EXCEPTION_THROWN(view_state_from_json(object, {nullptr, first}, "test"), Error);
  }

  void a_file_of_before_keeps_the_defaults() {
    const ViewState back = view_state_from_json(json::object(), {}, "test");
    QVERIFY(back == ViewState());
  }

  void lies_name_key_expected_and_found() {
    const ViewState state = unusual();
    const json good = view_state_to_json(state, state.runs);
    QCOMPARE(error_of(good), QByteArray());
    struct Lie {
      const char *pointer, *value, *message;
    };
    const Lie lies[] = {
        {"/layer", "-1", "\"layer\""},
        {"/layer", "1e9", "\"layer\""},
        {"/layer", "null", "\"layer\""},
        {"/current", "2", "from -1 to 1, found 2"},
        {"/head/kind", "\"tail\"", "one of head, mean, group, found \"tail\""},
        {"/head", "[]", "\"head\""},
        {"/keys", "[[5]]", "\"keys\""},
        {"/keys", "[[0, 16777216]]", "1048576 keys"},
        {"/keys", "[[9, 3]]", "\"keys\""},
        {"/pins", "[[0, -1]]", "\"pins\""},
        {"/viewport", "[0, 1, 2]", "\"viewport\""},
        {"/viewport", "[0, 1, 2, null]", "\"viewport\""},
        {"/viewport", "[9, 1, 2, 3]", "\"viewport\""},
        {"/colour_min", "0", "\"colour_min\""},
        {"/colour_max", "1e-6", "more than colour_min"},
        {"/query_end", "3", "at least query_begin, 17, found 3"},
        {"/sundial", "1", "\"sundial\""},
        {"/display/mode", "7", "\"mode\""},
        {"/display/target", "101", "from 0.0 to 100.0, found 101"},
        {"/display/grid_statistic", "\"luck\"", "captured_mass"},
        {"/display/candidate/record", "5", "\"candidate\""},
        {"/display/lift_max", "0.1", "more than lift_min"},
        {"/display/colour", "1", "unknown field"},
    };
    for (const Lie& lie : lies) {
      json object = good;
      object[json::json_pointer(lie.pointer)] = json::parse(lie.value);
      const QByteArray error = error_of(object);
      QVERIFY2(error.contains(lie.message), (QByteArray(lie.pointer) + ": " + error).constData());
      QVERIFY2(error.startsWith("the view"), error);
    }
  }

  void what_the_record_lacks_is_listed() {
    ViewState state = unusual();
    state.current = 0;
    state.viewport = {0, 600, 0, 600};
    const auto keys = [&] {
      QStringList list;
      for (const Misfit& misfit : misfits(state)) list << QString::fromStdString(misfit.key);
      return list.join(' ');
    };
    QCOMPARE(keys(), QString());
    state.display.timing_layers = timing_by_context;  // no method's id
    QCOMPARE(keys(), QString());
    state.layer = 6;
    QCOMPARE(keys(), QString("layer"));
    state.layer = 1;
    state.head = {record::HeadSelector::Kind::head, 6};
    state.method = "oracle-k9-g1";
    QCOMPARE(keys(), QString("method head"));
    QCOMPARE(QString::fromStdString(misfits(state)[0].found), QString("\"oracle-k9-g1\""));
    state = unusual();  // shows the record of 200 tokens
    state.viewport = {0, 200, 0, 200};
    state.keys = {3, 200};
    state.pins = {{0, 0}, {250, 0}};
    state.query_end = 201;
    state.budget = 300;
    state.display.candidate.method = "none";
    state.display.curve_scope = 3;
    QCOMPARE(keys(), QString("query_end keys pins budget display.curve_scope display.candidate"));
    state.current = -1;
    QCOMPARE(keys(), QString("current"));
  }
};

QTEST_MAIN(TestViewStateJson)
#include "test_view_state_json.moc"
