// SPDX-License-Identifier: Apache-2.0
// Models in several files, and weights whose scales lie beside them: split GGUF, sharded safetensors, FP8 and MXFP4.
#include <QtTest>
#include <cmath>
#include <filesystem>
#include <functional>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "support/gguf_writer.h"

using namespace headroom;
using checkpoint::open_checkpoint;
namespace fs = std::filesystem;

namespace {

void expect_line(const std::function<void()>& work, const std::vector<std::string>& words) {
  try {
    work();
  } catch (const Error& error) {
    QCOMPARE(error.kind(), ErrorKind::input);
    for (const std::string& word : words)
      QVERIFY2(std::string(error.what()).find(word) != std::string::npos, (word + " not in: " + error.what()).c_str());
    return;
  }
  QFAIL("nothing was refused");
}

std::string file_of(const std::string& header, const std::string& data) {
  return test::ByteWriter().number<std::uint64_t>(header.size()).raw(header).raw(data).bytes();
}

std::vector<float> values_of(const checkpoint::Checkpoint& model, const char* name) {
  std::vector<float> values(static_cast<std::size_t>(model.find(name)->elements()));
  model.read_f32(name, values);
  return values;
}

}  // namespace

class TestModelSets : public QObject {
  Q_OBJECT

  std::unique_ptr<QTemporaryDir> temporary_;
  fs::path folder() const { return temporary_->path().toStdString(); }
  void write(const std::string& name, const std::string& bytes) const { test::write_file(folder() / name, bytes); }

  static std::string part_name(int number) { return "m-0000" + std::to_string(number) + "-of-00003.gguf"; }
  struct Split {
    std::uint32_t count = 3, number = 0, total = 3;
  };
  void write_part(int number, const Split& split) const {
    test::GgufWriter out;
    if (split.number == 0) {
      out.add("general.architecture", "llama");
      out.begin("split.tensors.count", 5).number(static_cast<std::int32_t>(split.total));
    }
    out.begin("split.no", 2).number(static_cast<std::uint16_t>(split.number));
    out.begin("split.count", 2).number(static_cast<std::uint16_t>(split.count));
    out.add_tensor("t" + std::to_string(number), {2, 2}, std::vector<float>(4, static_cast<float>(number)));
    write(part_name(number), out.bytes());
  }
  void write_parts() const {
    for (int i = 1; i <= 3; ++i) write_part(i, {.number = static_cast<std::uint32_t>(i - 1)});
  }

  // Two shards: "a" and "b" in the first, "c" in the second.
  void write_shards(const std::string& index) const {
    write("config.json", R"({"model_type": "llama"})");
    write("one.safetensors", file_of(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
                                         "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})",
                                     test::ByteWriter().number(2.0f).number(1.0f).bytes()));
    write("two.safetensors", file_of(R"({"c": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})",
                                     test::ByteWriter().number(3.0f).bytes()));
    write("model.safetensors.index.json", R"({"metadata": {"total_size": 12}, "weight_map": )" + index + "}");
  }

 private slots:
  void init() { temporary_ = std::make_unique<QTemporaryDir>(); }

  void any_part_of_a_split_model_opens_it() {
    write_parts();
    std::string hash;
    for (int i = 1; i <= 3; ++i) {
      const auto model = open_checkpoint(folder() / part_name(i));
      QCOMPARE(model->tensors().size(), std::size_t{3});
      QCOMPARE(model->files().size(), std::size_t{3});
      QCOMPARE(model->get_string("general.architecture"), std::string("llama"));
      for (int t = 1; t <= 3; ++t)
        QCOMPARE(values_of(*model, ("t" + std::to_string(t)).c_str()), std::vector<float>(4, static_cast<float>(t)));
      if (hash.empty()) hash = model->hash();
      QCOMPARE(model->hash(), hash);
    }
  }

