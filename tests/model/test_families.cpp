// SPDX-License-Identifier: Apache-2.0
// Every family against transformers on tiny random checkpoints: layer by layer, in one go, in chunks and token by
// token, in fp32 and bf16; and what configurations and weights may not say. A folder in tests/model/families is a case.
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/max.h>

#include <QtTest>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "attention/registry.h"
#include "base/error.h"
#include "model/decoder.h"
#include "model/family_case.h"

using namespace headroom;
using nlohmann::json;
using test::FamilyCase;

namespace {

struct Differences {
  double largest = 0, relative = 0;  // of elements; of the whole in L2
};

Differences differences(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor difference = found.to(at::kDouble).sub(expected);
  return {difference.abs().max().item<double>(), difference.norm().item<double>() / expected.norm().item<double>()};
}

std::string in_words(const Differences& d) {
  char text[80];
  std::snprintf(text, sizeof text, "largest difference %.2e, relative L2 %.2e", d.largest, d.relative);
  return text;
}

constexpr double most_relative = 1e-5, most_of_logits = 1e-4;

}  // namespace

class TestFamilies : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::unique_ptr<attention::Policy> dense_ = attention::make_dense_policy();
  std::shared_ptr<const attention::Backend> backend_ = attention::make_torch_backend();

  model::PrefillOptions dense_options() const {
    model::PrefillOptions options;
    options.policy = dense_.get();
    options.backend = options.dense_backend = backend_.get();
    return options;
  }
  std::filesystem::path checkpoint_of(const FamilyCase& one, bool gguf) const {
    return gguf ? one.folder / "model.gguf"
                : test::write_checkpoint(one, std::filesystem::path(folder_.path().toStdString()) / one.name);
  }
  static std::unique_ptr<model::Decoder> load(const std::filesystem::path& path, c10::ScalarType dtype = at::kFloat) {
    return model::load_decoder(*checkpoint::open_checkpoint(path), {.dtype = dtype}, {});
  }

  static void each_case_in_each_format() {
    QTest::addColumn<std::string>("name");
    QTest::addColumn<bool>("gguf");
    for (const std::string& name : test::family_case_names()) {
      QTest::newRow((name + " as safetensors").c_str()) << name << false;
      if (test::read_family_case(name).has_gguf()) QTest::newRow((name + " as GGUF").c_str()) << name << true;
    }
  }

 private slots:
  void there_are_cases() { QVERIFY(test::family_case_names().size() >= 8); }

  // A border between devices changes no bit: here both sides are the CPU.
  void parts_do_not_show_data() {
    QTest::addColumn<std::string>("name");
    for (const std::string& name : test::family_case_names()) QTest::newRow(name.c_str()) << name;
  }
  void parts_do_not_show() {
    QFETCH(std::string, name);
    const FamilyCase one = test::read_family_case(name);
    const auto file = checkpoint::open_checkpoint(checkpoint_of(one, false));
    const auto whole = model::load_decoder(*file, {.dtype = at::kFloat}, {});
    const std::int64_t layers = whole->config().num_layers();
    model::DeviceParts parts;
    for (const std::int64_t first : std::set<std::int64_t>{0, 1, layers - 1})
      if (first < layers) parts.push_back({at::kCPU, first});
    const auto split = model::load_decoder(*file, {.parts = parts, .dtype = at::kFloat}, {});
    QCOMPARE(split->weight_bytes(), whole->weight_bytes());
    QVERIFY(split->part_bytes().size() == parts.size() && split->part_bytes().back() > 0);
    QVERIFY(split->logits(one.ids, {}).equal(whole->logits(one.ids, {})));
    auto options = dense_options();
    options.extra_capacity = 2;
    auto from_split = split->prefill(one.ids, options), from_whole = whole->prefill(one.ids, options);
    QVERIFY(from_split.last_logits.equal(from_whole.last_logits));
    const std::array<std::int32_t, 2> more = {one.ids.front(), one.ids.back()};
    QVERIFY(split->decode(from_split.state, more).equal(whole->decode(from_whole.state, more)));
  }

  void every_layer_equals_transformers_data() { each_case_in_each_format(); }
  void every_layer_equals_transformers() {
    QFETCH(std::string, name);
    QFETCH(bool, gguf);
    const FamilyCase one = test::read_family_case(name);
    const auto decoder = load(checkpoint_of(one, gguf));
    QCOMPARE(static_cast<std::size_t>(decoder->config().num_layers()), one.hidden.size());
    auto options = dense_options();
    std::vector<at::Tensor> hidden;
    options.hidden_observer = [&](int, const at::Tensor& rows) { hidden.push_back(rows.index_select(0, one.rows)); };
    decoder->prefill(one.ids, options);
    for (std::size_t layer = 0; layer < hidden.size(); ++layer) {
      const Differences d = differences(hidden[layer], one.hidden[layer]);
      const std::string kind(model::to_string(decoder->config().layers[layer].kind));
      QVERIFY2(d.relative < most_relative,
               ("after layer " + std::to_string(layer) + " (" + kind + "): " + in_words(d)).c_str());
    }
    const Differences d = differences(decoder->logits(one.ids, {}).index_select(0, one.rows), one.logits);
    QVERIFY2(d.largest < most_of_logits && d.relative < most_relative, ("logits: " + in_words(d)).c_str());
  }

  void prefill_chunks_and_tokens_agree_data() { each_case_in_each_format(); }
  void prefill_chunks_and_tokens_agree() {
    QFETCH(std::string, name);
    QFETCH(bool, gguf);
    const FamilyCase one = test::read_family_case(name);
    const auto decoder = load(checkpoint_of(one, gguf));
    const auto length = one.ids.size();
    std::vector<std::vector<std::size_t>> ways = {{length}, std::vector<std::size_t>(length, 1)};
    if (length > 9) ways.insert(ways.end(), {{length / 3, length - length / 3}, {1, 7, 1, length - 9}});
    for (const auto& chunks : ways) {
      auto options = dense_options();
      options.extra_capacity = static_cast<std::int64_t>(length - chunks.front());
      options.logit_rows = static_cast<std::int64_t>(chunks.front());
      auto result = decoder->prefill(std::span(one.ids).first(chunks.front()), options);
      std::vector<at::Tensor> parts = {chunks.front() == 1 ? result.last_logits.unsqueeze(0) : result.tail_logits};
      std::size_t done = chunks.front();
      for (std::size_t i = 1; i < chunks.size(); done += chunks[i++])
        parts.push_back(decoder->decode(result.state, std::span(one.ids).subspan(done, chunks[i])));
      const Differences d = differences(at::cat(parts).index_select(0, one.rows), one.logits);
      QVERIFY2(d.largest < most_of_logits && d.relative < most_relative,
               (std::to_string(chunks.size()) + " chunks: " + in_words(d)).c_str());
    }
  }

  // Both round where the other does not: neither may be much farther from fp32 than the other.
  void bf16_errs_no_more_than_transformers_data() { each_case_in_each_format(); }
  void bf16_errs_no_more_than_transformers() {
    QFETCH(std::string, name);
    QFETCH(bool, gguf);
    const FamilyCase one = test::read_family_case(name);
    const auto decoder = load(checkpoint_of(one, gguf), at::kBFloat16);
    const Differences ours = differences(decoder->logits(one.ids, {}).index_select(0, one.rows), one.logits);
    const Differences theirs = differences(one.logits_bf16, one.logits);
    QVERIFY2(ours.relative < 2 * theirs.relative,
             ("ours: " + in_words(ours) + "; transformers: " + in_words(theirs)).c_str());
    QVERIFY2(ours.largest < 2 * theirs.largest,
             ("ours: " + in_words(ours) + "; transformers: " + in_words(theirs)).c_str());
  }

  void lies_are_refused_data() {
    using Change = std::function<std::vector<std::string>(const std::filesystem::path&)>;  // returns what is named
    QTest::addColumn<std::string>("name");
    QTest::addColumn<Change>("change");
    const auto config = [](auto change) -> Change {
      return [change](const std::filesystem::path& folder) {
        std::vector<std::string> words;
        test::edit_config(folder, [&](json&, json& text) { words = change(text); });
        return words;
      };
    };
    using Words = std::vector<std::string>;
    const std::vector<std::pair<const char*, Change>> lies = {
        {"heads that do not divide", config([](json& text) -> Words {
           text["num_key_value_heads"] = 3;
           return {"num_key_value_heads'", "a divisor of", "found 3"};
         })},
        {"another width", config([](json& text) -> Words {
           text["hidden_size"] = 2 * text["hidden_size"].get<int>();
           return {"has another shape", "expected [", "found ["};
         })},
        {"no width", config([](json& text) -> Words {
           text["hidden_size"] = 0;
           return {"hidden_size'", "expected 1 to", "found 0"};
         })},
        {"a layer too many", config([](json& text) -> Words {
           text["num_hidden_layers"] = text["num_hidden_layers"].get<int>() + 1;
           return {"layer"};
         })},
        {"a layer too few", config([](json& text) -> Words {
           text["num_hidden_layers"] = text["num_hidden_layers"].get<int>() - 1;
           return {"layer"};
         })},
        {"an unknown activation", config([](json& text) -> Words {
           const char* key = text.contains("hidden_activation") ? "hidden_activation" : "hidden_act";
           text[key] = "relu";
           return {std::string(key) + "'", "activation", "'relu'"};
         })},
        {"RoPE by the prompt's length", config([](json& text) -> Words {
           json& rope = text["rope_parameters"];
           (rope.contains("full_attention") ? rope["full_attention"] : rope)["rope_type"] = "dynamic";
           return {"rope_type'", "llama3 or yarn", "'dynamic'"};
         })},
        {"a key that nobody knows", config([](json& text) -> Words {
           text["residual_multiplier"] = 2.5;
           return {"residual_multiplier'", "not understood", "found 2.5"};
         })},
        {"a tensor too many",
         [](const std::filesystem::path& folder) -> Words {
           test::edit_weights(folder, [](json& table, std::string& data) {
             table["model.layers.0.self_attn.q_extra.weight"] = {
                 {"dtype", "BF16"}, {"shape", {1}}, {"data_offsets", {data.size(), data.size() + 2}}};
             data += std::string(2, '\0');
           });
           return {"'model.layers.0.self_attn.q_extra.weight'", "no place"};
         }},
        {"a tensor too few",
         [](const std::filesystem::path& folder) -> Words {
           std::string missing;
           test::edit_weights(folder, [&](json& table, std::string&) {
             for (const auto& [tensor, entry] : table.items())
               if (tensor.find("layers.1.") != std::string::npos && tensor.find("vision") == std::string::npos)
                 missing = tensor;
             table.erase(missing);
           });
           return {missing, "missing"};
         }},
        {"NaN",
         [](const std::filesystem::path& folder) -> Words {
           test::edit_weights(folder, [](json& table, std::string& data) {
             for (const auto& [tensor, entry] : table.items()) {
               if (!tensor.ends_with("embed_tokens.weight")) continue;
               const std::size_t at = entry["data_offsets"][0].get<std::size_t>() + 8;
               data[at] = '\xc0';
               data[at + 1] = '\x7f';
             }
           });
           return {"embed_tokens.weight'", "flat index 4", "NaN"};
         }},
    };
    QTest::newRow("qwen3_5_moe: experts' weights as they come")
        << std::string("qwen3_5_moe") << config([](json& text) -> Words {
             text["norm_topk_prob"] = false;
             return {"norm_topk_prob'", "always add up to 1", "expected true"};
           });
    for (const std::string& name : test::family_case_names()) {
      if (!test::read_family_case(name).has_own_weights()) continue;
      for (const auto& [lie, change] : lies) QTest::newRow((name + ": " + lie).c_str()) << name << change;
    }
  }
  void lies_are_refused() {
    QFETCH(std::string, name);
    QFETCH(std::function<std::vector<std::string>(const std::filesystem::path&)>, change);
    const auto folder = test::write_checkpoint(test::read_family_case(name),
                                               std::filesystem::path(folder_.path().toStdString()) / "lie");
    const auto words = change(folder);
    try {
      load(folder);
    } catch (const Error& error) {
      const std::string text = error.what();
      QVERIFY2(error.kind() == ErrorKind::input, text.c_str());
      QVERIFY2(text.find('\n') == std::string::npos && text.find(folder.string()) != std::string::npos, text.c_str());
      for (const std::string& word : words)
        QVERIFY2(text.find(word) != std::string::npos, (word + " not in: " + text).c_str());
      return;
    }
    QFAIL("nothing was refused");
  }
};

QTEST_GUILESS_MAIN(TestFamilies)
#include "test_families.moc"
