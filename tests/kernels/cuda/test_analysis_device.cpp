// SPDX-License-Identifier: Apache-2.0
// A record's figures by the CUDA kernels' text, run thread by thread on the host, against the analysis on the CPU:
// statistics, curves, marginals, recalls, thumbnails, bitmaps and planes of stored tiles.
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include "attention/analysis.h"
#include "attention/analysis_device.h"
#include "layer_inputs.h"
#include "record/pyramid.h"

#include <QtTest>
#include <cmath>

#include "host/host_kernels.h"
#include "host/lanes.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;
namespace cuda = kernels::cuda;

Q_DECLARE_METATYPE(headroom::attention::testing::Shape)

namespace {

const cuda::KernelTable& host_table() {
  return cuda::host::kernels_on_host();
}

std::vector<SupportTile> tiles_of(const std::string& policy, const std::string& budget, const LayerQuery& query,
                                  const std::map<std::string, double, std::less<>>& parameters, ForcedKeys& forced) {
  std::vector<SupportTile> tiles;
  const auto chosen = policy_of(policy, budget, 1, parameters);
  forced = chosen->target_forced_keys();
  StageClock clock;
  attention::attend(*chosen, *make_torch_backend(), query, clock,
                    [&](const SupportTile& tile) { tiles.push_back(tile); }, {});
  return tiles;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= most)) most = std::isnan(difference) ? INFINITY : difference;
  }
  return most;
}

}  // namespace

class TestAnalysisDevice : public QObject {
  Q_OBJECT
 private slots:
  void cleanup() {
    std::string all;
    for (const std::string& one : cuda::host::complaints()) all += one + "; ";
    QVERIFY2(all.empty(), all.c_str());
  }

  void equals_the_analysis_on_the_cpu_data() {
    QTest::addColumn<Shape>("shape");
    QTest::addColumn<QString>("policy");
    QTest::addColumn<QString>("budget");
    QTest::addColumn<bool>("maps");
    const auto add = [](const Shape& shape, const char* policy, const char* budget, bool maps) {
      QTest::addRow("%s %s %s%s", shape.text().c_str(), policy, budget, maps ? ", maps" : "")
          << shape << QString(policy) << QString(budget) << maps;
    };
    add({1, 2, 1, 16}, "oracle", "4", false);
    add({70, 2, 1, 16}, "", "", true);
    add({75, 2, 1, 64, at::kBFloat16}, "random", "12", true);
    add({50, 2, 2, 16}, "sink_window", "16", false);
    add({20, 2, 1, 16}, "oracle", "32", true);
  }
  void equals_the_analysis_on_the_cpu() {
    QFETCH(Shape, shape);
    QFETCH(QString, policy);
    QFETCH(QString, budget);
    QFETCH(bool, maps);
    const LayerQuery query = make_query(shape, 21);
    AnalysisOptions options;
    options.thumbnail_size = 32;
    options.thumbnails = maps;
    std::vector<SupportTile> tiles;
    if (!policy.isEmpty()) {
      tiles = tiles_of(policy.toStdString(), budget.toStdString(), query, {}, options.forced);
      options.budget_tokens = parse_budget(budget.toStdString()).tokens_for(shape.length);
    }
    if (maps) {
      options.mean_level = 2;
      options.head_level = 4;
    }
    QVERIFY(device_analyses(query, tiles, options));
    const LayerAnalysis expected = analyse_layer(query, to_bitmaps(tiles, shape.length), options, {});
    const LayerAnalysis found = analyse_on_device(query, tiles, options, host_table(), {}, 32);
    compare(found, expected);
    if (!tiles.empty()) {
      options.packed = true;
      const LayerAnalysis packed = analyse_on_device(query, tiles, options, host_table(), {}, 32);
      QVERIFY(packed.support.empty());
      const std::size_t bytes = expected.support[0].bytes().size();
      const auto* first = packed.packed.const_data_ptr<std::uint8_t>();
      QVERIFY(std::equal(first, first + bytes, expected.support[0].bytes().begin()));
      QVERIFY(std::equal(first + bytes, first + 2 * bytes, expected.target[0].bytes().begin()));
      QVERIFY(std::equal(first + 2 * bytes, first + 3 * bytes, expected.wasted[0].bytes().begin()));
    }
    if (maps) compare_planes(found, expected, query, options);
    if (shape.length > 20 || policy != "oracle") return;  // the same bits on repeat
    const LayerAnalysis again = analyse_on_device(query, tiles, options, host_table(), {}, 32);
    QCOMPARE(largest_difference(found.statistics, again.statistics), 0.0);
    QCOMPARE(largest_difference(found.curves, again.curves), 0.0);
  }

