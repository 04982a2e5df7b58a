// SPDX-License-Identifier: Apache-2.0
// The real models' logits in fp32 on the CPU against transformers reading the same GGUF file
// (tests/support/make_logits_fixture.py), where they have been fetched.
#include <ATen/core/Tensor.h>

#include <QtTest>
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/paths.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_file.h"
#include "model/decoder.h"

using namespace headroom;

class TestLogitsParity : public QObject {
  Q_OBJECT

  static std::vector<float> read(const checkpoint::SafetensorsFile& file, std::string_view name) {
    std::vector<float> values(static_cast<std::size_t>(file.find(name)->elements()));
    file.read_f32(name, values);
    return values;
  }

 private slots:
  void logits_equal_the_reference_data() {
    QTest::addColumn<std::string>("model");
    QTest::addColumn<std::string>("fixture");
    QTest::addColumn<double>("tolerance");
    QTest::newRow("SmolLM2 135M") << std::string("smollm2") << std::string("smollm2_logits") << 3e-4;
    QTest::newRow("Gemma 3 270M") << std::string("gemma3-270m") << std::string("gemma3_logits") << 2e-3;
  }
  void logits_equal_the_reference() {
    QFETCH(std::string, model);
    QFETCH(std::string, fixture);
    QFETCH(double, tolerance);
    std::filesystem::path path;
    try {
      path = resolve_model(model);
    } catch (const Error& error) {
      QSKIP(error.what());
    }
    const auto file = checkpoint::SafetensorsFile::open(HEADROOM_SOURCE_DIR "/tests/model/" + fixture + ".safetensors");
    const auto ids_f = read(*file, "ids"), columns = read(*file, "columns"), values = read(*file, "values");
    const auto top_ids = read(*file, "top_ids"), top_values = read(*file, "top_values");
    const std::vector<std::int32_t> ids(ids_f.begin(), ids_f.end());
    QCOMPARE(ids.size(), std::size_t{1000});

    const auto decoder = model::load_decoder(*checkpoint::open_checkpoint(path), {.dtype = at::kFloat}, {});
    const at::Tensor logits = decoder->logits(ids, {});
    double largest = 0;
    int compared_tops = 0;
    for (std::size_t t = 0; t < ids.size(); ++t) {
      const float* row = logits.const_data_ptr<float>() + static_cast<std::int64_t>(t) * logits.size(1);
      const auto compare = [&](float id, float expected) {
        largest = std::max(largest, std::abs(static_cast<double>(row[static_cast<std::int64_t>(id)]) - expected));
      };
      for (std::size_t c = 0; c < columns.size(); ++c) compare(columns[c], values[t * columns.size() + c]);
      for (std::size_t i = 2 * t; i < 2 * t + 2; ++i) compare(top_ids[i], top_values[i]);
      if (top_values[2 * t] - top_values[2 * t + 1] > tolerance) {
        QCOMPARE(std::max_element(row, row + logits.size(1)) - row, static_cast<std::ptrdiff_t>(top_ids[2 * t]));
        ++compared_tops;
      }
    }
    qInfo("largest difference %.2e over %zu positions", largest, ids.size());
    QVERIFY2(largest <= tolerance, std::to_string(largest).c_str());
    QVERIFY(compared_tops > 990);
  }
};

QTEST_GUILESS_MAIN(TestLogitsParity)
#include "test_logits_parity.moc"
