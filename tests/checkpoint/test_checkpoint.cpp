// SPDX-License-Identifier: Apache-2.0
// GGUF files and safetensors folders, good and bad: every message names file, place, expected and found.
#include <QtTest>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <stop_token>

#include "base/error.h"
#include "base/sha256.h"
#include "checkpoint/checkpoint.h"
#include "support/gguf_writer.h"
#include "support/tiny_model.h"

using namespace headroom;
using checkpoint::open_checkpoint;

namespace {

/// Runs `work`, which must throw an input error whose line holds every one of `words`.
void expect_refusal(const std::function<void()>& work, const std::vector<std::string>& words) {
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

std::string safetensors(const std::string& header, const std::string& data) {
  return test::ByteWriter().number<std::uint64_t>(header.size()).raw(header).raw(data).bytes();
}

}  // namespace

class TestCheckpoint : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::filesystem::path file(const char* name) const { return folder_.filePath(name).toStdString(); }

  void refuse(const std::string& bytes, std::vector<std::string> words) const {
    const auto path = file("bad.gguf");
    test::write_file(path, bytes);
    words.push_back("bad.gguf");
    expect_refusal([&] { open_checkpoint(path); }, words);
  }

 private slots:
  void tiny_model_is_read() {
    const auto model = open_checkpoint(test::write_tiny_model(file("tiny.gguf")));
    const checkpoint::TensorInfo* const info = model->find("blk.2.attn_k.weight");
    QVERIFY(info);
    QCOMPARE(info->shape, (std::vector<std::int64_t>{32, 64}));
    QCOMPARE(model->hash().size(), std::size_t{64});
    QVERIFY(!model->get_int("no.such.key"));
    expect_refusal([&] { model->get_int("general.name"); }, {"general.name", "expected an integer", "found a string"});
  }

  void version_2_is_read() {
    test::GgufWriter gguf;
    gguf.version = 2;
    gguf.add_tensor("t", {2, 2}, std::vector<float>{1, 2, 3, 4});
    test::write_file(file("v2.gguf"), gguf.bytes());
    std::vector<float> values(4);
    open_checkpoint(file("v2.gguf"))->read_f32("t", values);
    QCOMPARE(values, (std::vector<float>{1, 2, 3, 4}));
  }

  void what_is_no_gguf_is_refused() {
    refuse("", {"empty"});
    refuse("GG", {"not a GGUF file"});
    refuse("PK\x03\x04 something else entirely", {"not a GGUF file", "byte 0", "50 4b 03 04"});
    refuse(test::ByteWriter().raw("GGUF").number<std::uint32_t>(1).bytes() + std::string(100, 'x'),
           {"version", "2 or 3"});
    refuse(test::ByteWriter().raw("GGUF").number<std::uint32_t>(0x03000000).bytes() + std::string(100, 'x'),
           {"big-endian"});
    expect_refusal([&] { open_checkpoint(file("absent.gguf")); }, {"absent.gguf", "no such"});
    expect_refusal([&] { open_checkpoint(folder_.path().toStdString()); }, {"config.json"});
  }

