// SPDX-License-Identifier: GPL-3.0-or-later
// The dock of missed keys: what it lists for rows, a layer and the answer, that its lines lead map and text, who reads
// a key, why the answer changed, stopping and the table on disk.
#include <QComboBox>
#include <QFile>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QSpinBox>
#include <QTableView>

#include "views/common/page_fixture.h"
#include "views/docks/inspector_dock.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/missed/missed_panel.h"
#include "views/overview/answer_cards.h"
#include "views/prompt/prompt_panel.h"

#include <QTableWidget>

using namespace headroom;
using namespace headroom::views;

namespace {

constexpr std::int64_t tokens = 500;
constexpr const char* indexer = "indexer-k64-g1";

RecordPtr missed_panel_record() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = tokens;
    options.layers = 4;
    options.sliding_layers = {3};
    options.keep_layers = {0, 1};
    options.methods = {"dense", "oracle-k64-g1", "indexer-k64-g1", "head_topk-k64-g1"};
    options.choices = true;
    return make_record("missed_panel.h5", options);
  }();
  return record;
}

struct Bench {
  Selection selection;
  MissedPanel panel{&selection};
  explicit Bench(int layer = 1) {
    selection.open_record(missed_panel_record());
    selection.change([layer](ViewState& s) {
      s.method = indexer, s.layer = layer, s.query_begin = 300, s.query_end = 301;
    });
    show_page(panel, {420, 600});
    settle();
  }
  void settle() {
    QCoreApplication::processEvents();
    QTRY_VERIFY_WITH_TIMEOUT(panel.settled(), 20000);
    QCoreApplication::processEvents();
    QTRY_VERIFY_WITH_TIMEOUT(panel.settled(), 20000);
  }
  template <typename Edit>
  void change(Edit&& edit) {
    selection.change(edit);
    settle();
  }
  const MissedModel& model() const { return panel.missed(); }
  QString cell(int row, MissedModel::Column column) const {
    return model().index(row, model().index_of(column)).data().toString();
  }
};

double missed_mass(int layer, std::int64_t begin, std::int64_t end, record::HeadSelector head = {}) {
  const auto record = missed_panel_record();
  const auto stream = record->layer_stream(indexer, layer);
  const auto s = record->supports(indexer, layer, record::SupportKind::support),
             t = record->supports(indexer, layer, record::SupportKind::target);
  double mass = 0;
  for (std::int64_t query = begin; query < end; ++query)
    for (std::int64_t key = 0; key <= query; ++key)
      if (t->test(query, key) && !s->test(query, key))
        mass += static_cast<double>(record::probability(*stream, head, query, key));
  return mass;
}

}  // namespace

class TestMissedPanel : public QObject {
  Q_OBJECT
 private slots:
  void a_row_is_ranked_with_its_total() {
    Bench b;
    QVERIFY(b.model().rowCount() > 3);
    const double all = missed_mass(1, 300, 301);
    QVERIFY(std::abs(b.model().result().mass - all) < 1e-4);
    for (int row = 1; row < b.model().rowCount(); ++row)
      QVERIFY(b.model().result().missed[static_cast<std::size_t>(row) - 1].mass >=
              b.model().result().missed[static_cast<std::size_t>(row)].mass);
    const MissedPlace first = b.model().place(0);
    QCOMPARE(first.query, std::int64_t{300});
    QCOMPARE(b.cell(0, MissedModel::Column::token),
             visible_token(missed_panel_record()->tokens(), first.key, 28));
    QVERIFY2(b.panel.headline().contains("query 300") && b.panel.headline().contains("keys missed") &&
                 b.panel.headline().contains("mean of heads"),
             qPrintable(b.panel.headline()));
    QCOMPARE(b.model().index_of(MissedModel::Column::rows), -1);  // one row: nothing to count
  }

  void a_layer_and_the_answer_add_up_rows() {
    Bench b;
    b.change([](ViewState& s) { s.display.missed_scope = MissedScope::layer; });
    QVERIFY(std::abs(b.model().result().mass - missed_mass(1, 0, tokens)) < 0.01);
    QVERIFY(b.model().index_of(MissedModel::Column::rows) > 0);
    QVERIFY2(b.panel.headline().startsWith("all rows of layer 1"), qPrintable(b.panel.headline()));
    b.change([](ViewState& s) { s.display.missed_scope = MissedScope::answer; });
    QCOMPARE(b.model().result().rows, std::int64_t{2});  // two layers are kept
    QVERIFY(std::abs(b.model().result().mass - missed_mass(0, tokens - 1, tokens) -
                     missed_mass(1, tokens - 1, tokens)) < 1e-4);
    QVERIFY2(b.panel.note().contains("decoded dense"), qPrintable(b.panel.note()));
    b.change([](ViewState& s) {
      s.display.missed_scope = MissedScope::rows, s.query_begin = 100, s.query_end = 200;
    });
    QVERIFY(std::abs(b.model().result().mass - missed_mass(1, 100, 200)) < 0.01);
    b.change([](ViewState& s) { s.head = {record::HeadSelector::Kind::head, 2}; });
    QVERIFY(std::abs(b.model().result().mass - missed_mass(1, 100, 200, {record::HeadSelector::Kind::head, 2})) < 0.01);
  }

