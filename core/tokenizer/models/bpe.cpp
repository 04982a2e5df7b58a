// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding, on bytes (GPT-2 and after) or on characters (SentencePiece): the pair of lowest rank, then the
// leftmost, is merged until none is left. Ids are those of `tokenizers` (tokenizer.json) and of llama.cpp (GGUF), also
// where they differ: the first drops symbols without a token before merging, the second after it.
#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "checkpoint/metadata.h"
#include "tokenizer/flat_map.h"
#include "tokenizer/models/merge_queue.h"
#include "tokenizer/unicode.h"
#include "tokenizer/word_model.h"

namespace headroom::tokenizer {
namespace {

constexpr std::uint32_t none = MergeQueue::none;
constexpr std::size_t short_word = 32;  ///< symbols: up to here the lowest rank is searched, beyond a queue has it

struct BpeMerge {
  std::uint32_t rank = none;
  std::int32_t result = -1;
};

/// A symbol is a text that can be merged; a token, or what lies on the way to one.
struct BpeNode {
  std::int32_t symbol = -1;  ///< -1: unknown, or merged into its left neighbour
  std::uint32_t begin = 0, end = 0;
  std::uint32_t previous = none, next = none;
};

class BpeWorkspace final : public WordModel::Workspace {
 public:
  // Words come again and again: their tokens are kept, the newest at each place of the table.
  static constexpr std::size_t slots = 1 << 12, longest = 24, most = 8;
  struct Kept {
    std::array<char, longest> text;
    std::uint8_t size = 0, count = 0;
    std::array<std::uint8_t, most> begin, end;
    std::array<std::int32_t, most> ids;
  };
  std::vector<Kept> kept;
  std::vector<BpeNode> nodes;
  MergeQueue queue;
  std::size_t words = 0;
};

class Bpe final : public WordModel {
 public:
  explicit Bpe(const TokenizerData& data);

  std::unique_ptr<Workspace> workspace() const override { return std::make_unique<BpeWorkspace>(); }
  void encode(std::string_view text, std::uint32_t begin, std::uint32_t end, Workspace& workspace,
              std::vector<WordToken>& out) const override;

 private:
  using Numbers = std::unordered_map<std::string, std::int32_t>;

