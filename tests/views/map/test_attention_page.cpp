// SPDX-License-Identifier: GPL-3.0-or-later
// The attention page as a person uses it: click, keys, find, layers that are not kept, export.
#include <QBuffer>
#include <QLineEdit>
#include <QPainter>
#include <QSvgGenerator>
#include <QTemporaryDir>
#include <QToolButton>
#include <QtTest>

#include "support/synthetic_record.h"
#include "views/map/attention_controls.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/map/map_readout.h"
#include "views/prompt/prompt_panel.h"
#include "views/prompt/prompt_text.h"
#include "views/prompt/text_index.h"
#include "views/common/theme.h"

using namespace headroom;
using namespace headroom::views;

class TestAttentionPage : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  RecordPtr record_;

  struct Opened {
    Selection selection;
    AttentionPage page{&selection};
    explicit Opened(const RecordPtr& record) {
      page.resize(1280, 720);
      page.move(30, 30);
      page.show();
      selection.open_record(record);
      settle();
    }
    void settle() {
      QTest::qWait(5);
      QTRY_VERIFY_WITH_TIMEOUT(page.map()->data() && page.map()->data()->source.layer == selection.state().layer &&
                                   page.map()->data()->source.method == selection.state().method &&
                                   page.map()->data()->source.head == selection.state().head,
                               20000);
      page.map()->plot()->replot();
      QTRY_VERIFY_WITH_TIMEOUT(!page.map()->cache()->busy(), 30000);
      page.map()->plot()->replot();
    }
    QPointF position_of(double query, double key) {
      const QRect area = page.map()->plot()->axisRect(1)->rect();
      const Viewport& view = selection.state().viewport;
      return {area.left() + (key + 0.5 - view.key_begin) / (view.key_end - view.key_begin) * area.width(),
              area.top() + (query + 0.5 - view.query_begin) / (view.query_end - view.query_begin) * area.height()};
    }
    void click(double query, double key, Qt::KeyboardModifiers modifiers = {}) {
      QTest::mouseClick(page.map()->plot(), Qt::LeftButton, modifiers, position_of(query, key).toPoint());
      QTest::qWait(5);
    }
    void press(Qt::Key key, Qt::KeyboardModifiers modifiers = {}) {
      QTest::keyClick(page.map(), key, modifiers);
      QTest::qWait(5);
    }
  };

 private slots:
  void initTestCase() {
    Theme::instance().set_mode(ThemeMode::light);
    test::SyntheticOptions options;
    options.tokens = 400;
    options.layers = 4;
    options.keep_layers = {0, 2};
    options.sliding_layers = {3};
    const std::filesystem::path file = folder_.filePath(QStringLiteral("run.h5")).toStdString();
    test::write_synthetic_record(file, options);
    record_ = record::RunRecord::open(file);
  }

  void a_click_selects_the_row_and_colours_the_text() {
    Opened opened(record_);
    opened.selection.change([](ViewState& s) { s.viewport = {300, 340, 100, 160}; });
    opened.settle();
    opened.click(320, 130);
    const ViewState& state = opened.selection.state();
    QCOMPARE(state.query_begin, std::int64_t{320});
    QCOMPARE(state.query_end, std::int64_t{321});
    QCOMPARE(state.keys, std::set<std::int64_t>{130});
    const auto& stream = *opened.page.map()->data()->stream;
    const auto row = record::probability_row(stream, state.head, 320);
    auto* text = opened.page.prompt()->text();
    QTRY_VERIFY(text->mass().size() == 400 && std::abs(text->mass()[130] - row[130]) < 1e-6f);
    const auto strongest = std::max_element(row.begin(), row.end()) - row.begin();
    QVERIFY(text->background_of(strongest).isValid());
    QVERIFY(!text->background_of(399).isValid());
    const auto weakest = std::min_element(row.begin(), row.end()) - row.begin();
    QVERIFY(!text->background_of(weakest).isValid());  // below an even share
    // The read-out agrees with the stored stream to three digits, and its rank with the row.
    QCOMPARE(opened.page.readout()->value(QStringLiteral("p")),
             short_number(double(record::probability(stream, state.head, 320, 130))));
    QTRY_COMPARE(opened.page.readout()->value(QStringLiteral("rank")),
                 QStringLiteral("%1 of 321").arg(record::rank_in_row(stream, state.head, 320, 130)));
    QVERIFY(opened.page.readout()->value(QStringLiteral("query")).startsWith(QStringLiteral("320")));
  }

  void zoomed_out_a_click_finds_the_strongest_pair_of_the_cell() {
    Opened opened(record_);
    opened.page.resize(500, 420);
    opened.settle();
    opened.click(350, 77);
    const MapPoint found{opened.selection.state().query_begin, *opened.selection.state().keys.begin()};
    const auto& data = *opened.page.map()->data();
    const CellValue cell = opened.page.map()->value_at(found);
    QVERIFY(cell.cell > 1);
    QVERIFY(std::abs(record::probability(*data.stream, data.source.head, found.query, found.key) - cell.max) < 1e-6f);
  }

  void dragging_pans_in_one_step_and_shift_drag_selects_rows() {
    Opened opened(record_);
    opened.selection.change([](ViewState& s) { s.viewport = {200, 300, 100, 200}; });
    opened.settle();
    auto* plot = opened.page.map()->plot();
    const QPoint from = opened.position_of(250, 150).toPoint();
    QTest::mousePress(plot, Qt::LeftButton, {}, from);
    for (int i = 1; i <= 5; ++i) QTest::mouseMove(plot, from + QPoint(12 * i, 6 * i));
    QTest::mouseRelease(plot, Qt::LeftButton, {}, from + QPoint(60, 30));
    QVERIFY(opened.selection.state().viewport.key_begin < 99 && opened.selection.state().viewport.query_begin < 199);
    QCOMPARE(opened.selection.state().query_begin, record_->length() - 1);  // as it was opened: not by the drag
    opened.selection.undo();
    QCOMPARE(opened.selection.state().viewport.key_begin, 100.0);
    opened.settle();
    QTest::mousePress(plot, Qt::LeftButton, Qt::ShiftModifier, opened.position_of(220, 150).toPoint());
    QTest::mouseMove(plot, opened.position_of(240, 150).toPoint());
    QTest::mouseRelease(plot, Qt::LeftButton, Qt::ShiftModifier, opened.position_of(240, 150).toPoint());
    QCOMPARE(opened.selection.state().query_begin, std::int64_t{220});
    QCOMPARE(opened.selection.state().query_end, std::int64_t{241});
  }

  void ctrl_drag_selects_keys_beside_those_that_are_chosen() {
    Opened opened(record_);
    opened.selection.change([](ViewState& s) {
      s.viewport = {200, 300, 100, 200};
      s.query_begin = 250, s.query_end = 251;
      s.keys = {110};
    });
    opened.settle();
    auto* plot = opened.page.map()->plot();
    const auto drag = [&](double from, double to) {
      QTest::mousePress(plot, Qt::LeftButton, Qt::ControlModifier, opened.position_of(250, from).toPoint());
      for (const double at : {(from + to) / 2, to})
        QTest::mouseMove(plot, opened.position_of(250, at).toPoint());
      QTest::mouseRelease(plot, Qt::LeftButton, Qt::ControlModifier, opened.position_of(250, to).toPoint());
      QTest::qWait(5);
    };
    const ViewState& state = opened.selection.state();
    drag(150, 159);
    std::set<std::int64_t> wanted{110};
    for (std::int64_t key = 150; key <= 159; ++key) wanted.insert(key);
    QCOMPARE(state.keys, wanted);
    QVERIFY(state.query_begin == 250 && state.query_end == 251);
    QCOMPARE(state.viewport.key_begin, 100.0);  // not panned
    drag(120, 112);  // to the left
    QCOMPARE(state.keys.size(), std::size_t{20});
    opened.selection.undo();
    QCOMPARE(state.keys, wanted);
    opened.selection.undo();
    QCOMPARE(state.keys, std::set<std::int64_t>{110});
    // Where it can be done it is written.
    auto* hint = opened.page.findChild<QLabel*>(QStringLiteral("map_hint"));
    QVERIFY(hint && hint->isVisible() && hint->text().contains(QStringLiteral("Ctrl+drag: keys")));
  }

  void keys_move_through_heads_layers_and_keys() {
    Opened opened(record_);
    const ViewState& state = opened.selection.state();
    using Kind = record::HeadSelector::Kind;
    opened.press(Qt::Key_BracketRight);
    QVERIFY(state.head == (record::HeadSelector{Kind::head, 0}));
    opened.press(Qt::Key_BracketLeft);
    QVERIFY(state.head.kind == Kind::mean);
    opened.selection.change([](ViewState& s) { s.layer = 2; });
    opened.press(Qt::Key_BraceRight, Qt::ShiftModifier);
    QCOMPARE(state.layer, 0);  // 3 is a sliding layer
    opened.press(Qt::Key_BracketLeft, Qt::ShiftModifier);
    QCOMPARE(state.layer, 2);
    opened.selection.change([](ViewState& s) { s.method = QStringLiteral("indexer-k64-g1"); });
    opened.settle();
    const auto data = opened.page.map()->data();
    QVERIFY(data->has_overlay());
    opened.selection.change([](ViewState& s) { s.query_begin = 300, s.query_end = 301, s.keys = {10}; });
    opened.press(Qt::Key_Period);
    QCOMPARE(state.keys.size(), std::size_t{1});
    const std::int64_t next = *state.keys.begin();
    QVERIFY(next > 10 && data->support->test(300, next) && data->support->count(300, 11, next) == 0);
    opened.press(Qt::Key_Comma);
    QVERIFY(*state.keys.begin() < next && data->support->test(300, *state.keys.begin()));
    opened.press(Qt::Key_M);
    QTRY_VERIFY(data->missed(state.query_begin, *state.keys.begin()));
    const MapPoint first{state.query_begin, *state.keys.begin()};
    opened.press(Qt::Key_M);
    QTRY_VERIFY((MapPoint{state.query_begin, *state.keys.begin()}) != first);
    QVERIFY(data->missed(state.query_begin, *state.keys.begin()));
    opened.press(Qt::Key_P);
    QCOMPARE(state.pins.size(), std::size_t{1});
    opened.press(Qt::Key_P);
    QVERIFY(state.pins.empty());
    opened.press(Qt::Key_Plus);
    QVERIFY(state.viewport.key_end - state.viewport.key_begin < 400);
    const double left = state.viewport.key_begin;
    opened.press(Qt::Key_D);
    QVERIFY(state.viewport.key_begin > left);
    opened.press(Qt::Key_F);
    QCOMPARE(state.viewport, (Viewport{0, 400, 0, 400}));
    const std::int64_t row = state.query_begin;
    opened.press(Qt::Key_Down);
    QVERIFY(state.query_begin > row || row == 399);
  }

  void the_text_marks_selected_and_missed_keys() {
    Opened opened(record_);
    opened.selection.change([](ViewState& s) {
      s.method = QStringLiteral("indexer-k64-g1");
      s.display.missed_from = 0;  // whatever they weigh
    });
    opened.settle();
    opened.press(Qt::Key_M);
    QTRY_COMPARE(opened.selection.state().keys.size(), std::size_t{1});
    const std::int64_t key = *opened.selection.state().keys.begin();
    QTRY_VERIFY(opened.page.prompt()->text()->is_missed(key));
    QVERIFY(!opened.page.prompt()->text()->is_missed(opened.selection.state().query_begin));
  }

  void find_counts_and_walks() {
    Opened opened(record_);
    auto* prompt = opened.page.prompt();
    const QString text = prompt->text()->index().text();
    const auto expected = text.count(QStringLiteral("others"), Qt::CaseInsensitive);
    QVERIFY(expected > 1);
    prompt->find_field()->setText(QStringLiteral("others"));
    QCOMPARE(prompt->find_count(), QStringLiteral("1/%1").arg(expected));
    QTest::keyClick(prompt->find_field(), Qt::Key_Return);
    QCOMPARE(prompt->find_count(), QStringLiteral("2/%1").arg(expected));
    prompt->find_field()->setText(QStringLiteral("zzz"));
    QCOMPARE(prompt->find_count(), QStringLiteral("none"));
    QToolButton* regex = nullptr;
    for (auto* button : prompt->findChildren<QToolButton*>())
      if (button->text() == QStringLiteral(".*")) regex = button;
    QVERIFY(regex);
    regex->setChecked(true);
    prompt->find_field()->setText(QStringLiteral("magic number is [0-9]+"));
    QCOMPARE(prompt->find_count(), QStringLiteral("1/1"));
    prompt->find_field()->setText(QStringLiteral("(open"));
    QCOMPARE(prompt->find_count(), QStringLiteral("bad pattern"));
  }

  void hover_goes_both_ways() {
    Opened opened(record_);
    emit opened.page.prompt()->text()->token_hovered(17);
    QCOMPARE(opened.selection.hover().key, std::int64_t{17});
    QTest::mouseMove(opened.page.map()->plot(), opened.position_of(200, 100).toPoint());
    QTRY_VERIFY(std::abs(double(opened.selection.hover().query - 200)) < 2);
    emit opened.page.prompt()->token_chosen(33, Qt::NoModifier);
    QCOMPARE(opened.selection.state().query_begin, std::int64_t{33});
    emit opened.page.prompt()->token_chosen(12, Qt::ControlModifier);
    QVERIFY(opened.selection.state().keys.count(12));
  }

  void layers_that_are_not_kept_say_so() {
    Opened opened(record_);
    QVERIFY(!opened.page.map()->badge().contains(QStringLiteral("thumbnail")));
    opened.selection.change([](ViewState& s) { s.layer = 1, s.query_begin = 200, s.query_end = 201; });
    opened.settle();
    QVERIFY2(opened.page.map()->badge().contains(QStringLiteral("not in the record")),
             qPrintable(opened.page.map()->badge()));
    QTRY_VERIFY(opened.page.prompt()->settled());
    bool said = false;
    for (auto* label : opened.page.prompt()->findChildren<QLabel*>())
      said |= label->text().contains(QStringLiteral("mass received")) &&
              label->text().contains(QStringLiteral("not in the record"));
    QVERIFY(said);
    opened.selection.change([](ViewState& s) { s.layer = 3; });
    opened.settle();
    QVERIFY(opened.page.map()->notice().contains(QStringLiteral("sliding")));
  }

  void text_positions_survive_split_characters_and_line_ends() {
    record::TokenTable tokens;
    tokens.text = "a\r\nb\xF0\x9F\x98\x80 z";  // the emoji is split between two tokens
    tokens.begin = {0, 1, 3, 4, 6, 8};
    tokens.end = {1, 3, 4, 6, 8, 10};
    tokens.ids = {1, 2, 3, 4, 5, 6};
    const TextIndex index(tokens);
    QCOMPARE(index.text().size(), qsizetype{8});
    QCOMPARE(index.text()[1], QChar(0x240D));
    QVERIFY(index.begin(3) == 4 && index.end(3) == 6);
    QCOMPARE(index.text().mid(index.begin(5), index.end(5) - index.begin(5)), QStringLiteral(" z"));
    QCOMPARE(index.token_at(7), std::int64_t{5});
    QCOMPARE(index.token_at(0), std::int64_t{0});
    PromptText text;
    text.set_tokens(tokens);
    QCOMPARE(text.toPlainText(), index.text());
    // Text that is damaged at its end is read another way: everything before the damage stands where it stood.
    record::TokenTable damaged = tokens;
    damaged.text += "\xF0\x9F";
    const TextIndex slow(damaged);
    QVERIFY(slow.text().startsWith(index.text()));
    for (std::int64_t token = 0; token < index.num_tokens(); ++token)
      QVERIFY(slow.begin(token) == index.begin(token) && slow.end(token) == index.end(token));
  }

  void export_keeps_text_as_text() {
    Opened opened(record_);
    QBuffer buffer;
    QSvgGenerator generator;
    generator.setOutputDevice(&buffer);
    generator.setSize(QSize(1000, 600));
    QPainter painter(&generator);
    ExportOptions options;
    options.provenance = QStringLiteral("run 0011223344556677");
    opened.page.render(painter, QRectF(0, 0, 1000, 600), options);
    painter.end();
    for (const char* words : {"key position", "run 0011223344556677", "<image", "indexer-k64-g1"})
      QVERIFY2(buffer.data().contains(words), words);
    QVERIFY(buffer.data().size() < 3 << 20);
    opened.selection.change([](ViewState& s) { s.viewport = {100, 110, 50, 60}; });
    QTest::qWait(5);
    QCOMPARE(opened.page.csv().count(QLatin1Char('\n')), qsizetype{101});
    QVERIFY(opened.page.csv().startsWith(QStringLiteral("query,key,p,")));
    QVERIFY(!opened.page.title().isEmpty());
  }

  void controls_have_names_and_follow_the_theme() {
    Opened opened(record_);
    for (auto* widget : opened.page.findChildren<QWidget*>()) {
      if (widget->focusPolicy() == Qt::NoFocus || !qobject_cast<QAbstractButton*>(widget)) continue;
      QVERIFY(!widget->accessibleName().isEmpty() || !static_cast<QAbstractButton*>(widget)->text().isEmpty() ||
              widget->objectName().startsWith(QStringLiteral("qt_")));
    }
    const QColor before = opened.page.map()->plot()->grab().toImage().pixelColor(2, 2);
    Theme::instance().set_mode(ThemeMode::dark);
    opened.settle();
    const QColor after = opened.page.map()->plot()->grab().toImage().pixelColor(2, 2);
    Theme::instance().set_mode(ThemeMode::light);
    QVERIFY(after.lightness() < before.lightness() - 80);
  }
};

QTEST_MAIN(TestAttentionPage)
#include "test_attention_page.moc"