  void it_sorts_by_every_column() {
    Bench b;
    b.change([](ViewState& s) { s.display.missed_scope = MissedScope::layer; });
    QHeaderView* header = b.panel.table()->horizontalHeader();
    for (int column = 0; column < b.model().columnCount(); ++column) {
      for (const Qt::SortOrder order : {Qt::AscendingOrder, Qt::DescendingOrder}) {
        header->setSortIndicator(column, order);
        const auto& lines = b.model().result().missed;
        const MissedModel::Column by = b.model().column(column);
        for (std::size_t i = 1; i < lines.size(); ++i) {
          const auto &first = order == Qt::AscendingOrder ? lines[i - 1] : lines[i],
                     &second = order == Qt::AscendingOrder ? lines[i] : lines[i - 1];
          if (by == MissedModel::Column::position) QVERIFY(first.key < second.key);
          if (by == MissedModel::Column::mass || by == MissedModel::Column::share) QVERIFY(first.mass <= second.mass);
          if (by == MissedModel::Column::rows) QVERIFY(first.rows <= second.rows);
          if (by == MissedModel::Column::most_query) QVERIFY(first.query <= second.query);
        }
      }
    }
    header->setSortIndicator(b.model().index_of(MissedModel::Column::rows), Qt::AscendingOrder);
    b.change([](ViewState& s) { s.layer = 0; });  // another list keeps the order that was chosen
    const auto& lines = b.model().result().missed;
    for (std::size_t i = 1; i < lines.size(); ++i) QVERIFY(lines[i - 1].rows <= lines[i].rows);
  }

  void a_line_leads_map_and_text() {
    Bench b;
    AttentionPage page(&b.selection);
    show_page(page, {1000, 700});
    b.change([](ViewState& s) { s.viewport = {0, 40, 0, 40}; });
    QSignalSpy chosen(&b.panel, &MissedPanel::place_chosen);
    const MissedPlace place = b.model().place(2);
    QTableView* table = b.panel.table();
    QTest::mouseClick(table->viewport(), Qt::LeftButton, {}, table->visualRect(b.model().index(2, 1)).center());
    b.settle();
    QCOMPARE(chosen.count(), 1);
    const ViewState& state = b.selection.state();
    QCOMPARE(state.query_begin, std::int64_t{300});
    QCOMPARE(state.keys, std::set<std::int64_t>{place.key});
    QVERIFY(state.viewport.query_begin <= 300 && state.viewport.query_end >= 301);
    QVERIFY(state.viewport.key_begin <= static_cast<double>(place.key) &&
            state.viewport.key_end >= static_cast<double>(place.key + 1));
    QTRY_VERIFY(page.settled());
    QCOMPARE(page.map()->cursor().key, place.key);
    // Enter on another line; the list stays, since its rows are the same.
    table->setFocus();
    table->setCurrentIndex(b.model().index(0, 0));
    QTest::keyClick(table, Qt::Key_Return);
    b.settle();
    QCOMPARE(*b.selection.state().keys.begin(), b.model().place(0).key);
    b.selection.undo();
    b.settle();
    QVERIFY(b.selection.state().keys.empty());  // lines one after the other are one step
  }

  void several_rows_stay_chosen_when_a_line_is() {
    Bench b;
    b.change([](ViewState& s) { s.query_begin = 200, s.query_end = 400; });
    const auto before = b.model().rowCount();
    b.panel.go_to_line(1);
    b.settle();
    QCOMPARE(b.selection.state().query_begin, std::int64_t{200});
    QCOMPARE(b.selection.state().query_end, std::int64_t{400});
    QCOMPARE(b.model().rowCount(), before);
    QCOMPARE(b.selection.state().keys.size(), std::size_t{1});
  }

