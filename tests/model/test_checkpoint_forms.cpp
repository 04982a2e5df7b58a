// SPDX-License-Identifier: Apache-2.0
// The same weights in other forms: in several files, in FP8 with block scales, with blocks behind the model that
// predict further ahead. A decoder must not see a difference.
#include <QtTest>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "model/decoder.h"
#include "model/family_case.h"
#include "support/gguf_parts.h"

using namespace headroom;
using nlohmann::json;
using test::FamilyCase;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t block = 16;  // rows and columns that share a scale

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// E4M3 without infinities (OCP 8-bit floating point): 4 bits of exponent, 3 of mantissa.
float e4m3(std::uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(1 + static_cast<float>(mantissa) / 8, exponent - 7);
  return code & 128 ? -magnitude : magnitude;
}
std::uint8_t nearest_code(float value) {
  std::uint8_t best = 0;
  for (int code = 0; code < 256; ++code)
    if ((code & 127) != 127 &&  // NaN
        std::abs(e4m3(static_cast<std::uint8_t>(code)) - value) < std::abs(e4m3(best) - value))
      best = static_cast<std::uint8_t>(code);
  return best;
}

/// Where a tensor's data are.
std::pair<std::size_t, std::size_t> range_of(const json& entry) {
  return {entry["data_offsets"][0].get<std::size_t>(), entry["data_offsets"][1].get<std::size_t>()};
}

/// A table's tensors moved into other data, one after the other.
class Rewriter {
 public:
  void add(const std::string& name, const char* dtype, const json& shape, const std::string& data) {
    table[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {bytes.size(), bytes.size() + data.size()}}};
    bytes += data;
  }
  void write(const fs::path& file) const {
    const std::string header = table.dump();
    test::write_file(file, test::ByteWriter().number<std::uint64_t>(header.size()).raw(header).raw(bytes).bytes());
  }
  json table = json::object();
  std::string bytes;
};

}  // namespace

