// SPDX-License-Identifier: Apache-2.0
// The run's working file gives back what was put, whether it went to the file or stayed where it was.
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>

#include "experiment/passes/stream_store.h"

#include <QtTest>

using namespace headroom;
using namespace headroom::experiment;

namespace {

at::Tensor numbers(std::vector<std::int64_t> shape, c10::ScalarType type) {
  std::int64_t count = 1;
  for (const auto n : shape) count *= n;
  return at::arange(count, at::TensorOptions().dtype(at::kFloat)).remainder(97).to(type).view(shape);
}

constexpr std::int64_t length = 20, row_bytes = 3;

attention::LayerQuery some_query(int layer) {
  attention::LayerQuery query;
  query.layer = layer;
  query.q = numbers({4, length, 8}, at::kBFloat16);
  query.k = numbers({2, length, 8}, at::kBFloat16);
  query.scale = 0.25;
  return query;
}

}  // namespace

class TestStreamStore : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;

 private slots:
  void it_gives_back_what_was_put_data() {
    QTest::addColumn<bool>("held");
    QTest::newRow("in the file") << false;
    QTest::newRow("held") << true;
  }
  void it_gives_back_what_was_put() {
    QFETCH(bool, held);
    StreamStore store(folder_.path().toStdString(), 1 << 20);
    if (held) store.hold_on_devices(1 << 20, true);
    const at::Tensor hidden = numbers({length, 16}, at::kBFloat16);
    store.put_hidden(3, hidden);
    const auto query = some_query(3);
    store.put_stream("a", 3, query, std::vector<float>(4 * length, 1.5f));
    attention::CellPlanes planes;
    planes.m_max = numbers({5, 5}, at::kFloat);
    planes.hit = numbers({5, 5}, at::kInt);
    planes.max = numbers({4, 3, 3}, at::kFloat);
    store.put_planes("a", 3, planes);
    QVERIFY(at::equal(store.hidden(3), hidden));
    const auto stream = store.stream("a", 3, 15);
    QVERIFY(stream && stream->q.size() == 4 * 5 * 8 && stream->k.size() == 2 * length * 8);
    QCOMPARE(stream->q[8 * 5], query.q[1][15][0].item<float>());
    QCOMPARE(stream->k[7], query.k[0][0][7].item<float>());
    QVERIFY(store.has_planes("a", 3) && store.has_planes("a", 3, record::Plane::hit));
    QVERIFY(!store.has_planes("a", 3, record::Plane::selected) && !store.has_planes("b", 3));
    std::map<record::Plane, std::vector<double>> rows;
    QVERIFY(store.planes("a", 3, [&](record::Plane plane, std::int64_t, std::span<const double> cells) {
      rows[plane].insert(rows[plane].end(), cells.begin(), cells.end());
    }));
    QCOMPARE(rows.size(), 3u);
    QCOMPARE(rows[record::Plane::hit].size(), 25u);
    QCOMPARE(rows[record::Plane::hit][13], 13.0);
    QCOMPARE(rows[record::Plane::max].size(), 36u);
    QCOMPARE(rows[record::Plane::max][35], 35.0);
    QCOMPARE(store.held_on(c10::Device(c10::DeviceType::CPU)) > 0, held);
    store.drop_hidden();
    QCOMPARE(store.hidden(3).defined(), !held);
  }

  void the_worst_layers_keep_their_bitmaps() {
    const std::int64_t bytes = 3 * length * row_bytes;
    StreamStore store(folder_.path().toStdString(), 2 * bytes);
    store.hold_on_devices(1 << 20, true);
    const double masses[] = {0.9, 0.5, 0.7, 0.95};
    for (int layer = 0; layer < 4; ++layer) {
      attention::LayerAnalysis analysis;
      analysis.packed = at::zeros({3, length, row_bytes}, at::kByte);
      analysis.packed[1][layer][0].fill_(1 << layer);
      store.put_supports("a", layer, masses[layer], analysis);
    }
    QVERIFY(!store.supports("a", 0) && !store.supports("a", 3));
    QVERIFY(store.supports("a", 1));
    const auto kept = store.supports("a", 2);
    QVERIFY(kept && kept->target[0].test(2, 2) && kept->support[0].count_all() == 0);
    QCOMPARE(kept->target[0].count_all(), 1);
    QCOMPARE(store.held_on(c10::Device(c10::DeviceType::CPU)), 2 * bytes);
  }
};

QTEST_APPLESS_MAIN(TestStreamStore)
#include "test_stream_store.moc"