  static std::uint64_t pair(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  BpeMerge merge_of(std::int32_t left, std::int32_t right) const {
    if (left < 0 || right < 0) return {};
    const BpeMerge* const found = merges_.find(pair(left, right));
    return found == nullptr ? BpeMerge{} : *found;
  }
  std::int32_t character_symbol(char32_t point) const {
    const std::int32_t* const found = characters_.find(point);
    return found == nullptr ? -1 : *found;
  }
  bool is_known(std::int32_t symbol) const {
    return symbol >= 0 && (keep_unknown_ || tokens_of_symbols_[static_cast<std::size_t>(symbol)] >= 0);
  }
  void read_merges(const TokenizerData& data, Numbers& numbers);
  void merges_from_scores(const TokenizerData& data, Numbers& numbers);
  void find_seams(const TokenizerData& data);
  void encode_piece(std::string_view text, std::uint32_t begin, std::uint32_t end, BpeWorkspace& work,
                    std::vector<WordToken>& out) const;
  bool whole_word(std::string_view word, std::uint32_t begin, std::vector<WordToken>& out) const;
  void cut_into_symbols(std::string_view text, std::uint32_t begin, std::uint32_t end,
                        std::vector<BpeNode>& nodes) const;
  void merge_short(std::vector<BpeNode>& nodes) const;
  void merge_long(BpeWorkspace& work) const;
  void write(std::string_view text, const std::vector<BpeNode>& nodes, std::vector<WordToken>& out) const;

  bool byte_level_, ignore_merges_, fuse_unknown_, keep_unknown_, by_score_, byte_fallback_;
  std::size_t ranks_ = 0;      ///< of merges: all below
  std::int32_t unknown_ = -1;  ///< the token
  std::int32_t unknown_symbol_ = -1;
  bool drops_unknown_ = false;                    ///< some character may have no token at all
  std::vector<std::int32_t> byte_tokens_;         ///< of byte_fallback
  std::array<std::int32_t, 256> byte_symbols_{};  ///< of byte_level
  FlatMap<std::int32_t> characters_;              ///< symbols of single characters
  FlatMap<BpeMerge> merges_;
  FlatMap<char> joined_;                                 ///< neighbouring characters inside of tokens
  std::vector<std::int32_t> tokens_of_symbols_;          ///< -1 where a symbol is no token
  std::unordered_map<std::string, std::int32_t> words_;  ///< of ignore_merges
};

Bpe::Bpe(const TokenizerData& data)
    : byte_level_(data.byte_level),
      ignore_merges_(data.ignore_merges),
      fuse_unknown_(data.fuse_unknown),
      keep_unknown_(data.keep_unknown_symbols),
      by_score_(data.merge_by_score),
      byte_fallback_(data.byte_fallback),
      unknown_(data.unknown) {
  if (byte_fallback_) byte_tokens_ = byte_tokens(data);
  drops_unknown_ = !keep_unknown_ && unknown_ < 0 &&
                   !(byte_fallback_ && std::ranges::none_of(byte_tokens_, [](std::int32_t id) { return id < 0; }));
  Numbers numbers;
  numbers.reserve(data.tokens.size() * 2);
  for (std::size_t byte = 0; byte < 256 && byte_level_; ++byte) {
    std::string text;
    append_utf8(text, byte_character(static_cast<unsigned char>(byte)));
    byte_symbols_[byte] = numbers.emplace(text, static_cast<std::int32_t>(numbers.size())).first->second;
  }
  // Control tokens are written by templates alone: no text merges into one.
  const auto usable = [&](std::size_t id) {
    return data.types[id] != TokenType::control && (data.types[id] != TokenType::unknown || !by_score_) &&
           !(by_score_ && (data.types[id] == TokenType::byte || data.types[id] == TokenType::user_defined));
  };
  std::unordered_map<std::string_view, std::int32_t> ids;
  ids.reserve(data.tokens.size());
  for (std::size_t id = 0; id < data.tokens.size(); ++id)
    if (usable(id)) ids[data.tokens[id]] = static_cast<std::int32_t>(id);
  if (by_score_)
    merges_from_scores(data, numbers);
  else
    read_merges(data, numbers);
  for (const auto& [text, id] : ids) {
    const bool single = !text.empty() && point_at(text, 0).second == text.size();
    if (single || id == unknown_) numbers.emplace(text, static_cast<std::int32_t>(numbers.size()));
  }
  tokens_of_symbols_.assign(numbers.size(), -1);
  for (const auto& [text, number] : numbers) {
    if (const auto id = ids.find(text); id != ids.end())
      tokens_of_symbols_[static_cast<std::size_t>(number)] = id->second;
    if (!text.empty() && point_at(text, 0).second == text.size()) characters_.insert(point_at(text, 0).first, number);
  }
  if (unknown_ >= 0) {
    const auto found = numbers.find(data.tokens[static_cast<std::size_t>(unknown_)]);
    if (found != numbers.end()) unknown_symbol_ = found->second;
    if (unknown_symbol_ < 0) {  // a control token: no merge knows it
      unknown_symbol_ = static_cast<std::int32_t>(tokens_of_symbols_.size());
      tokens_of_symbols_.push_back(unknown_);
    }
  }
  if (ignore_merges_)
    for (const auto& [text, id] : ids) words_.emplace(text, id);
  if (!byte_level_) find_seams(data);
}

void Bpe::read_merges(const TokenizerData& data, Numbers& numbers) {
  const auto number = [&](std::string text) {
    return numbers.emplace(std::move(text), static_cast<std::int32_t>(numbers.size())).first->second;
  };
  merges_.reserve(data.merges.size());
  ranks_ = data.merges.size();
  for (std::size_t rank = 0; rank < data.merges.size(); ++rank) {
    const auto& [left, right] = data.merges[rank];
    const std::int32_t a = number(left), b = number(right), result = number(left + right);
    // Of equal pairs the first counts in llama.cpp, the last in `tokenizers`.
    const BpeMerge merge{static_cast<std::uint32_t>(rank), result};
    if (!merges_.insert(pair(a, b), merge) && !keep_unknown_) *merges_.find(pair(a, b)) = merge;
  }
}

void Bpe::merges_from_scores(const TokenizerData& data, Numbers& numbers) {
  // All that two symbols can be: tokens, and characters of tokens.
  for (std::size_t id = 0; id < data.tokens.size(); ++id) {
    if (data.types[id] != TokenType::normal && data.types[id] != TokenType::unused) continue;
    const std::string& text = data.tokens[id];
    numbers.emplace(text, static_cast<std::int32_t>(numbers.size()));
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t length = point_at(text, at).second;
      numbers.emplace(text.substr(at, length), static_cast<std::int32_t>(numbers.size()));
      at += length;
    }
  }
  std::vector<double> scores;
  for (std::size_t id = 0; id < data.tokens.size(); ++id) scores.push_back(data.scores[id]);
  std::ranges::sort(scores, std::greater());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  ranks_ = scores.size();
  std::string left, right;
  for (std::size_t id = 0; id < data.tokens.size(); ++id) {
    if (data.types[id] != TokenType::normal && data.types[id] != TokenType::unused) continue;
    const std::string& text = data.tokens[id];
    if (text.size() > 1024)
      continue;  // no vocabulary has such pieces, and the pairs below take a square of their bytes
    const auto rank =
        static_cast<std::uint32_t>(std::ranges::lower_bound(scores, data.scores[id], std::greater()) - scores.begin());
    const std::int32_t result = numbers.at(text);
    for (std::size_t at = text.empty() ? 0 : point_at(text, 0).second; at < text.size();
         at += point_at(text, at).second) {
      left.assign(text, 0, at);
      right.assign(text, at);
      const auto a = numbers.find(left), b = numbers.find(right);
      if (a == numbers.end() || b == numbers.end()) continue;
      // Of equal texts the last id counts, and so does its score.
      if (BpeMerge merge{rank, result}; !merges_.insert(pair(a->second, b->second), merge))
        *merges_.find(pair(a->second, b->second)) = merge;
    }
  }
}

/// No merge reaches over two characters that no token has side by side: a text can be cut there before merging, so that
/// even where no pre-tokenizer cuts it (SentencePiece) the pieces are short.
void Bpe::find_seams(const TokenizerData& data) {
  const auto note = [&](const std::string& text) {
    char32_t last = 0;
    for (std::size_t at = 0; at < text.size();) {
      const auto [point, length] = point_at(text, at);
      if (at > 0) joined_.insert(static_cast<std::uint64_t>(last) << 32 | point, 1);
      last = point;
      at += length;
    }
  };
  if (by_score_) {
    for (const std::string& text : data.tokens) note(text);
  } else {
    for (const auto& [left, right] : data.merges) note(left + right);
  }
}

void Bpe::encode(std::string_view text, std::uint32_t begin, std::uint32_t end, Workspace& workspace,
                 std::vector<WordToken>& out) const {
  auto& work = static_cast<BpeWorkspace&>(workspace);
  if (ignore_merges_ && whole_word(text.substr(begin, end - begin), begin, out)) return;
  if (byte_level_) return encode_piece(text, begin, end, work, out);
  // Unknown characters that are one token together lie in one piece, and so do those that meet where one is left out.
  std::uint32_t first = begin;
  char32_t last = 0;
  bool last_known = false;
  for (std::uint32_t at = begin; at < end;) {
    const auto [point, length] = point_at(text, at);
    const bool known = is_known(character_symbol(point));
    const bool seam = at > begin && joined_.find(static_cast<std::uint64_t>(last) << 32 | point) == nullptr;
    if (seam && (drops_unknown_ ? known && last_known : known || last_known)) {
      encode_piece(text, first, at, work, out);
      first = at;
    }
    last = point;
    last_known = known;
    at += static_cast<std::uint32_t>(length);
  }
  if (first < end) encode_piece(text, first, end, work, out);
}

void Bpe::encode_piece(std::string_view text, std::uint32_t begin, std::uint32_t end, BpeWorkspace& work,
                       std::vector<WordToken>& out) const {
  const std::size_t size = end - begin;
  BpeWorkspace::Kept* slot = nullptr;
  if (size <= BpeWorkspace::longest && ++work.words > 64) {  // a short text is not worth the table
    if (work.kept.empty()) work.kept.resize(BpeWorkspace::slots);
    const std::string_view word = text.substr(begin, size);
    slot = &work.kept[std::hash<std::string_view>()(word) % BpeWorkspace::slots];
    if (slot->size == size && std::equal(word.begin(), word.end(), slot->text.begin())) {
      for (std::size_t i = 0; i < slot->count; ++i)
        out.push_back({slot->ids[i], begin + slot->begin[i], begin + slot->end[i]});
      return;
    }
  }
  const std::size_t before = out.size();
  cut_into_symbols(text, begin, end, work.nodes);
  if (work.nodes.size() <= short_word)
    merge_short(work.nodes);
  else
    merge_long(work);
  write(text, work.nodes, out);
  const std::size_t count = out.size() - before;
  if (slot == nullptr || count > BpeWorkspace::most) return;
  std::copy_n(text.begin() + begin, size, slot->text.begin());
  slot->size = static_cast<std::uint8_t>(size);
  slot->count = static_cast<std::uint8_t>(count);
  for (std::size_t i = 0; i < count; ++i) {
    slot->ids[i] = out[before + i].id;
    slot->begin[i] = static_cast<std::uint8_t>(out[before + i].begin - begin);
    slot->end[i] = static_cast<std::uint8_t>(out[before + i].end - begin);
  }
}

bool Bpe::whole_word(std::string_view word, std::uint32_t begin, std::vector<WordToken>& out) const {
  std::string text;
  if (byte_level_)
    for (const char byte : word) append_utf8(text, byte_character(static_cast<unsigned char>(byte)));
  else
    text = word;
  const auto found = words_.find(text);
  if (found == words_.end()) return false;
  out.push_back({found->second, begin, begin + static_cast<std::uint32_t>(word.size())});
  return true;
}

void Bpe::cut_into_symbols(std::string_view text, std::uint32_t begin, std::uint32_t end,
                           std::vector<BpeNode>& nodes) const {
  nodes.clear();
  bool last_unknown = false;
  for (std::uint32_t at = begin; at < end;) {
    std::int32_t symbol = 0;
    std::uint32_t length = 1;
    if (byte_level_) {
      symbol = byte_symbols_[static_cast<unsigned char>(text[at])];
    } else {
      const auto [point, bytes] = point_at(text, at);
      symbol = character_symbol(point);
      length = static_cast<std::uint32_t>(bytes);
    }
    const std::uint32_t first = at;
    at += length;
    if (keep_unknown_ || is_known(symbol)) {
      nodes.push_back({symbol, first, at});
      last_unknown = false;
      continue;
    }
    bool bytes = byte_fallback_;
    for (std::uint32_t i = first; i < at && bytes; ++i) bytes = byte_tokens_[static_cast<unsigned char>(text[i])] >= 0;
    if (bytes) {
      nodes.push_back({-1, first, at});  // written as bytes; nothing merges with them
      last_unknown = false;
    } else if (unknown_ >= 0) {
      if (last_unknown && fuse_unknown_)
        nodes.back().end = at;
      else
        nodes.push_back({unknown_symbol_, first, at});
      last_unknown = true;
    }  // else it is left out, and its neighbours meet
  }
  const auto count = static_cast<std::uint32_t>(nodes.size());
  for (std::uint32_t i = 0; i < count; ++i) {
    nodes[i].previous = i == 0 ? none : i - 1;
    nodes[i].next = i + 1 < count ? i + 1 : none;
  }
}

void Bpe::merge_short(std::vector<BpeNode>& nodes) const {
  std::array<BpeMerge, short_word> candidates;  // with the right neighbour
  std::size_t count = nodes.size();
  for (std::size_t i = 0; i + 1 < count; ++i) candidates[i] = merge_of(nodes[i].symbol, nodes[i + 1].symbol);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (candidates[i].rank < candidates[best].rank) best = i;
    if (candidates[best].rank == none) break;
    nodes[best].symbol = candidates[best].result;
    nodes[best].end = nodes[best + 1].end;
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      nodes[i] = nodes[i + 1];
      candidates[i] = candidates[i + 1];
    }
    if (best > 0) candidates[best - 1] = merge_of(nodes[best - 1].symbol, nodes[best].symbol);
    candidates[best] = best + 1 < count ? merge_of(nodes[best].symbol, nodes[best + 1].symbol) : BpeMerge{};
  }
  nodes.resize(count);
  for (std::size_t i = 0; i < count; ++i) nodes[i].next = i + 1 < count ? static_cast<std::uint32_t>(i + 1) : none;
}

