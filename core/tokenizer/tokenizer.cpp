// SPDX-License-Identifier: Apache-2.0
// The vocabulary that all kinds of tokenizers share, and the choice of the kind.
#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>

#include "base/error.h"
#include "checkpoint/metadata.h"
#include "tokenizer/tokenizer_model.h"

namespace headroom::tokenizer {
namespace {

constexpr std::string_view tokens_key = "tokenizer.ggml.tokens", types_key = "tokenizer.ggml.token_type";

// Texts that end a turn or a document in the model families that use them; they are control tokens whatever the file
// says of their type, as in llama.cpp.
constexpr std::array<std::string_view, 14> end_texts = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>",      "<|call|>",           "<end_of_turn>", "<|endoftext|>",
    "<|eom_id|>", "<EOT>",      "_<EOT>",  "<|end_of_text|>", "<end_of_utterance>", "<eos>",         "</s>"};

std::string key_place(const checkpoint::Checkpoint& checkpoint, std::string_view key) {
  return checkpoint.path().string() + ": key '" + std::string(key) + "'";
}

/// The id under `key`, `absent` where it is not there; -1 where that is outside the vocabulary.
std::int32_t read_id(const checkpoint::Checkpoint& checkpoint, std::string_view key, std::int32_t absent,
                     std::int32_t size) {
  const auto value = checkpoint.get_int(key);
  if (!value) return absent < size ? absent : -1;
  if (*value < 0 || *value >= size) {
    throw input_error(key_place(checkpoint, key), "the id lies outside the vocabulary",
                      "0 to " + std::to_string(size - 1), std::to_string(*value));
  }
  return static_cast<std::int32_t>(*value);
}

void read_types(const checkpoint::Checkpoint& checkpoint, Vocabulary& vocabulary) {
  vocabulary.types.assign(vocabulary.texts.size(), TokenType::normal);
  const auto types = checkpoint.get_numbers(types_key);
  if (!types) return;
  if (types->size() != vocabulary.texts.size()) {
    throw input_error(key_place(checkpoint, types_key), "there is not one type a token",
                      std::to_string(vocabulary.texts.size()), std::to_string(types->size()));
  }
  for (std::size_t i = 0; i < types->size(); ++i) {
    const double type = (*types)[i];
    if (!(type >= 1 && type <= 6) || type != static_cast<int>(type)) {
      throw input_error(key_place(checkpoint, types_key) + ", token " + std::to_string(i), "the type is unknown",
                        "1 to 6", std::to_string(type));
    }
    vocabulary.types[i] = static_cast<TokenType>(static_cast<int>(type));
  }
}

/// By `tokenizer.ggml.model`.
std::unique_ptr<Tokenizer> make_tokenizer_of_kind(const checkpoint::Checkpoint& checkpoint) {
  constexpr std::string_view key = "tokenizer.ggml.model";
  if (checkpoint.format() != checkpoint::Format::gguf) {
    throw input_error(checkpoint.path().string(), "the tokenizer of a safetensors folder cannot be read",
                      "the model as a GGUF file, which carries its tokenizer", "tokenizer.json or none");
  }
  const auto model = checkpoint.get_string(key);
  std::string supported;
  for (const TokenizerModel& known : tokenizer_models()) {
    if (model && *model == known.name) return known.make(checkpoint);
    supported += (supported.empty() ? "" : ", ") + std::string(known.name);
  }
  throw input_error(key_place(checkpoint, key), "this kind of tokenizer is not supported", supported,
                    model ? checkpoint::in_quotes(*model) : "none");
}

}  // namespace

std::int32_t Vocabulary::find(std::string_view text) const {
  const auto found = ids.find(text);
  return found == ids.end() ? -1 : found->second;
}

