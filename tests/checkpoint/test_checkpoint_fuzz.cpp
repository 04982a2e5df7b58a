// SPDX-License-Identifier: Apache-2.0
// Thousands of damaged headers, always the same ones: each loads or gives an input error; none crashes, hangs or asks
// for memory by an unchecked number.
#include <sys/resource.h>

#include <QtTest>
#include <array>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "model/model_config.h"
#include "support/gguf_writer.h"
#include "support/tiny_model.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

using namespace headroom;
namespace fs = std::filesystem;

namespace {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t below(std::uint64_t count) {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % count;
  }

 private:
  std::uint64_t state_;
};

/// Damages the first `header` bytes (and may cut the file short).
std::string damaged(std::string bytes, std::size_t header, Random& random) {
  const std::array<std::uint64_t, 9> numbers = {
      0,  1,  std::uint64_t{1} << 63, ~std::uint64_t{0}, std::uint64_t{1} << 32,
      31, 65, std::uint64_t{1} << 20, bytes.size()};
  for (std::uint64_t times = 1 + random.below(3); times > 0; --times) {
    const std::size_t at = random.below(header);
    switch (random.below(6)) {
      case 0: {  // a number
        const std::uint64_t value = numbers[random.below(numbers.size())];
        for (std::size_t i = 0; i < 8 && at + i < bytes.size(); ++i) bytes[at + i] = static_cast<char>(value >> 8 * i);
        break;
      }
      case 1:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 2:  // a stretch comes twice
        if (at + 24 < header) bytes.replace(at, 12, bytes, at + 12, 12);
        break;
      case 3:
        if (random.below(8) == 0) bytes.resize(random.below(bytes.size()));
        header = std::min(header, bytes.size());
        break;
      default:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << random.below(8));
    }
    if (header == 0) break;
  }
  return bytes;
}

/// Everything that reads a model without a decoder. True where it loaded.
bool load(const fs::path& path) {
  try {
    const auto model = checkpoint::open_checkpoint(path);
    std::vector<float> values;
    for (const checkpoint::TensorInfo& info : model->tensors()) {
      values.resize(static_cast<std::size_t>(info.elements()));
      try {
        model->read_f32(info.name, values);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::input) throw;
      }
    }
    if (tokenizer::find_chat_template(*model) == tokenizer::ChatTemplate::known)
      tokenizer::render_chat(*model, {{"user", "x"}});
    if (model->format() == checkpoint::Format::gguf) {
      const auto tokenizer = tokenizer::make_tokenizer(*model);
      const auto tokens = tokenizer->encode("the 12 is\n <|im_end|> aaaa", {.parse_special = true});
      for (const auto& token : tokens) tokenizer->piece(token.id);
    }
    const auto config = model::read_model_config(*model);
    return !config.layers.empty();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) throw;
    return false;
  }
}

}  // namespace

