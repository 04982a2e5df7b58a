// SPDX-License-Identifier: Apache-2.0
// Unigram (SentencePiece): of all ways to write a word in tokens the one whose scores add up to the most. Ids are those
// of `tokenizers`, which adds in the order of the text in double precision and prefers what it found first.
#include <algorithm>
#include <limits>

#include "tokenizer/byte_trie.h"
#include "tokenizer/unicode.h"
#include "tokenizer/word_model.h"

namespace headroom::tokenizer {
namespace {

constexpr double unknown_penalty = 10;
constexpr std::uint32_t not_reached = std::numeric_limits<std::uint32_t>::max();

struct UnigramNode {
  double score = 0;
  std::uint32_t from = not_reached;  ///< where the best last token begins
  std::int32_t id = -1;
};

struct UnigramWorkspace final : WordModel::Workspace {
  std::vector<UnigramNode> best;  ///< by end
  std::vector<WordToken> backwards;
};

class Unigram final : public WordModel {
 public:
  explicit Unigram(const TokenizerData& data)
      : scores_(data.scores), unknown_(data.unknown), fuse_unknown_(data.fuse_unknown) {
    if (data.byte_fallback) byte_tokens_ = byte_tokens(data);
    double lowest = std::numeric_limits<double>::infinity();
    for (const double score : scores_) lowest = std::min(lowest, score);
    unknown_score_ = lowest - unknown_penalty;
    // Control tokens are written by templates alone: no text is one. Tokens that were added behind the vocabulary have
    // no score; they are cut out before, or not at all.
    for (std::size_t id = 0; id < std::min(data.tokens.size(), scores_.size()); ++id)
      if (data.types[id] != TokenType::control) trie_.add(data.tokens[id], static_cast<std::int32_t>(id));
  }

  std::unique_ptr<Workspace> workspace() const override { return std::make_unique<UnigramWorkspace>(); }
  void encode(std::string_view text, std::uint32_t begin, std::uint32_t end, Workspace& workspace,
              std::vector<WordToken>& out) const override;

 private:
  void write_unknown(std::string_view text, std::uint32_t begin, std::uint32_t end, std::vector<WordToken>& out) const;

  std::vector<double> scores_;
  std::int32_t unknown_;
  bool fuse_unknown_;
  double unknown_score_ = 0;
  std::vector<std::int32_t> byte_tokens_;
  ByteTrie trie_;
};

void Unigram::encode(std::string_view text, std::uint32_t begin, std::uint32_t end, Workspace& workspace,
                     std::vector<WordToken>& out) const {
  auto& [best, backwards] = static_cast<UnigramWorkspace&>(workspace);
  best.assign(end - begin + 1, {});
  const std::string_view word = text.substr(begin, end - begin);
  for (std::size_t at = 0; at < word.size();) {
    const double so_far = best[at].score;
    const std::size_t character = point_at(word, at).second;
    bool single = false;
    const auto offer = [&](std::size_t length, std::int32_t id, double score) {
      UnigramNode& node = best[at + length];
      if (node.from == not_reached || so_far + score > node.score)
        node = {so_far + score, static_cast<std::uint32_t>(at), id};
    };
    trie_.prefixes(word.substr(at), [&](std::size_t length, std::int32_t id) {
      offer(length, id, scores_[static_cast<std::size_t>(id)]);
      single |= length == character;
    });
    if (!single) offer(character, unknown_, unknown_score_);
    at += character;
  }
  backwards.clear();
  bool last_unknown = false;
  for (std::size_t at = word.size(); at > 0;) {
    const UnigramNode& node = best[at];
    const bool unknown = node.id == unknown_;
    if (unknown && last_unknown && fuse_unknown_)
      backwards.back().begin = node.from;
    else
      backwards.push_back({node.id, node.from, static_cast<std::uint32_t>(at)});
    last_unknown = unknown;
    at = node.from;
  }
  for (auto token = backwards.rbegin(); token != backwards.rend(); ++token) {
    if (token->id == unknown_)
      write_unknown(text, begin + token->begin, begin + token->end, out);
    else
      out.push_back({token->id, begin + token->begin, begin + token->end});
  }
}

void Unigram::write_unknown(std::string_view text, std::uint32_t begin, std::uint32_t end,
                            std::vector<WordToken>& out) const {
  const auto token = [&](std::uint32_t at) { return byte_tokens_[static_cast<unsigned char>(text[at])]; };
  bool bytes = !byte_tokens_.empty();
  for (std::uint32_t at = begin; at < end && bytes; ++at) bytes = token(at) >= 0;
  if (!bytes) {
    if (unknown_ >= 0) out.push_back({unknown_, begin, end});
    return;
  }
  for (std::uint32_t at = begin; at < end; ++at) out.push_back({token(at), at, at + 1});
}

std::unique_ptr<WordModel> make_unigram(const TokenizerData& data) {
  return std::make_unique<Unigram>(data);
}

}  // namespace

WordModelKind entry_unigram() {
  return {"unigram", make_unigram};
}

}  // namespace headroom::tokenizer
