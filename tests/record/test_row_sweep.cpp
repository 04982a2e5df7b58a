// SPDX-License-Identifier: Apache-2.0
// Rows of a stream that are made together are the rows that are made one by one, whether q and k are in memory or in
// the file; each piece of k is read once for all of them.
#include <QTemporaryDir>
#include <QTest>
#include <atomic>
#include <cmath>

#include "base/error.h"
#include "record/row_sweep.h"
#include "record/run_record.h"
#include "record/stream_window.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::record;

class TestRowSweep : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::shared_ptr<const RunRecord> record_;

 private slots:
  void initTestCase() {
    test::SyntheticOptions options;
    options.tokens = 900;
    options.layers = 1;
    options.query_begin = 40;
    const std::filesystem::path file = folder_.filePath("run.h5").toStdString();
    test::write_synthetic_record(file, options);
    record_ = RunRecord::open(file);
  }

  void rows_are_those_made_one_by_one() {
    const auto stream = record_->layer_stream("dense", 0);
    QVERIFY(stream);
    using Kind = HeadSelector::Kind;
    for (const HeadSelector head :
         {HeadSelector{Kind::mean, 0}, HeadSelector{Kind::head, 3}, HeadSelector{Kind::group, 1}}) {
      std::vector<std::int64_t> queries = {899, 3, 40, 500, 500};  // in any order, twice, and one that is not kept
      for (std::int64_t query = 40; query < 900; ++query) queries.push_back(query);  // more than go at once
      std::vector<std::vector<float>> rows(queries.size());
      QVERIFY(sweep_rows(*stream, head, queries, [&](std::size_t row, std::int64_t key, std::span<const float> p) {
        QCOMPARE(std::ssize(rows[row]), key);  // piece after piece
        rows[row].insert(rows[row].end(), p.begin(), p.end());
      }));
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const std::vector<float> one = probability_row(*stream, head, queries[i]);
        QCOMPARE(rows[i].size(), one.size());
        for (std::size_t key = 0; key < one.size(); ++key)
          QVERIFY(std::abs(rows[i][key] - one[key]) <= 1e-6f * (1 + std::abs(one[key])));
      }
      QVERIFY(rows[1].empty());
    }
  }

  void a_stop_ends_it_and_a_wrong_head_is_refused() {
    const auto stream = record_->layer_stream("dense", 0);
    const std::vector<std::int64_t> queries = {100, 200};
    std::stop_source stop;
    stop.request_stop();
    const auto take = [](std::size_t, std::int64_t, std::span<const float>) {};
    QVERIFY(!sweep_rows(*stream, {}, queries, take, stop.get_token()));
    QVERIFY_EXCEPTION_THROWN(sweep_rows(*stream, {HeadSelector::Kind::head, 99}, queries, take), Error);
    QVERIFY(sweep_rows(*stream, {}, {}, take));
  }

  void k_is_read_once_for_all_rows() {
    constexpr std::int64_t length = 9000, d = 4, heads = 2;
    std::atomic<int> reads_of_k = 0;
    StreamWindow::Shape q{heads, length, d, 256, false}, k{1, length, d, 256, false}, lse{heads, length, 1, 256, false};
    LayerStream stream;
    stream.length = length;
    stream.num_q_heads = heads;
    stream.num_kv_heads = 1;
    stream.head_dim = d;
    stream.scale = 0.5;
    stream.window = std::make_shared<StreamWindow>(
        q, k, lse,
        [&](StreamWindow::Part part, std::int64_t, std::int64_t, std::int64_t rows, void* out) {
          reads_of_k += part == StreamWindow::Part::k;
          std::fill_n(static_cast<float*>(out), rows * (part == StreamWindow::Part::lse ? 1 : d),
                      part == StreamWindow::Part::lse ? 9.0f : 0.1f);
        },
        "test");
    std::vector<std::int64_t> queries;
    for (std::int64_t i = 0; i < 300; ++i) queries.push_back(length - 1 - 20 * i);
    std::int64_t seen = 0;
    QVERIFY(sweep_rows(stream, {}, queries, [&](std::size_t, std::int64_t, std::span<const float> p) {
      seen += std::ssize(p);
    }));
    std::int64_t expected = 0;
    for (const std::int64_t query : queries) expected += query + 1;
    QCOMPARE(seen, expected);
    QVERIFY2(reads_of_k <= (length + 255) / 256, qPrintable(QString::number(reads_of_k)));
  }
};

QTEST_GUILESS_MAIN(TestRowSweep)
#include "test_row_sweep.moc"
