// SPDX-License-Identifier: Apache-2.0
// Bases with LoRA adapters against transformers and peft: in every format of the base, in one go, in chunks and token
// by token, with kinds of layers that the adapter changes; and what an adapter may not be. A folder in
// tests/model/adapters is a case (tests/support/make_adapter_fixtures.py).
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/max.h>

#include <QtTest>
#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "attention/registry.h"
#include "base/error.h"
#include "model/adapted_checkpoint.h"
#include "model/decoder.h"
#include "model/family_case.h"

using namespace headroom;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path adapter_cases = HEADROOM_SOURCE_DIR "/tests/model/adapters";

struct AdapterCase {
  std::string base;
  std::vector<std::int32_t> ids;
  at::Tensor rows, logits, logits_bf16;
};

at::Tensor read_whole(const checkpoint::SafetensorsFile& file, const char* name) {
  const at::Tensor values = at::empty(file.find(name)->shape, at::kFloat);
  file.read_f32(name, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values;
}

AdapterCase read_adapter_case(const std::string& name) {
  AdapterCase one;
  std::ifstream(adapter_cases / name / "base") >> one.base;
  const auto file = checkpoint::SafetensorsFile::open(adapter_cases / name / "expected.safetensors");
  const at::Tensor ids = read_whole(*file, "ids");
  for (std::int64_t i = 0; i < ids.size(0); ++i) one.ids.push_back(static_cast<std::int32_t>(ids[i].item<float>()));
  one.rows = read_whole(*file, "rows").to(at::kLong);
  one.logits = read_whole(*file, "logits").to(at::kDouble);
  one.logits_bf16 = read_whole(*file, "logits_bf16").to(at::kDouble);
  return one;
}

json read_json(const fs::path& file) {
  std::ifstream in(file);
  return json::parse(in);
}
void write_json(const fs::path& file, const json& value) {
  std::ofstream(file) << value.dump(1);
}

double largest_difference(const at::Tensor& found, const at::Tensor& expected) {
  return found.to(at::kDouble).sub(expected).abs().max().item<double>();
}

}  // namespace

