// SPDX-License-Identifier: Apache-2.0
// Configurations as the families read them, and what is refused: every message names the key.
#include <QtTest>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "model/model_config.h"
#include "support/gguf_writer.h"
#include "support/tiny_model.h"

using namespace headroom;
using checkpoint::open_checkpoint;
using model::LayerKind;

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

const char* const llama_config = R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_hidden_layers": 1,
  "intermediate_size": 16, "max_position_embeddings": 64, "num_attention_heads": 2, "vocab_size": 4, "head_dim": null,
  "rope_parameters": {"rope_theta": 5000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
  "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}, "tie_word_embeddings": true})";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

class TestModelConfig : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::filesystem::path file(const char* name) const { return folder_.filePath(name).toStdString(); }

  /// A folder with this config.json and an embedding of zeros, [4, width].
  std::filesystem::path write_folder(const std::string& config, int width) const {
    const auto folder = file("st");
    std::filesystem::create_directory(folder);
    test::write_file(folder / "config.json", config);
    const std::string bytes = std::to_string(8 * width);
    const std::string header = R"({"model.embed_tokens.weight": {"dtype": "F16", "shape": [4, )" +
                               std::to_string(width) + R"(], "data_offsets": [0, )" + bytes + "]}}";
    test::write_file(folder / "model.safetensors", test::ByteWriter()
                                                       .number<std::uint64_t>(header.size())
                                                       .raw(header)
                                                       .raw(std::string(static_cast<std::size_t>(8 * width), '\0'))
                                                       .bytes());
    return folder;
  }
  model::ModelConfig read_folder(const std::string& config, int width = 8) const {
    return model::read_model_config(*open_checkpoint(write_folder(config, width)));
  }
  /// A Llama of 3 layers with one more key.
  template <typename T>
  model::ModelConfig read_gguf(const char* key, T value) const {
    auto gguf = small_gguf();
    gguf.add(key, value);
    test::write_file(file("small.gguf"), gguf.bytes());
    return model::read_model_config(*open_checkpoint(file("small.gguf")));
  }
  static test::GgufWriter small_gguf() {
    test::GgufWriter gguf;
    gguf.add("general.architecture", "llama");
    gguf.add("llama.block_count", 3u);
    gguf.add("llama.attention.head_count", 1u);
    for (const char* key : {"llama.embedding_length", "llama.feed_forward_length", "llama.context_length"})
      gguf.add(key, 4u);
    gguf.add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf.add_tensor("token_embd.weight", {2, 4}, std::vector<float>(8));
    return gguf;
  }

 private slots:
  void gguf_is_read() {
    const auto model = open_checkpoint(test::write_tiny_model(file("tiny.gguf")));
    const model::ModelConfig config = model::read_model_config(*model);
    QCOMPARE(config.architecture, std::string("llama"));
    QCOMPARE(config.num_layers(), 3);
    QCOMPARE(config.full_layers(), 3);
    const model::AttentionSpec& attention = config.layer(2).attention;
    QCOMPARE(attention.head_dim, 16);
    QCOMPARE(attention.num_kv_heads, 2);
    QCOMPARE(attention.scale, 0.25);
    QCOMPARE(attention.rope.dims, 16);
    QVERIFY(config.tied_output && attention.rope.factors.empty());
  }

  void safetensors_is_read() {
    const auto config = read_folder(llama_config);
    const model::AttentionSpec& attention = config.layer(0).attention;
    QCOMPARE(attention.head_dim, 4);
    QCOMPARE(attention.rope.base, 5000.0);
    QCOMPARE(attention.rope.factors.size(), std::size_t{2});
    QVERIFY(attention.rope.factors[0] == 1);
    QVERIFY(config.tied_output && config.is_full(0));
  }

  // A window is never dropped: layers that have one slide, and nothing may sparsify them.
  void windows_make_sliding_layers() {
    const auto mistral = read_folder(replaced(llama_config, "{", R"({"sliding_window": 16, )"));
    QVERIFY(mistral.layer(0).kind == LayerKind::sliding);
    QCOMPARE(mistral.layer(0).attention.window, 16);
    QCOMPARE(mistral.full_layers(), 0);
    expect_refusal([&] { model::require_full_layer(mistral); }, {"st: no layer", "nothing to sparsify"});
    QVERIFY(read_folder(replaced(llama_config, "{", R"({"sliding_window": null, )")).is_full(0));

    const std::string three = replaced(llama_config, "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 3");
    const std::string types = R"("layer_types": ["sliding_attention", "full_attention", "sliding_attention"], )";
    const auto mixed = read_folder(replaced(three, "{", R"({"sliding_window": 8, )" + types));
    QVERIFY(!mixed.is_full(0) && mixed.is_full(1) && !mixed.is_full(2));
    QCOMPARE(mixed.layer(1).attention.window, 0);
    QCOMPARE(mixed.first_full(), 1);
    expect_refusal([&] { read_folder(replaced(three, "{", "{" + types)); }, {"sliding_window", "missing", "layer 0"});
    expect_refusal([&] { read_folder(replaced(llama_config, "{", "{" + types)); }, {"layer_types", "1 entries"});
    expect_refusal([&] { read_folder(replaced(llama_config, "{", R"({"layer_types": ["chunked_attention"], )")); },
                   {"layer_types", "chunked_attention"});

    const auto gguf = read_gguf("llama.attention.sliding_window", 2u);
    QVERIFY(gguf.layer(2).kind == LayerKind::sliding);
    QCOMPARE(gguf.layer(2).attention.window, 2);
    QVERIFY(read_gguf("llama.attention.sliding_window", 0u).is_full(2));
    expect_refusal([&] { read_gguf("llama.attention.sliding_window_pattern", 4u); }, {"sliding_window_pattern"});
    expect_refusal(
        [&] {
          read_gguf("llama.attention.sliding_window_pattern", std::vector<std::int32_t>{1, 0, 1});
        },
        {"sliding_window_pattern"});
  }

  // What no part implements is refused by its name.
  void options_without_a_part() {
    const auto good = read_folder(llama_config);
    const auto refused = [&](const std::function<void(model::LayerSpec&)>& change, std::vector<std::string> words) {
      auto config = good;
      change(config.layers[0]);
      words.push_back("F: layer 0");
      expect_refusal([&] { model::check_config(config, "F"); }, words);
    };
    refused([](auto& layer) { layer.attention.sinks = true; }, {"sinks", "full layers"});
    refused([](auto& layer) { layer.attention.soft_cap = 50; }, {"soft_cap", "full layers"});
    refused([](auto& layer) { layer.attention.window = 4; }, {"window", "full layers"});
    refused([](auto& layer) { layer.kind = LayerKind::sliding; }, {"no window"});
    refused([](auto& layer) { layer.attention.scale = 0; }, {"scale"});
    refused([](auto& layer) { layer.attention.rope.dims = 3; }, {"rotated dimensions", "found 3"});
    refused([](auto& layer) { layer.attention.rope.dims = 2; }, {"RoPE factors", "expected 1, found 2"});
    refused([](auto& layer) { layer.attention.num_kv_heads = 3; }, {"heads do not fit", "2 : 3 heads of 4"});
  }

  void configuration_is_checked() {
    const auto config_error = [&](const test::GgufWriter& gguf, std::vector<std::string> words) {
      test::write_file(file("config.gguf"), gguf.bytes() + std::string(64, 'x'));
      expect_refusal([&] { model::read_model_config(*open_checkpoint(file("config.gguf"))); }, words);
    };
    test::GgufWriter unknown;
    unknown.add("general.architecture", "rwkv7");
    config_error(unknown, {"general.architecture", "not supported", "llama", "rwkv7"});
    config_error(test::GgufWriter(), {"general.architecture"});
    test::GgufWriter missing;
    missing.add("general.architecture", "llama");
    config_error(missing, {"llama.block_count", "missing"});
    missing.add("llama.block_count", 4000000000u);
    config_error(missing, {"llama.block_count", "1 to 1024", "4000000000"});
  }

  void llama3_scaling_equals_transformers() {
    std::string config = replaced(llama_config, "\"hidden_size\": 8", "\"hidden_size\": 128");
    const auto factors = read_folder(replaced(config, "5000.0", "500000.0"), 128).layer(0).attention.rope.factors;
    QCOMPARE(factors.size(), std::size_t{32});
    QVERIFY(factors[14] == 1 && factors[18] == 8 && factors[31] == 8);
    // transformers 5.17: ROPE_INIT_FUNCTIONS["llama3"]
    for (const auto& [i, expected] : {std::pair{15u, 1.55341}, {16u, 2.69453}, {17u, 5.25733}})
      QVERIFY2(std::abs(factors[i] - expected) < 1e-4, std::to_string(factors[i]).c_str());
  }

  void biases_are_refused() {
    test::GgufWriter gguf;
    gguf.add("general.architecture", "llama");
    gguf.add_tensor("blk.0.attn_q.bias", {1}, std::vector<float>{1});
    test::write_file(file("bias.gguf"), gguf.bytes());
    expect_refusal([&] { model::read_model_config(*open_checkpoint(file("bias.gguf"))); },
                   {"'blk.0.attn_q.bias'", "biases"});
  }

  void llama3_scaling_arrives_as_a_tensor() {
    auto gguf = small_gguf();
    gguf.add_tensor("rope_freqs.weight", {2}, std::vector<float>{1, 8});
    test::write_file(file("rope.gguf"), gguf.bytes());
    const auto config = model::read_model_config(*open_checkpoint(file("rope.gguf")));
    QCOMPARE(config.layer(0).attention.rope.factors, (std::vector<double>{1, 8}));
  }
};

QTEST_GUILESS_MAIN(TestModelConfig)
#include "test_model_config.moc"