Vocabulary read_vocabulary(const checkpoint::Checkpoint& checkpoint, std::int32_t default_bos,
                           std::int32_t default_eos) {
  Vocabulary vocabulary;
  auto texts = checkpoint.get_strings(tokens_key);
  if (!texts || texts->empty())
    throw input_error(key_place(checkpoint, tokens_key), "the file holds no vocabulary", "a list of tokens", "none");
  vocabulary.texts = std::move(*texts);
  read_types(checkpoint, vocabulary);
  vocabulary.ids.reserve(vocabulary.texts.size());
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) vocabulary.ids[vocabulary.text(id)] = id;

  vocabulary.bos = read_id(checkpoint, "tokenizer.ggml.bos_token_id", default_bos, vocabulary.size());
  const auto add_end = [&](std::int32_t id) {
    auto& ends = vocabulary.end_tokens;
    if (id >= 0 && std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  };
  add_end(read_id(checkpoint, "tokenizer.ggml.eos_token_id", default_eos, vocabulary.size()));
  add_end(read_id(checkpoint, "tokenizer.ggml.eot_token_id", -1, vocabulary.size()));
  add_end(read_id(checkpoint, "tokenizer.ggml.eom_token_id", -1, vocabulary.size()));
  for (const std::string_view text : end_texts) {
    const std::int32_t id = vocabulary.find(text);
    if (id < 0) continue;
    add_end(id);
    vocabulary.types[static_cast<std::size_t>(id)] = TokenType::control;
  }

  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    const TokenType type = vocabulary.type(id);
    const bool special = type == TokenType::control || type == TokenType::unknown || type == TokenType::user_defined;
    if (special && !vocabulary.text(id).empty()) vocabulary.special.push_back(id);
  }
  std::stable_sort(vocabulary.special.begin(), vocabulary.special.end(), [&](std::int32_t a, std::int32_t b) {
    return vocabulary.text(a).size() > vocabulary.text(b).size();
  });
  return vocabulary;
}

std::vector<Fragment> split_special(const Vocabulary& vocabulary, std::string_view text, const EncodeOptions& options) {
  const auto is_literal = [&](std::size_t begin, std::size_t end) {
    return std::any_of(options.literal.begin(), options.literal.end(), [&](const ByteRange& range) {
      const auto first = std::max(static_cast<std::int64_t>(begin), range.begin);
      return first < std::min(static_cast<std::int64_t>(end), range.end);
    });
  };
  // A user-defined token that a template writes is what marks its turns: such a one is no part of a text either. Words
  // and white space are, wherever they stand.
  const auto marks_turns = [&](const std::string& wanted) {
    if (std::ranges::none_of(wanted, [](char c) { return c > 0 && std::ispunct(c) != 0; })) return false;
    for (std::size_t at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + 1))
      if (!is_literal(at, at + wanted.size())) return true;
    return false;
  };
  std::vector<Fragment> fragments;
  if (!text.empty()) fragments.push_back({-1, 0, text.size()});
  for (const std::int32_t id : vocabulary.special) {
    const bool user_defined = vocabulary.type(id) == TokenType::user_defined;
    if (!user_defined && !options.parse_special) continue;
    const std::string& wanted = vocabulary.text(id);
    if (text.find(wanted) == std::string_view::npos) continue;
    const bool always = user_defined && (options.literal.empty() || !marks_turns(wanted));
    std::vector<Fragment> next;
    for (const Fragment& fragment : fragments) {
      if (fragment.id >= 0) {
        next.push_back(fragment);
        continue;
      }
      std::size_t done = fragment.begin, from = done;
      const std::string_view inside = text.substr(0, fragment.end);
      for (std::size_t hit; (hit = inside.find(wanted, from)) != std::string_view::npos;) {
        const std::size_t end = hit + wanted.size();
        from = hit + 1;
        if (!always && is_literal(hit, end)) continue;
        if (hit > done) next.push_back({-1, done, hit});
        next.push_back({id, hit, end});
        done = from = end;
      }
      if (done < fragment.end) next.push_back({-1, done, fragment.end});
    }
    fragments = std::move(next);
  }
  return fragments;
}

std::unique_ptr<Tokenizer> make_tokenizer(const checkpoint::Checkpoint& checkpoint,
                                          std::optional<std::int64_t> embedding_rows) {
  auto tokenizer = make_tokenizer_of_kind(checkpoint);
  if (embedding_rows && tokenizer->vocabulary() != *embedding_rows) {
    throw input_error(key_place(checkpoint, tokens_key), "the vocabulary does not fit the embedding",
                      std::to_string(*embedding_rows) + " tokens, one for each of its rows",
                      std::to_string(tokenizer->vocabulary()));
  }
  return tokenizer;
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
