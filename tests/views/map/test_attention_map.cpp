// SPDX-License-Identifier: GPL-3.0-or-later
// The map never loses a column or a missed pair at any zoom, draws what the tiles say, and says why where it cannot.
#include <QSignalSpy>
#include <QtTest>
#include <cmath>
#include <set>

#include "views/map/attention_map_widget.h"
#include "views/map/map_colours.h"
#include "views/common/theme.h"

using namespace headroom;
using namespace headroom::views;

namespace {

/// One head whose keys at `stripes` get a thousand times the mass of the others, in every row.
std::shared_ptr<MapData> striped(std::int64_t length, const std::set<std::int64_t>& stripes) {
  auto stream = std::make_shared<record::LayerStream>();
  stream->length = length;
  stream->num_q_heads = stream->num_kv_heads = 1;
  stream->head_dim = 4;
  stream->scale = 1;
  const auto size = static_cast<std::size_t>(length);
  stream->q.assign(size * 4, 0.0f);
  stream->k.assign(size * 4, 0.0f);
  stream->lse.resize(size);
  const double logit = std::log(1000.0);
  std::int64_t before = 0;
  for (std::int64_t t = 0; t < length; ++t) {
    stream->q[static_cast<std::size_t>(t) * 4] = 1;
    if (stripes.count(t)) stream->k[static_cast<std::size_t>(t) * 4] = static_cast<float>(logit), ++before;
    stream->lse[static_cast<std::size_t>(t)] =
        static_cast<float>(std::log(static_cast<double>(t + 1 - before) + 1000.0 * static_cast<double>(before)));
  }
  auto data = std::make_shared<MapData>();
  data->length = length;
  data->source.method = QStringLiteral("striped");
  data->stream = stream;
  return data;
}

struct Window {
  Selection selection;
  AttentionMapWidget map{&selection};
  explicit Window(QSize size = {1000, 800}) {
    map.resize(size);
    map.move(40, 40);
    map.show();
  }
  void look(Viewport view) {
    selection.change([view](ViewState& s) { s.viewport = view; });
    QTest::qWait(5);
    settle();
  }
  void settle() {
    QTRY_VERIFY_WITH_TIMEOUT(!map.cache()->busy(), 60000);
    map.plot()->replot();
    QTRY_VERIFY_WITH_TIMEOUT(!map.cache()->busy(), 60000);
    map.plot()->replot();
  }
  QRect area() const { return map.plot()->axisRect(1)->rect(); }
  QImage picture() { return map.plot()->grab().toImage(); }
};

bool bright(QRgb pixel) {
  return qRed(pixel) > 150 && qBlue(pixel) < 140 && qGreen(pixel) > 130;
}
bool near(QRgb pixel, const QColor& colour, int tolerance) {
  return std::abs(qRed(pixel) - colour.red()) < tolerance && std::abs(qGreen(pixel) - colour.green()) < tolerance &&
         std::abs(qBlue(pixel) - colour.blue()) < tolerance;
}

}  // namespace