class TestAdapters : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::unique_ptr<attention::Policy> dense_ = attention::make_dense_policy();
  std::shared_ptr<const attention::Backend> backend_ = attention::make_torch_backend();

  fs::path temporary(const std::string& name) const { return fs::path(folder_.path().toStdString()) / name; }

  fs::path base_of(const std::string& name, const std::string& format) const {
    if (format == "Q8_0") return adapter_cases / name / "base.gguf";
    const auto family = test::read_family_case(read_adapter_case(name).base);
    return format == "GGUF" ? family.folder / "model.gguf" : test::write_checkpoint(family, temporary(family.name));
  }

  /// A copy that may be changed, of the hash of `base`.
  fs::path adapter_of(const std::string& name, const fs::path& base) const {
    const fs::path copy = temporary("adapter");
    fs::remove_all(copy);
    fs::copy(adapter_cases / name, copy);
    if (const fs::path file = copy / "headroom_adapter.json"; fs::exists(file)) {
      json change = read_json(file);
      change["base_sha256"] = checkpoint::open_checkpoint(base)->hash();
      write_json(file, change);
    }
    return copy;
  }

  static std::unique_ptr<checkpoint::Checkpoint> open(const fs::path& base, const fs::path& adapter) {
    return model::open_model(base.string(), adapter.string());
  }

  static void each_case_and_format() {
    QTest::addColumn<std::string>("name");
    QTest::addColumn<std::string>("format");
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(adapter_cases)) names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    for (const std::string& name : names) {
      std::vector<std::string> formats = {"safetensors"};
      if (fs::exists(adapter_cases / name / "base.gguf"))
        formats = {"Q8_0"};
      else if (test::read_family_case(read_adapter_case(name).base).has_gguf() && name != "qwen3_5")
        formats.emplace_back("GGUF");
      for (const std::string& format : formats)
        QTest::newRow((name + " on " + format).c_str()) << name << format;
    }
  }

  static void expect_refusal(const std::function<void()>& work, const std::vector<std::string>& words) {
    try {
      work();
    } catch (const Error& error) {
      const std::string text = error.what();
      QVERIFY2(error.kind() == ErrorKind::input, text.c_str());
      QVERIFY2(text.find('\n') == std::string::npos, text.c_str());
      for (const std::string& word : words)
        QVERIFY2(text.find(word) != std::string::npos, (word + " not in: " + text).c_str());
      return;
    }
    QFAIL("nothing was refused");
  }

 private slots:
  void equals_peft_data() { each_case_and_format(); }
  void equals_peft() {
    QFETCH(std::string, name);
    QFETCH(std::string, format);
    const AdapterCase one = read_adapter_case(name);
    const fs::path base = base_of(name, format);
    const auto pair = open(base, adapter_of(name, base));
    const auto decoder = model::load_decoder(*pair, {.dtype = at::kFloat}, {});
    const at::Tensor logits = decoder->logits(one.ids, {}).index_select(0, one.rows);
    const double difference = largest_difference(logits, one.logits);
    QVERIFY2(difference < 1e-4, std::to_string(difference).c_str());
    // The base's bf16 bytes are not the pair's values: the shortcut for them must not be taken.
    const auto narrow = model::load_decoder(*pair, {.dtype = at::kBFloat16}, {});
    const at::Tensor rounded = narrow->logits(one.ids, {}).index_select(0, one.rows).to(at::kDouble);
    const double ours = rounded.sub(one.logits).norm().item<double>();
    const double theirs = one.logits_bf16.sub(one.logits).norm().item<double>();
    double bound = 2 * theirs;
    if (decoder->config().typical_layer().mlp.has_experts()) {  // rounding may choose other ones than peft's
      const auto alone = model::load_decoder(*checkpoint::open_checkpoint(base), {.dtype = at::kFloat}, {});
      const at::Tensor without = alone->logits(one.ids, {}).index_select(0, one.rows).to(at::kDouble);
      bound = without.sub(one.logits).norm().item<double>() / 4;
    }
    QVERIFY2(ours < bound, (std::to_string(ours) + " of " + std::to_string(bound)).c_str());
  }

  void chunks_and_tokens_agree_data() { each_case_and_format(); }
  void chunks_and_tokens_agree() {
    QFETCH(std::string, name);
    QFETCH(std::string, format);
    const AdapterCase one = read_adapter_case(name);
    const fs::path base = base_of(name, format);
    const auto decoder = model::load_decoder(*open(base, adapter_of(name, base)), {.dtype = at::kFloat}, {});
    const auto length = one.ids.size();
    const std::vector<std::vector<std::size_t>> ways = {
        {length}, {length / 3, length - length / 3}, {1, 13, 2, length - 16}, std::vector<std::size_t>(length, 1)};
    for (const auto& chunks : ways) {
      model::PrefillOptions options;
      options.policy = dense_.get();
      options.backend = options.dense_backend = backend_.get();
      options.extra_capacity = static_cast<std::int64_t>(length - chunks.front());
      options.logit_rows = static_cast<std::int64_t>(chunks.front());
      auto result = decoder->prefill(std::span(one.ids).first(chunks.front()), options);
      std::vector<at::Tensor> parts = {chunks.front() == 1 ? result.last_logits.unsqueeze(0) : result.tail_logits};
      std::size_t done = chunks.front();
      for (std::size_t i = 1; i < chunks.size(); done += chunks[i++])
        parts.push_back(decoder->decode(result.state, std::span(one.ids).subspan(done, chunks[i])));
      const double difference = largest_difference(at::cat(parts).index_select(0, one.rows), one.logits);
      QVERIFY2(difference < 1e-4, (std::to_string(chunks.size()) + " chunks: " + std::to_string(difference)).c_str());
    }
  }

  void layers_are_as_the_adapter_says() {
    const fs::path base = base_of("llama_hybrid", "GGUF");
    const auto pair = open(base, adapter_of("llama_hybrid", base));
    const model::ModelConfig config = model::read_model_config(*pair);
    QVERIFY(config.layer(0).kind == model::LayerKind::sliding && config.layer(1).kind == model::LayerKind::full);
    QCOMPARE(config.layer(0).attention.window, std::int64_t{12});
    QCOMPARE(config.layer(1).attention.window, std::int64_t{0});
    QCOMPARE(config.layer(1).attention.rope.base, 50000.0);
    QCOMPARE(config.context_length, std::int64_t{4096});
    QCOMPARE(config.name, std::string("model + adapter"));
  }

  // What belongs to the base is nobody's of the pair, and the reverse.
  void the_pair_has_a_hash_of_its_own() {
    const fs::path base = base_of("llama_ranks", "GGUF"), adapter = adapter_of("llama_ranks", base);
    const auto alone = checkpoint::open_checkpoint(base);
    const auto pair = open(base, adapter);
    QVERIFY(!alone->adapter() && pair->adapter());
    QCOMPARE(pair->base_hash(), alone->hash());
    QVERIFY(pair->hash() != alone->hash() && pair->hash() != pair->adapter()->hash());
    QCOMPARE(pair->hash().size(), std::size_t{64});
    QCOMPARE(open(base, adapter)->hash(), pair->hash());
    QCOMPARE(open(base, adapter / "adapter_model.safetensors")->hash(), pair->hash());
    json config = read_json(adapter / "adapter_config.json");
    config["lora_alpha"] = 7;
    write_json(adapter / "adapter_config.json", config);
    QVERIFY(open(base, adapter)->hash() != pair->hash());
  }

  void heads_that_gguf_reorders_are_refused() {
    const auto family = test::read_family_case("qwen3_5");
    expect_refusal([&] { open(family.folder / "model.gguf", adapter_cases / "qwen3_5"); },
                   {"linear_attn.", "reorders", "the base as safetensors"});
  }

  void lies_are_refused_data() {
    using Change = std::function<void(const fs::path& folder)>;
    using Words = std::vector<std::string>;
    QTest::addColumn<std::string>("name");
    QTest::addColumn<Change>("change");
    QTest::addColumn<Words>("words");
    const auto lie = [](const char* what, const char* name, const Change& change, const Words& words) {
      QTest::newRow(what) << std::string(name) << change << words;
    };
    const auto config = [&](const char* key, const json& value, const Words& words) {
      lie((std::string(key) + " " + value.dump()).substr(0, 60).c_str(), "llama_ranks",
          [key, value](const fs::path& folder) {
            json whole = read_json(folder / "adapter_config.json");
            whole[key] = value;
            write_json(folder / "adapter_config.json", whole);
          },
          words);
    };
    config("peft_type", "VERA", {"'peft_type'", "\"LORA\"", "\"VERA\""});
    config("use_dora", true, {"'use_dora'", "DoRA", "found true"});
    config("fan_in_fan_out", true, {"'fan_in_fan_out'", "found true"});
    config("bias", "lora_only", {"'bias'", "\"lora_only\""});
    config("modules_to_save", json::array({"embed_tokens"}), {"'modules_to_save'", "[\"embed_tokens\"]"});
    config("init_lora_weights", "pissa_niter_16", {"'init_lora_weights'", "base's weights", "pissa_niter_16"});
    config("layer_replication", json::parse("[[0, 2]]"), {"'layer_replication'", "[[0,2]]"});
    config("target_parameters", json::array({"experts.gate_up_proj"}), {"'target_parameters'", "experts"});
    config("task_type", "SEQ_CLS", {"'task_type'", "SEQ_CLS"});
    config("a_new_trick", 3, {"'a_new_trick'", "not understood", "found 3"});
    config("r", 0, {"\"r\"", "found 0"});
    config("r", 5, {"lm_head.lora_A", "rank", "expected [5, 32]", "found [4, 32]"});
    config("rank_pattern", json::parse(R"({"q_proj": 2.5})"), {"'rank_pattern'", "'q_proj'", "whole number"});
    config("target_modules", json::array({"q_proj"}), {"lora_A", "adapter_config.json does not name this module"});
    config("target_modules", json::array(), {"'target_modules'", "names no modules"});
    config("target_modules", "(?=q_proj).*", {"'target_modules'", "look-around"});
    config("target_modules", "(a+)+\\1", {"'target_modules'", "the escape"});
    config("exclude_modules", json::array({"lm_head"}), {"lm_head.lora_A", "does not name this module"});
    config("alpha_pattern", json::parse(R"({"k_proj": 3, "self_attn.k_proj": 4})"), {"'alpha_pattern'", "two entries"});
    const auto tensors = [&](const char* what, const std::function<void(json& table, std::string& data)>& change,
                             const Words& words) {
      lie(what, "llama_ranks",
          [change](const fs::path& folder) {
            fs::rename(folder / "adapter_model.safetensors", folder / "model.safetensors");
            test::edit_weights(folder, change);
            fs::rename(folder / "model.safetensors", folder / "adapter_model.safetensors");
          },
          words);
    };
    const std::string some = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    tensors("a tensor too few", [=](json& table, std::string&) { table.erase(some); },
            {"q_proj.lora_B", "one factor is there without the other", "lora_A"});
    tensors("a module too few",
            [=](json& table, std::string&) {
              table.erase(some);
              table.erase("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
            },
            {"layers.0.self_attn.q_proj.lora_A", "holds no factors of"});
    const auto renamed = [=](const char* to) {
      return [=](json& table, std::string&) {
        const std::string own = "base_model.model.model.layers.0.self_attn.o_proj";
        for (const char* factor : {".lora_A.weight", ".lora_B.weight"}) {
          table[to + std::string(factor)] = table[own + factor];
          table.erase(own + factor);
        }
      };
    };
    tensors("a module of another model", renamed("base_model.model.model.layers.9.self_attn.o_proj"),
            {"layers.9.self_attn.o_proj", "no linear layer of this name"});
    tensors("a module of another kind", renamed("base_model.model.model.layers.0.mlp.experts.0.up_proj"),
            {"experts.0.up_proj", "experts", "not supported"});
    for (const auto& [tensor, why] : {std::pair{"base_model.model.lm_head.lora_magnitude_vector", "DoRA"},
                                      {"base_model.model.model.embed_tokens.lora_embedding_A", "embedding"},
                                      {"base_model.model.lm_head.weight", "saved whole"},
                                      {"base_model.vera_A", "saved whole"}})
      tensors(tensor,
              [=, tensor = std::string(tensor)](json& table, std::string& data) {
                table[tensor] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {data.size(), data.size() + 4}}};
                data += std::string(4, '\0');
              },
              {"tensor '" + std::string(tensor), why});
    tensors("another shape", [=](json& table, std::string&) { table[some]["shape"] = {32, 6}; },
            {"q_proj.lora_A", "expected [6, 6]", "found [32, 6]"});
    tensors("NaN",
            [=](json& table, std::string& data) {
              const std::size_t at = table[some]["data_offsets"][0].get<std::size_t>() + 8;
              std::memcpy(data.data() + at, "\0\0\xc0\x7f", 4);
            },
            {"q_proj.lora_A", "flat index 2", "NaN"});
    const auto change = [&](const char* key, const json& value, const Words& words) {
      lie((std::string("change ") + key + " " + value.dump()).substr(0, 60).c_str(), "llama_hybrid",
          [key, value](const fs::path& folder) {
            json whole = read_json(folder / "headroom_adapter.json");
            whole[key] = value;
            if (value.is_null()) whole.erase(key);
            write_json(folder / "headroom_adapter.json", whole);
          },
          words);
    };
    change("base_sha256", std::string(64, '0'), {"'base_sha256'", "another base", std::string(64, '0')});
    change("base_sha256", "00", {"'base_sha256'", "no SHA-256", "'00'"});
    change("base_sha256", nullptr, {"\"base_sha256\" is missing"});
    change("format", 2, {"\"format\"", "found 2"});
    change("layer_kinds", json::array({"full"}), {"'window'", "no layer slides"});
    change("layer_kinds", json::array({"full", "sliding", "full"}), {"'layer_kinds'", "expected 2 entries", "found 3"});
    change("layer_kinds", json::array({"full", "strided"}), {"'layer_kinds', layer 1", "'strided'"});
    change("layer_kinds", json::array({"linear", "sliding"}), {"'layer_kinds', layer 0", "linear attention"});
    change("window", nullptr, {"'window'", "missing"});
    change("window", 0, {"\"window\"", "found 0"});
    change("rope_base", -1, {"\"rope_base\"", "found -1"});
    change("context", 1.5, {"\"context\"", "found 1.5"});
    change("sinks", 4, {"unknown field", "\"sinks\""});
    lie("a scaled RoPE", "qwen3_hybrid",
        [](const fs::path& folder) {
          json whole = read_json(folder / "headroom_adapter.json");
          whole["rope_base"] = 5000;
          write_json(folder / "headroom_adapter.json", whole);
        },
        {"'rope_base'", "scaled", "found 5000"});
    lie("no configuration", "llama_ranks", [](const fs::path& folder) { fs::remove(folder / "adapter_config.json"); },
        {"holds no adapter", "adapter_config.json"});
    lie("a pickle", "llama_ranks",
        [](const fs::path& folder) {
          fs::rename(folder / "adapter_model.safetensors", folder / "adapter_model.bin");
        },
        {"adapter_model.safetensors", "pickled"});
    lie("no JSON", "llama_ranks",
        [](const fs::path& folder) { std::ofstream(folder / "adapter_config.json") << "{\"r\": 4, \"r\": 5}"; },
        {"adapter_config.json", "twice"});
  }
  void lies_are_refused() {
    QFETCH(std::string, name);
    QFETCH(std::function<void(const fs::path&)>, change);
    QFETCH(std::vector<std::string>, words);
    const fs::path base = base_of(name, "GGUF"), adapter = adapter_of(name, base);
    open(base, adapter);
    change(adapter);
    words.push_back(adapter.string());
    expect_refusal([&] { open(base, adapter); }, words);
  }

  // A tied output is the embedding: an adapter of the one would change the other.
  void an_adapter_of_a_tied_output_is_refused() {
    const fs::path base = base_of("llama_layers", "GGUF"), adapter = adapter_of("llama_ranks", base);
    expect_refusal([&] { open(base, adapter); }, {"lm_head.lora_A", "the model's output is its embedding"});
  }

  void gemmas_layers_need_a_rope() {
    const fs::path base = base_of("gemma3", "GGUF"), adapter = adapter_of("gemma3", base);
    json change = {{"format", 1},
                   {"base_sha256", checkpoint::open_checkpoint(base)->hash()},
                   {"name", "tiny gemma"},
                   {"window", 9},
                   {"layer_kinds", {"full", "sliding", "sliding", "sliding", "sliding", "sliding", "sliding"}}};
    write_json(adapter / "headroom_adapter.json", change);
    expect_refusal([&] { open(base, adapter); }, {"'rope_base'", "rotate differently"});
    change["rope_base"] = 20000;
    write_json(adapter / "headroom_adapter.json", change);
    const model::ModelConfig config = model::read_model_config(*open(base, adapter));
    QVERIFY(config.is_full(0) && !config.is_full(5));
    QCOMPARE(config.layer(5).attention.rope.base, 20000.0);
    QCOMPARE(config.name, std::string("tiny gemma"));
  }
};

QTEST_GUILESS_MAIN(TestAdapters)
#include "test_adapters.moc"