/// A linked list of symbols and a queue of (rank, place): O(n log n) for the longest word. What has changed since it was
/// put there is known by its rank.
void Bpe::merge_long(BpeWorkspace& work) const {
  auto& nodes = work.nodes;
  MergeQueue& queue = work.queue;
  queue.begin(ranks_);
  const auto candidate = [&](std::uint32_t node) {
    const std::uint32_t next = nodes[node].next;
    return next == none ? BpeMerge{} : merge_of(nodes[node].symbol, nodes[next].symbol);
  };
  const auto push = [&](std::uint32_t node) {
    if (node == none) return;
    if (const BpeMerge merge = candidate(node); merge.rank != none) queue.push(merge.rank, node);
  };
  for (std::uint32_t i = 0; i + 1 < nodes.size(); ++i) push(i);
  while (const auto next = queue.pop()) {
    const auto [rank, at] = *next;
    BpeNode& left = nodes[at];
    if (left.symbol < 0) continue;  // merged into its neighbour
    const BpeMerge merge = candidate(at);
    if (merge.rank != rank) continue;
    BpeNode& right = nodes[left.next];
    left.symbol = merge.result;
    left.end = right.end;
    left.next = right.next;
    right.symbol = -1;
    if (left.next != none) nodes[left.next].previous = at;
    push(left.previous);
    push(at);
  }
}

