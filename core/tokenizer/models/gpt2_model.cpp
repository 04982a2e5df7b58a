// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE: every byte is a symbol, the pair of lowest rank (then the leftmost) is merged until none is left.
// Token ids are llama.cpp's, also where it drops bytes that the vocabulary has no token for.
#include <algorithm>
#include <array>
#include <queue>

#include "base/error.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/metadata.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer_model.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

constexpr std::int32_t default_special = 11;  // BOS and EOS of a GPT-2 vocabulary whose file names none
constexpr std::size_t max_text = std::size_t{1} << 30;

/// GPT-2 writes bytes as printable characters: those that print stand for themselves, the others follow from U+0100.
std::array<char32_t, 256> byte_characters() {
  std::array<char32_t, 256> out{};
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    out[byte] = prints ? byte : next++;
  }
  return out;
}

/// Texts in GPT-2's byte characters, numbered; the first 256 are the single bytes.
class Symbols {
 public:
  explicit Symbols(const std::array<std::string, 256>& bytes) {
    for (const std::string& byte : bytes) intern(byte);
  }
  std::int32_t intern(std::string text) {
    return numbers_.emplace(std::move(text), static_cast<std::int32_t>(numbers_.size())).first->second;
  }
  const std::unordered_map<std::string, std::int32_t>& all() const { return numbers_; }

 private:
  std::unordered_map<std::string, std::int32_t> numbers_;
};

/// Steps before or after byte-level BPE that a file may ask for: they would change the ids.
void refuse_other_steps(const checkpoint::Checkpoint& checkpoint) {
  const checkpoint::ConfigReader reader(checkpoint);
  const auto refuse_true = [&](const char* key, const char* why) { reader.must_be(key, false, why); };
  refuse_true("tokenizer.ggml.add_eos_token", "an end token behind every prompt is not supported");
  refuse_true("tokenizer.ggml.add_sep_token", "a separator behind every prompt is not supported");
  refuse_true("tokenizer.ggml.add_space_prefix", "a space before every text is not supported with byte-level BPE");
  refuse_true("tokenizer.ggml.normalizer.lowercase", "text in lower case is not supported with byte-level BPE");
  constexpr const char* map = "tokenizer.ggml.precompiled_charsmap";
  if (reader.has(map))
    reader.refuse(map, "text is not normalised with byte-level BPE", "no such key", checkpoint.keys(map).at(map));
}

struct Merge {
  std::int32_t rank = 0;
  std::int32_t result = 0;
};

class BytePairTokenizer final : public Tokenizer {
 public:
  BytePairTokenizer(const checkpoint::Checkpoint& checkpoint, PreTokenizer pre);

  std::vector<Token> encode(std::string_view text, const EncodeOptions& options) const override;
  std::string decode(std::span<const std::int32_t> ids, bool keep_special) const override;
  std::string piece(std::int32_t id) const override;
  std::int32_t vocabulary() const override { return vocabulary_.size(); }
  const std::vector<std::int32_t>& end_tokens() const override { return vocabulary_.end_tokens; }

 private:
  static std::uint64_t pair(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  }
  void read_merges(const checkpoint::Checkpoint& checkpoint);
  void encode_plain(std::string_view text, std::int64_t first_byte, std::vector<Token>& out) const;
  void encode_word(std::string_view word, std::int64_t first_byte, std::vector<Token>& out) const;
  void check(std::int32_t id) const;

  std::string file_;
  Vocabulary vocabulary_;
  PreTokenizer pre_;
  bool add_bos_ = false;
  std::array<std::string, 256> byte_texts_;
  std::unordered_map<char32_t, char> bytes_of_characters_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::vector<std::int32_t> tokens_of_symbols_;  ///< -1 where a symbol is no token
};