  void a_split_model_with_something_wrong_is_refused() {
    const auto refused = [&](const char* name, const std::vector<std::string>& words) {
      expect_line([&] { open_checkpoint(folder() / name); }, words);
    };
    write_parts();
    fs::remove(folder() / part_name(2));
    refused(part_name(3).c_str(), {part_name(2), "missing", "all 3 files"});
    write_part(2, {.number = 2});
    refused(part_name(1).c_str(), {part_name(2), "'split.no'", "expected 1, found 2"});
    write_part(2, {.count = 4, .number = 1});
    refused(part_name(1).c_str(), {part_name(2), "'split.count'", "expected 3, found 4"});
    write_part(2, {.number = 7});
    refused(part_name(2).c_str(), {part_name(2), "'split.no'", "0 to 2", "found 7"});
    write_parts();
    fs::copy_file(folder() / part_name(2), folder() / "second.gguf");
    refused("second.gguf", {"second.gguf", "name", "'-00002-of-00003.gguf'"});
    write_part(1, {.number = 0, .total = 4});
    refused(part_name(1).c_str(), {"split.tensors.count", "expected 4, found 3"});
    write_parts();
    test::GgufWriter same;
    same.begin("split.no", 2).number<std::uint16_t>(2);
    same.begin("split.count", 2).number<std::uint16_t>(3);
    same.add_tensor("t1", {2, 2}, std::vector<float>(4, 0));
    write(part_name(3), same.bytes());
    refused(part_name(1).c_str(), {part_name(3), "'t1'", "two parts"});
  }

  void shards_are_read_by_their_index() {
    write_shards(R"({"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"})");
    write("other.safetensors", "not a file of this model");
    const auto model = open_checkpoint(folder());
    QCOMPARE(values_of(*model, "a"), std::vector<float>{1});
    QCOMPARE(values_of(*model, "b"), std::vector<float>{2});
    QCOMPARE(values_of(*model, "c"), std::vector<float>{3});
    QCOMPARE(model->tensors().front().name, std::string("b"));  // in the order of the data
  }

  void an_index_that_lies_is_refused() {
    const auto refused = [&](const std::string& index, const std::vector<std::string>& words) {
      write_shards(index);
      expect_line([&] { open_checkpoint(folder()); }, words);
    };
    refused(R"({"a": "one.safetensors", "c": "three.safetensors"})", {"three.safetensors", "missing", "2 files"});
    refused(R"({"a": "one.safetensors", "d": "two.safetensors"})", {"index.json", "'d'", "'two.safetensors'", "none"});
    refused(R"({"a": "two.safetensors", "b": "one.safetensors"})", {"'a'", "found in 'one.safetensors'"});
    refused(R"({"a": "../one.safetensors"})", {"'a'", "no file of this folder"});
    write("two.safetensors", file_of(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})", "1234"));
    fs::remove(folder() / "model.safetensors.index.json");
    expect_line([&] { open_checkpoint(folder()); }, {"two.safetensors", "'a'", "two files", "one.safetensors"});
  }

  void pickles_are_refused_with_the_reason() {
    write("config.json", "{}");
    write("pytorch_model.bin", "PK");
    expect_line([&] { open_checkpoint(folder()); }, {"pytorch_model.bin", "pickled", "programs", "safetensors"});
  }