void Bpe::write(std::string_view text, const std::vector<BpeNode>& nodes, std::vector<WordToken>& out) const {
  for (std::uint32_t at = nodes.empty() ? none : 0; at != none; at = nodes[at].next) {
    const BpeNode& node = nodes[at];
    const std::int32_t id = node.symbol < 0 ? -1 : tokens_of_symbols_[static_cast<std::size_t>(node.symbol)];
    if (id >= 0) {
      out.push_back({id, node.begin, node.end});
      continue;
    }
    for (std::uint32_t i = node.begin; i < node.end; ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      std::int32_t single = -1;
      if (byte_fallback_) {
        single = byte_tokens_[byte];
        if (single < 0) single = unknown_;
      } else if (byte_level_ && byte > 32 && byte < 127) {  // llama.cpp finds printable ASCII alone, drops the others
        single = tokens_of_symbols_[static_cast<std::size_t>(byte_symbols_[byte])];
      }
      if (single >= 0) out.push_back({single, i, i + 1});
    }
  }
}

std::unique_ptr<WordModel> make_bpe(const TokenizerData& data) {
  return std::make_unique<Bpe>(data);
}

}  // namespace

WordModelKind entry_bpe() {
  return {"bpe", make_bpe};
}

}  // namespace headroom::tokenizer