  void what_the_kernels_do_not_know_stays_on_the_cpu() {
    LayerQuery query = make_query({40, 4, 2, 16}, 22);
    AnalysisOptions options;
    QVERIFY(device_analyses(query, {}, options));
    SupportTile tile;
    tile.row_end = 40;
    QVERIFY(!device_analyses(query, {tile}, options));  // a mass budget: each row has a k of its own
    options.budget_tokens = 8;
    QVERIFY(device_analyses(query, {tile}, options));
    tile.groups = 2;
    QVERIFY(!device_analyses(query, {tile}, options));
    query.sinks = at::full({4}, 0.5);
    QVERIFY(!device_analyses(query, {}, options));
  }

  void a_stop_ends_it_and_odd_values_do_not_crash() {
    LayerQuery query = make_query({70, 3, 1, 16}, 23);
    std::stop_source source;
    source.request_stop();
    QVERIFY_THROWS_EXCEPTION(Error, analyse_on_device(query, {}, {}, host_table(), JobContext{source.get_token(), {}}));
    query.q[0][50].fill_(NAN);
    query.k[0][3].fill_(INFINITY);
    QCOMPARE(analyse_on_device(query, {}, {}, host_table(), {}).attended_pairs, 70.0 * 71 / 2);
  }

 private:
  static void compare(const LayerAnalysis& found, const LayerAnalysis& expected) {
    QCOMPARE(found.statistics.size(), expected.statistics.size());
    for (std::size_t i = 0; i < found.statistics.size(); ++i) {
      const auto which = static_cast<HeadStatistic>(i % num_head_statistics);
      const bool keys = which >= HeadStatistic::keys_for_90 && which <= HeadStatistic::keys_for_99;
      const auto a = static_cast<double>(found.statistics[i]), b = static_cast<double>(expected.statistics[i]);
      // A share may end one key sooner or later in a row where the keys of a bin are told apart by less than 0.8 %.
      const double tolerance = keys ? 0.01 * std::abs(b) + 0.02 : which == HeadStatistic::entropy ? 1e-4 : 2e-5;
      QVERIFY2(std::abs(a - b) <= tolerance || (std::isnan(a) && std::isnan(b)),
               (std::string(head_statistic_names[i % num_head_statistics]) + ": " + std::to_string(a) + " is not " +
                std::to_string(b)).c_str());
    }
    // Means of curves; what single rows hold (p10, minimum) depends on which of a bin's keys are taken.
    const std::size_t heads = found.statistics.size() / num_head_statistics - 1;
    const std::size_t places = curve_budgets(static_cast<std::int64_t>(found.lse.size() / heads)).size();
    QCOMPARE(found.curves.size(), expected.curves.size());
    for (std::size_t i = 0; i < found.curves.size(); ++i) {
      const auto a = static_cast<double>(found.curves[i]), b = static_cast<double>(expected.curves[i]);
      const bool mean = i / places % 3 == 0;
      QVERIFY2(std::abs(a - b) <= (mean ? 4e-3 : 4e-2) || (std::isnan(a) && std::isnan(b)),
               ("curve " + std::to_string(i) + ": " + std::to_string(a) + " is not " + std::to_string(b)).c_str());
    }
    QVERIFY(largest_difference(found.lse, expected.lse) < 2e-5);
    QVERIFY(largest_difference(found.mass_received, expected.mass_received) < 2e-6);
    QVERIFY(largest_difference(found.selection_frequency, expected.selection_frequency) < 1e-6);
    QVERIFY(largest_difference(found.thumbnail_max, expected.thumbnail_max) < 2e-6);
    QVERIFY(largest_difference(found.thumbnail_mean, expected.thumbnail_mean) < 2e-6);
    QCOMPARE(found.attended_pairs, expected.attended_pairs);
    const auto near = [](double a, double b, double tolerance) {
      return std::abs(a - b) <= tolerance || (std::isnan(a) && std::isnan(b));
    };
    QVERIFY(near(found.captured_mass_mean, expected.captured_mass_mean, 1e-5));
    QVERIFY(near(found.captured_mass_min, expected.captured_mass_min, 1e-5));
    QCOMPARE(found.oracle_recall.has_value(), expected.oracle_recall.has_value());
    if (found.oracle_recall) QVERIFY(near(*found.oracle_recall, *expected.oracle_recall, 1e-6));
    QCOMPARE(found.oracle_recall_95.has_value(), expected.oracle_recall_95.has_value());
    if (found.oracle_recall_95) QVERIFY(near(*found.oracle_recall_95, *expected.oracle_recall_95, 5e-3));
    QCOMPARE(found.support.size(), expected.support.size());
    for (std::size_t i = 0; i < found.support.size(); ++i) {
      QVERIFY(std::ranges::equal(found.support[i].bytes(), expected.support[i].bytes()));
      QVERIFY(std::ranges::equal(found.target[i].bytes(), expected.target[i].bytes()));
      QVERIFY(std::ranges::equal(found.wasted[i].bytes(), expected.wasted[i].bytes()));
    }
  }

