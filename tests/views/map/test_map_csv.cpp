// SPDX-License-Identifier: GPL-3.0-or-later
// A map as numbers: single pairs where there are few, else cells of the level that is shown, and the file says which.
#include <cmath>
#include <set>

#include "record/tiles.h"
#include "views/common/page_fixture.h"
#include "views/map/map_data.h"
#include "views/map/map_figure.h"

using namespace headroom;
using namespace headroom::views;

class TestMapCsv : public QObject {
  Q_OBJECT

  static MapDataPtr data_of(const RecordPtr& record) {
    return load_map_data({record, "indexer-k64-g1", 1, {record::HeadSelector::Kind::head, 2}});
  }
  static RecordPtr longer_record() {
    static const RecordPtr record = [] {
      test::SyntheticOptions options;
      options.tokens = 900;
      options.layers = 2;
      return make_record("csv.h5", options);
    }();
    return record;
  }
  static QStringList lines(const QString& csv) { return csv.split("\r\n", Qt::SkipEmptyParts); }

 private slots:
  void pairs_of_a_wide_row_and_of_a_block_are_the_same() {
    const MapDataPtr data = data_of(longer_record());
    QVERIFY(data->problem.isEmpty() && data->stream);
    // One row is computed as a row, a few keys of many rows come from tiles.
    for (const Viewport& view : {Viewport{500, 501, 0, 900}, Viewport{400, 800, 100, 110}, Viewport{400, 800, 390, 640},
                                 Viewport{250, 260, 250, 262}}) {
      const QStringList rows = lines(map_csv(*data, view, 0));
      QCOMPARE(rows.first(), QString("query,key,p,selected,missed,query_token,key_token"));
      qsizetype expected = 1;
      for (auto query = static_cast<std::int64_t>(view.query_begin); query < view.query_end; ++query)
        expected += std::max<std::int64_t>(0, std::min(static_cast<std::int64_t>(view.key_end), query + 1) -
                                                  static_cast<std::int64_t>(view.key_begin));
      QCOMPARE(rows.size(), expected);
      for (qsizetype i = 1; i < rows.size(); ++i) {
        const QStringList cells = rows[i].split(',');
        const std::int64_t query = cells[0].toLongLong(), key = cells[1].toLongLong();
        const double p = static_cast<double>(record::probability(*data->stream, data->source.head, query, key));
        QVERIFY2(std::abs(cells[2].toDouble() - p) <= 1e-4 * p + 1e-9, qPrintable(rows[i]));
        QCOMPARE(cells[3], QString(data->selected(query, key) ? "1" : "0"));
        QCOMPARE(cells[4], QString(data->missed(query, key) ? "1" : "0"));
      }
    }
  }

  void many_pairs_become_cells_of_the_level_that_is_shown() {
    const MapDataPtr data = data_of(longer_record());
    QVERIFY(data->problem.isEmpty() && data->stream);
    for (const int level : {1, 2}) {
      const Viewport view{100, 900, 0, 800};
      const QStringList rows = lines(map_csv(*data, view, level));
      const std::int64_t cell = std::int64_t{1} << level;
      QCOMPARE(rows[0], QString("# Cells: largest and mean p of %1x%1 pairs").arg(cell));
      QCOMPARE(rows[1], QString("query_begin,query_end,key_begin,key_end,max_p,mean_p"));
      const auto tile = record::compute_tile(*data->stream, data->source.head, {level, 0, 0});
      std::set<QPair<qint64, qint64>> seen;
      for (qsizetype i = 2; i < rows.size(); ++i) {
        const QStringList cells = rows[i].split(',');
        const std::int64_t query = cells[0].toLongLong(), key = cells[2].toLongLong();
        QVERIFY(query % cell == 0 && key % cell == 0 && cells[1].toLongLong() - query <= cell);
        QVERIFY2(seen.insert({query, key}).second, qPrintable(rows[i]));  // no cell twice
        if (query / cell >= tile.rows || key / cell >= tile.columns) continue;
        const double most =
            static_cast<double>(tile.max[static_cast<std::size_t>(query / cell * tile.columns + key / cell)]);
        QVERIFY2(std::abs(cells[4].toDouble() - most) <= 1e-5 * most + 1e-12, qPrintable(rows[i]));
      }
      // All causal cells in sight, and no others.
      std::size_t expected = 0;
      for (std::int64_t row = 100 / cell; row * cell < 900; ++row)
        for (std::int64_t column = 0; column <= row && column * cell < 800; ++column) ++expected;
      QCOMPARE(seen.size(), expected);
    }
  }

  void where_q_and_k_are_not_there_the_file_says_what_its_cells_are() {
    test::SyntheticOptions options;
    options.tokens = 900;
    options.layers = 2;
    options.keep_layers = {0};
    const MapDataPtr data = data_of(make_record("csv_thumbnail.h5", options));
    QVERIFY(data->problem.isEmpty() && !data->stream && data->thumbnail);
    const QStringList rows = lines(map_csv(*data, {0, 900, 0, 900}, 1));
    QCOMPARE(rows[0], QString("# Cells: largest and mean p of %1x%1 pairs").arg(data->thumbnail->cell));
    QVERIFY(rows.size() > 100);
  }

  void a_stop_ends_it_with_nothing() {
    std::stop_source stop;
    stop.request_stop();
    const MapDataPtr data = data_of(longer_record());
    for (const Viewport& view : {Viewport{500, 501, 0, 900}, Viewport{400, 800, 100, 110}, Viewport{0, 900, 0, 900}})
      QVERIFY(map_csv(*data, view, 1, stop.get_token()).isEmpty());
  }
};

QTEST_MAIN(TestMapCsv)
#include "test_map_csv.moc"