  void the_answer_list_leads_to_the_layer_that_missed_most() {
    Bench b(2);  // a layer that is not kept
    b.change([](ViewState& s) { s.display.missed_scope = MissedScope::answer; });
    const MissedPlace place = b.model().place(0);
    QVERIFY(place.layer == 0 || place.layer == 1);
    b.panel.go_to_line(0);
    b.settle();
    QCOMPARE(b.selection.state().layer, place.layer);
    QCOMPARE(b.selection.state().query_begin, tokens - 1);
  }

  void who_reads_a_key() {
    Bench b;
    b.change([](ViewState& s) { s.display.missed_question = MissedQuestion::readers; });
    QVERIFY2(b.panel.headline().contains("Select a key"), qPrintable(b.panel.headline()));
    b.change([](ViewState& s) { s.keys = {50}; });
    QCOMPARE(b.model().rowCount(), int(tokens - 50));
    const auto record = missed_panel_record();
    const auto stream = record->layer_stream(indexer, 1);
    const auto s = record->supports(indexer, 1, record::SupportKind::support),
               t = record->supports(indexer, 1, record::SupportKind::target);
    std::int64_t missed = 0;
    float last = 2;
    for (const ReaderLine& line : b.model().result().readers) {
      QVERIFY(line.p <= last);
      last = line.p;
      QVERIFY(std::abs(line.p - record::probability(*stream, {}, line.query, 50)) < 1e-5f);
      const bool in = s->test(line.query, 50), wanted = t->test(line.query, 50);
      if (in && wanted) QVERIFY(line.says == ReaderSays::hit);
      if (!in && wanted) QVERIFY(line.says == ReaderSays::missed);
      if (!in && !wanted) QVERIFY(line.says == ReaderSays::left_out);
      missed += !in && wanted;
    }
    QCOMPARE(b.model().result().key_missed, missed);
    b.panel.go_to_line(3);
    b.settle();
    QCOMPARE(b.selection.state().query_begin, b.model().place(3).query);
    QCOMPARE(b.selection.state().keys, std::set<std::int64_t>{50});
    b.change([](ViewState& state) { state.layer = 2; });
    QVERIFY2(b.panel.headline().contains("Record the layer exactly"), qPrintable(b.panel.headline()));
  }

  void why_the_answer_changed() {
    Bench b;
    b.change([](ViewState& s) { s.display.missed_question = MissedQuestion::why; });
    QVERIFY2(b.panel.headline().contains("At answer token 3 dense says “·Paris” (0.81)") &&
                 b.panel.headline().contains("says “·Lyon” (0.44; dense gave it 0.07)"),
             qPrintable(b.panel.headline()));
    QCOMPARE(b.panel.table()->model()->rowCount(), 4);
    QCOMPARE(b.panel.table()->model()->index(0, 0).data().toString(), QString("“·Paris”"));
    b.panel.findChild<QSpinBox*>()->setValue(1);
    b.settle();
    QVERIFY2(b.panel.headline().contains("At answer token 1") && b.panel.headline().contains("both say"),
             qPrintable(b.panel.headline()));
    auto* button = b.panel.findChild<QPushButton*>("show_last_row");
    QVERIFY2(button->isVisible() && button->text().startsWith("Row 499 in layer"), qPrintable(button->text()));
    const int worst = missed_mass(0, tokens - 1, tokens) > missed_mass(1, tokens - 1, tokens) ? 0 : 1;
    button->click();
    b.settle();
    const ViewState& state = b.selection.state();
    QCOMPARE(state.layer, worst);
    QCOMPARE(state.query_begin, tokens - 1);
    QVERIFY(state.display.missed_question == MissedQuestion::missed && state.display.missed_scope == MissedScope::rows);
    QVERIFY(std::abs(b.model().result().mass - missed_mass(worst, tokens - 1, tokens)) < 1e-4);
    // Of dense there is nothing to ask, but it leads to those of whom there is.
    b.change([](ViewState& s) { s.method = "dense", s.display.missed_question = MissedQuestion::why; });
    QVERIFY2(b.panel.headline().contains("first differs at answer token 3"), qPrintable(b.panel.headline()));
    b.change([](ViewState& s) { s.method = "oracle-k64-g1"; });
    QVERIFY2(b.panel.headline().contains("does not hold the candidates"), qPrintable(b.panel.headline()));
  }