  static void compare_planes(const LayerAnalysis& found, const LayerAnalysis& expected, const LayerQuery& query,
                             const AnalysisOptions& options) {
    record::LayerStream stream;
    stream.length = query.length();
    stream.num_q_heads = query.num_q_heads();
    stream.num_kv_heads = query.num_kv_heads();
    stream.head_dim = query.head_dim();
    stream.scale = query.scale;
    const auto values = [](const at::Tensor& tensor) {
      const at::Tensor host = tensor.to(at::kFloat).contiguous();
      return std::vector<float>(host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel());
    };
    stream.q = values(query.q);
    stream.k = values(query.k);
    stream.lse = expected.lse;
    record::PyramidSupports of{SupportScope::layer};
    if (!expected.support.empty()) of = {SupportScope::layer, expected.support, expected.target, expected.wasted};
    std::map<record::Plane, std::vector<float>> planes;
    QVERIFY(record::build_pyramid(stream, of, {options.mean_level, options.head_level}, 1,
                                  [&](record::Plane plane, std::int64_t, std::span<const double> cells) {
                                    planes[plane].insert(planes[plane].end(), cells.begin(), cells.end());
                                  }));
    using record::Plane;
    const CellPlanes& p = found.planes;
    const std::pair<Plane, const at::Tensor*> all[] = {
        {Plane::max, &p.max},       {Plane::mean, &p.sum},           {Plane::missed_mass, &p.missed_mass},
        {Plane::m_max, &p.m_max},   {Plane::m_mean, &p.m_sum},       {Plane::m_missed_mass, &p.m_missed_mass},
        {Plane::hit, &p.hit},       {Plane::missed, &p.missed},      {Plane::wasted, &p.wasted},
        {Plane::selected, &p.selected}};
    for (const auto& [plane, tensor] : all) {
      QCOMPARE(tensor->defined(), planes.contains(plane));
      if (!tensor->defined()) continue;
      const auto cells = values(*tensor);
      // build_pyramid() goes by head, then strips of rows: put its rows in order.
      const std::int64_t side = tensor->size(-1), count = tensor->dim() == 3 ? tensor->size(0) : 1;
      QCOMPARE(std::ssize(planes[plane]), count * side * side);
      const std::int64_t strip = 32 >> (tensor->size(-1) == p.max.size(-1) ? options.head_level : options.mean_level);
      std::vector<float> ordered(cells.size());
      std::size_t at = 0;
      for (std::int64_t first = 0; first < side; first += strip)
        for (std::int64_t index = 0; index < count; ++index)
          for (std::int64_t row = first; row < std::min(first + strip, side);
               ++row, at += static_cast<std::size_t>(side))
            std::copy_n(planes[plane].begin() + static_cast<std::ptrdiff_t>(at), side,
                        ordered.begin() + (index * side + row) * side);
      const double difference = largest_difference(cells, ordered);
      QVERIFY2(difference < 1e-4, (std::string(record::plane_name(plane)) + std::to_string(difference)).c_str());
    }
  }
};

QTEST_APPLESS_MAIN(TestAnalysisDevice)
#include "test_analysis_device.moc"
