// SPDX-License-Identifier: GPL-3.0-or-later
// What the cache asks a provider for, and when again; who may go first; what all of it may take of memory; loads that
// are overtaken; searches that belong on other threads.
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QtTest>
#include <algorithm>
#include <bit>
#include <limits>
#include <new>

#include "support/synthetic_record.h"
#include "views/common/opening.h"
#include "views/map/map_colours.h"
#include "views/map/map_composer.h"
#include "views/map/map_scan.h"
#include "views/map/tile_cache.h"

using namespace headroom;
using namespace headroom::views;

namespace {

class FakeProvider : public TileProvider {
 public:
  bool can_provide(const MapId&) const override { return true; }
  quint64 request(const MapId&, record::TileAddress address,
                  std::function<void(std::shared_ptr<const record::Tile>, const QString&)> done) override {
    ++asked;
    if (answers) {
      QMetaObject::invokeMethod(
          qApp,
          [done, address, fails = fails] {
            if (fails) return done(nullptr, "not now");
            auto tile = std::make_shared<record::Tile>();
            tile->address = address;
            tile->rows = tile->columns = 1;
            tile->max = tile->mean = {0.5f};
            done(tile, {});
          },
          Qt::QueuedConnection);
    }
    return static_cast<quint64>(asked);
  }
  void cancel(quint64) override { ++cancelled; }
  int asked = 0, cancelled = 0;
  bool fails = false, answers = true;
};

/// A grid of 4096 cells, all of one value.
GridPtr flat(float value) {
  record::Tile tile;
  tile.address = {0, 1, 0};
  tile.rows = tile.columns = 64;
  tile.max.assign(4096, value);
  tile.mean = tile.max;
  return make_grid(tile);
}

}  // namespace

