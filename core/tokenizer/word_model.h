// SPDX-License-Identifier: Apache-2.0
// What turns a word into tokens. A new kind is a new file in models/ that defines `WordModelKind entry_<file>()`; the
// build collects them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer_data.h"

namespace headroom::tokenizer {

struct WordToken {
  std::int32_t id = 0;
  std::uint32_t begin = 0, end = 0;  ///< bytes
};

class WordModel {
 public:
  virtual ~WordModel() = default;
  /// Room to work in, of one thread; its memory is used again from word to word.
  struct Workspace {
    virtual ~Workspace() = default;
  };
  virtual std::unique_ptr<Workspace> workspace() const = 0;
  /// Appends the tokens of `text`[begin, end), which is UTF-8 of less than 2^32 bytes, with their places in `text`.
  /// Bytes without a token leave a gap.
  virtual void encode(std::string_view text, std::uint32_t begin, std::uint32_t end, Workspace& workspace,
                      std::vector<WordToken>& out) const = 0;
};

struct WordModelKind {
  std::string_view name;  ///< value of TokenizerData::model
  std::unique_ptr<WordModel> (*make)(const TokenizerData&);
};
std::vector<WordModelKind> word_models();

/// GPT-2 writes bytes as printable characters: those that print stand for themselves, the others follow from U+0100.
char32_t byte_character(unsigned char byte);
/// The bytes of a text in those characters; other characters stand for themselves.
std::string from_byte_characters(std::string_view text);
/// Ids of "<0x00>" to "<0xFF>", -1 where there is none.
std::vector<std::int32_t> byte_tokens(const TokenizerData& data);

}  // namespace headroom::tokenizer
