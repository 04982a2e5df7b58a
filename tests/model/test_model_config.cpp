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

/// All that a family of layers that are alike reads.
bool same(const model::ModelConfig& a, const model::ModelConfig& b) {
  const auto& [kind, one, mlp, delta] = a.layer(0);
  const auto& [other_kind, other, other_mlp, other_delta] = b.layer(0);
  return a.width == b.width && a.vocabulary == b.vocabulary && a.context_length == b.context_length &&
         a.num_layers() == b.num_layers() && a.norm.epsilon == b.norm.epsilon && a.tied_output == b.tied_output &&
         kind == other_kind && mlp == other_mlp && delta == other_delta && one.rope == other.rope &&
         one.scale == other.scale && one.num_q_heads == other.num_q_heads && one.num_kv_heads == other.num_kv_heads &&
         one.head_dim == other.head_dim && one.window == other.window;
}

using Gguf = test::GgufWriter;
using Edit = std::function<void(Gguf&)>;

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
  model::ModelConfig read_edited(const Edit& edit) const {
    auto gguf = small_gguf();
    edit(gguf);
    test::write_file(file("edited.gguf"), gguf.bytes());
    return model::read_model_config(*open_checkpoint(file("edited.gguf")));
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

  // transformers' Llama has no windows, whatever its config.json says: one that would change anything is refused.
  void windows_of_llama_are_refused() {
    const auto with = [&](const std::string& keys) { return read_folder(replaced(llama_config, "{", "{" + keys)); };
    expect_refusal([&] { with(R"("sliding_window": 16, )"); }, {"'sliding_window'", "MistralForCausalLM", "16"});
    expect_refusal([&] { with(R"("layer_types": ["sliding_attention"], )"); },
                   {"'layer_types'", "MistralForCausalLM", "sliding_attention"});
    QVERIFY(with(R"("sliding_window": null, )").is_full(0));
    QVERIFY(with(R"("sliding_window": 1000000, )").is_full(0));  // wider than the context
    QVERIFY(with(R"("layer_types": ["full_attention"], )").is_full(0));
  }

  // A window is never dropped: layers that have one slide, and nothing may sparsify them.
  void windows_make_sliding_layers() {
    const std::string mistral_config = replaced(replaced(llama_config, "LlamaForCausalLM", "MistralForCausalLM"), "{",
                                                R"({"num_key_value_heads": 2, )");
    const std::string ministral_config = replaced(mistral_config, "Mistral", "Ministral");
    const auto mistral = read_folder(replaced(mistral_config, "{", R"({"sliding_window": 16, )"));
    QVERIFY(mistral.layer(0).kind == LayerKind::sliding);
    QCOMPARE(mistral.layer(0).attention.window, 16);
    QCOMPARE(mistral.full_layers(), 0);
    expect_refusal([&] { model::require_full_layer(mistral); }, {"st: no layer", "nothing to sparsify"});
    QVERIFY(read_folder(replaced(mistral_config, "{", R"({"sliding_window": null, )")).is_full(0));

    const std::string three = replaced(ministral_config, "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 3");
    const std::string types = R"("layer_types": ["sliding_attention", "full_attention", "sliding_attention"], )";
    const auto mixed = read_folder(replaced(three, "{", R"({"sliding_window": 8, )" + types));
    QVERIFY(!mixed.is_full(0) && mixed.is_full(1) && !mixed.is_full(2));
    QCOMPARE(mixed.layer(1).attention.window, 0);
    QCOMPARE(mixed.first_full(), 1);
    QCOMPARE(read_folder(replaced(three, "{", "{" + types)).layer(0).attention.window, 4096);  // as in transformers
    expect_refusal([&] { read_folder(replaced(ministral_config, "{", "{" + types)); }, {"layer_types", "1 entries"});
    expect_refusal([&] { read_folder(replaced(ministral_config, "{", R"({"layer_types": ["chunked_attention"], )")); },
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
    refused([](auto& layer) { layer.attention.soft_cap = 50; }, {"soft_cap", "full layers"});
    refused([](auto& layer) { layer.attention.window = 4; }, {"window", "full layers"});
    refused([](auto& layer) { layer.kind = LayerKind::sliding; }, {"no window"});
    refused([](auto& layer) { layer.attention.scale = 0; }, {"scale"});
    refused([](auto& layer) { layer.kind = LayerKind::linear; }, {"linear attention", "multiple of key heads"});
    refused(
        [](auto& layer) { layer.mlp = {.kind = model::MlpKind::experts, .width = 4, .experts = 2, .experts_used = 3}; },
        {"experts", "3 of 2 used"});
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

  // What RoPE's frequencies are divided by, as in llama.cpp: no type means linear, a tensor of factors multiplies.
  void gguf_rope_scaling_data() {
    QTest::addColumn<Edit>("edit");
    QTest::addColumn<std::vector<double>>("factors");
    const auto row = [](const char* name, const std::vector<double>& factors, Edit edit) {
      QTest::newRow(name) << edit << factors;
    };
    const char *const type = "llama.rope.scaling.type", *const factor = "llama.rope.scaling.factor";
    const auto tensor = [](Gguf& gguf) { gguf.add_tensor("rope_freqs.weight", {2}, std::vector<float>{1, 8}); };
    row("none", {}, [](Gguf&) {});
    row("factor without a type", {4, 4}, [=](Gguf& gguf) { gguf.add(factor, 4.0f); });
    row("old key", {4, 4}, [](Gguf& gguf) { gguf.add("llama.rope.scale_linear", 4.0f); });
    row("both keys", {4, 4}, [=](Gguf& gguf) {
      gguf.add(factor, 4.0f);
      gguf.add("llama.rope.scale_linear", 4.0f);
    });
    row("linear", {2, 2}, [=](Gguf& gguf) {
      gguf.add(type, "linear");
      gguf.add(factor, 2.0f);
    });
    row("factor 0", {}, [=](Gguf& gguf) { gguf.add(factor, 0.0f); });
    row("none with a factor of 1", {}, [=](Gguf& gguf) {
      gguf.add(type, "none");
      gguf.add(factor, 1.0f);
    });
    row("tensor", {1, 8}, tensor);
    row("tensor and factor", {4, 32}, [=](Gguf& gguf) {
      gguf.add(factor, 4.0f);
      tensor(gguf);
    });
  }
  void gguf_rope_scaling() {
    QFETCH(Edit, edit);
    QFETCH(std::vector<double>, factors);
    const auto config = read_edited(edit);
    for (const model::LayerSpec& layer : config.layers) QCOMPARE(layer.attention.rope.factors, factors);
  }

  // Each of them changes a result, or may: never is one passed over.
  void gguf_keys_and_tensors_that_are_refused_data() {
    QTest::addColumn<Edit>("edit");
    QTest::addColumn<QStringList>("words");
    const auto row = [](const char* name, const QStringList& words, Edit edit) {
      QTest::newRow(name) << edit << (QStringList(name) += words);
    };
    const auto number = [&](const char* key, float value, const QStringList& words) {
      row(key, words, [=](Gguf& gguf) { gguf.add(key, value); });
    };
    const auto flag = [&](const char* key, bool value, const QStringList& words) {
      row(key, words, [=](Gguf& gguf) { gguf.add_bool(key, value); });
    };
    const auto text = [&](const char* key, const char* value, const QStringList& words) {
      row(key, words, [=](Gguf& gguf) { gguf.add(key, value); });
    };
    const auto tensor = [&](const char* name) {
      row(name, {"no place", "layers 0 to 2"}, [=](Gguf& gguf) { gguf.add_tensor(name, {4}, std::vector<float>(4)); });
    };
    number("llama.rope.scaling.attn_factor", 2, {"expected 1, found 2"});
    number("llama.attention.max_alibi_bias", 8, {"expected 0, found 8"});
    number("llama.attention.clamp_kqv", 6, {"found 6"});
    number("llama.attention.scale", 0.5f, {"found 0.5", "not understood"});
    number("llama.logit_scale", 2, {"found 2"});
    number("llama.attn_logit_softcapping", 50, {"found 50"});
    number("llama.rope.scaling.yarn_beta_fast", 32, {"found 32"});
    number("llama.rope.freq_base_swa", 10000, {"found 10000"});
    flag("llama.attention.causal", false, {"expected true, found false"});
    flag("llama.use_parallel_residual", true, {"expected false, found true"});
    text("llama.tensor_data_layout", "reference", {"'Meta AI original pth'", "'reference'"});
    text("llama.rope.scaling.type", "longrope", {"none, linear or yarn", "'longrope'"});
    row("llama.rope.scaling.factor", {"missing"}, [](Gguf& gguf) { gguf.add("llama.rope.scaling.type", "yarn"); });
    text("general.type", "adapter", {"expected model, found 'adapter'"});
    row("llama.expert_used_count", {"expected 0, found 2"},
        [](Gguf& gguf) { gguf.add("llama.expert_used_count", 2u); });
    row("general.quantization_version", {"found 1"}, [](Gguf& gguf) { gguf.add("general.quantization_version", 1u); });
    row("llama.something.new", {"not understood", "found [1, 2, 3, 4, …] of 5"}, [](Gguf& gguf) {
      gguf.add("llama.something.new", std::vector<std::int32_t>{1, 2, 3, 4, 5});
    });
    row("llama.rope.scale_linear", {"two factors", "expected 4", "found 2"}, [](Gguf& gguf) {
      gguf.add("llama.rope.scaling.factor", 4.0f);
      gguf.add("llama.rope.scale_linear", 2.0f);
    });
    row("llama.rope.scaling.factor", {"type 'none'", "found 4"}, [](Gguf& gguf) {
      gguf.add("llama.rope.scaling.type", "none");
      gguf.add("llama.rope.scaling.factor", 4.0f);
    });
    row("llama.rope.freq_base", {"wrong type", "a number", "a string"},
        [](Gguf& gguf) { gguf.add("llama.rope.freq_base", "10000"); });
    tensor("blk.0.attn_q_norm.weight");
    tensor("blk.0.attn_sinks.weight");
    tensor("blk.3.attn_norm.weight");  // one layer more than block_count says
    tensor("rope_factors_long.weight");
    tensor("cls.weight");
  }
  void gguf_keys_and_tensors_that_are_refused() {
    QFETCH(Edit, edit);
    QFETCH(QStringList, words);
    std::vector<std::string> expected = {"edited.gguf"};
    for (const QString& word : words) expected.push_back(word.toStdString());
    expect_refusal([&] { read_edited(edit); }, expected);
  }

  void gguf_keys_that_do_not_matter() {
    const auto config = read_edited([](Gguf& gguf) {
      gguf.add("llama.rope.scaling.original_context_length", 2048u);
      gguf.add_bool("llama.rope.scaling.finetuned", true);
      gguf.add("llama.rope.scaling.attn_factor", 1.0f);
      gguf.add("llama.tensor_data_layout", "Meta AI original pth");
      gguf.add("llama.expert_count", 0u);
      gguf.add_bool("llama.attention.causal", true);
      gguf.add("general.quantization_version", 2u);
      gguf.add("qwen2.attention.causal", 0u);  // another architecture's
    });
    QVERIFY(same(config, read_edited([](Gguf&) {})));
  }

  // What a config.json may not say, with what the refusal names.
  void config_values_that_are_refused_data() {
    QTest::addColumn<std::string>("entries");
    QTest::addColumn<std::string>("key");
    QTest::addColumn<std::string>("found");
    const auto row = [](const char* key, const char* value, const char* found) {
      QTest::newRow(qPrintable(QString("%1: %2").arg(key, value)))
          << "\"" + std::string(key) + "\": " + value + ", " << std::string(key) << std::string(found);
    };
    row("rope_theta", "null", "found null");
    row("rope_theta", "[10000]", "found a list of numbers");
    row("rope_theta", "10000.0", "expected 5000 as under 'rope_parameters.rope_theta', found 10000");
    row("hidden_act", "null", "expected a string, found null");
    row("hidden_act", "\"gelu\"", "expected silu, found 'gelu'");
    row("rms_norm_eps", "null", "found null");
    row("rms_norm_eps", "{}", "found an empty object");
    row("rope_scaling", "[{\"type\": \"linear\"}]", "expected an object");
    row("rope_scaling", "4.0", "expected an object, found 4");
    row("rope_scaling", "{\"type\": \"linear\", \"factor\": 2.0}", "found both");
    row("attention_bias", "true", "expected false, found true");
    row("attention_bias", "null", "found null");
    row("tie_word_embeddings_", "true", "not understood");
    row("partial_rotary_factor", "0.5", "expected 1, found 0.5");
    row("is_causal", "false", "expected true");
    row("rope_interleaved", "true", "expected false");
    row("model_type", "\"mistral\"", "'mistral'");
    row("attn_logit_softcapping", "30.0", "found 30");
    row("auto_map", "{\"AutoModel\": \"modeling.py\"}", "'auto_map.AutoModel'");
    row("quantization_config", "{\"quant_method\": \"gptq\"}", "'quantization_config.quant_method'");
    row("hidden_dropout_prob", "[0.1, \"x\"]", "neither of numbers");
    QTest::newRow("two types") << std::string(R"("rope_scaling": {"rope_type": "default", "type": "linear"}, )")
                               << std::string("rope_scaling.type") << std::string("found 'linear'");
    QTest::newRow("factor alone") << std::string(R"("rope_scaling": {"factor": 4.0}, )")
                                  << std::string("rope_scaling.factor") << std::string("found 4");
    QTest::newRow("scaling of a kind of layers")
        << std::string(R"("rope_scaling": {"full_attention": {"rope_type": "linear"}}, )")
        << std::string("rope_scaling.full_attention.rope_type") << std::string("found 'linear'");
  }
  void config_values_that_are_refused() {
    QFETCH(std::string, entries);
    QFETCH(std::string, key);
    QFETCH(std::string, found);
    expect_refusal([&] { read_folder(replaced(llama_config, "{", "{" + entries)); }, {"'" + key, found, "st: key"});
  }

  void config_values_that_do_not_matter() {
    const std::string all = R"({"rope_scaling": null, "num_key_value_heads": null, "layer_types": null, "torch_dtype":
      "bfloat16", "bos_token_id": null, "initializer_range": 0.02, "use_cache": false, "pretraining_tp": 1, "id2label":
      {"0": "a"}, "model_type": "llama", "pruned_heads": {}, "rope_interleaved": false, "hidden_act": "silu",
      "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}}, "rope_theta": 5000, )";
    QVERIFY(same(read_folder(replaced(llama_config, "{", all)), read_folder(llama_config)));
  }

  // The embedding is the output where the file says so; a matrix that says otherwise is not passed over.
  void a_tied_output_beside_another_matrix() {
    const auto with_output = [&](const std::string& config, char first_byte) {
      const auto folder = write_folder(config, 8);
      const std::string header = R"({"model.embed_tokens.weight": {"dtype": "F16", "shape": [4, 8],
        "data_offsets": [0, 64]}, "lm_head.weight": {"dtype": "F16", "shape": [4, 8], "data_offsets": [64, 128]}})";
      std::string data(128, '\0');
      data[64] = first_byte;
      test::write_file(folder / "model.safetensors",
                       test::ByteWriter().number<std::uint64_t>(header.size()).raw(header).raw(data).bytes());
      return model::read_model_config(*open_checkpoint(folder));
    };
    QVERIFY(with_output(llama_config, 0).tied_output);
    expect_refusal([&] { with_output(llama_config, 1); }, {"'lm_head.weight'", "'tie_word_embeddings' is true"});
    QVERIFY(!with_output(replaced(llama_config, ": true}", ": false}"), 1).tied_output);
  }
};

QTEST_GUILESS_MAIN(TestModelConfig)
#include "test_model_config.moc"
