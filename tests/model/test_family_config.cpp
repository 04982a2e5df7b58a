// SPDX-License-Identifier: Apache-2.0
// Configurations as publishers wrote them over the years, without weights: what they leave out, what they mean, and
// what is refused by its name.
#include <QtTest>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_json.h"
#include "model/model_config.h"
#include "support/gguf_writer.h"

using namespace headroom;
using model::LayerKind;
using nlohmann::json;

namespace {

const json gemma_1b = json::parse(R"({"architectures": ["Gemma3ForCausalLM"], "attention_bias": false,
  "attn_logit_softcapping": null, "cache_implementation": "hybrid", "final_logit_softcapping": null, "head_dim": 256,
  "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
  "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26,
  "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000,
  "rope_scaling": null, "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6,
  "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 262144})");
// Most of the text model's sizes are what the class in transformers has for them.
const json gemma_4b = json::parse(R"({"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999,
  "eoi_token_index": 256000, "eos_token_id": [1, 106], "image_token_index": 262144, "mm_tokens_per_image": 256,
  "model_type": "gemma3", "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
  "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
  "vocab_size": 262208}, "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27}})");
const json qwen25_7b = json::parse(R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
  "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944, "max_position_embeddings": 32768,
  "max_window_layers": 20, "model_type": "qwen2", "num_attention_heads": 28, "num_hidden_layers": 28,
  "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072,
  "tie_word_embeddings": false, "use_mrope": false, "use_sliding_window": false, "vocab_size": 152064})");
const json mistral_7b = json::parse(R"({"architectures": ["MistralForCausalLM"], "hidden_act": "silu",
  "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral",
  "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false, "vocab_size": 32000})");

using Gguf = test::GgufWriter;
using Change = std::function<void(json&)>;
using GgufChange = std::function<void(Gguf&)>;

}  // namespace