  // What lies there in a model's place is said.
  void other_files_are_called_by_their_name_data() {
    QTest::addColumn<std::string>("name");
    QTest::addColumn<std::string>("bytes");
    QTest::addColumn<std::string>("word");
    const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 98362432\n";
    const std::string page = "<!doctype html><html><body>Not found</body></html>", zip = "PK\x03\x04 archive/data.pkl";
    const auto row = [](const char* name, const char* file, const std::string& bytes, const char* word) {
      QTest::newRow(name) << std::string(file) << bytes << std::string(word);
    };
    row("pointer", "model.gguf", pointer, "Git LFS pointer");
    row("page", "model.gguf", page, "HTML page");
    row("ZIP named so", "model.gguf", zip, "ZIP archive");
    row("PyTorch's file", "pytorch_model.bin", zip, "ZIP archive");
    row("zeros", "model.gguf", std::string(4096, '\0'), "zero bytes");
    row("answer of a hub", "model.gguf", "Entry not found", "Entry not found");
    row("weights that are a pointer", "folder/model.safetensors", pointer, "Git LFS pointer");
    row("weights that are a page", "folder/model.safetensors", page, "HTML page");
    row("weights that are a short text", "folder/model.safetensors", "None", "None");
    row("config that is a pointer", "folder/config.json", pointer, "Git LFS pointer");
    row("config that is a page", "folder/config.json", page, "HTML page");
    row("index that is a pointer", "folder/model.safetensors.index.json", pointer, "Git LFS pointer");
    row("pickles", "folder/pytorch_model-00001-of-00002.bin", zip, "pickled weights of PyTorch");
    row("old pickles", "folder/consolidated.00.pth", zip, "pickled weights of PyTorch");
    row("GGUF in a folder", "folder/model-q4.gguf", "GGUF", "'model-q4.gguf', a GGUF file: give it");
  }
  void other_files_are_called_by_their_name() {
    QFETCH(std::string, name);
    QFETCH(std::string, bytes);
    QFETCH(std::string, word);
    QTemporaryDir folder;
    const std::filesystem::path path = (folder.path() + "/").toStdString() + name;
    const auto parent = path.parent_path();
    std::filesystem::create_directories(parent);
    const bool in_folder = name.starts_with("folder/");
    if (in_folder) test::write_file(parent / "config.json", "{}");
    test::write_file(path, bytes);
    expect_refusal([&] { open_checkpoint(in_folder ? parent : path); },
                   {word, in_folder ? parent.string() : path.string()});
    if (in_folder) std::filesystem::remove(parent / "config.json");
    expect_refusal([&] { open_checkpoint(in_folder ? parent : path); }, {parent.string()});
  }

  // A value that no key can have is kept, so that it is missed by whoever wants the key.
  void nothing_in_config_json_is_dropped() {
    const auto folder = file("values");
    std::filesystem::create_directory(folder);
    test::write_file(folder / "model.safetensors", safetensors("{}", ""));
    test::write_file(folder / "config.json",
                     R"({"a": null, "b": [1, "x"], "c": {}, "d": {"e": 2}, "f": [[1]], "g": []})");
    const auto model = open_checkpoint(folder);
    using checkpoint::Held;
    QVERIFY(model->holds("a") == Held::empty && model->holds("c") == Held::empty && model->holds("b") == Held::value);
    QVERIFY(model->holds("d.e") == Held::value && model->holds("d") == Held::nothing);
    QCOMPARE(model->keys("").size(), std::size_t{6});
    expect_refusal([&] { model->get_float("a"); }, {"key 'a'", "expected a number, found null"});
    expect_refusal([&] { model->get_bool("b"); }, {"key 'b'", "neither of numbers"});
    expect_refusal([&] { model->get_string("f"); }, {"key 'f'", "neither of numbers"});
    expect_refusal([&] { model->get_int("g"); }, {"key 'g'"});
    test::write_file(folder / "config.json", R"({"d": {"e": 2}, "d.e": 3})");
    expect_refusal([&] { open_checkpoint(folder); }, {"key 'd.e'", "two entries"});
  }

