// SPDX-License-Identifier: Apache-2.0
// Missed keys, columns and ranks against plain sums over probability(); candidates of an answer through a record.
#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "record/missed.h"
#include "record/rank_tile.h"
#include "record/record_json.h"
#include "record/run_record.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::record;

namespace {

constexpr std::int64_t tokens = 300;

struct Made {
  QTemporaryDir folder;
  std::shared_ptr<const RunRecord> record;
  explicit Made(std::int64_t query_begin = 0) {
    test::SyntheticOptions options;
    options.tokens = tokens;
    options.layers = 2;
    options.query_begin = query_begin;
    options.choices = true;
    const auto file = std::filesystem::path(folder.path().toStdString()) / "m.h5";
    test::write_synthetic_record(file, options);
    record = RunRecord::open(file);
    for (int layer = 0; layer < 2; ++layer)
      held.push_back(record->layer_stream("indexer-k64-g1", layer));  // else each look at it reads the file
  }
  std::vector<std::shared_ptr<const LayerStream>> held;
  auto rows(SupportKind kind, int layer = 1) const { return record->supports("indexer-k64-g1", layer, kind); }
  auto stream(int layer = 1) const { return record->layer_stream("indexer-k64-g1", layer); }
};

const HeadSelector selectors[] = {
    {HeadSelector::Kind::head, 4}, {HeadSelector::Kind::mean, 0}, {HeadSelector::Kind::group, 1}};

bool near(double found, double expected) {
  return std::abs(found - expected) <= 1e-4 * std::abs(expected) + 1e-9;
}

}  // namespace

class TestMissedKeys : public QObject {
  Q_OBJECT
 private slots:
  void the_tally_is_the_plain_sum() {
    const Made m;
    const auto support = m.rows(SupportKind::support), target = m.rows(SupportKind::target);
    for (const HeadSelector head : selectors) {
      MissedTally tally(tokens);
      QVERIFY(tally.add(1, m.stream().get(), head, *support, *target, 100, 260));
      std::map<std::int64_t, double> mass;
      std::map<std::int64_t, std::int64_t> rows;
      double all = 0;
      std::int64_t pairs = 0;
      for (std::int64_t query = 100; query < 260; ++query)
        for (std::int64_t key = 0; key <= query; ++key) {
          if (!target->test(query, key) || support->test(query, key)) continue;
          const double p = static_cast<double>(probability(*m.stream(), head, query, key));
          mass[key] += p, ++rows[key], all += p, ++pairs;
        }
      QVERIFY(pairs > 100);
      QCOMPARE(tally.pairs(), pairs);
      QCOMPARE(tally.rows(), std::int64_t{160});
      QCOMPARE(tally.known_rows(), std::int64_t{160});
      QVERIFY(near(tally.mass(), all));
      const auto keys = tally.keys();
      QCOMPARE(keys.size(), mass.size());
      for (std::size_t i = 0; i < keys.size(); ++i) {
        QVERIFY(i == 0 || keys[i - 1].mass >= keys[i].mass);
        QVERIFY2(near(keys[i].mass, mass[keys[i].key]), qPrintable(QString::number(keys[i].key)));
        QCOMPARE(keys[i].rows, rows[keys[i].key]);
        QVERIFY(target->test(keys[i].query, keys[i].key) && !support->test(keys[i].query, keys[i].key));
        QCOMPARE(keys[i].most, probability(*m.stream(), head, keys[i].query, keys[i].key));
      }
    }
  }

  void rows_that_are_not_kept_count_without_mass() {
    const Made m(200);
    MissedTally tally(tokens);
    QVERIFY(tally.add(1, m.stream().get(), {}, *m.rows(SupportKind::support), *m.rows(SupportKind::target), 150, 250));
    QCOMPARE(tally.rows(), std::int64_t{100});
    QCOMPARE(tally.known_rows(), std::int64_t{50});
    bool some_unknown = false;
    for (const MissedKey& key : tally.keys()) {
      QVERIFY(key.known_rows <= key.rows);
      some_unknown |= key.known_rows == 0 && std::isnan(key.most) && key.query >= 150 && key.query < 200;
      if (key.known_rows > 0) QVERIFY(key.query >= 200);
    }
    QVERIFY(some_unknown);
    MissedTally none(tokens);
    QVERIFY(none.add(1, nullptr, {}, *m.rows(SupportKind::support), *m.rows(SupportKind::target), 0, tokens));
    QCOMPARE(none.known_rows(), std::int64_t{0});
    QVERIFY(none.pairs() > 0 && none.mass() == 0);
  }

  void it_stops_when_told_and_keeps_what_it_has() {
    const Made m;
    MissedTally tally(tokens);
    QVERIFY(!tally.add(1, m.stream().get(), {}, *m.rows(SupportKind::support), *m.rows(SupportKind::target), 0, tokens,
                       [](std::int64_t done) { return done < 120; }));
    QCOMPARE(tally.rows(), std::int64_t{120});
    MissedTally other(tokens - 1);
    QVERIFY_EXCEPTION_THROWN(
        other.add(1, m.stream().get(), {}, *m.rows(SupportKind::support), *m.rows(SupportKind::target), 0, 5), Error);
  }

