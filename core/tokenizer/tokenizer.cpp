// SPDX-License-Identifier: Apache-2.0
// A tokenizer at work: added tokens are cut out, the pieces between them normalised and cut into words, the words
// turned into tokens; and the way back.
#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "checkpoint/metadata.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/splitter.h"
#include "tokenizer/unicode.h"
#include "tokenizer/word_model.h"

namespace headroom::tokenizer {
namespace {

constexpr std::size_t max_text = std::size_t{1} << 30;

std::unique_ptr<WordModel> make_model(const TokenizerData& data) {
  for (const WordModelKind& kind : word_models())
    if (kind.name == data.model) return kind.make(data);
  throw input_error(data.place, "this kind of tokenizer is not supported", "bpe or unigram",
                    checkpoint::in_quotes(data.model));
}

class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerData data)
      : added_(data), model_(make_model(data)), data_(std::move(data)), bytes_(data_.tokens.size(), -1) {
    data_.merges = {};  // the model has what it needs
    data_.scores = {};
    const auto byte_ids = byte_tokens(data_);
    for (std::size_t byte = 0; byte < byte_ids.size(); ++byte)
      if (byte_ids[byte] >= 0 && (data_.byte_fallback || type(byte_ids[byte]) == TokenType::byte))
        bytes_[static_cast<std::size_t>(byte_ids[byte])] = static_cast<std::int16_t>(byte);
    written_.resize(data_.tokens.size());
    for (const AddedToken& token : data_.added)
      written_[static_cast<std::size_t>(token.id)] = data_.byte_level || data_.added_match == AddedMatch::longest_first;
  }

  std::vector<Token> encode(std::string_view text, const EncodeOptions& options) const override;
  std::string decode(std::span<const std::int32_t> ids, bool keep_special, bool continues) const override;
  std::string piece(std::int32_t id) const override;
  std::int32_t vocabulary() const override { return static_cast<std::int32_t>(data_.tokens.size()); }
  const std::vector<std::int32_t>& end_tokens() const override { return data_.end_tokens; }
  std::string kind() const override { return data_.kind; }
  std::string split_name() const override { return data_.pre; }

 private:
  class Encoder;

  TokenType type(std::int32_t id) const { return data_.types[static_cast<std::size_t>(id)]; }
  void check(std::int32_t id) const;

  AddedTokens added_;
  std::unique_ptr<WordModel> model_;
  TokenizerData data_;
  std::vector<std::int16_t> bytes_;  ///< by id: of byte tokens
  std::vector<bool> written_;        ///< by id: added tokens stand for their own text
};

class PipelineTokenizer::Encoder {
 public:
  Encoder(const PipelineTokenizer& tokenizer, const EncodeOptions& options, std::vector<Token>& out)
      : tokenizer_(tokenizer), options_(options), out_(out), workspace_(tokenizer.model_->workspace()) {}

  void fragment(std::string_view text, std::int64_t begin) {
    MappedText mapped{std::string(text), begin};
    normalize(tokenizer_.data_.normalizers, mapped);
    if (!tokenizer_.added_.has_normalized()) return plain(std::move(mapped));
    for (const Fragment& part : tokenizer_.added_.split_normalized(mapped, options_)) {
      if (part.id >= 0) {
        out_.push_back({part.id, mapped.place(part.begin), mapped.place(part.end)});
        continue;
      }
      MappedText piece{mapped.text.substr(part.begin, part.end - part.begin), mapped.base};
      if (mapped.origin.empty())
        piece.base += static_cast<std::int64_t>(part.begin);
      else
        piece.origin.assign(mapped.origin.begin() + static_cast<std::ptrdiff_t>(part.begin),
                            mapped.origin.begin() + static_cast<std::ptrdiff_t>(part.end) + 1);
      plain(std::move(piece));
    }
  }

 private:
  void plain(MappedText text) {
    split_words(tokenizer_.data_.splits, text, words_);
    for (const Match& word : words_) {
      tokens_.clear();
      tokenizer_.model_->encode(text.text, static_cast<std::uint32_t>(word.begin), static_cast<std::uint32_t>(word.end),
                                *workspace_, tokens_);
      for (const WordToken& token : tokens_) out_.push_back({token.id, text.place(token.begin), text.place(token.end)});
    }
  }

  const PipelineTokenizer& tokenizer_;
  const EncodeOptions& options_;
  std::vector<Token>& out_;
  std::unique_ptr<WordModel::Workspace> workspace_;
  std::vector<Match> words_;
  std::vector<WordToken> tokens_;
};

std::vector<Token> PipelineTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (text.size() > max_text)
    throw input_error("text", "the text is too long", "at most 2^30 bytes", std::to_string(text.size()));
  std::vector<Token> out;
  if (options.add_bos.value_or(true)) {
    if (!options.add_bos || !data_.prefix.empty()) {
      for (const std::int32_t id : data_.prefix) out.push_back({id, 0, 0});
    } else {
      if (data_.bos < 0) throw input_error(data_.place, "the model has no BOS token");
      out.push_back({data_.bos, 0, 0});
    }
  }
  check_utf8(text, "text");  // refuses before anything is cut
  out.reserve(out.size() + text.size() / 4);
  Encoder encoder(*this, options, out);
  for (const Fragment& fragment : added_.split(text, options)) {
    const auto begin = static_cast<std::int64_t>(fragment.begin);
    if (fragment.id >= 0)
      out.push_back({fragment.id, begin, static_cast<std::int64_t>(fragment.end)});
    else
      encoder.fragment(text.substr(fragment.begin, fragment.end - fragment.begin), begin);
  }
  return out;
}