BytePairTokenizer::BytePairTokenizer(const checkpoint::Checkpoint& checkpoint, PreTokenizer pre)
    : file_(checkpoint.path().string()),
      vocabulary_(read_vocabulary(checkpoint, default_special, default_special)),
      pre_(std::move(pre)) {
  refuse_other_steps(checkpoint);
  add_bos_ = checkpoint.get_bool("tokenizer.ggml.add_bos_token").value_or(pre_.add_bos);
  const auto characters = byte_characters();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    append_utf8(byte_texts_[byte], characters[byte]);
    bytes_of_characters_[characters[byte]] = static_cast<char>(byte);
  }
  for (std::int32_t id = 0; id < vocabulary_.size(); ++id)
    decode_utf8(vocabulary_.text(id), file_ + ": token " + std::to_string(id));
  read_merges(checkpoint);
}

void BytePairTokenizer::read_merges(const checkpoint::Checkpoint& checkpoint) {
  constexpr std::string_view key = "tokenizer.ggml.merges";
  const auto merges = checkpoint.get_strings(key);
  if (!merges) throw input_error(file_ + ": key '" + std::string(key) + "'", "the file holds no merges");
  Symbols symbols(byte_texts_);
  merges_.reserve(merges->size());
  for (std::size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string& merge = (*merges)[rank];
    const std::size_t space = merge.empty() ? std::string::npos : merge.find(' ', 1);
    if (space == std::string::npos || space + 1 == merge.size()) {
      throw input_error(file_ + ": key '" + std::string(key) + "', entry " + std::to_string(rank),
                        "a merge is not what it should be", "two symbols with a space between them");
    }
    const std::int32_t left = symbols.intern(merge.substr(0, space));
    const std::int32_t right = symbols.intern(merge.substr(space + 1));
    const std::int32_t result = symbols.intern(merge.substr(0, space) + merge.substr(space + 1));
    merges_.emplace(pair(left, right), Merge{static_cast<std::int32_t>(rank), result});  // the first of equals counts
  }
  tokens_of_symbols_.resize(symbols.all().size());
  for (const auto& [text, number] : symbols.all())
    tokens_of_symbols_[static_cast<std::size_t>(number)] = vocabulary_.find(text);
}

std::vector<Token> BytePairTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (text.size() > max_text)
    throw input_error("text", "the text is too long", "at most 2^30 bytes", std::to_string(text.size()));
  std::vector<Token> out;
  if (options.add_bos.value_or(add_bos_)) {
    if (vocabulary_.bos < 0) throw input_error(file_, "the model has no BOS token");
    out.push_back({vocabulary_.bos, 0, 0});
  }
  decode_utf8(text, "text");  // refuses before anything is cut
  for (const Fragment& fragment : split_special(vocabulary_, text, options)) {
    const auto begin = static_cast<std::int64_t>(fragment.begin);
    if (fragment.id >= 0)
      out.push_back({fragment.id, begin, static_cast<std::int64_t>(fragment.end)});
    else
      encode_plain(text.substr(fragment.begin, fragment.end - fragment.begin), begin, out);
  }
  return out;
}

void BytePairTokenizer::encode_plain(std::string_view text, std::int64_t first_byte, std::vector<Token>& out) const {
  const CodePoints decoded = decode_utf8(text, "text", first_byte);
  std::vector<std::size_t> ends;
  pre_.split(decoded.points, ends);
  std::int64_t begin = 0;
  for (const std::size_t end_point : ends) {
    const std::int64_t end = decoded.offsets[end_point];
    encode_word(text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), first_byte + begin,
                out);
    begin = end;
  }
}

