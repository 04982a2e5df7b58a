// SPDX-License-Identifier: GPL-3.0-or-later
// Supports of head groups on the attention page: overlay, marginals, keys, text and read-out follow the selected head's
// group, and the head mean says why it shows none.
#include <QToolButton>
#include <QtTest>
#include <algorithm>

#include "record/export.h"
#include "views/common/page_fixture.h"
#include "views/common/theme.h"
#include "views/docks/inspector_dock.h"
#include "views/map/attention_controls.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/map/map_readout.h"
#include "views/map/tile_cache.h"
#include "views/prompt/prompt_panel.h"
#include "views/prompt/prompt_text.h"

using namespace headroom;
using namespace headroom::views;

namespace {

using Kind = record::HeadSelector::Kind;
constexpr const char* methods[] = {"kv_topk-k8-g1", "head_topk-k8-g1"};

RecordPtr grouped_record() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = 200;
    options.layers = 3;
    options.methods = {"dense", "kv_topk-k8-g1", "head_topk-k8-g1"};
    options.other_layers = {{1, {"sliding", 6, 2, 32, 64, 0.2}}, {2, {"full", 4, 2, 16, 0, 0.25}}};
    return make_record("grouped.h5", options);
  }();
  return record;
}

MapDataPtr load(const char* method, int layer, record::HeadSelector head) {
  return load_map_data({grouped_record(), QString::fromLatin1(method), layer, head});
}

}  // namespace