  // 3 rows of 5 in blocks of 2 by 4: four scales, the last of each row for one column alone.
  static std::string fp8_config(const std::string& more = "") {
    return R"({"quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
               "weight_block_size": [2, 4])" +
           more + "}}";
  }
  static std::string fp8_file(const std::string& scales = "[2, 2]") {
    test::ByteWriter data;
    for (int i = 0; i < 15; ++i) data.number<std::uint8_t>(0x38);  // 1.0
    data.number<std::uint8_t>(0);
    for (const float scale : {1.0f, 2.0f, 3.0f, 4.0f}) data.number(scale);
    return file_of(R"({"w": {"dtype": "F8_E4M3", "shape": [3, 5], "data_offsets": [0, 15]},
                       "w_scale_inv": {"dtype": "F32", "shape": )" +
                       scales + R"(, "data_offsets": [16, 32]}})",
                   data.bytes());
  }

  void fp8_values_are_scaled_block_by_block() {
    write("config.json", fp8_config(R"(, "modules_to_not_convert": ["lm_head"])"));
    write("model.safetensors", fp8_file());
    const auto model = open_checkpoint(folder());
    QCOMPARE(model->tensors().size(), std::size_t{1});
    QVERIFY(model->keys("quantization_config").empty());  // used: nobody else needs to understand it
    const std::vector<float> expected = {1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4};
    QCOMPARE(values_of(*model, "w"), expected);
    std::vector<float> part(4);
    model->read_part("w", 8, part);
    QCOMPARE(part, (std::vector<float>{1, 2, 3, 3}));
  }

  void quantised_weights_that_are_not_understood_are_refused() {
    const auto refused = [&](const std::string& config, const std::string& weights,
                             const std::vector<std::string>& words) {
      write("config.json", config);
      write("model.safetensors", weights);
      expect_line([&] { open_checkpoint(folder()); }, words);
    };
    refused(fp8_config(), fp8_file("[4, 1]"), {"'w_scale_inv'", "expected [2, 2], found [4, 1]"});
    refused(fp8_config(R"(, "new_trick": 3)"), fp8_file(), {"quantization_config.new_trick", "found 3"});
    refused(R"({"quantization_config": {"quant_method": "fp8"}})", fp8_file(), {"weight_block_size", "nothing"});
    refused(R"({"quantization_config": {"quant_method": "awq"}})", fp8_file(), {"quant_method", "'awq'"});
    refused(R"({"quantization_config": {"quant_method": "fp8", "activation_scheme": "static",
                "weight_block_size": [2, 4]}})",
            fp8_file(), {"activation_scheme", "'static'"});
    refused("{}", fp8_file(), {"'w'", "8-bit", "F8_E4M3"});
    const std::string alone = R"({"w": {"dtype": "F8_E4M3", "shape": [1, 4], "data_offsets": [0, 4]}})";
    refused(fp8_config(), file_of(alone, "1234"), {"'w'", "no scales", "'w_scale_inv'"});
    const std::string orphan = R"({"w_scale_inv": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})";
    refused(fp8_config(), file_of(orphan, "1234"), {"'w_scale_inv'", "not there"});
    const std::string blocks = R"({"x_blocks": {"dtype": "U8", "shape": [1, 1, 1, 16], "data_offsets": [0, 16]}})";
    refused(R"({"quantization_config": {"quant_method": "mxfp4"}})", file_of(blocks, std::string(16, '\0')),
            {"'x_blocks'", "'x_scales'"});
    refused("{}", file_of(blocks, std::string(16, '\0')), {"'x_blocks'", "U8"});
  }

  // OCP MX: nibbles 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, times a power of two for each 32.
  void mxfp4_is_one_tensor() {
    write("config.json", R"({"quantization_config": {"quant_method": "mxfp4"}})");
    test::ByteWriter data;
    for (int row = 0; row < 2; ++row)
      for (int i = 0; i < 16; ++i) data.number(static_cast<std::uint8_t>(i % 8 * 2 | (i % 8 * 2 + 1) << 4));
    data.number<std::uint8_t>(127).number<std::uint8_t>(130);
    write("model.safetensors", file_of(R"({"x_blocks": {"dtype": "U8", "shape": [2, 1, 1, 16], "data_offsets": [0, 32]},
                                           "x_scales": {"dtype": "U8", "shape": [2, 1, 1], "data_offsets": [32, 34]}})",
                                       data.bytes()));
    const auto model = open_checkpoint(folder());
    QCOMPARE(model->find("x_blocks")->shape, (std::vector<std::int64_t>{2, 1, 32}));
    const std::vector<float> values = values_of(*model, "x_blocks");
    const float codes[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6};
    for (std::size_t i = 0; i < 64; ++i) QCOMPARE(values[i], codes[i % 16] * (i < 32 ? 1 : 8));
    std::vector<float> part(32);
    model->read_part("x_blocks", 32, part);
    QCOMPARE(part, std::vector<float>(values.begin() + 32, values.end()));
  }
};

QTEST_MAIN(TestModelSets)
#include "test_model_sets.moc"
