// SPDX-License-Identifier: Apache-2.0
// Times of several devices: every stage belongs to one of them or to a crossing, and nothing is counted twice.
#include <QtTest>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "attention/registry.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "experiment/passes/device_shares.h"
#include "record/device_json.h"
#include "record/record_json.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::experiment;

namespace {

constexpr auto transfer = static_cast<std::size_t>(Stage::transfer);

/// A pass over `layers` layers that took `scale` ms in each stage of a layer but for the crossings, which are 0.
TimedPass pass_of(std::int64_t layers, double scale) {
  TimedPass pass;
  pass.stages.layers.resize(static_cast<std::size_t>(layers));
  for (auto& layer : pass.stages.layers) {
    layer.fill(scale);
    layer[transfer] = 0;
  }
  return pass;
}
void sum_up(TimedPass& pass) {
  for (const auto& layer : pass.stages.layers)
    for (std::size_t stage = 0; stage < num_stages; ++stage) pass.stages.total[stage] += layer[stage];
}
double all_stages(const TimedPass& pass) {
  return std::accumulate(pass.stages.total.begin(), pass.stages.total.end(), 0.0);
}
double all_shares(const std::vector<record::DeviceShare>& shares) {
  double sum = 0;
  for (const auto& share : shares) sum += share.ms + share.transfer_ms;
  return sum;
}
bool near(double found, double expected) { return std::abs(found - expected) < 1e-9; }

const model::DeviceParts two = {{c10::Device(c10::DeviceType::CUDA, 0), 0}, {c10::Device(c10::DeviceType::CUDA, 1), 2}};

}  // namespace

class TestDeviceShares : public QObject {
  Q_OBJECT
 private slots:
  void a_crossing_is_nobodys_work() {
    TimedPass pass = pass_of(3, 1);  // 8 ms a layer
    pass.stages.layers[2][transfer] = 0.5;
    pass.stages.total[static_cast<std::size_t>(Stage::embedding)] = 2;  // outside layers: embedding, output, way back
    pass.stages.total[static_cast<std::size_t>(Stage::other)] = 3;
    pass.stages.total[transfer] = 0.25;
    sum_up(pass);
    const auto shares = device_shares(two, std::vector<std::int64_t>{7, 8}, std::vector<std::int64_t>{9, 10}, {pass});
    QCOMPARE(shares.size(), std::size_t{2});
    QCOMPARE(shares[0].device, std::string("cuda:0"));
    QCOMPARE(shares[1].first_layer, std::int64_t{2});
    QVERIFY(shares[0].weight_bytes == 7 && shares[1].weight_bytes == 8);
    QVERIFY(shares[0].peak_bytes == 9 && shares[1].peak_bytes == 10);
    QVERIFY(near(shares[0].ms, 16 + 2 + 3));
    QVERIFY(near(shares[1].ms, 8));
    QVERIFY(near(shares[0].transfer_ms, 0.25));
    QVERIFY(near(shares[1].transfer_ms, 0.5));
    QVERIFY(near(all_shares(shares), all_stages(pass)));
    QCOMPARE(device_line(0.75, shares), std::string("between devices 0.8 ms; cuda:0 from layer 0 21.0 ms, peak 0.0 GB; "
                                                    "cuda:1 from layer 2 8.0 ms, peak 0.0 GB"));
  }

  void shares_are_medians_over_passes() {
    std::vector<TimedPass> passes;
    for (const double scale : {1.0, 100.0, 2.0}) {
      passes.push_back(pass_of(4, scale));
      passes.back().stages.layers[2][transfer] = scale / 4;
      sum_up(passes.back());
    }
    const auto shares = device_shares(two, std::vector<std::int64_t>{1, 1}, std::vector<std::int64_t>{1, 1}, passes);
    for (const auto& share : shares) QVERIFY(near(share.ms, 2 * 8 * 2));
    QVERIFY(near(shares[1].transfer_ms, 0.5));
    QCOMPARE(shares[0].transfer_ms, 0.0);
  }