class TestHeadGroups : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { Theme::instance().set_mode(ThemeMode::light); }

  void the_map_has_the_supports_of_the_selected_head() {
    using record::SupportKind;
    for (const char* method : methods) {
      const bool per_head = std::string(method).starts_with("head");
      for (const int head : {0, 1, 3, 5}) {
        const int group = per_head ? head : head / 3;
        const auto data = load(method, 0, {Kind::head, head});
        QVERIFY(data->has_overlay() && data->wasted && data->overlay_note().isEmpty());
        QCOMPARE(data->support_group.value_or(-1), group);
        QCOMPARE(data->support.get(), grouped_record()->supports(method, 0, SupportKind::support, group).get());
        QCOMPARE(data->target.get(), grouped_record()->supports(method, 0, SupportKind::target, group).get());
        QCOMPARE(data->selection_frequency, grouped_record()->selection_frequency(method, 0, group));
      }
      const auto first = load(method, 0, {Kind::head, 0}), other = load(method, 0, {Kind::head, 3});
      bool differ = false;
      for (std::int64_t query = 0; query < first->length; ++query)
        differ = differ || first->support->keys(query) != other->support->keys(query);
      QVERIFY(differ);
      const auto mean = load(method, 0, {});
      QVERIFY(!mean->has_overlay() && !mean->wasted && mean->selection_frequency.empty());
      QCOMPARE(mean->overlay_note(), QString("supports differ by head: choose a head"));
      QCOMPARE(load(method, 0, {Kind::group, 1})->has_overlay(), !per_head);
    }
    QVERIFY(load("dense", 0, {})->overlay_note().isEmpty() && load("dense", 0, {})->dense);
  }

  void overlay_tiles_are_not_shared_between_groups() {
    TileCache cache;
    for (const char* method : methods)
      for (const int head : {0, 5}) {
        const auto data = load(method, 0, {Kind::head, head});
        const record::TileAddress whole{0, 0, 0};
        cache.want(&cache, {{data, whole, true}});
        QTRY_VERIFY_WITH_TIMEOUT(cache.find_overlay(*data, whole), 10000);
        const auto expected = record::compute_overlay(*data->support, *data->target, data->wasted.get(), whole);
        const auto tile = cache.find_overlay(*data, whole);
        QCOMPARE(tile->flags.size(), expected.hit.size());
        for (std::size_t i = 0; i < expected.hit.size(); ++i) {
          QCOMPARE((tile->flags[i] & OverlayGrid::hit_cell) != 0, expected.hit[i] > 0);
          QCOMPARE((tile->flags[i] & OverlayGrid::missed_cell) != 0, expected.missed[i] > 0);
          QCOMPARE((tile->flags[i] & OverlayGrid::wasted_cell) != 0, expected.wasted[i] > 0);
        }
      }
  }

  void the_page_follows_the_head() {
    Selection selection;
    AttentionPage page(&selection);
    show_page(page, {1280, 720});
    selection.open_record(grouped_record());
    selection.change([](ViewState& s) {
      s.method = "head_topk-k8-g1", s.layer = 0, s.query_begin = 150, s.query_end = 151, s.keys = {};
      s.display.missed_from = 1e-12;
    });
    const auto choose = [&](record::HeadSelector head) {
      selection.change([&](ViewState& s) { s.head = head; });
      QTRY_VERIFY_WITH_TIMEOUT(page.map()->data() && page.map()->data()->source.head == head && page.settled(), 20000);
    };
    auto* missed = [&]() -> QToolButton* {
      for (auto* button : page.findChildren<QToolButton*>())
        if (button->text() == "missed") return button;
      return nullptr;
    }();
    QVERIFY(missed);
    choose({});
    QVERIFY(!missed->isEnabled() && missed->toolTip().contains("choose a head"));
    QVERIFY2(page.map()->badge().contains("supports differ by head: choose a head"), qPrintable(page.map()->badge()));
    QTest::keyClick(page.map(), Qt::Key_M);
    QVERIFY(selection.state().keys.empty());  // nothing is missed where nothing is shown
    for (const int head : {0, 5}) {
      choose({Kind::head, head});
      QVERIFY(missed->isEnabled() && !page.map()->badge().contains("choose a head"));
      const auto support = grouped_record()->supports("head_topk-k8-g1", 0, record::SupportKind::support, head);
      const auto target = grouped_record()->supports("head_topk-k8-g1", 0, record::SupportKind::target, head);
      selection.change([](ViewState& s) { s.query_begin = 150, s.query_end = 151, s.keys = {}; });
      QTest::qWait(5);
      for (std::int64_t key = 0; key <= 150; ++key)
        QCOMPARE(page.prompt()->text()->is_missed(key), target->test(150, key) && !support->test(150, key));
      QTest::keyClick(page.map(), Qt::Key_M);
      QTRY_COMPARE(selection.state().keys.size(), std::size_t{1});
      const std::int64_t key = *selection.state().keys.begin(), query = selection.state().query_begin;
      QVERIFY(target->test(query, key) && !support->test(query, key));
      QTest::qWait(5);
      QCOMPARE(page.readout()->value("support"), QString("missed"));
    }
    // Heads belong to layers: the next full layer has four, and 1 is skipped.
    const auto press = [&](Qt::Key key, Qt::KeyboardModifiers modifiers = {}) {
      QTest::keyClick(page.map(), key, modifiers);
      QTest::qWait(5);
    };
    press(Qt::Key_BraceRight, Qt::ShiftModifier);
    QCOMPARE(selection.state().layer, 2);
    QVERIFY(selection.state().head.kind == Kind::mean);
    for (int i = 0; i < 4; ++i) press(Qt::Key_BracketRight);
    QVERIFY(selection.state().head == (record::HeadSelector{Kind::head, 3}));
    press(Qt::Key_BracketRight);
    QVERIFY(selection.state().head == (record::HeadSelector{Kind::group, 0}));
  }

  void tables_have_the_supports_of_the_head() {
    using record::SupportKind;
    for (const int head : {0, 5}) {
      record::ExportRequest request{.view = "attention",
                                    .method = "head_topk-k8-g1",
                                    .layer = 0,
                                    .head = record::HeadSelector{Kind::head, head},
                                    .tile = record::TileAddress{0, 0, 0}};
      const auto table = record::export_table(*grouped_record(), request);
      QCOMPARE(table.columns.size(), std::size_t{7});
      const auto support = grouped_record()->supports("head_topk-k8-g1", 0, SupportKind::support, head);
      const auto target = grouped_record()->supports("head_topk-k8-g1", 0, SupportKind::target, head);
      for (const auto& row : table.rows) {
        const auto query = std::get<std::int64_t>(row[0]), key = std::get<std::int64_t>(row[1]);
        QCOMPARE(std::get<std::int64_t>(row[4]), support->test(query, key) && target->test(query, key) ? 1 : 0);
      }
      request.head.reset();
      QCOMPARE(record::export_table(*grouped_record(), request).columns.size(), std::size_t{4});
      const record::ExportRequest text{
          .view = "text", .method = "head_topk-k8-g1", .layer = 0, .head = record::HeadSelector{Kind::head, head}};
      const auto tokens = record::export_table(*grouped_record(), text);
      const auto frequency = grouped_record()->selection_frequency("head_topk-k8-g1", 0, head);
      QCOMPARE(std::get<float>(tokens.rows[9][6]), frequency[9]);
    }
    const record::ExportRequest heads{.view = "heads", .method = "dense"};
    // Six heads and the mean, one line for the sliding layer, four heads and the mean.
    QCOMPARE(record::export_table(*grouped_record(), heads).rows.size(), std::size_t{7 + 1 + 5});
  }
};

QTEST_MAIN(TestHeadGroups)
#include "test_head_groups.moc"