  void impossible_counts_are_refused() {
    for (const std::uint64_t count : {std::uint64_t{1} << 63, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
      const auto head = [] { return test::ByteWriter().raw("GGUF").number<std::uint32_t>(3); };
      refuse(head().number(count).number<std::uint64_t>(0).bytes() + std::string(64, 'x'),
             {"byte 8", "tensors", std::to_string(count)});
      refuse(head().number<std::uint64_t>(0).number(count).bytes() + std::string(64, 'x'),
             {"byte 16", "metadata keys", std::to_string(count)});
      test::GgufWriter list;
      list.begin("a.list", 9).number<std::uint32_t>(8).number(count);
      refuse(list.bytes() + std::string(64, 'x'), {"a.list", std::to_string(count)});
      test::GgufWriter string;
      string.begin("a.string", 8).number(count);
      refuse(string.bytes() + std::string(64, 'x'), {"a.string", std::to_string(count)});
      test::GgufWriter shape;
      shape.add_tensor_at("wide", {count, count}, 0, 0);
      refuse(shape.bytes() + std::string(64, 'x'), {"tensor 'wide'", "dimension", std::to_string(count)});
    }
  }

  void tables_that_lie_are_refused() {
    test::GgufWriter twice;
    twice.add_tensor("same", {1}, std::vector<float>{1});
    twice.add_tensor("same", {1}, std::vector<float>{1});
    refuse(twice.bytes(), {"tensor 'same'", "twice"});
    test::GgufWriter keys;
    keys.add("k", 1u);
    keys.add("k", 2u);
    refuse(keys.bytes() + std::string(64, 'x'), {"'k'", "twice"});
    test::GgufWriter past;
    past.add_tensor_at("past", {8}, 0, 32);
    refuse(past.bytes() + std::string(32, 'x'), {"tensor 'past'", "past the end", "offset 32"});
    test::GgufWriter far;
    far.add_tensor_at("far", {8}, 0, ~std::uint64_t{31});
    refuse(far.bytes() + std::string(32, 'x'), {"tensor 'far'", "past the end"});
    test::GgufWriter odd;
    odd.add_tensor_at("odd", {1}, 0, 4);
    refuse(odd.bytes() + std::string(64, 'x'), {"tensor 'odd'", "aligned", "found 4"});
    test::GgufWriter overlap;
    overlap.add_tensor_at("first", {16}, 0, 0);
    overlap.add_tensor_at("second", {1}, 0, 32);
    refuse(overlap.bytes() + std::string(128, 'x'), {"tensor 'second'", "overlaps 'first'"});
    test::GgufWriter type;
    type.add_tensor_at("exotic", {256}, 16, 0);
    refuse(type.bytes() + std::string(512, 'x'), {"tensor 'exotic'", "IQ2_XXS", "IQ4_XS"});
    test::GgufWriter blocks;
    blocks.add_tensor_at("short", {3, 31}, 2, 0);
    refuse(blocks.bytes() + std::string(512, 'x'), {"tensor 'short'", "multiple of 32", "31"});
  }

  void every_truncation_is_refused() {
    const std::string good = test::tiny_model_bytes({.layers = 1});
    for (std::size_t size = 0; size < good.size(); size += 1 + size / 40) refuse(good.substr(0, size), {});
    test::write_file(file("good.gguf"), good);
    open_checkpoint(file("good.gguf"));
  }

  void weights_that_are_not_finite_are_refused() {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<float> values(600000, 1.0f);  // large enough for several threads
      values[523456] = bad;
      test::GgufWriter gguf;
      gguf.add_tensor("blk.0.w", {values.size()}, values);
      test::write_file(file("nan.gguf"), gguf.bytes());
      const auto model = open_checkpoint(file("nan.gguf"));
      expect_refusal([&] { model->read_f32("blk.0.w", values); },
                     {"nan.gguf", "'blk.0.w'", "flat index 523456", std::isnan(bad) ? "NaN" : "infinity"});
    }
  }