void PipelineTokenizer::check(std::int32_t id) const {
  if (id >= 0 && id < vocabulary()) return;
  throw input_error(data_.place, "a token id lies outside the vocabulary", "0 to " + std::to_string(vocabulary() - 1),
                    std::to_string(id));
}

std::string PipelineTokenizer::decode(std::span<const std::int32_t> ids, bool keep_special, bool continues) const {
  std::string out;
  for (const std::int32_t id : ids) {
    check(id);
    if (keep_special || (type(id) != TokenType::control && type(id) != TokenType::unknown)) out += piece(id);
  }
  if (!continues && !data_.strip_first.empty() && out.starts_with(data_.strip_first))
    out.erase(0, data_.strip_first.size());
  return out;
}

std::string PipelineTokenizer::piece(std::int32_t id) const {
  check(id);
  const std::string& text = data_.tokens[static_cast<std::size_t>(id)];
  if (bytes_[static_cast<std::size_t>(id)] >= 0)
    return std::string(1, static_cast<char>(bytes_[static_cast<std::size_t>(id)]));
  if (written_[static_cast<std::size_t>(id)]) return text;
  if (data_.byte_level) return from_byte_characters(text);
  if (data_.space.empty()) return text;
  std::string out;
  std::size_t done = 0;
  for (std::size_t at; (at = text.find(data_.space, done)) != std::string::npos; done = at + data_.space.size()) {
    out.append(text, done, at - done);
    out += ' ';
  }
  return out.append(text, done);
}

}  // namespace

std::unique_ptr<Tokenizer> build_tokenizer(TokenizerData data) {
  return std::make_unique<PipelineTokenizer>(std::move(data));
}

std::unique_ptr<Tokenizer> make_tokenizer(const checkpoint::Checkpoint& checkpoint,
                                          std::optional<std::int64_t> embedding_rows) {
  const bool gguf = checkpoint.format() == checkpoint::Format::gguf;
  TokenizerData data = gguf ? read_gguf_tokenizer(checkpoint) : read_json_tokenizer(checkpoint);
  if (embedding_rows && !gguf && *embedding_rows > static_cast<std::int64_t>(data.tokens.size()) &&
      *embedding_rows <= std::int64_t{1} << 24) {
    data.types.resize(static_cast<std::size_t>(*embedding_rows), TokenType::unused);
    data.tokens.resize(data.types.size());
  }
  if (embedding_rows && static_cast<std::int64_t>(data.tokens.size()) != *embedding_rows) {
    throw input_error(gguf ? checkpoint.path().string() + ": key 'tokenizer.ggml.tokens'" : data.place,
                      "the vocabulary does not fit the embedding",
                      std::to_string(*embedding_rows) + " tokens, one for each of its rows",
                      std::to_string(data.tokens.size()));
  }
  return build_tokenizer(std::move(data));
}

std::string StreamDecoder::take(std::int32_t id) {
  const std::int32_t ids[] = {id};
  held_ += tokenizer_.decode(ids, keep_special_, begun_);
  // The first id that is written at all has the beginning of the text.
  begun_ = begun_ || !tokenizer_.decode(ids, keep_special_, true).empty();
  std::size_t end = held_.size();
  // Up to three bytes may be the beginning of a character.
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, held_.size()); ++back) {
    const auto lead = static_cast<unsigned char>(held_[held_.size() - back]);
    if ((lead & 0xc0) == 0x80) continue;
    const std::size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
    if (wanted > back && lead <= 0xf4) end = held_.size() - back;
    break;
  }
  std::string out = replace_invalid_utf8(std::string_view(held_).substr(0, end));
  held_.erase(0, end);
  return out;
}

std::string StreamDecoder::finish() {
  return replace_invalid_utf8(std::exchange(held_, {}));
}

LeftOut left_out(std::span<const Token> tokens, std::string_view text) {
  LeftOut found;
  std::int64_t done = 0;
  const auto skip_to = [&](std::int64_t begin) {
    if (begin > done && found.bytes == 0) found.first = done;
    found.bytes += std::max<std::int64_t>(begin - done, 0);
  };
  for (const Token& token : tokens) {
    skip_to(token.begin);
    done = std::max(done, token.end);
  }
  skip_to(static_cast<std::int64_t>(text.size()));
  return found;
}

std::string left_out_note(std::span<const Token> tokens, std::string_view text, const std::string& what) {
  const auto [missing, first] = left_out(tokens, text);
  if (missing == 0) return {};
  constexpr std::string_view digits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(text[static_cast<std::size_t>(first)]);
  return std::to_string(missing) + (missing == 1 ? " byte of " : " bytes of ") + what +
         " without a token in this model's vocabulary, left out: " + (missing == 1 ? "" : "the first is ") + "0x" +
         digits[byte >> 4] + digits[byte & 15] + " at byte " + std::to_string(first);
}

}  // namespace headroom::tokenizer