  void one_device_has_no_shares() {
    const auto one = model::on_one_device(c10::Device(c10::DeviceType::CPU));
    QVERIFY(device_shares(one, std::vector<std::int64_t>{1}, std::vector<std::int64_t>{1}, {pass_of(2, 1)}).empty());
    QVERIFY(device_line(1, {}).empty());
  }

  // A pass of a decoder whose three parts are all the CPU: hidden states go the same way as between GPUs.
  void a_decoders_pass_adds_up() {
    QTemporaryDir folder;
    const auto file = test::write_tiny_model(folder.filePath("tiny.gguf").toStdString(), {.layers = 5});
    const model::DeviceParts parts = {{at::kCPU, 0}, {at::kCPU, 1}, {at::kCPU, 3}};
    const auto checkpoint = checkpoint::open_checkpoint(file);
    const auto decoder = model::load_decoder(*checkpoint, {.parts = parts, .dtype = at::kFloat}, {});
    const auto dense = attention::make_dense_policy();
    const auto backend = attention::make_torch_backend();
    model::PrefillOptions options;
    options.policy = dense.get();
    options.backend = options.dense_backend = backend.get();
    std::vector<std::int32_t> ids(200);
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(3 + i * 7 % 200);
    const auto timer = make_stage_timer(c10::Device(c10::DeviceType::CPU), 5);
    const TimedPass pass = timed_pass(*decoder, ids, options, *timer);
    double within = 0;
    for (std::size_t layer = 0; layer < 5; ++layer) {
      const double crossing = pass.stages.layers[layer][transfer];
      QCOMPARE(crossing > 0, layer == 1 || layer == 3);
      within += crossing;
    }
    QVERIFY(pass.stages.total[transfer] > within);  // and back from the last part, outside layers
    const auto shares = device_shares(parts, decoder->part_bytes(), pass.peak_bytes, {pass});
    QCOMPARE(shares.size(), std::size_t{3});
    for (const auto& share : shares) QVERIFY(share.ms > 0 && share.transfer_ms > 0);
    QVERIFY(near(shares[0].transfer_ms + shares[1].transfer_ms + shares[2].transfer_ms, pass.stages.total[transfer]));
    QVERIFY(near(all_shares(shares), all_stages(pass)));
    QVERIFY(all_shares(shares) <= pass.ttft_ms);

    const auto whole = model::load_decoder(*checkpoint, {.dtype = at::kFloat}, {});
    const TimedPass alone = timed_pass(*whole, ids, options, *timer);
    QCOMPARE(alone.stages.total[transfer], 0.0);
  }

  void records_hold_them() {
    record::MethodSummary method;
    method.id = method.name = "dense";
    method.fingerprint = "0";
    QVERIFY(record::to_json(method).at("devices").empty());
    method.devices = {{"cuda:0", 0, 7, 8, 2.5, 0.25}, {"cuda:1", 2, 7, 9, 3.5, 0.5}};
    nlohmann::json json = record::to_json(method);
    const auto read = record::method_summary_from_json(json);
    QCOMPARE(read.devices.size(), std::size_t{2});
    QCOMPARE(record::to_json(read.devices).dump(), record::to_json(method.devices).dump());
    json.erase("devices");  // of earlier versions
    QVERIFY(record::method_summary_from_json(json).devices.empty());
    json["devices"] = {{{"device", "cuda:0"}, {"first_layer", -1}}};
    try {
      record::method_summary_from_json(json);
      QFAIL("was read");
    } catch (const Error& error) {
      const std::string said = error.what();
      QVERIFY2(said.find("method.devices: field \"first_layer\"") != std::string::npos, error.what());
    }
    json["devices"] = nlohmann::json::array();
    for (std::size_t i = 0; i <= record::most_devices; ++i) json["devices"].push_back(nlohmann::json::object());
    QVERIFY_THROWS_EXCEPTION(Error, record::method_summary_from_json(json));
  }
};

QTEST_GUILESS_MAIN(TestDeviceShares)
#include "test_device_shares.moc"
