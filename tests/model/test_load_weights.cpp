// SPDX-License-Identifier: Apache-2.0
// Weights from a file to where they are used: every way that a plan may rearrange rows, and how much memory it takes
// beside the weights.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <QtTest>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "checkpoint/checkpoint.h"
#include "model/device.h"
#include "model/weights.h"

using namespace headroom;
using model::RowBlock;
using model::TensorPlan;
namespace fs = std::filesystem;

namespace {

struct Stored {
  std::string name, shape;
  std::string bytes;
};

void write_model(const fs::path& folder, const std::string& dtype, const std::vector<Stored>& tensors) {
  fs::create_directories(folder);
  std::ofstream(folder / "config.json") << "{}";
  std::string header = "{";
  std::size_t offset = 0;
  for (const Stored& tensor : tensors) {
    header += (offset ? ", " : "") + std::string("\"") + tensor.name + "\": {\"dtype\": \"" + dtype +
              "\", \"shape\": " + tensor.shape + ", \"data_offsets\": [" + std::to_string(offset) + ", " +
              std::to_string(offset + tensor.bytes.size()) + "]}";
    offset += tensor.bytes.size();
  }
  header += "}";
  const std::uint64_t length = header.size();
  std::ofstream out(folder / "model.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), 8);
  out << header;
  for (const Stored& tensor : tensors)
    out.write(tensor.bytes.data(), static_cast<std::streamsize>(tensor.bytes.size()));
}

std::string bytes_of(const at::Tensor& values) {
  const at::Tensor plain = values.contiguous();
  return {static_cast<const char*>(plain.data_ptr()), plain.nbytes()};
}

}  // namespace

class TestLoadWeights : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  fs::path folder(const char* name) const { return fs::path(folder_.path().toStdString()) / name; }

  static at::Tensor load(const checkpoint::Checkpoint& file, const TensorPlan& plan, std::int64_t rows,
                         c10::ScalarType dtype) {
    auto weights = model::load_weights(file, {{{"w", plan}}, {}}, model::on_one_device(at::kCPU), dtype, {});
    return plan.columns > 0 ? weights.ends.take("w", {rows, plan.columns}) : weights.ends.take("w", {rows});
  }

 private slots:
  void rows_go_where_the_plan_says() {
    const at::Tensor a = at::arange(60, at::kFloat).view({12, 5}), cube = at::arange(24, at::kFloat).view({2, 3, 4});
    const at::Tensor vector = at::arange(4, at::kFloat);
    write_model(folder("rows"), "F32",
                {{"a", "[12, 5]", bytes_of(a)}, {"cube", "[2, 3, 4]", bytes_of(cube)}, {"v", "[4]", bytes_of(vector)}});
    const auto file = checkpoint::open_checkpoint(folder("rows"));
    for (const c10::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const auto equal = [&](const at::Tensor& found, const at::Tensor& expected) {
        return found.to(at::kFloat).equal(expected);  // small whole numbers: bf16 holds them
      };
      QVERIFY(equal(load(*file, {{{"a", 12}}, 5}, 12, dtype), a));
      const RowBlock later{.tensor = "a", .rows = 3, .shape = {12, 5}, .first = 7};
      QVERIFY(equal(load(*file, {{later}, 5}, 3, dtype), a.narrow(0, 7, 3)));
      const RowBlock some{.tensor = "a", .rows = 4, .shape = {12, 5}, .order = {9, 2, 3, 0}};
      const at::Tensor picked = at::cat({a.narrow(0, 9, 1), a.narrow(0, 2, 2), a.narrow(0, 0, 1)});
      QVERIFY(equal(load(*file, {{later, some}, 5}, 7, dtype), at::cat({a.narrow(0, 7, 3), picked})));
      // Two heads of six rows in pairs: 0 2 4 1 3 5 of each.
      const RowBlock pairs{.tensor = "a", .rows = 12, .interleaved_heads = 2};
      QVERIFY(equal(load(*file, {{pairs}, 5}, 12, dtype), a.view({2, 3, 2, 5}).transpose(1, 2).reshape({12, 5})));
      const RowBlock turned{.tensor = "cube", .rows = 8, .shape = {2, 3, 4}, .transposed = true};
      const at::Tensor columns = cube.transpose(1, 2);  // [2, 4, 3]
      QVERIFY(equal(load(*file, {{turned}, 3}, 8, dtype), columns.reshape({8, 3})));
      RowBlock both = turned;
      both.interleaved_heads = 2;
      QVERIFY(equal(load(*file, {{both}, 3}, 8, dtype), columns.reshape({2, 2, 2, 3}).transpose(1, 2).reshape({8, 3})));
      QVERIFY(equal(load(*file, {.blocks = {{"v", 4}}, .plus_one = true}, 4, dtype), vector.add(1)));
      QVERIFY(load(*file, {.blocks = {{"v", 4}}, .minus_exp = true}, 4, dtype).allclose(vector.exp().neg()));
    }
  }

  // A matrix of 256 MB: the threads hold pieces of some megabytes beside it, however large it is.
  void memory_beside_the_weights_is_bounded() {
    constexpr std::int64_t rows = 1 << 15, columns = 1 << 12, megabyte = 1 << 20;
    {
      const at::Tensor values = at::empty({rows, columns}, at::kBFloat16).fill_(0.5);
      write_model(folder("large"), "BF16", {{"w", "[32768, 4096]", bytes_of(values)}});
    }
    model::release_unused_memory();
    const auto file = checkpoint::open_checkpoint(folder("large"));
    for (const c10::ScalarType dtype : {at::kBFloat16, at::kFloat}) {
      model::reset_peak_bytes(at::kCPU);
      const std::int64_t before = model::resident_bytes();
      const auto start = std::chrono::steady_clock::now();
      const at::Tensor loaded = load(*file, {{{"w", rows}}, columns}, rows, dtype);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      const std::int64_t beside = model::peak_bytes(at::kCPU) - before - static_cast<std::int64_t>(loaded.nbytes());
      qInfo("%s: %.0f MB/s of the file, %lld MB beside the weights", dtype == at::kFloat ? "fp32" : "bf16",
            256 / took.count(), static_cast<long long>(beside / megabyte));
      QVERIFY2(beside < 64 * megabyte, std::to_string(beside).c_str());
      QVERIFY(loaded.eq(0.5).all().item<bool>());
    }
  }
};

QTEST_GUILESS_MAIN(TestLoadWeights)
#include "test_load_weights.moc"