void BytePairTokenizer::encode_word(std::string_view word, std::int64_t first_byte, std::vector<Token>& out) const {
  if (pre_.ignore_merges) {
    std::string text;
    for (const char byte : word) text += byte_texts_[static_cast<unsigned char>(byte)];
    if (const std::int32_t id = vocabulary_.find(text); id >= 0) {
      out.push_back({id, first_byte, first_byte + static_cast<std::int64_t>(word.size())});
      return;
    }
  }
  // A linked list of symbols and a queue of candidate pairs: O(n log n) for the longest word.
  struct Node {
    std::int32_t symbol, previous, next, begin;
  };
  struct Candidate {
    std::int32_t rank, left, right, left_symbol, right_symbol, result;
    bool operator<(const Candidate& other) const {  // the queue's top is its largest
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const auto size = static_cast<std::int32_t>(word.size());
  std::vector<Node> nodes(word.size());
  std::priority_queue<Candidate> queue;
  const auto consider = [&](std::int32_t left, std::int32_t right) {
    if (left < 0 || right < 0) return;
    const std::int32_t a = nodes[static_cast<std::size_t>(left)].symbol,
                       b = nodes[static_cast<std::size_t>(right)].symbol;
    if (const auto found = merges_.find(pair(a, b)); found != merges_.end())
      queue.push({found->second.rank, left, right, a, b, found->second.result});
  };
  for (std::int32_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
    nodes[static_cast<std::size_t>(i)] = {byte, i - 1, i + 1 < size ? i + 1 : -1, i};
    consider(i - 1, i);
  }
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Node& left = nodes[static_cast<std::size_t>(best.left)];
    Node& right = nodes[static_cast<std::size_t>(best.right)];
    if (left.symbol != best.left_symbol || right.symbol != best.right_symbol) continue;  // merged since
    left.symbol = best.result;
    left.next = right.next;
    right.symbol = -1;
    if (left.next >= 0) nodes[static_cast<std::size_t>(left.next)].previous = best.left;
    consider(left.previous, best.left);
    consider(best.left, left.next);
  }
  for (std::int32_t at = size > 0 ? 0 : -1; at >= 0;) {
    const Node& node = nodes[static_cast<std::size_t>(at)];
    const std::int32_t end = node.next >= 0 ? nodes[static_cast<std::size_t>(node.next)].begin : size;
    if (const std::int32_t id = tokens_of_symbols_[static_cast<std::size_t>(node.symbol)]; id >= 0) {
      out.push_back({id, first_byte + node.begin, first_byte + end});
    } else {  // no token: falls apart into bytes; llama.cpp finds printable ASCII alone and drops the others
      for (std::int32_t i = node.begin; i < end; ++i) {
        const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
        const std::int32_t single = byte > 32 && byte < 127 ? tokens_of_symbols_[byte] : -1;
        if (single >= 0) out.push_back({single, first_byte + i, first_byte + i + 1});
      }
    }
    at = node.next;
  }
}

void BytePairTokenizer::check(std::int32_t id) const {
  if (id >= 0 && id < vocabulary_.size()) return;
  throw input_error(file_, "a token id lies outside the vocabulary", "0 to " + std::to_string(vocabulary_.size() - 1),
                    std::to_string(id));
}

std::string BytePairTokenizer::decode(std::span<const std::int32_t> ids, bool keep_special) const {
  std::string out;
  for (const std::int32_t id : ids) {
    check(id);
    const TokenType type = vocabulary_.type(id);
    if (keep_special || (type != TokenType::control && type != TokenType::unknown)) out += piece(id);
  }
  return out;
}

std::string BytePairTokenizer::piece(std::int32_t id) const {
  check(id);
  const std::string& text = vocabulary_.text(id);
  if (vocabulary_.type(id) != TokenType::normal) return text;
  std::string out;
  for (const char32_t character : decode_utf8(text, file_).points) {
    const auto byte = bytes_of_characters_.find(character);
    if (byte != bytes_of_characters_.end())
      out += byte->second;
    else
      append_utf8(out, character);
  }
  return out;
}

std::unique_ptr<Tokenizer> make(const checkpoint::Checkpoint& checkpoint) {
  constexpr std::string_view key = "tokenizer.ggml.pre";
  const auto pre = checkpoint.get_string(key);
  std::string supported;
  for (const PreTokenizer& known : pretokenizers()) {
    for (const std::string_view name : known.names) {
      if (pre && *pre == name) return std::make_unique<BytePairTokenizer>(checkpoint, known);
      supported += (supported.empty() ? "" : ", ") + std::string(name);
    }
  }
  throw input_error(checkpoint.path().string() + ": key '" + std::string(key) + "'",
                    "this way to split text into words is not supported", supported,
                    pre ? checkpoint::in_quotes(*pre) : "none");
}

}  // namespace

TokenizerModel entry_gpt2_model() {
  return {"gpt2", make};
}

}  // namespace headroom::tokenizer