  void it_says_why_there_is_nothing() {
    Bench b;
    b.change([](ViewState& s) { s.method = "dense"; });
    QVERIFY2(b.panel.headline().contains("misses nothing"), qPrintable(b.panel.headline()));
    b.change([](ViewState& s) { s.method = "head_topk-k64-g1"; });
    QVERIFY2(b.panel.headline().contains("choose one head"), qPrintable(b.panel.headline()));
    b.change([](ViewState& s) { s.head = {record::HeadSelector::Kind::head, 1}; });
    QVERIFY(b.model().rowCount() > 0);
    b.change([](ViewState& s) { s.method = indexer, s.layer = 3, s.head = {}; });
    QVERIFY2(b.panel.headline().contains("sliding"), qPrintable(b.panel.headline()));
    b.change([](ViewState& s) { s.layer = 2; });  // supports, no q and k
    QVERIFY(b.model().rowCount() > 0);
    QVERIFY2(b.panel.note().contains("mass is not"), qPrintable(b.panel.note()));
    QCOMPARE(b.cell(0, MissedModel::Column::mass), QString("–"));
    b.change([](ViewState& s) { s.layer = 1, s.method = "oracle-k64-g1"; });
    QVERIFY2(b.panel.headline().contains("nothing missed"), qPrintable(b.panel.headline()));
  }

  void stopping_keeps_what_was_found() {
    MissedRequest request{missed_panel_record(), indexer, 1, {}, MissedQuestion::missed, MissedScope::layer, 0, 0, -1};
    std::stop_source stop;
    int told = 0;
    const MissedResult part = scan_missed(request, stop.get_token(), [&](int permille) {
      told = permille;
      if (permille >= 500) stop.request_stop();
    });
    QVERIFY(part.stopped && told >= 500 && told < 1000);
    QVERIFY(part.rows >= tokens / 2 && part.rows < tokens && !part.missed.empty());
  }

  void the_whole_list_goes_to_a_file() {
    Bench b;
    b.change([](ViewState& s) { s.display.missed_scope = MissedScope::layer; });
    const QString file = QString::fromStdString(temporary_file("missed.csv").string());
    QCOMPARE(b.panel.write_csv(file), QString());
    QFile in(file);
    QVERIFY(in.open(QIODevice::ReadOnly));
    const QStringList lines = QString::fromUtf8(in.readAll()).split("\r\n", Qt::SkipEmptyParts);
    QVERIFY(lines[0].startsWith("# Headroom run "));
    const auto header = lines.indexOf("key,token,missed_mass,rows,rows_with_mass,layers,most_layer,most_query,most_p");
    QVERIFY(header > 2);
    QCOMPARE(lines.size() - header - 1, b.model().rowCount());
    QVERIFY(!b.panel.write_csv(file + "/not/a/folder.csv").isEmpty());
    QVERIFY2(b.panel.note().contains("was not written"), qPrintable(b.panel.note()));
  }

  void inspector_rows_move_the_map() {
    Selection selection;
    InspectorDock dock(&selection);
    selection.open_record(missed_panel_record());
    selection.change([](ViewState& s) {
      s.method = indexer, s.layer = 1, s.query_begin = 450, s.query_end = 451, s.viewport = {0, 30, 0, 30};
    });
    show_page(dock, {340, 600});
    auto* keys = dock.findChild<QTableWidget*>();
    QTRY_VERIFY(keys->rowCount() > 2);
    QTest::mouseClick(keys->viewport(), Qt::LeftButton, {}, keys->visualItemRect(keys->item(1, 1)).center());
    const std::int64_t key = keys->item(1, 0)->data(Qt::UserRole).toLongLong();
    QCoreApplication::processEvents();
    QCOMPARE(selection.state().keys, std::set<std::int64_t>{key});
    QVERIFY(selection.state().viewport.query_begin <= 450 && selection.state().viewport.query_end >= 451);
    QVERIFY(selection.state().viewport.key_end >= static_cast<double>(key + 1));
  }

  void an_answer_card_says_where_it_changes() {
    AnswerCards cards;
    cards.set_why(true);
    const auto record = missed_panel_record();
    cards.set_answers({{record->find_method("dense"), {}}, {record->find_method(indexer), {}},
                       {record->find_method("oracle-k64-g1"), {}}},
                      {});
    QVERIFY(cards.why_text(0).isEmpty());
    QVERIFY2(cards.why_text(1).startsWith("At answer token 3 dense says “·Paris” (0.81), this method says “·Lyon”"),
             qPrintable(cards.why_text(1)));
    QVERIFY(cards.why_text(2).isEmpty());  // its answer is dense's
    QSignalSpy asked(&cards, &AnswerCards::why_asked);
    emit cards.findChild<QLabel*>(QString("why_") + indexer)->linkActivated("why");
    QCOMPARE(asked.value(0).value(0).toString(), QString(indexer));
  }
};

QTEST_MAIN(TestMissedPanel)
#include "test_missed_panel.moc"
