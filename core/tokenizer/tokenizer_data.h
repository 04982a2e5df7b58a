// SPDX-License-Identifier: Apache-2.0
// A tokenizer as plain data: what GGUF metadata and a tokenizer.json both say, in one form. Readers fill it in and
// check it; build_tokenizer() makes a tokenizer of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/pretokenizer.h"
#include "tokenizer/regex.h"
#include "tokenizer/tokenizer.h"

namespace headroom::tokenizer {

enum class TokenType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

/// A token that is looked for in the text before anything else (tokenizer.json's `added_tokens`; GGUF's control,
/// unknown and user-defined tokens).
struct AddedToken {
  std::int32_t id = 0;
  bool special = false;      ///< a control token: found only where these are parsed
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< … behind it
  bool single_word = false;  ///< only where no word character is beside it
  bool normalized = false;   ///< looked for in the normalised text, by its normalised form
};

enum class AddedMatch {
  leftmost_longest,  ///< tokenizers: from left to right, the longest at each place
  longest_first      ///< llama.cpp: all of the longest token, then of the next one
};

struct NormalizerStep {
  enum class Kind { nfc, nfd, nfkc, nfkd, lowercase, strip, prepend, replace } kind = Kind::nfc;
  std::string content = {};                  ///< prepend, replace: what is put there
  std::shared_ptr<const Matcher> what = {};  ///< replace
  bool left = false, right = false;          ///< strip
};

/// What becomes of a separator that a pre-tokenizer found.
enum class Behaviour { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct SplitStep {
  enum class Kind { pattern, gguf, byte_level, metaspace } kind = Kind::pattern;
  enum class Prepend { never, first, always };
  std::shared_ptr<const Matcher> what = {};  ///< pattern
  Behaviour behaviour = Behaviour::isolated;
  bool invert = false;            ///< the pattern finds the words, not what is between them
  SplitFunction split = nullptr;  ///< gguf: cuts the whole text
  bool prefix_space = false;      ///< byte_level: every piece begins with a space
  std::string replacement = {};   ///< metaspace: what stands for a space
  Prepend prepend = Prepend::never;
  bool cut = true;  ///< metaspace: a word begins at each of them
};

struct TokenizerData {
  std::string place;                ///< the file, for messages
  std::string kind, pre;            ///< for `headroom info`
  std::string model = "bpe";        ///< one of word_models(): "bpe", "unigram"
  std::vector<std::string> tokens;  ///< as the file writes them; by id
  std::vector<TokenType> types;     ///< one a token

  // Byte-pair encoding: `merges` in the order of their rank, or `scores` of the tokens (SentencePiece in GGUF): of two
  // pairs that make a token the one of higher score is merged first, then the leftmost.
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<double> scores;  ///< unigram's, or those
  bool merge_by_score = false;
  bool byte_level = false;            ///< token texts are in GPT-2's byte characters
  bool byte_fallback = false;         ///< characters without a token become the tokens <0x00> to <0xFF>
  bool ignore_merges = false;         ///< a word that is a token as a whole is that token
  bool fuse_unknown = false;          ///< neighbouring unknown characters are one token
  bool keep_unknown_symbols = false;  ///< llama.cpp: bytes without a token are left out only after merging
  std::int32_t unknown = -1;

  std::vector<AddedToken> added;
  AddedMatch added_match = AddedMatch::leftmost_longest;
  std::vector<NormalizerStep> normalizers;
  std::vector<SplitStep> splits;

  std::vector<std::int32_t> prefix;  ///< put before every text unless asked not to: BOS, or what the template says
  std::int32_t bos = -1;             ///< for callers that ask for it; -1: none
  std::vector<std::int32_t> end_tokens;

  std::string space = {};        ///< decoding: the text that stands for a space in tokens; empty: none
  std::string strip_first = {};  ///< decoding: taken away once from the beginning of the whole text
};

/// Reads `tokenizer.ggml.*`. Throws input errors naming the key.
TokenizerData read_gguf_tokenizer(const checkpoint::Checkpoint& checkpoint);
/// Reads tokenizer.json of the folder, with the ids and flags of tokenizer_config.json, special_tokens_map.json,
/// generation_config.json and config.json. Throws input errors naming file and JSON path.
TokenizerData read_json_tokenizer(const checkpoint::Checkpoint& checkpoint);

/// Throws input errors where the data contradict themselves.
std::unique_ptr<Tokenizer> build_tokenizer(TokenizerData data);

}  // namespace headroom::tokenizer
