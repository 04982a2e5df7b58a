// SPDX-License-Identifier: Apache-2.0
// Text and streams of the synthetic record.
#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "support/synthetic_record.h"

namespace headroom::test {
namespace {

/// Normal deviates that are the same with every standard library.
class Normal {
 public:
  explicit Normal(std::uint64_t seed) : engine_(seed) {}
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  double operator()() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

 private:
  std::mt19937_64 engine_;
};

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9e3779b97f4a7c15ULL + b + 0x7f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  return x ^ (x >> 27);
}

float rounded(double value, bool float16) {
  // Multiples of 1/64 below 32 are exact in float16 (and in bf16 below 4).
  return float16 ? static_cast<float>(std::round(std::clamp(value, -31.0, 31.0) * 64) / 64) : static_cast<float>(value);
}

void fill_lse(record::LayerStream& s) {
  const std::int64_t rows = s.length - s.query_begin, d = s.head_dim, group = s.num_q_heads / s.num_kv_heads;
  s.lse.resize(static_cast<std::size_t>(s.num_q_heads * rows));
  std::vector<double> logits(static_cast<std::size_t>(s.length));
  for (std::int64_t head = 0; head < s.num_q_heads; ++head) {
    const float* keys = s.k.data() + head / group * s.length * d;
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* q = s.q.data() + (head * rows + row) * d;
      const std::int64_t history = s.query_begin + row + 1;
      double most = -1e300, sum = 0;
      for (std::int64_t key = 0; key < history; ++key) {
        double dot = 0;
        for (std::int64_t i = 0; i < d; ++i) dot += static_cast<double>(q[i]) * keys[key * d + i];
        most = std::max(most, logits[static_cast<std::size_t>(key)] = s.scale * dot);
      }
      for (std::int64_t key = 0; key < history; ++key) sum += std::exp(logits[static_cast<std::size_t>(key)] - most);
      s.lse[static_cast<std::size_t>(head * rows + row)] = static_cast<float>(most + std::log(sum));
    }
  }
}

}  // namespace

record::TokenTable synthetic_tokens(std::int64_t tokens, std::uint64_t seed) {
  static constexpr std::array words = {
      "the",       "river",  "keeps",   "its",  "level",  "after",  "rain",   "and",       "engineers", "measure",
      "it",        "every",  "morning", "with", "a",      "simple", "gauge",  "attention", "reads",     "long",
      "documents", "slowly", "because", "each", "word",   "looks",  "back",   "at",        "all",       "others",
      "café",      "naïve",  "façade",  "東京", "данные", "Σ",      "budget", "enough"};
  record::TokenTable table;
  Normal random(mix(seed, 77));
  const auto add = [&](const std::string& piece, std::int32_t id) {
    if (static_cast<std::int64_t>(table.ids.size()) >= tokens) return;
    table.begin.push_back(static_cast<std::int64_t>(table.text.size()));
    table.text += piece;
    table.end.push_back(static_cast<std::int64_t>(table.text.size()));
    table.ids.push_back(id);
  };
  add("<|im_start|>", 1);
  add("user", 2);
  add("\n", 3);
  const std::int64_t needle_at = tokens / 3;
  bool needle = false;
  for (std::int64_t sentence = 0; static_cast<std::int64_t>(table.ids.size()) < tokens; ++sentence) {
    if (!needle && static_cast<std::int64_t>(table.ids.size()) >= needle_at) {
      for (const char* piece : {" The", " magic", " number", " is", " 7", "4", "2", "1", "0", "9", "3", "."})
        add(piece, 500);
      needle = true;
    }
    const int count = 6 + static_cast<int>(random.uniform() * 9);
    for (int i = 0; i < count; ++i) {
      const auto index = static_cast<std::size_t>(random.uniform() * words.size());
      std::string word = words[index];
      if (i == 0 && word[0] >= 'a' && word[0] <= 'z') word[0] = static_cast<char>(word[0] - 'a' + 'A');
      if (i > 0 || sentence % 5 != 0) word = " " + word;
      const auto id = static_cast<std::int32_t>(10 + index);
      if (static_cast<unsigned char>(word.back()) < 128 && word.size() > 7) {  // long words are two tokens
        add(word.substr(0, 5), id);
        add(word.substr(5), id + 100);
      } else {
        add(word, id);
      }
    }
    if (sentence % 7 == 3) {  // U+1F30A, split in the middle as byte-level tokenizers do
      add(" \xF0\x9F", 300);
      add("\x8C\x8A", 301);
    }
    add(sentence % 5 == 4 ? ".\n" : ".", 4);
  }
  return table;
}