class TestCheckpointFuzz : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  /// Loads `count` damaged copies of `good`, written to `file`, which lies at or in `model`.
  void fuzz(const fs::path& model, const fs::path& file, const std::string& good, std::size_t header, int count) {
    test::write_file(file, good);
    QVERIFY(load(model));
    Random random(42);
    int loaded = 0;
    for (int i = 0; i < count; ++i) {
      const std::string bytes = damaged(good, header, random);
      test::write_file(file, bytes);
      QElapsedTimer clock;
      clock.start();
      try {
        loaded += load(model) ? 1 : 0;
      } catch (const std::exception& error) {
        QFAIL(qPrintable(QString("case %1: %2").arg(i).arg(error.what())));
      }
      QVERIFY2(clock.elapsed() < 10'000, qPrintable(QString("case %1 took too long").arg(i)));
    }
    test::write_file(file, good);
    qInfo("%d of %d damaged files still loaded", loaded, count);
    QVERIFY(loaded < count);
  }

 private slots:
  void initTestCase() {
#ifndef __SANITIZE_ADDRESS__
    const rlimit limit{std::uint64_t{2} << 30, RLIM_INFINITY};  // a large allocation fails loudly
    QCOMPARE(setrlimit(RLIMIT_AS, &limit), 0);
#endif
  }

  void damaged_gguf_headers() {
    const std::string good =
        test::tiny_model_bytes({.layers = 1, .width = 16, .q_heads = 2, .kv_heads = 1, .head_dim = 8, .mlp_width = 16});
    const auto at = good.find("token_embd.weight");
    // The keys before the vocabulary, the vocabulary, the table of tensors: each gets its share.
    const auto file = fs::path(folder_.filePath("fuzz.gguf").toStdString());
    fuzz(file, file, good, 700, 1500);
    fuzz(file, file, good, at + 1200, 1500);
  }

  void damaged_tensor_tables() {
    test::GgufWriter gguf;
    gguf.add("general.architecture", "llama");
    for (const char* key : {"llama.block_count", "llama.attention.head_count"}) gguf.add(key, 1u);
    for (const char* key : {"llama.embedding_length", "llama.feed_forward_length", "llama.context_length"})
      gguf.add(key, 4u);
    gguf.add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf.add("tokenizer.ggml.model", "gpt2");
    gguf.add("tokenizer.ggml.pre", "qwen2");
    gguf.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab"});
    gguf.add("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
    gguf.add_tensor("token_embd.weight", {3, 4}, std::vector<float>(12, 1.0f));
    gguf.add_tensor("rope_freqs.weight", {2}, std::vector<float>{1, 8});
    gguf.add_tensor("blk.0.attn_q.weight", {2, 256}, 12, std::string(288, '\1'));
    const auto file = fs::path(folder_.filePath("small.gguf").toStdString());
    fuzz(file, file, gguf.bytes(), gguf.header().size(), 3000);
  }

  void damaged_safetensors() {
    const auto folder = fs::path(folder_.filePath("st").toStdString());
    fs::create_directory(folder);
    const std::string config = R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_hidden_layers": 1,
      "intermediate_size": 16, "max_position_embeddings": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
      "vocab_size": 4, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "rope_scaling": {"rope_type": "linear",
      "factor": 2.0}, "tie_word_embeddings": true, "eos_token_id": [1, 2], "task_specific_params": [["a"], null]})";
    const std::string header =
        R"({"__metadata__":{"format":"pt"},"model.embed_tokens.weight":{"dtype":"BF16",)"
        R"("shape":[4,8],"data_offsets":[0,64]},"model.norm.weight":{"dtype":"F32","shape":[],"data_offsets":[64,68]}})";
    const std::string weights =
        test::ByteWriter().number<std::uint64_t>(header.size()).raw(header).raw(std::string(68, '\1')).bytes();
    const std::string index =
        R"({"metadata": {"total_size": 68}, "weight_map": {"model.norm.weight": "model.safetensors",
      "model.embed_tokens.weight": "model.safetensors"}})";
    test::write_file(folder / "config.json", config);
    fuzz(folder, folder / "model.safetensors", weights, 8 + header.size(), 2000);
    fuzz(folder, folder / "config.json", config, config.size(), 2000);
    fuzz(folder, folder / "model.safetensors.index.json", index, index.size(), 1000);
  }

  void damaged_chat_templates() {
    const std::string good =
        test::tiny_model_bytes({.layers = 1, .width = 16, .q_heads = 2, .kv_heads = 1, .head_dim = 8, .mlp_width = 16});
    const std::size_t begin = good.find("{% for message"),
                      end = good.find("{% endif %}", good.find("assistant\n")) + 11;
    const std::string source = good.substr(begin, end - begin);
    const auto file = fs::path(folder_.filePath("chat.gguf").toStdString());
    Random random(9);
    for (int i = 0; i < 2000; ++i) {
      std::string edited = source;
      for (std::uint64_t times = 1 + random.below(3); times > 0; --times) {
        constexpr std::string_view alphabet = "{}%'\"\\-# \nm+";
        edited[random.below(edited.size())] = alphabet[random.below(alphabet.size())];
      }
      test::write_file(file, good.substr(0, begin) + edited + good.substr(end));
      try {
        load(file);
      } catch (const std::exception& error) {
        QFAIL(qPrintable(QString("case %1: %2").arg(i).arg(error.what())));
      }
    }
  }
};

QTEST_MAIN(TestCheckpointFuzz)
#include "test_checkpoint_fuzz.moc"