class TestFamilyConfig : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  model::ModelConfig read(const json& config) const {
    const std::filesystem::path file = folder_.filePath("config.json").toStdString();
    test::write_file(file, config.dump());
    return model::read_model_config(*checkpoint::open_config(file));
  }
  model::ModelConfig read_gguf(const std::string& arch, std::uint32_t layers, const GgufChange& change) const {
    Gguf gguf;
    gguf.add("general.architecture", arch);
    gguf.add(arch + ".block_count", layers);
    for (const auto& [key, value] : {std::pair{"embedding_length", 96u},
                                     {"feed_forward_length", 64u},
                                     {"context_length", 256u},
                                     {"attention.head_count", 4u},
                                     {"attention.head_count_kv", 2u},
                                     {"attention.key_length", 16u},
                                     {"vocab_size", 10u}})
      gguf.add(arch + "." + key, value);
    gguf.add(arch + ".attention.layer_norm_rms_epsilon", 1e-6f);
    change(gguf);
    const std::filesystem::path file = folder_.filePath("config.gguf").toStdString();
    test::write_file(file, gguf.bytes());
    return model::read_model_config(*checkpoint::open_checkpoint(file));
  }
  static void expect_refusal(const std::function<void()>& work, const QStringList& words) {
    try {
      work();
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::input);
      for (const QString& word : words) QVERIFY2(QString(error.what()).contains(word), error.what());
      return;
    }
    QFAIL("nothing was refused");
  }
  static std::vector<std::int64_t> full_layers(const model::ModelConfig& config) {
    std::vector<std::int64_t> full;
    for (std::int64_t i = 0; i < config.num_layers(); ++i)
      if (config.is_full(i)) full.push_back(i);
    return full;
  }

 private slots:
  void gemma3_before_transformers_5() {
    const auto config = read(gemma_1b);
    QCOMPARE(full_layers(config), (std::vector<std::int64_t>{5, 11, 17, 23}));
    const auto &local = config.layer(0).attention, &global = config.layer(5).attention;
    QCOMPARE(local.window, std::int64_t{512});
    QCOMPARE(local.rope.base, 10000.0);
    QCOMPARE(global.window, std::int64_t{0});
    QCOMPARE(global.rope.base, 1e6);
    QCOMPARE(global.scale, 1.0 / 16);
    QVERIFY(global.qk_norm && config.norm.after && config.tied_output && config.rounds_embedding_scale);
    QCOMPARE(config.embedding_scale, std::sqrt(1152.0));
    QVERIFY(config.layer(3).mlp.kind == model::MlpKind::geglu_tanh);
  }

  void gemma3_with_a_part_that_sees() {
    const auto config = read(gemma_4b);
    QCOMPARE(config.context_length, std::int64_t{131072});
    const auto &local = config.layer(0).attention, &global = config.layer(5).attention;
    QCOMPARE(global.num_q_heads, std::int64_t{8});
    QCOMPARE(global.num_kv_heads, std::int64_t{4});
    QCOMPARE(global.head_dim, std::int64_t{256});
    QCOMPARE(global.rope.factors, std::vector<double>(128, 8.0));
    QVERIFY(local.rope.factors.empty() && local.window == 1024);
    QVERIFY(config.tied_output);
    json large = gemma_4b;
    large["text_config"]["query_pre_attn_scalar"] = 168;
    QCOMPARE(read(large).layer(0).attention.scale, 1 / std::sqrt(168.0));
  }

  void qwen2_windows_and_yarn() {
    QCOMPARE(read(qwen25_7b).full_layers(), std::int64_t{28});
    json windows = qwen25_7b;
    windows["use_sliding_window"] = true;
    windows["sliding_window"] = 100;
    const auto config = read(windows);
    QCOMPARE(config.full_layers(), std::int64_t{20});
    QVERIFY(config.is_full(19) && config.layer(20).attention.window == 100);
    QVERIFY(config.layer(0).attention.qkv_bias && config.layer(20).attention.qkv_bias);
    json yarn = qwen25_7b;
    yarn["rope_scaling"] = {{"factor", 4.0}, {"original_max_position_embeddings", 32768}, {"type", "yarn"}};
    const model::RopeSpec rope = read(yarn).layer(0).attention.rope;
    QCOMPARE(rope.factors.front(), 1.0);
    QVERIFY(std::abs(rope.factors.back() - 4) < 1e-6);
    QVERIFY(std::abs(rope.magnitude - (0.1 * std::log(4.0) + 1)) < 1e-12);
  }

  void mistral_windows() {
    QCOMPARE(read(mistral_7b).full_layers(), std::int64_t{0});
    json absent = mistral_7b, none = mistral_7b;
    absent.erase("sliding_window");
    none["sliding_window"] = nullptr;
    QCOMPARE(read(absent).layer(31).attention.window, std::int64_t{4096});
    QCOMPARE(read(none).full_layers(), std::int64_t{32});
  }

  void what_is_refused_data() {
    QTest::addColumn<json>("config");
    QTest::addColumn<QStringList>("words");
    const auto row = [](const char* name, json config, const Change& change, const QStringList& words) {
      change(config);
      QTest::newRow(name) << config << words;
    };
    const auto set = [](const char* key, const json& value) -> Change { return [=](json& c) { c[key] = value; }; };
    const auto text = [](const char* key, const json& value) -> Change {
      return [=](json& c) { c["text_config"][key] = value; };
    };
    row("final cap", gemma_1b, set("final_logit_softcapping", 30.0), {"'final_logit_softcapping'", "found 30"});
    row("cap", gemma_4b, text("attn_logit_softcapping", 50.0), {"'text_config.attn_logit_softcapping'", "found 50"});
    row("both directions", gemma_1b, set("use_bidirectional_attention", true), {"'use_bidirectional_attention'"});
    row("bias", gemma_1b, set("attention_bias", true), {"'attention_bias'", "expected false"});
    row("Gemma with SiLU", gemma_1b, set("hidden_activation", "silu"), {"'hidden_activation'", "gelu_pytorch_tanh"});
    row("another output", gemma_4b, text("tie_word_embeddings", false),
        {"'text_config.tie_word_embeddings'", "otherwise"});
    row("text key", gemma_4b, text("altup_num_inputs", 4), {"'text_config.altup_num_inputs'", "not understood"});
    row("flat RoPE", gemma_1b, set("rope_parameters", json{{"rope_theta", 5.0}}), {"'rope_parameters.rope_theta'"});
    row("two bases", gemma_1b, set("rope_parameters", json{{"sliding_attention", {{"rope_theta", 500.0}}}}),
        {"'rope_local_base_freq'", "expected 500", "found 10000"});
    row("longrope", qwen25_7b, set("rope_scaling", json{{"type", "longrope"}, {"short_factor", {1.0}}}),
        {"'rope_scaling.type'", "'longrope'"});
    row("YaRN without", qwen25_7b, set("rope_scaling", json{{"type", "yarn"}, {"factor", 0.0}}),
        {"'rope_scaling.factor'", "out of range"});
    row("YaRN's new option", qwen25_7b, set("rope_scaling", json{{"type", "yarn"}, {"factor", 4.0}, {"ramp", 2}}),
        {"'rope_scaling.ramp'", "not understood"});
    row("several positions", qwen25_7b, set("use_mrope", true), {"'use_mrope'"});
    row("two chunks", qwen25_7b, set("dual_chunk_attention_config", json{{"chunk_size", 262144}}),
        {"'dual_chunk_attention_config.chunk_size'"});
    row("no window", qwen25_7b, set("layer_types", std::vector<std::string>(28, "sliding_attention")),
        {"'sliding_window'", "layer 0"});
    row("lists of Mistral", mistral_7b, set("layer_types", std::vector<std::string>(32, "full_attention")),
        {"'layer_types'"});
    row("another type", mistral_7b, set("model_type", "mixtral"), {"'model_type'", "expected mistral"});
  }
  void what_is_refused() {
    QFETCH(json, config);
    QFETCH(QStringList, words);
    expect_refusal([&] { read(config); }, words);
  }

  void gguf_of_gemma3() {
    const auto base = [](Gguf& gguf) { gguf.add("gemma3.rope.freq_base", 1e6f); };
    const auto windowed = [&](Gguf& gguf) {
      base(gguf);
      gguf.add("gemma3.attention.sliding_window", 8u);
    };
    const auto config = read_gguf("gemma3", 7, windowed);
    QCOMPARE(full_layers(config), (std::vector<std::int64_t>{5}));
    QCOMPARE(config.layer(0).attention.rope.base, 10000.0);
    QCOMPARE(config.layer(5).attention.rope.base, 1e6);
    QCOMPARE(config.layer(0).attention.scale, 0.25);
    QVERIFY(!config.rounds_embedding_scale && config.embedding_scale == std::sqrt(96.0));
    QCOMPARE(read_gguf("gemma3", 7, base).full_layers(), std::int64_t{7});
    QCOMPARE(read_gguf("gemma3", 62, windowed).layer(0).attention.scale, 1 / std::sqrt(24.0));
    const auto with = [&](const GgufChange& change) {
      return [=, this] {
        return read_gguf("gemma3", 3, [&](Gguf& gguf) {
          windowed(gguf);
          change(gguf);
        });
      };
    };
    const auto scaled = with([](Gguf& gguf) {
      gguf.add("gemma3.rope.scaling.type", "linear");
      gguf.add("gemma3.rope.scaling.factor", 8.0f);
      gguf.add("gemma3.rope.freq_base_swa", 500.0f);
      gguf.add("gemma3.attention.sliding_window_pattern", std::vector<std::int32_t>{1, 0, 1});
    })();
    QCOMPARE(full_layers(scaled), (std::vector<std::int64_t>{1}));
    QCOMPARE(scaled.layer(1).attention.rope.factors, std::vector<double>(8, 8.0));
    QVERIFY(scaled.layer(0).attention.rope.factors.empty() && scaled.layer(0).attention.rope.base == 500);
    expect_refusal([&] { read_gguf("gemma3", 3, [](Gguf&) {}); }, {"'gemma3.rope.freq_base'", "missing"});
    // Without its window every layer of a gpt-oss would be full, and nobody would know.
    const auto gpt_oss = [&](Gguf& gguf) {
      gguf.add("gpt-oss.rope.freq_base", 150000.0f);
      gguf.add("gpt-oss.expert_count", 4u);
      gguf.add("gpt-oss.expert_used_count", 2u);
      gguf.add("gpt-oss.expert_feed_forward_length", 64u);
    };
    expect_refusal([&] { read_gguf("gpt-oss", 2, gpt_oss); }, {"'gpt-oss.attention.sliding_window'", "missing"});
    const auto with_window = [&](Gguf& gguf) {
      gpt_oss(gguf);
      gguf.add("gpt-oss.attention.sliding_window", 8u);
    };
    QCOMPARE(read_gguf("gpt-oss", 2, with_window).full_layers(), std::int64_t{1});
    expect_refusal(with([](Gguf& gguf) { gguf.add("gemma3.final_logit_softcapping", 30.0f); }),
                   {"'gemma3.final_logit_softcapping'", "found 30"});
    expect_refusal(with([](Gguf& gguf) {
                     gguf.add("gemma3.attention.sliding_window_pattern", std::vector<std::int32_t>{1, 0});
                   }),
                   {"sliding_window_pattern'", "3 entries"});
    expect_refusal(with([](Gguf& gguf) { gguf.add("gemma3.attention.scale", 0.1f); }),
                   {"'gemma3.attention.scale'", "not understood"});
  }

  void gguf_yarn() {
    const auto yarn = [&](const GgufChange& more) {
      return [=, this] {
        return read_gguf("qwen3", 1, [&](Gguf& gguf) {
          gguf.add("qwen3.rope.freq_base", 1e6f);
          gguf.add("qwen3.rope.scaling.type", "yarn");
          gguf.add("qwen3.rope.scaling.factor", 4.0f);
          gguf.add("qwen3.rope.scaling.original_context_length", 4096u);
          more(gguf);
        });
      };
    };
    const auto plain = yarn([](Gguf&) {})().layer(0).attention.rope;
    const auto louder =
        yarn([](Gguf& gguf) { gguf.add("qwen3.rope.scaling.attn_factor", 2.0f); })().layer(0).attention.rope;
    QCOMPARE(plain.factors.size(), std::size_t{8});
    QVERIFY(std::abs(louder.magnitude - 2 * plain.magnitude) < 1e-12 && plain.magnitude > 1.1);
    const auto sharper =
        yarn([](Gguf& gguf) { gguf.add("qwen3.rope.scaling.yarn_beta_fast", 2.0f); })().layer(0).attention.rope;
    QVERIFY(sharper.factors != plain.factors);
    for (const char* key : {"yarn_ext_factor", "yarn_attn_factor", "yarn_log_multiplier"})
      expect_refusal(yarn([&](Gguf& gguf) { gguf.add(std::string("qwen3.rope.scaling.") + key, 0.5f); }),
                     {QString("'qwen3.rope.scaling.%1'").arg(key), "found 0.5"});
    expect_refusal([&] { read_gguf("qwen2", 1, [](Gguf& gguf) { gguf.add("qwen2.attention.sliding_window", 8u); }); },
                   {"'qwen2.attention.sliding_window'"});
  }
};

QTEST_GUILESS_MAIN(TestFamilyConfig)
#include "test_family_config.moc"