class TestAttentionMap : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { Theme::instance().set_mode(ThemeMode::light); }

  void causal_pairs_are_counted() {
    const std::int64_t cases[][4] = {{0, 8, 0, 8},       {3, 9, 5, 7},   {5, 6, 6, 9},
                                     {100, 132, 64, 96}, {10, 10, 0, 5}, {0, 3, 1, 9}};
    for (const auto& c : cases) {
      std::int64_t expected = 0;
      for (std::int64_t t = c[0]; t < c[1]; ++t)
        for (std::int64_t s = c[2]; s < c[3]; ++s) expected += s <= t;
      QCOMPARE(causal_pairs(c[0], c[1], c[2], c[3]), expected);
    }
  }

  void colour_scales_are_even_and_symmetric() {
    const auto luminance = [](QRgb c) {
      return 0.2126 * std::pow(qRed(c) / 255.0, 2.2) + 0.7152 * std::pow(qGreen(c) / 255.0, 2.2) +
             0.0722 * std::pow(qBlue(c) / 255.0, 2.2);
    };
    for (int i = 1; i < 256; ++i) QVERIFY(luminance(cividis()[i]) >= luminance(cividis()[i - 1]) - 1e-3);
    QVERIFY(qBlue(blue_red()[0]) > qRed(blue_red()[0]) && qRed(blue_red()[255]) > qBlue(blue_red()[255]));
    QCOMPARE(mass_code(std::nanf("")), std::uint16_t{0});
    QVERIFY(mass_code(0.0f) == 1 && mass_code(1.0f) == 65535 && mass_code(1e-3f) < mass_code(1.01e-3f));
    const auto table = mass_table(1e-6, 1);
    QCOMPARE(qAlpha(table[0]), 0);
    QCOMPARE(table[mass_code(1.0f)], cividis()[255]);
    QCOMPARE(table[mass_code(1e-7f)], cividis()[0]);
    QCOMPARE(difference_code(0.25f, 0.25f), std::uint16_t{32768});
    QCOMPARE(difference_code(0.1f, 0.3f) - 32768, 32768 - difference_code(0.3f, 0.1f));
  }

  void a_level_has_a_pixel_for_every_cell() {
    for (const double span : {10.0, 700.0, 701.0, 5000.0, 16384.0, 131072.0}) {
      const int level = level_for({0, span, 0, span}, {700, 700}, 131072);
      QVERIFY(700.0 / span * std::pow(2.0, level) >= 1 - 1e-9);
      QVERIFY(level == 0 || 700.0 / span * std::pow(2.0, level - 1) < 1);
    }
  }

  void every_stripe_stays_visible_at_every_zoom() {
    constexpr std::int64_t length = 16384;
    std::set<std::int64_t> stripes;
    for (int i = 0; i < 50; ++i) stripes.insert(211 + i * 317 + (i * i) % 37);
    const auto data = striped(length, stripes);
    Window window;
    window.look({0, length, 0, length});
    window.map.set_data(data);
    for (double span = length; span >= 256; span /= 1.83) {
      for (const double from : {0.0, 0.37}) {
        const double key = from * (length - span);
        window.look({length - span, double(length), key, key + span});
        const QImage picture = window.picture();
        const QRect area = window.area();
        std::int64_t expected = 0;
        for (const std::int64_t stripe : stripes) expected += double(stripe) >= key && double(stripe + 1) <= key + span;
        for (const double down : {0.2, 0.9}) {
          const int y = area.top() + int(down * area.height());
          const double query = length - span + down * span;
          std::int64_t visible = 0, seen = 0;
          for (const std::int64_t stripe : stripes)
            visible += double(stripe) >= key && double(stripe + 1) <= std::min(key + span, query);
          bool inside = false;
          for (int x = area.left(); x < area.right(); ++x) {
            const bool now = bright(picture.pixel(x, y));
            seen += now && !inside;
            inside = now;
          }
          QVERIFY2(std::abs(seen - visible) <= (visible == expected ? 0 : 1),
                   qPrintable(
                       QStringLiteral("span %1 from %2: %3 of %4 stripes").arg(span).arg(key).arg(seen).arg(visible)));
        }
      }
    }
  }

  void coarse_tiles_made_of_fine_ones_are_the_same() {
    const auto data = striped(700, {20, 21, 300, 455});
    TileCache cache;
    const auto wait_for = [&](record::TileAddress address) {
      cache.want(this, {{data, address, false}});
      return QTest::qWaitFor([&] { return cache.find(*data, address) != nullptr; }, 20000);
    };
    for (std::int64_t row = 0; row < 3; ++row)
      for (std::int64_t column = 0; column <= row; ++column) QVERIFY(wait_for({0, row, column}));
    QVERIFY(wait_for({1, 1, 0}));
    const auto grid = cache.find(*data, {1, 1, 0});
    const auto tile = record::compute_tile(*data->stream, {}, {1, 1, 0});
    QCOMPARE(grid->rows, tile.rows);
    QCOMPARE(grid->columns, tile.columns);
    for (std::size_t i = 0; i < tile.max.size(); ++i) {
      QCOMPARE(std::isnan(grid->max[i]), std::isnan(tile.max[i]));
      if (std::isnan(tile.max[i])) continue;
      QVERIFY(std::abs(grid->max[i] - tile.max[i]) <= 1e-6f * tile.max[i]);
      QVERIFY(std::abs(grid->mean[i] - tile.mean[i]) <= 1e-5f * tile.mean[i]);
    }
  }

  void the_cache_stays_within_its_bytes_and_drops_stale_requests() {
    const auto data = striped(3000, {5});
    TileCache cache(std::size_t{3} << 20);
    std::vector<TileCache::Request> all;
    for (std::int64_t row = 0; row < 11; ++row)
      for (std::int64_t column = 0; column <= row; ++column) all.push_back({data, {0, row, column}, false});
    QSignalSpy ready(&cache, &TileCache::ready);
    cache.want(this, all);
    cache.want(this, {{data, {0, 9, 2}, false}});
    QVERIFY(QTest::qWaitFor([&] { return !cache.busy(); }, 20000));
    QVERIFY(cache.find(*data, {0, 9, 2}) != nullptr);
    QVERIFY(ready.count() < 8);
    cache.want(this, all);
    QVERIFY(QTest::qWaitFor([&] { return !cache.busy(); }, 20000));
    QVERIFY(cache.bytes() <= (std::size_t{3} << 20));
  }

  void one_missed_pair_shows_in_the_whole_map() {
    constexpr std::int64_t length = 4096;
    const auto data = striped(length, {100});
    auto support = std::make_shared<SupportBitmap>(length), target = std::make_shared<SupportBitmap>(length);
    for (std::int64_t t = 0; t < length; ++t) support->set(t, t), target->set(t, t);
    target->set(3000, 1234);
    data->support = std::make_shared<record::Support>(*support);
    data->target = std::make_shared<record::Support>(*target);
    QVERIFY(data->missed(3000, 1234) && !data->missed(3000, 1233));
    Window window;
    window.look({0, length, 0, length});
    window.map.set_data(data);
    const auto orange_near_pair = [&] {
      const QImage picture = window.picture();
      const QRect area = window.area();
      const int x = area.left() + int(1234.5 / length * area.width()),
                y = area.top() + int(3000.5 / length * area.height());
      int found = 0;
      for (int dy = -3; dy <= 3; ++dy)
        for (int dx = -3; dx <= 3; ++dx) {
          const QRgb pixel = picture.pixel(x + dx, y + dy);
          found += qRed(pixel) > 110 && qRed(pixel) > qGreen(pixel) + 40 && qBlue(pixel) < qRed(pixel) - 60;
        }
      return found;
    };
    window.map.set_overlay({false, true, false});
    window.map.set_missed_from(0.01);  // the pair has a 4,000th of the row's mass
    window.settle();
    QCOMPARE(orange_near_pair(), 0);
    window.map.set_missed_from(1e-4);
    window.settle();
    QVERIFY(orange_near_pair() >= 1);
    window.map.set_overlay({});
    window.settle();
    QCOMPARE(orange_near_pair(), 0);
    // Close up the whole cell has an orange frame.
    window.map.set_overlay({false, true, false});
    window.look({2990, 3010, 1224, 1244});
    const QRect area = window.area();
    const QImage picture = window.picture();
    const int left = area.left() + int(10.0 / 20 * area.width());
    QVERIFY(near(picture.pixel(left + 1, area.top() + int(10.5 / 20 * area.height())), Theme::instance().missed(), 12));
  }

  void the_candidate_mirrors_into_the_upper_triangle() {
    const auto a = striped(512, {40}), b = striped(512, {300});
    b->source.method = QStringLiteral("other");
    Window window;
    window.look({0, 512, 0, 512});
    window.map.set_layout(MapLayout::diagonal_split);
    window.map.set_data(a, b);
    window.settle();
    const QRect area = window.area();
    const QImage picture = window.picture();
    const auto at = [&](double query, double key) {
      return picture.pixel(area.left() + int((key + 0.5) / 512 * area.width()),
                           area.top() + int((query + 0.5) / 512 * area.height()));
    };
    QVERIFY(bright(at(400, 40)));
    QVERIFY(!bright(at(400, 300)));
    QVERIFY(bright(at(300, 400)));  // row 400, key 300 of the other
    QVERIFY(!bright(at(40, 400)));
    bool mirrored = false;
    const MapPoint pair = window.map.pair_at(
        {area.left() + 400.5 / 512 * area.width(), area.top() + 300.5 / 512 * area.height()}, &mirrored);
    QVERIFY(mirrored && pair == (MapPoint{400, 300}));
    window.map.set_layout(MapLayout::difference);
    window.map.set_data(a, b);
    window.settle();
    const QImage difference = window.picture();
    const auto difference_at = [&](double query, double key) {
      return difference.pixel(area.left() + int((key + 0.5) / 512 * area.width()),
                              area.top() + int((query + 0.5) / 512 * area.height()));
    };
    QVERIFY(qBlue(difference_at(400, 40)) > qRed(difference_at(400, 40)));    // the baseline has more
    QVERIFY(qRed(difference_at(400, 300)) > qBlue(difference_at(400, 300)));  // the candidate has more
  }

  void a_map_that_is_not_there_says_so() {
    Window window;
    QVERIFY(window.map.notice().contains(QStringLiteral("No run is open")));
    auto data = std::make_shared<MapData>();
    data->length = 100;
    data->source.layer = 7;
    window.map.set_data(data);
    QVERIFY(window.map.notice().contains(QStringLiteral("--keep-layers 7")));
    data = std::make_shared<MapData>(*data);
    data->layer_kind = QStringLiteral("sliding");
    window.map.set_data(data);
    QVERIFY(window.map.notice().contains(QStringLiteral("sliding")));
    data = std::make_shared<MapData>(*data);
    data->problem = QStringLiteral("checksum of /methods/x differs");
    window.map.set_data(data);
    QVERIFY(window.map.notice().contains(QStringLiteral("checksum")));
    window.map.set_data(striped(100, {3}), striped(120, {3}));
    window.map.set_layout(MapLayout::difference);
    window.map.set_data(striped(100, {3}), striped(120, {3}));
    QVERIFY(window.map.notice().contains(QStringLiteral("different tokens")));
  }

  void zoomed_out_at_256k_the_map_never_asks_for_what_is_too_costly() {
    const auto data = striped(262144, {70000});
    Window window;
    window.look({0, 262144, 0, 262144});
    window.map.set_data(data);
    window.map.plot()->replot();
    QVERIFY(TileCache::too_costly(*data, {9, 0, 0}));
    QVERIFY(!window.map.cache()->busy());
    window.look({130000, 130400, 69800, 70200});
    const QRect area = window.area();
    QVERIFY(bright(window.picture().pixel(area.left() + int(200.5 / 400 * area.width()), area.center().y())));
    QCOMPARE(window.map.badge(), QStringLiteral("one pair per cell"));
  }
};

QTEST_MAIN(TestAttentionMap)
#include "test_attention_map.moc"
