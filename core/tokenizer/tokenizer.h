// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back, with the byte range of every token in the text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace headroom::tokenizer {

struct Token {
  std::int32_t id = 0;
  std::int64_t begin = 0;  ///< first byte in the text
  std::int64_t end = 0;    ///< past the last byte; tokens that add nothing to the text (BOS) have begin == end
};

struct ByteRange {
  std::int64_t begin = 0, end = 0;  ///< [begin, end)
};

struct EncodeOptions {
  bool parse_special = false;        ///< control tokens written in the text become those tokens
  std::optional<bool> add_bos = {};  ///< unset: as the model's file says
  /// With parse_special: bytes in which what looks like a control token stays text, e.g. what a user wrote. The text is
  /// still encoded as one, so ids differ from those without ranges only where such a token would have been parsed.
  std::vector<ByteRange> literal = {};
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Throws an input error for invalid UTF-8 that names the byte offset. Empty text gives no tokens (or BOS alone).
  /// EOS is never added: prompts are to be gone on with. Bytes without a token leave a gap between byte ranges.
  virtual std::vector<Token> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  /// Bytes of the ids; may not be valid UTF-8 where a character is split. Control tokens give nothing unless asked for.
  /// `continues`: other ids of the same text come before these.
  virtual std::string decode(std::span<const std::int32_t> ids, bool keep_special = false,
                             bool continues = false) const = 0;
  /// The bytes of one token ("<|im_end|>" for control tokens). Throws an input error for ids outside the vocabulary.
  virtual std::string piece(std::int32_t id) const = 0;
  virtual std::int32_t vocabulary() const = 0;
  /// Tokens that end a generated answer.
  virtual const std::vector<std::int32_t>& end_tokens() const = 0;
  /// The kind of tokenizer and the way that texts are cut into words, as the file names them; "" where it does not.
  virtual std::string kind() const = 0;
  virtual std::string split_name() const = 0;
};

/// The text of ids that come one after another, never with a part of a character: the bytes of one that is not complete
/// yet are held back. What was taken, put together, is what decode() gives for all ids (bytes that never become a
/// character are U+FFFD).
class StreamDecoder {
 public:
  /// Keeps a reference.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool keep_special = false)
      : tokenizer_(tokenizer), keep_special_(keep_special) {}
  /// The text that `id` makes complete; may be empty.
  std::string take(std::int32_t id);
  /// What was held back: no more ids follow.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool keep_special_;
  bool begun_ = false;
  std::string held_;
};

/// GGUF: by `tokenizer.ggml.model` and `tokenizer.ggml.pre`; an unknown one is an input error. Safetensors:
/// tokenizer.json of the folder; parts of it that are not known are input errors that name them. `embedding_rows`: of
/// the model that the ids are for. A GGUF's vocabulary must have as many tokens, since ids without a text, or without a
/// row, would come up only in the middle of the work; a folder's may have fewer, since there embeddings are padded: ids
/// without a text decode to nothing.
std::unique_ptr<Tokenizer> make_tokenizer(const checkpoint::Checkpoint& checkpoint,
                                          std::optional<std::int64_t> embedding_rows = {});

/// Bytes of a text that no token stands for: how many, and where the first is.
struct LeftOut {
  std::int64_t bytes = 0, first = -1;
};
/// `tokens` are encode()'s of `text`.
LeftOut left_out(std::span<const Token> tokens, std::string_view text);
/// In a sentence, how many bytes of `text` no token stands for, and the first of them; empty where there are none.
/// `what`: "the prompt", ….
std::string left_out_note(std::span<const Token> tokens, std::string_view text, const std::string& what);

}  // namespace headroom::tokenizer