class TestTileCache : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  RecordPtr record_;

  MapDataPtr far_map() const {  // a layer that the record does not hold
    auto data = std::make_shared<MapData>();
    data->source = {record_, "dense", 1, {}};
    data->length = record_->length();
    return data;
  }

 private slots:
  void initTestCase() {
    test::SyntheticOptions options;
    options.tokens = 700;
    options.layers = 5;
    const auto file = folder_.filePath("run.h5").toStdString();
    test::write_synthetic_record(file, options);
    record_ = record::RunRecord::open(file);
  }

  void a_failed_tile_is_asked_for_again() {
    FakeProvider provider;
    provider.fails = true;
    TileCache cache;
    cache.set_provider(&provider);
    const auto map = far_map();
    const TileCache::Request here{map, {0, 1, 0}}, there{map, {0, 2, 0}};
    cache.want(this, {here});
    QTRY_VERIFY(!cache.failure(here).isEmpty());
    QCOMPARE(provider.asked, 1);
    // The same picture drawn again does not storm the engine.
    for (int i = 0; i < 5; ++i) cache.want(this, {here});
    QCOMPARE(provider.asked, 1);
    // Scrolled away and back.
    provider.fails = false;
    cache.want(this, {there});
    QTRY_VERIFY(cache.find(*map, there.address));
    cache.want(this, {here});
    QTRY_VERIFY(cache.find(*map, here.address));
    QCOMPARE(provider.asked, 3);
    QVERIFY(cache.failure(here).isEmpty());
  }

  void a_failed_tile_in_view_comes_after_a_pause() {
    FakeProvider provider;
    provider.fails = true;
    TileCache cache;
    cache.set_provider(&provider);
    const auto map = far_map();
    const TileCache::Request here{map, {0, 1, 0}};
    cache.want(this, {here});
    QTRY_VERIFY(!cache.failure(here).isEmpty());
    provider.fails = false;
    QTRY_VERIFY_WITH_TIMEOUT(cache.find(*map, here.address), 5000);
    QCOMPARE(provider.asked, 2);
  }

  void the_provider_may_go_before_the_cache() {
    // Where it stood there is nothing any more: a call to it would end the program.
    alignas(FakeProvider) unsigned char room[sizeof(FakeProvider)];
    auto* provider = new (room) FakeProvider;
    provider->answers = false;
    {
      TileCache cache;
      cache.set_provider(provider);
      cache.want(this, {{far_map(), {0, 1, 0}}});
      QCOMPARE(provider->asked, 1);
      provider->~FakeProvider();
      std::fill(std::begin(room), std::end(room), static_cast<unsigned char>(0));
      QVERIFY(!cache.can_provide(*far_map()));
      cache.want(this, {});
    }
  }

  void differences_lie_within_the_cache_s_bound() {
    TileCache cache(std::size_t{1} << 18);
    std::vector<std::weak_ptr<const CellGrid>> grids;
    for (int i = 0; i < 200; ++i) {
      const GridPtr a = flat(0.25f), b = flat(0.5f);
      grids.push_back(a);
      const auto codes = cache.difference(a, b, false);
      QVERIFY(codes && codes->size() == a->max.size() && (*codes)[0] > 32768);
      QCOMPARE(cache.difference(a, b, false), codes);
      QVERIFY(cache.bytes() <= std::size_t{1} << 18);
    }
    // It holds no map that nobody else holds.
    QVERIFY(std::all_of(grids.begin(), grids.end(), [](const auto& grid) { return grid.expired(); }));
    const GridPtr a = flat(0.5f), b = flat(0.25f);
    QVERIFY((*cache.difference(a, b, false))[0] < 32768);  // even where another one stood at this address
  }

  void while_held_only_what_was_used_since_stays() {
    constexpr std::size_t each = 4096 * sizeof(std::uint16_t), room = 8 * each;
    TileCache cache(room);
    std::vector<std::pair<GridPtr, GridPtr>> before, during;
    const auto make = [&cache](std::vector<std::pair<GridPtr, GridPtr>>& list) {
      list.emplace_back(flat(0.25f), flat(0.5f));
      return cache.difference(list.back().first, list.back().second, false);
    };
    for (int i = 0; i < 8; ++i) make(before);
    cache.hold(true);
    const auto first = make(during);
    for (int i = 1; i < 20; ++i) make(during);
    QCOMPARE(cache.bytes(), 20 * each);  // nothing from before
    QCOMPARE(cache.difference(during[0].first, during[0].second, false), first);
    cache.hold(false);
    QVERIFY(cache.bytes() <= room);
  }

  void what_one_map_has_another_need_not_make() {
    FakeProvider provider, other;
    TileCache cache, second;
    cache.set_provider(&provider);
    second.set_provider(&other);
    const auto map = far_map();
    cache.want(this, {{map, {0, 1, 0}}});
    QTRY_VERIFY(cache.find(*map, {0, 1, 0}));
    QCOMPARE(second.find(*map, {0, 1, 0}), cache.find(*map, {0, 1, 0}));
    // Asked for before it was there, and made by the other meanwhile.
    QSignalSpy ready(&second, &TileCache::ready);
    second.want(this, {{map, {0, 1, 0}}});
    QTRY_COMPARE(ready.count(), 1);
    QCOMPARE(other.asked, 0);
  }

  void tiles_go_with_their_record() {
    TileStore store;
    const auto insert = [&](const std::shared_ptr<int>& owner, std::int64_t row) {
      TileStore::Entry entry;
      entry.key.owner = owner.get();
      entry.key.row = row;
      entry.grid = flat(0.5f);
      entry.owner = owner;
      entry.bytes = 1000;
      store.insert(entry);
      return entry.key;
    };
    auto record = std::make_shared<int>();
    const auto stays = std::make_shared<int>();
    const TileKey first = insert(record, 1);
    insert(record, 2);
    QVERIFY(store.find(first));
    record.reset();
    QVERIFY(!store.find(first));  // whatever stands at this address now
    QCOMPARE(store.bytes(), std::size_t{1000});
    const TileKey kept = insert(stays, 1);
    QCOMPARE(store.bytes(), std::size_t{1000});
    QVERIFY(store.find(kept));
  }

  void codes_of_many_are_those_of_each() {
    std::vector<float> values;
    for (std::uint32_t half = 0; half < 1u << 16; ++half) values.push_back(std::bit_cast<float>(half << 16));
    for (std::uint32_t i = 1; i < 5000; ++i) values.push_back(1.0f / static_cast<float>(i * 7 + 1));
    std::vector<std::uint16_t> codes;
    mass_codes(values, codes);
    QCOMPARE(codes.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i) QCOMPARE(codes[i], mass_code(values[i]));
  }

  void a_composer_keeps_no_map_that_is_gone() {
    TileCache cache(std::size_t{1} << 16);
    MapComposer composer(&cache);
    std::vector<std::weak_ptr<const CellGrid>> grids;
    for (int i = 0; i < 60; ++i) {
      const GridPtr a = flat(0.25f), b = flat(0.5f);
      grids.push_back(a);
      (void)cache.difference(a, b, true);
    }
    QVERIFY(cache.bytes() <= std::size_t{1} << 16);
    QVERIFY(grids.front().expired());
  }

  void of_many_layers_only_the_last_is_loaded() {
    MapLoader loader;
    QList<int> shown;
    for (int layer = 0; layer < 5; ++layer) {
      const MapSource source{record_, "dense", layer, {}};
      loader.load(source, [&shown](MapDataPtr data) { shown << data->source.layer; });
    }
    QTRY_COMPARE(shown, QList<int>{4});
    QTest::qWait(50);
    QCOMPARE(shown, QList<int>{4});
    QCOMPARE(loader.begun(), 2);  // the first, which is given up, and the last
    loader.load({record_, "dense", 1, {}}, [&shown](MapDataPtr) { shown << -1; });
    loader.cancel();
    QTest::qWait(100);
    QCOMPARE(shown, QList<int>{4});
  }

  void a_load_that_is_stopped_gives_nothing() {
    std::stop_source stop;
    stop.request_stop();
    QVERIFY(!load_map_data({record_, "dense", 1, {}}, stop.get_token()));
    QVERIFY(load_map_data({record_, "dense", 1, {}})->problem.isEmpty());
  }

  void the_search_for_a_missed_pair_can_be_cut_into_pieces() {
    const auto data = load_map_data({record_, "indexer-k64-g1", 2, {}});
    QVERIFY(data->has_overlay());
    MapPoint from{0, -1};
    for (int hits = 0; hits < 20; ++hits) {
      const MissedSearch whole = find_missed(*data, from, 0, std::numeric_limits<std::size_t>::max());
      MissedSearch piece = find_missed(*data, from, 0, 1);
      for (int i = 0; i < 1000 && piece.found.query < 0 && !piece.finished; ++i)
        piece = find_missed(*data, piece.next, 0, 1);
      QCOMPARE(piece.found, whole.found);
      if (whole.found.query < 0) break;
      QVERIFY(data->missed(whole.found.query, whole.found.key));
      from = whole.found;
    }
    std::stop_source stop;
    stop.request_stop();
    QVERIFY(!find_missed(*data, {0, -1}, 0, std::numeric_limits<std::size_t>::max(), stop.get_token()).finished ||
            data->missed(0, 0));
  }

  // Pages ask for these on the window's thread: they must not be read from the disk there.
  void small_parts_stay_in_memory_with_the_record() {
    const auto file = folder_.filePath("run.h5").toStdString();
    auto record = with_small_parts(record::RunRecord::open(file), 1);
    for (const auto& method : record->methods()) {
      const std::weak_ptr<const record::HeadStatistics> statistics = record->head_statistics(method.id);
      const std::weak_ptr<const record::MassCurves> curves = record->mass_curves(method.id);
      QVERIFY(!statistics.expired() && !curves.expired());
    }
    const std::weak_ptr<const record::RunRecord> gone = record;
    record.reset();
    QVERIFY(gone.expired());
  }
};

QTEST_MAIN(TestTileCache)
#include "test_tile_cache.moc"