  void layers_add_up() {
    const Made m;
    MissedTally tally(tokens);
    for (int layer = 0; layer < 2; ++layer)
      QVERIFY(tally.add(layer, m.stream(layer).get(), {}, *m.rows(SupportKind::support, layer),
                        *m.rows(SupportKind::target, layer), tokens - 50, tokens));
    QCOMPARE(tally.rows(), std::int64_t{100});
    bool both = false;
    for (const MissedKey& key : tally.keys()) {
      QVERIFY(key.layers >= 1 && key.layers <= 2 && key.rows >= key.layers);
      both |= key.layers == 2;
    }
    QVERIFY(both);
  }

  void a_column_is_what_each_row_gives() {
    for (const std::int64_t begin : {std::int64_t{0}, std::int64_t{120}}) {
      const Made m(begin);
      for (const HeadSelector head : selectors) {
        const auto column = probability_column(*m.stream(), head, 40);
        QCOMPARE(std::ssize(column), tokens);
        for (std::int64_t query = 0; query < tokens; ++query) {
          const float p = column[static_cast<std::size_t>(query)];
          if (query < begin)
            QVERIFY(std::isnan(p));
          else
            QVERIFY(near(static_cast<double>(p), static_cast<double>(probability(*m.stream(), head, query, 40))));
        }
      }
      QVERIFY(probability_column(*m.stream(), {}, tokens).empty());
    }
  }

  void rank_tiles_hold_the_best_rank_of_their_cells() {
    const Made m(30);
    for (const HeadSelector head : selectors) {
      for (const int level : {0, 1, 3}) {
        const Tile tile = compute_rank_tile(*m.stream(), head, {level, level == 0 ? 1 : 0, 0});
        QVERIFY(tile.rows > 0 && tile.max.size() == static_cast<std::size_t>(tile.rows * tile.columns));
        const std::int64_t cell = std::int64_t{1} << level, first = level == 0 ? 256 : 0;
        for (std::int64_t row = 0; row < tile.rows; row += 7) {
          for (std::int64_t column = 0; column < tile.columns; column += 5) {
            std::int64_t best = 0;
            for (std::int64_t query = first + row * cell; query < std::min(first + (row + 1) * cell, tokens); ++query)
              for (std::int64_t key = column * cell; key < (column + 1) * cell; ++key) {
                const std::int64_t rank = rank_in_row(*m.stream(), head, query, key);
                if (rank > 0 && (best == 0 || rank < best)) best = rank;
              }
            const float found = tile.max[static_cast<std::size_t>(row * tile.columns + column)];
            if (best == 0)
              QVERIFY(std::isnan(found));
            else
              QCOMPARE(std::lround(1 / found), best);
          }
        }
      }
    }
    std::stop_source stop;
    stop.request_stop();
    QVERIFY(compute_rank_tile(*m.stream(), {}, {0, 0, 0}, stop.get_token()).max.empty());
    QVERIFY(compute_rank_tile(*m.stream(), {}, {0, 5, 0}).max.empty());
  }

  void candidates_survive_a_record() {
    const Made m;
    const MethodSummary& method = *m.record->find_method("indexer-k64-g1");
    QVERIFY(method.forced && method.forced->first_difference);
    const AnswerPosition& at = *method.forced->first_difference;
    QCOMPARE(at.position, *method.forced->first_divergence);
    QVERIFY(at.by_dense()->id != at.by_method()->id);
    const auto all = m.record->answer_choices("indexer-k64-g1");
    QVERIFY(all && all->size() == 4);
    QCOMPARE((*all)[2], at);
    QVERIFY(!m.record->answer_choices("dense"));
    QVERIFY(!m.record->answer_choices("nothing"));
  }

  void candidates_are_checked() {
    nlohmann::json good = to_json(AnswerPosition{3, {{7, " Paris", 0.8, 0.1}, {9, " Lyon", 0.1, 0.5}}});
    QCOMPARE(answer_positions_from_json(nlohmann::json::array({good}), "x").front().candidates.size(), std::size_t{2});
    const auto refuses = [&](auto&& change) {
      nlohmann::json bad = good;
      change(bad);
      QVERIFY_EXCEPTION_THROWN(answer_positions_from_json(nlohmann::json::array({bad}), "x"), Error);
    };
    refuses([](nlohmann::json& j) { j["position"] = -1; });
    refuses([](nlohmann::json& j) { j["candidates"][0]["dense"] = 2; });
    refuses([](nlohmann::json& j) { j["candidates"][0]["id"] = "x"; });
    refuses([](nlohmann::json& j) { j["candidates"][0]["text"] = std::string(5000, 'a'); });
    refuses([](nlohmann::json& j) { j["candidates"] = nlohmann::json::array_t(1000, j["candidates"][0]); });
    QVERIFY_EXCEPTION_THROWN(answer_positions_from_json(nlohmann::json::array({good, good}), "x"), Error);
    QVERIFY_EXCEPTION_THROWN(answer_positions_from_json(good, "x"), Error);
  }
};

QTEST_APPLESS_MAIN(TestMissedKeys)
#include "test_missed_keys.moc"
