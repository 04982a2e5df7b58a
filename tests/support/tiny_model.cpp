// SPDX-License-Identifier: Apache-2.0
#include "support/tiny_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "support/gguf_writer.h"

namespace headroom::test {
namespace {

/// splitmix64: the same numbers on every platform.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  /// About normal, variance 1: the sum of twelve uniform numbers.
  float normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(next() >> 11) * 0x1p-53;
    return static_cast<float>(sum);
  }

 private:
  std::uint64_t state_;
};

std::string utf8(std::uint32_t point) {
  if (point < 0x80) return {static_cast<char>(point)};
  return {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 0x3f))};
}

/// GPT-2's printable stand-ins of the bytes.
std::array<std::string, 256> byte_texts() {
  std::array<std::string, 256> out;
  std::uint32_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    out[byte] = utf8(prints ? byte : next++);
  }
  return out;
}

const char* const chat_template =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are "
    "a tiny model<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Returns the rows that the embedding has.
std::uint64_t add_vocabulary(GgufWriter& out, const TinyModelOptions& o) {
  std::vector<std::string> tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  for (const std::string& text : byte_texts()) tokens.push_back(text);
  const std::vector<std::string> merges = {"Ġ t",  "h e",  "i n",  "r e", "a n", "Ġt he", "Ġ a",   "o n",
                                           "e r",  "Ġ s",  "e s",  "Ġ w", "o u", "n d",   "Ġa nd", "i s",
                                           "in g", "Ġ o",  "Ġo f", "s y", "m a", "g i",   "c o",   "n g",
                                           "Ġ i",  "Ġi s", "l l",  "e n", "Ġ m", "u m",   "b er",  "um ber"};
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ');
    tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  std::vector<std::int32_t> types(tokens.size(), 1);
  std::fill_n(types.begin(), tiny_first_byte, 3);
  for (const char byte : o.without_bytes) {
    const auto place = static_cast<std::size_t>(tiny_first_byte + static_cast<unsigned char>(byte));
    tokens[place] = "<unused" + std::to_string(place) + ">";
    types[place] = 5;
  }
  for (const auto& [byte, id] : o.swapped)
    std::swap(tokens[static_cast<std::size_t>(tiny_first_byte + byte)], tokens[static_cast<std::size_t>(id)]);
  const std::uint64_t rows = tokens.size();
  tokens.resize(rows - o.tokens_missing);
  types.resize(tokens.size());
  out.add("tokenizer.ggml.model", o.scores ? "llama" : "gpt2");
  if (o.scores)
    out.begin("tokenizer.ggml.scores", 9).number<std::uint32_t>(6).number<std::uint64_t>(tokens.size()).raw(
        std::string(tokens.size() * sizeof(float), '\0'));
  else
    out.add("tokenizer.ggml.pre", "smollm");
  out.add("tokenizer.ggml.tokens", tokens);
  out.add("tokenizer.ggml.token_type", types);
  if (!o.scores) out.add("tokenizer.ggml.merges", merges);
  out.add("tokenizer.ggml.bos_token_id", 1u);
  out.add("tokenizer.ggml.eos_token_id", 2u);
  out.add_bool("tokenizer.ggml.add_bos_token", o.add_bos);
  if (o.chat) out.add("tokenizer.chat_template", o.chat_template.empty() ? chat_template : o.chat_template);
  return rows;
}

}  // namespace

std::string tiny_model_bytes(const TinyModelOptions& o) {
  GgufWriter out;
  const std::string arch = o.window > 0 ? "gemma3" : "llama";
  out.add("general.architecture", arch);
  out.add("general.name", o.window > 0 ? "tiny random Gemma 3" : "tiny random Llama");
  out.add(arch + ".block_count", o.block_count.value_or(o.layers));
  out.add(arch + ".context_length", o.context);
  out.add(arch + ".embedding_length", o.width);
  out.add(arch + ".feed_forward_length", o.mlp_width);
  out.add(arch + ".attention.head_count", o.q_heads);
  out.add(arch + ".attention.head_count_kv", o.kv_heads);
  out.add(arch + ".attention.key_length", o.head_dim);
  out.add(arch + ".attention.value_length", o.head_dim);
  out.add(arch + ".rope.dimension_count", o.head_dim);
  out.add(arch + ".rope.freq_base", o.rope_base);
  out.add(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
  if (o.window > 0) {
    out.add(arch + ".attention.sliding_window", o.window);
    out.add(arch + ".attention.sliding_window_pattern", o.full_every);
  }
  const std::uint64_t vocabulary = add_vocabulary(out, o);
  out.add(arch + ".vocab_size", static_cast<std::uint32_t>(vocabulary));

  Random random(o.seed);
  const auto matrix = [&](const std::string& name, std::uint64_t rows, std::uint64_t columns, float scale) {
    std::vector<float> values(rows * columns);
    for (float& value : values) value = scale * random.normal() / std::sqrt(static_cast<float>(columns));
    out.add_tensor(name, {rows, columns}, values);
  };
  const auto norm = [&](const std::string& name, std::uint64_t width) {
    std::vector<float> values(width);
    for (float& value : values) value = 1 + 0.1f * random.normal();
    out.add_tensor(name, {width}, values);
  };
  matrix("token_embd.weight", vocabulary, o.width, 4);
  norm("output_norm.weight", o.width);
  for (std::uint32_t layer = 0; layer < o.layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    norm(prefix + "attn_norm.weight", o.width);
    matrix(prefix + "attn_q.weight", o.q_heads * o.head_dim, o.width, o.query_scale);
    matrix(prefix + "attn_k.weight", o.kv_heads * o.head_dim, o.width, 1);
    matrix(prefix + "attn_v.weight", o.kv_heads * o.head_dim, o.width, 1);
    matrix(prefix + "attn_output.weight", o.width, o.q_heads * o.head_dim, 1);
    norm(prefix + "ffn_norm.weight", o.width);
    matrix(prefix + "ffn_gate.weight", o.mlp_width, o.width, 1);
    matrix(prefix + "ffn_up.weight", o.mlp_width, o.width, 1);
    matrix(prefix + "ffn_down.weight", o.width, o.mlp_width, 1);
    if (o.window == 0) continue;
    norm(prefix + "post_attention_norm.weight", o.width);
    norm(prefix + "post_ffw_norm.weight", o.width);
    norm(prefix + "attn_q_norm.weight", o.head_dim);
    norm(prefix + "attn_k_norm.weight", o.head_dim);
  }
  if (o.more) o.more(out);
  return out.bytes();
}

std::filesystem::path write_tiny_model(const std::filesystem::path& file, const TinyModelOptions& options) {
  write_file(file, tiny_model_bytes(options));
  return file;
}

}  // namespace headroom::test
