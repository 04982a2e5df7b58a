// SPDX-License-Identifier: GPL-3.0-or-later
// Speedup against context from the open runs: of one model on one device alone, a marker for each method that has a
// speedup, the bound at each length.
#include <QComboBox>
#include <cmath>

#include "record/record_writer.h"
#include "views/common/page_fixture.h"
#include "views/timing/context_plot.h"
#include "views/timing/timing_page.h"

using namespace headroom;
using namespace headroom::views;

class TestContextPlot : public QObject {
  Q_OBJECT

  struct Timed {
    std::int64_t tokens = 1000;
    double dense_ms = 100, attention_ms = 60, indexer_ms = 50;
    int repeats = 3;
    std::string model = std::string(64, 'a'), device = "CPU", dtype = "f32";
    bool in_turn = true;
  };

  static RecordPtr run(const char* name, const Timed& timed) {
    test::SyntheticOptions o;
    o.tokens = timed.tokens;
    o.layers = 2;
    record::RunMeta meta = test::synthetic_meta(o);
    meta.model_sha256 = timed.model;
    meta.device = timed.device;
    meta.dtype = timed.dtype;
    meta.timed_in_turn = timed.in_turn;
    const auto file = temporary_file(name);
    record::RecordWriter writer(file, meta, test::synthetic_tokens(timed.tokens, 1));
    for (const char* method : {"dense", "oracle-k64-g1", "indexer-k64-g1"}) {
      record::MethodSummary summary = test::synthetic_summary(o, method);
      summary.label.clear();
      const double ms = summary.is_dense() ? timed.dense_ms : timed.indexer_ms;
      summary.ttft = {ms, ms * 0.9, ms * 1.1, timed.repeats};
      summary.ttft_samples.clear();
      for (int i = 0; i < timed.repeats; ++i) summary.ttft_samples.push_back(ms * (1 + 0.1 * (i - 1)));
      for (auto& stage : summary.stages) stage.median = 0;
      summary.stages[static_cast<std::size_t>(Stage::attention)].median = timed.attention_ms;
      writer.write_summary(summary);
    }
    writer.finish(meta);
    return record::RunRecord::open(file);
  }

 private slots:
  void runs_of_one_model_on_one_device_are_compared() {
    const std::vector<RecordPtr> runs{
        run("short.h5", {}),
        run("long.h5", {.tokens = 4000, .dense_ms = 1000, .attention_ms = 800, .indexer_ms = 250}),
        run("single.h5", {.tokens = 2000, .dense_ms = 300, .attention_ms = 200, .indexer_ms = 150, .repeats = 1}),
        run("other_model.h5", {.model = std::string(64, 'c')}),
        run("other_device.h5", {.device = "NVIDIA H200"}),
        run("other_dtype.h5", {.dtype = "bf16"}),
        run("not_timed.h5", {.tokens = 3000, .repeats = 0}),
    };
    const ContextPicture picture = speedups_by_context(runs, *runs[0]);
    QCOMPARE(picture.runs, 3);
    // The oracle is a reference: it has a time and no speedup.
    QCOMPARE(picture.points.size(), std::size_t{3});
    const std::tuple<double, double, bool> expected[] = {{1000, 2, true}, {4000, 4, true}, {2000, 2, false}};
    for (std::size_t i = 0; i < 3; ++i) {
      const SpeedupPoint& point = picture.points[i];
      const auto& [tokens, ratio, firm] = expected[i];
      QCOMPARE(point.tokens, tokens);
      QVERIFY2(std::abs(point.ratio - ratio) < 1e-9, qPrintable(QString::number(point.ratio)));
      QVERIFY(point.low <= point.ratio && point.ratio <= point.high);
      QCOMPARE(point.firm, firm);
      QCOMPARE(point.look, 2);
      QVERIFY(point.tip.contains(QString::number(ratio, 'f', 2) + "x over dense"));
      QCOMPARE(point.tip.contains("a hint"), !firm);
    }
    QVERIFY(picture.points[1].tip.contains("long, 4,000 tokens"));
    const std::vector<std::pair<double, double>> bounds{{1000, 2.5}, {4000, 5}, {2000, 3}};
    QCOMPARE(picture.bounds.size(), bounds.size());
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      QCOMPARE(picture.bounds[i].first, bounds[i].first);
      QVERIFY(std::abs(picture.bounds[i].second - bounds[i].second) < 1e-9);
    }
    // Of another shown run, other runs.
    QCOMPARE(speedups_by_context(runs, *runs[4]).points.size(), std::size_t{1});
    QCOMPARE(speedups_by_context(runs, *runs[6]).runs, 3);
  }

  void passes_that_were_not_timed_in_turn_are_a_hint() {
    const std::vector<RecordPtr> runs{run("apart.h5", {.in_turn = false})};
    const ContextPicture picture = speedups_by_context(runs, *runs[0]);
    QCOMPARE(picture.points.size(), std::size_t{1});
    QVERIFY(!picture.points[0].firm);
  }

  void the_page_draws_it_where_it_is_chosen() {
    Selection selection;
    TimingPage page(&selection);
    selection.open_record(run("b.h5", {.tokens = 4000, .dense_ms = 1000, .attention_ms = 800, .indexer_ms = 250}));
    selection.open_record(run("a.h5", {}));
    show_page(page, {1100, 800});
    auto* chooser = page.findChild<QComboBox*>();
    QVERIFY(!page.context_plot()->isVisible());
    const int item = chooser->findText("context", Qt::MatchContains);
    QVERIFY(item >= 0);
    chooser->setCurrentIndex(item);
    emit chooser->activated(item);
    QTRY_VERIFY(page.context_plot()->isVisible());
    QCOMPARE(page.context_plot()->picture().points.size(), std::size_t{2});
    // Both markers are within the axes, the longer prompt on the right and higher.
    const auto* plot = page.context_plot();
    QVector<QPointF> places;
    for (const auto& point : plot->picture().points) {
      places << QPointF(plot->xAxis->coordToPixel(point.tokens), plot->yAxis->coordToPixel(point.ratio));
      QVERIFY(plot->axisRect()->rect().contains(places.last().toPoint()));
    }
    const bool first_longer = plot->picture().points[0].tokens > plot->picture().points[1].tokens;
    const QPointF &longer = places[first_longer ? 0 : 1], &shorter = places[first_longer ? 1 : 0];
    QVERIFY(longer.x() > shorter.x() + 50 && longer.y() < shorter.y() - 30);
    QVERIFY(plot->legend_html().contains("Indexer") && plot->legend_html().contains("bound"));
    // A run that is closed takes its marker with it.
    selection.close_record(0);
    QTRY_COMPARE(page.context_plot()->picture().points.size(), std::size_t{1});
  }
};

QTEST_MAIN(TestContextPlot)
#include "test_context_plot.moc"
