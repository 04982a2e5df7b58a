// SPDX-License-Identifier: Apache-2.0
// A tiny random Llama or Gemma 3 as a GGUF file, for tests of the decoder, runs, the engine and the window that must
// not need the real model: it loads in milliseconds and answers nonsense, the same nonsense every time. Its tokenizer
// is byte-level BPE with the `smollm` split, ChatML tokens and template: every text can be encoded and decoded.
// Link: headroom::tests_support.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace headroom::test {

class GgufWriter;

struct TinyModelOptions {
  std::uint32_t layers = 3;
  std::uint32_t width = 64;
  std::uint32_t q_heads = 4, kv_heads = 2;
  std::uint32_t head_dim = 16;
  std::uint32_t mlp_width = 128;
  std::uint32_t context = 2048;
  std::uint64_t seed = 1;
  float rope_base = 10000;
  /// > 0: a Gemma 3 in place of a Llama, whose layers see so many keys but for the last of each `full_every`.
  std::uint32_t window = 0, full_every = 3;
  float query_scale = 4;  ///< of q's weights: larger makes attention more peaked
  bool chat = true;       ///< carries a ChatML template
  std::string chat_template = {};                 ///< in place of that one
  bool add_bos = false;                           ///< what the file says of texts, not what the template does
  std::string without_bytes = {};                 ///< that the vocabulary has no token for
  /// Bytes whose tokens become those of the given ids, and the other way round.
  std::vector<std::pair<unsigned char, std::int32_t>> swapped = {};
  bool scores = false;  ///< a SentencePiece vocabulary of the same tokens: scores in place of merges and of a split
  std::uint32_t tokens_missing = 0;               ///< at the vocabulary's end, whose rows the embedding has
  std::optional<std::uint32_t> block_count = {};  ///< where the file says another number of layers than it has
  std::function<void(GgufWriter&)> more = {};     ///< adds keys and tensors
};

/// Vocabulary of the tiny model: <|endoftext|> 0, <|im_start|> 1, <|im_end|> 2, 256 bytes, then merges.
inline constexpr std::int32_t tiny_first_byte = 3;

/// Bytes of the GGUF file (fp32 weights, tied output).
std::string tiny_model_bytes(const TinyModelOptions& options = {});
/// Writes it to `file` and returns `file`.
std::filesystem::path write_tiny_model(const std::filesystem::path& file, const TinyModelOptions& options = {});

}  // namespace headroom::test
