// SPDX-License-Identifier: Apache-2.0
// Kinds of tokenizers, by `tokenizer.ggml.model`. A new kind is a new file in models/ that defines
// `TokenizerModel entry_<file>()`; the build collects them. Here too: the vocabulary that all kinds share.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace headroom::tokenizer {

struct TokenizerModel {
  std::string_view name;  ///< value of `tokenizer.ggml.model`
  std::unique_ptr<Tokenizer> (*make)(const checkpoint::Checkpoint&);
};
std::vector<TokenizerModel> tokenizer_models();

enum class TokenType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

/// Tokens with their types and special roles, read and checked from a checkpoint's metadata.
struct Vocabulary {
  std::vector<std::string> texts;
  std::vector<TokenType> types;
  std::unordered_map<std::string_view, std::int32_t> ids;  ///< of `texts`; of equal texts the last
  std::int32_t bos = -1;                                   ///< -1: none
  std::vector<std::int32_t> end_tokens;
  std::vector<std::int32_t> special;  ///< control, unknown and user-defined tokens, longest text first

  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;  // `ids` points into `texts`, whose buffer moves along
  Vocabulary& operator=(Vocabulary&&) = delete;

  std::int32_t size() const { return static_cast<std::int32_t>(texts.size()); }
  TokenType type(std::int32_t id) const { return types[static_cast<std::size_t>(id)]; }
  const std::string& text(std::int32_t id) const { return texts[static_cast<std::size_t>(id)]; }
  /// -1 where there is no such token.
  std::int32_t find(std::string_view text) const;
};
/// `default_bos`, `default_eos`: the ids where the file does not say. Throws input errors.
Vocabulary read_vocabulary(const checkpoint::Checkpoint& checkpoint, std::int32_t default_bos,
                           std::int32_t default_eos);

/// A piece of the text: a special token, or plain text (id -1).
struct Fragment {
  std::int32_t id = -1;
  std::size_t begin = 0, end = 0;  ///< bytes
};
/// Cuts out special tokens: control and unknown ones only where `options.parse_special` and no byte of them lies in
/// `options.literal`; user-defined ones everywhere, but for those that a template writes around the literal text, which
/// count as control tokens.
std::vector<Fragment> split_special(const Vocabulary& vocabulary, std::string_view text, const EncodeOptions& options);

}  // namespace headroom::tokenizer