class TestCheckpointForms : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  fs::path path(const char* name) const { return fs::path(folder_.path().toStdString()) / name; }
  fs::path safetensors_of(const FamilyCase& one, const char* name) const {
    return test::write_checkpoint(one, path(name));
  }

  static at::Tensor logits(const fs::path& model, const FamilyCase& one, c10::ScalarType dtype = at::kFloat) {
    return model::load_decoder(*checkpoint::open_checkpoint(model), {.dtype = dtype}, {})->logits(one.ids, {});
  }
  static QString refusal(const fs::path& model) {
    try {
      model::load_decoder(*checkpoint::open_checkpoint(model), {.dtype = at::kFloat}, {});
    } catch (const Error& error) {
      return QString::fromUtf8(error.what());
    }
    return {};
  }

 private slots:
  // Tensors of a block that predicts two tokens ahead, as transformers' checkpoints of Qwen3.5 hold them.
  void blocks_that_predict_ahead_are_skipped_in_safetensors_data() {
    QTest::addColumn<std::string>("name");
    for (const char* name : {"qwen3_5", "qwen3_5_moe", "qwen3_next"}) QTest::newRow(name) << std::string(name);
  }
  void blocks_that_predict_ahead_are_skipped_in_safetensors() {
    QFETCH(std::string, name);
    const FamilyCase one = test::read_family_case(name);
    const at::Tensor expected = logits(safetensors_of(one, "plain"), one);
    const fs::path with = safetensors_of(one, "with_mtp");
    test::edit_config(with, [](json&, json& text) { text["mtp_num_hidden_layers"] = 1; });
    test::edit_weights(with, [](json& table, std::string& data) {
      json more;
      for (const auto& [tensor, entry] : table.items())
        if (tensor.starts_with("model.layers.3.")) more["mtp.layers.0." + tensor.substr(15)] = entry;
      for (const char* tensor : {"mtp.fc.weight", "mtp.norm.weight", "mtp.pre_fc_norm_hidden.weight"})
        more[tensor] = {{"dtype", "BF16"}, {"shape", {32}}, {"data_offsets", {0, 64}}};
      QVERIFY(more.size() > 8);
      for (auto& [tensor, entry] : more.items()) {
        const auto [begin, end] = range_of(entry);
        const std::size_t size = end - begin;
        entry["data_offsets"] = {data.size(), data.size() + size};
        data += std::string(size, '\x40');
        table[tensor] = entry;
      }
    });
    QVERIFY(logits(with, one).equal(expected));
  }

  void blocks_that_predict_ahead_are_skipped_in_gguf() {
    const FamilyCase one = test::read_family_case("qwen3_5");
    const fs::path plain = one.folder / "model.gguf";
    test::GgufParts parts(bytes_of(plain));
    const std::size_t own = parts.tensors.size();
    for (std::size_t i = 0; i < own; ++i) {
      test::GgufParts::Tensor tensor = parts.tensors[i];
      if (!tensor.name.starts_with("blk.3.")) continue;
      tensor.name = "blk.4." + tensor.name.substr(6);
      tensor.data.assign(tensor.data.size(), '\x40');
      parts.tensors.push_back(std::move(tensor));
    }
    QVERIFY(parts.tensors.size() > own + 8);
    const std::vector<float> vector(32, 3.0f);
    const auto write = [&](std::uint32_t ahead, std::uint32_t blocks) {
      parts.set("qwen35.block_count", blocks);
      test::GgufWriter out;
      out.add_keys(parts.keys, parts.num_keys);
      out.add("qwen35.nextn_predict_layers", ahead);
      parts.add_to(out, 0, parts.tensors.size());
      out.add_tensor("blk.4.nextn.hnorm.weight", {32}, vector);
      out.add_tensor("blk.4.nextn.enorm.weight", {32}, vector);
      test::write_file(path("ahead.gguf"), out.bytes());
      return path("ahead.gguf");
    };
    QVERIFY(logits(write(1, 5), one).equal(logits(plain, one)));
    QVERIFY2(refusal(write(0, 5)).contains("blk.4."), qPrintable(refusal(write(0, 5))));  // then they are layers
    QVERIFY(refusal(write(1, 4)).contains("blk.4."));
    QVERIFY(refusal(write(5, 5)).contains("nextn_predict_layers"));
  }

  void split_gguf_gives_the_same_logits() {
    const FamilyCase one = test::read_family_case("qwen3");
    const fs::path whole = one.folder / "model.gguf";
    const test::GgufParts parts(bytes_of(whole));
    const std::size_t count = parts.tensors.size();
    const std::array<std::size_t, 4> borders = {0, count / 3, count / 2, count};
    for (std::size_t i = 0; i < 3; ++i) {
      test::GgufWriter out;
      if (i == 0) {
        out.add_keys(parts.keys, parts.num_keys);
        out.begin("split.tensors.count", 5).number(static_cast<std::int32_t>(count));
      }
      out.begin("split.no", 2).number(static_cast<std::uint16_t>(i));
      out.begin("split.count", 2).number<std::uint16_t>(3);
      parts.add_to(out, borders[i], borders[i + 1]);
      test::write_file(path(("m-0000" + std::to_string(i + 1) + "-of-00003.gguf").c_str()), out.bytes());
    }
    const at::Tensor expected = logits(whole, one);
    for (const char* part : {"m-00001-of-00003.gguf", "m-00003-of-00003.gguf"})
      QVERIFY(logits(path(part), one).equal(expected));
    fs::remove(path("m-00002-of-00003.gguf"));
    QVERIFY(refusal(path("m-00001-of-00003.gguf")).contains("m-00002-of-00003.gguf"));
  }

  void shards_give_the_same_logits_data() {
    QTest::addColumn<std::string>("name");
    for (const char* name : {"llama", "qwen3_5_moe", "gpt_oss_mxfp4"}) QTest::newRow(name) << std::string(name);
  }
  void shards_give_the_same_logits() {
    QFETCH(std::string, name);
    const FamilyCase one = test::read_family_case(name);
    const fs::path whole = safetensors_of(one, "whole"), sharded = safetensors_of(one, "sharded");
    std::array<Rewriter, 3> shards;
    json map;
    test::edit_weights(sharded, [&](json& table, std::string& data) {
      std::size_t next = 0;  // neighbours in the table come to different files
      for (const auto& [tensor, entry] : table.items()) {
        if (tensor == "__metadata__") continue;
        const auto [begin, end] = range_of(entry);
        const std::string dtype = entry["dtype"];
        shards[next % 3].add(tensor, dtype.c_str(), entry["shape"], data.substr(begin, end - begin));
        map[tensor] = "part-" + std::to_string(next++ % 3) + ".safetensors";
      }
    });
    fs::remove(sharded / "model.safetensors");
    for (std::size_t i = 0; i < 3; ++i) shards[i].write(sharded / ("part-" + std::to_string(i) + ".safetensors"));
    test::write_file(sharded / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
    for (const c10::ScalarType dtype : {at::kFloat, at::kBFloat16})
      QVERIFY(logits(sharded, one, dtype).equal(logits(whole, one, dtype)));
    fs::remove(sharded / "part-1.safetensors");
    QVERIFY(refusal(sharded).contains("part-1.safetensors"));
  }

  // FP8 is what it stands for: logits are those of a model that holds the products of code and scale.
  void fp8_gives_the_logits_of_the_dequantised_model() {
    const FamilyCase one = test::read_family_case("qwen3");
    const fs::path fp8 = safetensors_of(one, "fp8"), wide = safetensors_of(one, "wide");
    Rewriter small, dequantised;
    std::size_t converted = 0;
    test::edit_weights(wide, [&](json& table, std::string& data) {
      for (const auto& [name, entry] : table.items()) {
        if (name == "__metadata__") continue;
        const auto [begin, end] = range_of(entry);
        std::vector<float> values((end - begin) / 2);  // bf16
        for (std::size_t i = 0; i < values.size(); ++i) {
          std::uint16_t half;
          std::memcpy(&half, data.data() + begin + 2 * i, 2);
          values[i] = std::bit_cast<float>(std::uint32_t{half} << 16);
        }
        const auto& shape = entry["shape"];
        if (name.find("_proj.weight") != std::string::npos) {
          const auto rows = shape[0].get<std::size_t>(), columns = shape[1].get<std::size_t>();
          const std::size_t across = (columns + block - 1) / block, down = (rows + block - 1) / block;
          std::vector<float> scales(across * down);
          for (std::size_t i = 0; i < values.size(); ++i) {
            float& scale = scales[i / columns / block * across + i % columns / block];
            scale = std::max(scale, std::abs(values[i]) / 448);
          }
          std::string codes(values.size(), '\0');
          for (std::size_t i = 0; i < values.size(); ++i) {
            const float scale = scales[i / columns / block * across + i % columns / block];
            const std::uint8_t code = nearest_code(values[i] / scale);
            codes[i] = static_cast<char>(code);
            values[i] = e4m3(code) * scale;
          }
          small.add(name, "F8_E4M3", shape, codes);
          small.add(name + "_scale_inv", "F32", {down, across},
                    {reinterpret_cast<const char*>(scales.data()), scales.size() * 4});
          ++converted;
        } else {
          small.add(name, "BF16", shape, data.substr(begin, end - begin));
        }
        dequantised.add(name, "F32", shape, {reinterpret_cast<const char*>(values.data()), values.size() * 4});
      }
    });
    QCOMPARE(converted, std::size_t{3 * 7});
    small.write(fp8 / "model.safetensors");
    dequantised.write(wide / "model.safetensors");
    test::edit_config(fp8, [](json& whole, json&) {
      whole["quantization_config"] = {{"quant_method", "fp8"},
                                      {"activation_scheme", "dynamic"},
                                      {"weight_block_size", {block, block}},
                                      {"modules_to_not_convert", {"lm_head"}}};
    });
    const at::Tensor found = logits(fp8, one);
    QVERIFY(found.equal(logits(wide, one)));
    QVERIFY(logits(fp8, one, at::kBFloat16).equal(logits(wide, one, at::kBFloat16)));
    // And something was lost, but not much: the original's logits are near.
    const double change = found.index_select(0, one.rows).to(at::kDouble).sub(one.logits).norm().item<double>() /
                          one.logits.norm().item<double>();
    QVERIFY2(change > 1e-4 && change < 0.2, qPrintable(QString::number(change)));
  }
};

QTEST_GUILESS_MAIN(TestCheckpointForms)
#include "test_checkpoint_forms.moc"
