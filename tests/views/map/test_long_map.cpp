// SPDX-License-Identifier: GPL-3.0-or-later
// Maps of records that hold lists, stored tiles and windows: the same picture, and nothing read on the window's thread.
#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <set>

#include "record/record_writer.h"
#include "support/synthetic_record.h"
#include "views/common/theme.h"
#include "views/map/attention_map_widget.h"
#include "views/map/map_readout.h"
#include "views/map/map_scan.h"

using namespace headroom;
using namespace headroom::views;

namespace {

constexpr std::int64_t short_length = 700, striped_length = 32768;
const QString sparse = QStringLiteral("indexer-k64-g1");

struct Window {
  Selection selection;
  AttentionMapWidget map{&selection};
  MapReadout readout{&map, &selection};
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
    QTRY_VERIFY_WITH_TIMEOUT(map.settled(), 60000);
    map.plot()->replot();
    QTRY_VERIFY_WITH_TIMEOUT(map.settled(), 60000);
    map.plot()->replot();
  }
  QRect area() const { return map.plot()->axisRect(1)->rect(); }
  QImage picture() { return map.plot()->grab().toImage(); }
};

bool bright(QRgb pixel) {
  return qRed(pixel) > 150 && qBlue(pixel) < 140 && qGreen(pixel) > 130;
}

/// One layer, one head, whose keys at `stripes` get a thousand times the mass of the others; tiles stored from level 4
/// on.
void write_striped(const std::filesystem::path& file, const std::set<std::int64_t>& stripes) {
  test::SyntheticOptions o;
  o.tokens = striped_length;
  o.layers = 1;
  o.num_q_heads = o.num_kv_heads = 1;
  o.head_dim = 8;
  record::RunMeta meta = test::synthetic_meta(o);
  meta.layers[0].scale = 1;
  record::LayerStream s;
  s.length = striped_length;
  s.num_q_heads = s.num_kv_heads = 1;
  s.head_dim = 8;
  s.scale = 1;
  s.q.assign(static_cast<std::size_t>(striped_length * 8), 0.0f);
  s.k = s.q;
  s.lse.resize(static_cast<std::size_t>(striped_length));
  std::int64_t before = 0;
  for (std::int64_t t = 0; t < striped_length; ++t) {
    s.q[static_cast<std::size_t>(t * 8)] = 1;
    if (stripes.contains(t)) s.k[static_cast<std::size_t>(t * 8)] = 6.875f, ++before;
    s.lse[static_cast<std::size_t>(t)] = static_cast<float>(
        std::log(static_cast<double>(t + 1 - before) + std::exp(6.875) * static_cast<double>(before)));
  }
  record::RecordWriter writer(file, meta, test::synthetic_tokens(striped_length, 1));
  record::MethodSummary summary = test::synthetic_summary(o, "dense");
  writer.write_summary(summary);
  writer.write_layer_stream("dense", 0, s);
  const record::PyramidLevels levels{4, 4};
  const auto pyramid = writer.pyramid("dense", 0, levels, 0);
  record::build_pyramid(s, {}, levels, 2, [&](record::Plane plane, std::int64_t index, std::span<const double> cells) {
    pyramid->add(plane, index, cells);
  });
  pyramid->finish();
  writer.finish(meta);
}

}  // namespace

