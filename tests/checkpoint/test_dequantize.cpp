// SPDX-License-Identifier: Apache-2.0
// Bit for bit against the `gguf` package (dequant_*.bin, made by support/make_dequant_fixture.py).
#include <QtTest>
#include <cstring>
#include <map>

#include "checkpoint/checkpoint.h"
#include "checkpoint/dequantize.h"
#include "support/gguf_writer.h"

using namespace headroom;
using checkpoint::DType;

class TestDequantize : public QObject {
  Q_OBJECT

  struct Fixture {
    QByteArray stored;
    std::vector<float> values;
  };
  static Fixture load(DType dtype) {
    const std::string name(checkpoint::to_string(dtype));
    QFile file(QString::fromStdString(HEADROOM_SOURCE_DIR "/tests/checkpoint/dequant_" + name + ".bin"));
    if (!file.open(QIODevice::ReadOnly)) return {};
    const QByteArray all = file.readAll();
    std::uint32_t counts[2];
    std::memcpy(counts, all.data(), 8);
    Fixture fixture{all.mid(8, counts[1]), std::vector<float>(counts[0])};
    std::memcpy(fixture.values.data(), all.data() + 8 + counts[1], counts[0] * sizeof(float));
    return fixture;
  }
  static bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }
  // Those that GGUF files hold, with GGML's numbers.
  const std::map<DType, std::uint32_t> ggml_type = {
      {DType::f32, 0},   {DType::f16, 1},     {DType::bf16, 30},   {DType::q4_0, 2},
      {DType::q4_1, 3},  {DType::q5_0, 6},    {DType::q5_1, 7},    {DType::q8_0, 8},
      {DType::q2_k, 10}, {DType::q3_k, 11},   {DType::q4_k, 12},   {DType::q5_k, 13},
      {DType::q6_k, 14}, {DType::iq4_nl, 20}, {DType::iq4_xs, 23}, {DType::mxfp4, 39}};

 private slots:
  void blocks_equal_the_reference() {
    std::vector<DType> all_types = {DType::f8_e4m3};
    for (const auto& [dtype, number] : ggml_type) all_types.push_back(dtype);
    for (const DType dtype : all_types) {
      const Fixture fixture = load(dtype);
      const auto name = std::string(checkpoint::to_string(dtype));
      QVERIFY2(fixture.values.size() >= 512, name.c_str());
      std::vector<float> values(fixture.values.size());
      checkpoint::dequantize(dtype, reinterpret_cast<const std::uint8_t*>(fixture.stored.data()), values);
      QVERIFY2(same_bits(values, fixture.values), name.c_str());
    }
  }

  void files_equal_the_reference() {
    // Every type through a file, repeated until several threads share the work, with an odd number of rows.
    QTemporaryDir folder;
    const auto path = folder.filePath("types.gguf").toStdString();
    for (const auto& [dtype, number] : ggml_type) {
      const Fixture fixture = load(dtype);
      const std::uint64_t rows = 1'000'000 / fixture.values.size() | 1, columns = fixture.values.size();
      std::string data;
      std::vector<float> expected;
      for (std::uint64_t row = 0; row < rows; ++row) {
        data.append(fixture.stored.data(), static_cast<std::size_t>(fixture.stored.size()));
        expected.insert(expected.end(), fixture.values.begin(), fixture.values.end());
      }
      test::GgufWriter gguf;
      gguf.add_tensor("t", {rows, columns}, number, data);
      test::write_file(path, gguf.bytes());
      const auto model = checkpoint::open_checkpoint(path);
      QCOMPARE(model->find("t")->dtype, dtype);
      std::vector<float> values(expected.size());
      model->read_f32("t", values);
      QVERIFY2(same_bits(values, expected), std::string(checkpoint::to_string(dtype)).c_str());
    }
  }
};

QTEST_MAIN(TestDequantize)
#include "test_dequantize.moc"