  void safetensors_folder_is_read() {
    const auto folder = file("st");
    std::filesystem::create_directory(folder);
    test::write_file(folder / "config.json", R"({"architectures": ["LlamaForCausalLM"], "head_dim": null})");
    std::string data(4 * 8 * 2, '\0');
    data[2] = '\x80', data[3] = '\x3f';  // bf16 1.0 at index 1
    test::write_file(folder / "model.safetensors",
                     safetensors(R"({"__metadata__": {"format": "pt"}, "model.embed_tokens.weight": {"dtype": "BF16",
                       "shape": [4, 8], "data_offsets": [0, 64]}})",
                                 data));
    const auto model = open_checkpoint(folder);
    std::vector<float> values(32);
    model->read_f32("model.embed_tokens.weight", values);
    QCOMPARE(values[1], 1.0f);
    expect_refusal([&] { model->get_int("head_dim"); }, {"head_dim", "found null"});

    const auto refuse_weights = [&](const std::string& bytes, std::vector<std::string> words) {
      test::write_file(folder / "model.safetensors", bytes);
      expect_refusal([&] { open_checkpoint(folder); }, words);
    };
    refuse_weights("", {"model.safetensors", "truncated"});
    refuse_weights(test::ByteWriter().number<std::uint64_t>(~0ull).bytes(), {"byte 0", "header"});
    refuse_weights(safetensors(R"({"t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})", "short"),
                   {"'t'", "outside"});
    refuse_weights(safetensors(R"({"t": {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]}})", data),
                   {"'t'", "12 bytes"});
    refuse_weights(
        safetensors(R"({"t": {"dtype": "F32", "shape": [9223372036854775807, 4], "data_offsets": [0, 16]}})", data),
        {"'t'", "dimension"});
    refuse_weights(safetensors(R"({"t": {"dtype": "I8", "shape": [16], "data_offsets": [0, 16]}})", data),
                   {"'t'", "I8"});
    refuse_weights(safetensors(R"({"t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
                                   "u": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}})",
                               data),
                   {"overlap"});
    refuse_weights(safetensors(R"({"t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
                                   "t": {"dtype": "F32", "shape": [4], "data_offsets": [16, 32]}})",
                               data),
                   {"twice", "'t'"});
    refuse_weights(safetensors("{" + std::string(100000, '['), data), {"JSON"});
    refuse_weights(safetensors(R"({"t": )" + std::string(100000, '['), data), {"nested too deeply"});
    std::filesystem::remove(folder / "model.safetensors");
    expect_refusal([&] { open_checkpoint(folder); }, {"no *.safetensors"});
  }

  // Cut off by another program after it was opened: an error with both sizes, from whatever thread reads.
  void a_file_that_shrinks_is_an_error_data() {
    QTest::addColumn<bool>("folder");
    QTest::newRow("GGUF") << false;
    QTest::newRow("safetensors") << true;
  }
  void a_file_that_shrinks_is_an_error() {
    QFETCH(bool, folder);
    constexpr std::uint64_t rows = 1024, columns = 1024;  // large enough for several threads
    std::filesystem::path model = file("shrinks.gguf"), weights = model;
    const std::string data(rows * columns * 4, '\0');
    if (folder) {
      model = file("shrinks");
      weights = model / "model.safetensors";
      std::filesystem::create_directory(model);
      test::write_file(model / "config.json", R"({"model_type": "llama"})");
      test::write_file(weights, safetensors(R"({"t": {"dtype": "F32", "shape": [1024, 1024], "data_offsets": [0, )" +
                                                std::to_string(data.size()) + "]}}",
                                            data));
    } else {
      test::GgufWriter out;
      out.add("general.architecture", "llama");
      out.add_tensor("t", {rows, columns}, 0, data);
      test::write_file(weights, out.bytes());
    }
    const auto opened = open_checkpoint(model);
    const auto files = opened->files();
    QVERIFY(std::find(files.begin(), files.end(), weights) != files.end());
    std::vector<float> values(rows * columns, 1);
    opened->read_f32("t", values);
    QVERIFY(std::all_of(values.begin(), values.end(), [](float value) { return value == 0; }));
    const auto size = std::filesystem::file_size(weights);
    for (const std::uintmax_t left : {size / 2, std::uintmax_t{100}, std::uintmax_t{0}}) {
      std::filesystem::resize_file(weights, left);
      const std::vector<std::string> words = {weights.string(), "shorter", std::to_string(size) + " bytes",
                                              std::to_string(left) + " bytes"};
      expect_refusal([&] { opened->read_f32("t", values); }, words);
      expect_refusal([&] { opened->hash(); }, words);
    }
  }

  // A large model's takes a while; the next caller is not told what was never finished.
  void a_hash_can_be_stopped() {
    const auto path = test::write_tiny_model(file("stopped.gguf"));
    const auto model = open_checkpoint(path);
    std::stop_source source;
    source.request_stop();
    bool stopped = false;
    try {
      model->hash({source.get_token(), {}});
    } catch (const Error& error) {
      stopped = error.kind() == ErrorKind::cancelled;
    }
    QVERIFY(stopped);
    QCOMPARE(model->hash(), sha256_file(path));
  }
};

QTEST_MAIN(TestCheckpoint)
#include "test_checkpoint.moc"