class TestLongMap : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase() {
    Theme::instance().set_mode(ThemeMode::light);
    test::SyntheticOptions o;
    o.tokens = short_length;
    o.layers = 1;
    o.methods = {"dense", sparse.toStdString()};
    test::write_synthetic_record(path("plain.h5"), o);
    o.lists = true;
    o.pyramid_levels = {1, 1};
    test::write_synthetic_record(path("long.h5"), o);
    plain_ = record::RunRecord::open(path("plain.h5"));
    long_ = record::RunRecord::open(path("long.h5"));
  }

  void stored_tiles_and_lists_give_the_same_picture() {
    Window a, b;
    for (auto& [window, record] : {std::pair<Window&, RecordPtr>{a, plain_}, std::pair<Window&, RecordPtr>{b, long_}}) {
      window.map.set_overlay({true, true, true});
      window.map.set_source({record, sparse, 0, {}});
    }
    for (const double span : {700.0, 690.0, 60.0}) {
      for (Window* window : {&a, &b}) window->look({short_length - span, double(short_length), 0, span});
      const QImage x = a.picture(), y = b.picture();
      QCOMPARE(x.size(), y.size());
      int differ = 0;
      for (int row = 0; row < x.height(); ++row)
        for (int column = 0; column < x.width(); ++column) {
          const QRgb p = x.pixel(column, row), q = y.pixel(column, row);
          differ += std::abs(qRed(p) - qRed(q)) + std::abs(qGreen(p) - qGreen(q)) + std::abs(qBlue(p) - qBlue(q)) > 24;
        }
      QVERIFY2(differ < x.width() * x.height() / 500, qPrintable(QString("%1 pixels at %2").arg(differ).arg(span)));
    }
    QVERIFY(a.map.cache()->taken().stored.empty() && !b.map.cache()->taken().stored.empty());
  }

  void every_stripe_of_a_record_shows_at_every_zoom() {
    std::set<std::int64_t> stripes;
    for (int i = 0; i < 50; ++i) stripes.insert(211 + i * 637 + (i * i) % 37);
    write_striped(path("striped.h5"), stripes);
    Window window;
    window.selection.change([](ViewState& s) { s.viewport = {0, striped_length, 0, striped_length}; });
    window.map.set_source({record::RunRecord::open(path("striped.h5")), QStringLiteral("dense"), 0, {}});
    for (double span = striped_length; span >= 512; span /= 1.9) {
      for (const double from : {0.0, 0.37}) {
        const double key = std::floor(from * (striped_length - span));
        window.look({striped_length - span, double(striped_length), key, key + span});
        const QImage picture = window.picture();
        const QRect area = window.area();
        const int y = area.top() + area.height() * 9 / 10;
        std::int64_t visible = 0, seen = 0;
        for (const std::int64_t stripe : stripes)
          visible += double(stripe) >= key && double(stripe + 1) <= std::min(key + span, striped_length - span * 0.1);
        bool inside = false;
        for (int x = area.left(); x < area.right(); ++x) {
          const bool now = bright(picture.pixel(x, y));
          seen += now && !inside;
          inside = now;
        }
        QVERIFY2(std::abs(seen - visible) <= (visible == 50 ? 0 : 1),
                 qPrintable(QString("span %1 from %2: %3 of %4").arg(span).arg(key).arg(seen).arg(visible)));
      }
    }
    QVERIFY(!window.map.cache()->taken().stored.empty());
  }

  void a_coarser_overlay_stands_in_until_the_finer_one_is_there() {
    Window window({600, 500});  // fewer pixels than keys: single pairs have not been asked for
    window.map.set_overlay({true, true, true});
    window.look({0, short_length, 0, short_length});
    window.map.set_source({long_, sparse, 0, {}});
    window.settle();
    // Nothing may be read or computed now: what is drawn next has to come from what is there.
    const MapDataPtr data = window.map.data();
    QVERIFY(data && data->has_overlay());
    MapComposer composer(window.map.cache());
    MapPicture picture;
    picture.size = {400, 400};
    picture.view = {300, 500, 0, 200};
    picture.primary = data;
    picture.style.overlay = {true, false, false};
    picture.style.colour_min = 1e-6;
    const Composition with = composer.compose(picture);
    QVERIFY(!with.missing.empty());
    picture.style.overlay = {};
    const Composition without = composer.compose(picture);
    QVERIFY(with.image != without.image);
  }

  void the_read_out_waits_for_rows_that_are_in_the_file() {
    Window window;
    window.map.set_source({long_, sparse, 0, {}});
    window.look({0, short_length, 0, short_length});
    const MapDataPtr data = window.map.data();
    const std::int64_t query = 37;
    if (data->is_here(query, query)) QSKIP("the overlay of single pairs has read it already");
    window.selection.change([&](ViewState& s) {
      s.query_begin = query;
      s.query_end = query + 1;
      s.keys = {query};
    });
    QTRY_VERIFY(window.readout.value("support") == "hit" || window.readout.value("support") == "selected" ||
                window.readout.value("support") == "wasted");
    QTRY_VERIFY(window.readout.value("rank").contains("of 38"));
  }

  void missed_keys_are_found_in_lists() {
    const MapDataPtr a = load_map_data({plain_, sparse, 0, {}}), b = load_map_data({long_, sparse, 0, {}});
    QVERIFY(a->problem.isEmpty() && b->problem.isEmpty() && !b->support->is_whole());
    MapPoint from{0, -1};
    for (int i = 0; i < 20; ++i) {
      const auto x = find_missed(*a, from, 0, std::size_t{1} << 40), y = find_missed(*b, from, 0, std::size_t{1} << 40);
      QVERIFY(x.found.query == y.found.query && x.found.key == y.found.key && x.found.query >= 0);
      from = x.found;
    }
  }

 private:
  std::filesystem::path path(const char* name) const { return (folder_.path() + "/" + name).toStdString(); }
  QTemporaryDir folder_;
  RecordPtr plain_, long_;
};

QTEST_MAIN(TestLongMap)
#include "test_long_map.moc"