record::LayerMeta synthetic_layer(const SyntheticOptions& o, int layer) {
  if (const auto other = o.other_layers.find(layer); other != o.other_layers.end()) return other->second;
  const bool sliding = o.sliding_layers.contains(layer);
  return {sliding ? "sliding" : "full",
          o.num_q_heads,
          o.num_kv_heads,
          o.head_dim,
          sliding ? 128 : 0,
          1 / std::sqrt(static_cast<double>(o.head_dim))};
}

record::LayerStream synthetic_stream(const SyntheticOptions& o, const std::string& method, int layer) {
  record::LayerStream s;
  s.length = o.tokens;
  s.query_begin = o.query_begin;
  const record::LayerMeta sizes = synthetic_layer(o, layer);
  s.num_q_heads = sizes.num_q_heads;
  s.num_kv_heads = sizes.num_kv_heads;
  s.head_dim = sizes.head_dim;
  s.scale = sizes.scale;
  const std::int64_t rows = o.tokens - o.query_begin, d = s.head_dim;
  s.q.resize(static_cast<std::size_t>(s.num_q_heads * rows * d));
  s.k.resize(static_cast<std::size_t>(s.num_kv_heads * o.tokens * d));
  // Features of a key: sink, stripe, a few waves that make a local band, noise. d is at least 8.
  const std::int64_t waves = std::min<std::int64_t>((d - 2) / 3, 6);
  const double drift = method == "dense" ? 0 : 0.05 * layer * (method.starts_with("oracle") ? 1 : 1.5);
  std::vector<bool> stripe(static_cast<std::size_t>(o.tokens), false);
  Normal places(mix(o.seed, 5));
  for (std::int64_t i = 0; i < std::max<std::int64_t>(o.tokens / 80, 2); ++i)
    stripe[static_cast<std::size_t>(places.uniform() * static_cast<double>(o.tokens))] = true;
  for (std::int64_t i = o.tokens / 3; i < std::min(o.tokens / 3 + 8, o.tokens); ++i)
    stripe[static_cast<std::size_t>(i)] = true;
  const auto frequency = [&](std::int64_t wave) { return 1.5 / std::pow(2.2, static_cast<double>(wave)); };
  const double root = std::sqrt(1 / s.scale);  // so that features multiply to nats
  for (std::int64_t head = 0; head < s.num_kv_heads; ++head) {
    Normal noise(mix(mix(o.seed, static_cast<std::uint64_t>(layer)), static_cast<std::uint64_t>(head)));
    Normal other(mix(mix(o.seed + 9, static_cast<std::uint64_t>(layer)), static_cast<std::uint64_t>(head)));
    for (std::int64_t t = 0; t < o.tokens; ++t) {
      float* k = s.k.data() + (head * o.tokens + t) * d;
      k[0] = rounded(root * (t == 0 ? 3 : t < 4 ? 1.8 : 0), o.float16);
      k[1] = rounded(root * (stripe[static_cast<std::size_t>(t)] ? 2 : 0), o.float16);
      for (std::int64_t w = 0; w < waves; ++w) {
        k[2 + 2 * w] = rounded(root * std::cos(frequency(w) * static_cast<double>(t)), o.float16);
        k[3 + 2 * w] = rounded(root * std::sin(frequency(w) * static_cast<double>(t)), o.float16);
      }
      for (std::int64_t i = 2 + 2 * waves; i < d; ++i) k[i] = rounded(noise() + drift * other(), o.float16);
    }
  }
  for (std::int64_t head = 0; head < s.num_q_heads; ++head) {
    Normal noise(mix(mix(o.seed + 3, static_cast<std::uint64_t>(layer)), static_cast<std::uint64_t>(head)));
    Normal other(mix(mix(o.seed + 13, static_cast<std::uint64_t>(layer)), static_cast<std::uint64_t>(head)));
    const double sink = 1.0 + noise.uniform(), local = 0.3 + 1.6 * noise.uniform(), far = 0.4 + 1.2 * noise.uniform();
    const double spread = 0.4 + 0.8 * noise.uniform();
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto t = static_cast<double>(o.query_begin + row);
      float* q = s.q.data() + (head * rows + row) * d;
      q[0] = rounded(root * sink, o.float16);
      q[1] = rounded(root * far, o.float16);
      for (std::int64_t w = 0; w < waves; ++w) {
        q[2 + 2 * w] = rounded(root * local * std::cos(frequency(w) * t), o.float16);
        q[3 + 2 * w] = rounded(root * local * std::sin(frequency(w) * t), o.float16);
      }
      for (std::int64_t i = 2 + 2 * waves; i < d; ++i) q[i] = rounded(spread * (noise() + drift * other()), o.float16);
    }
  }
  fill_lse(s);
  return s;
}

}  // namespace headroom::test
