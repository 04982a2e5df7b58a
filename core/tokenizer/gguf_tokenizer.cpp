// SPDX-License-Identifier: Apache-2.0
// tokenizer.ggml.* of a GGUF file: the kinds `gpt2` (byte-level BPE) and `llama` (SentencePiece BPE), as llama.cpp has
// them.
#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/metadata.h"
#include "tokenizer/tokenizer_data.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

constexpr const char* model_key = "tokenizer.ggml.model";
constexpr const char* pre_key = "tokenizer.ggml.pre";
constexpr const char* tokens_key = "tokenizer.ggml.tokens";
constexpr const char* types_key = "tokenizer.ggml.token_type";
constexpr const char* scores_key = "tokenizer.ggml.scores";
constexpr const char* merges_key = "tokenizer.ggml.merges";

// Texts that end a turn or a document in the model families that use them; they are control tokens whatever the file
// says of their type, as in llama.cpp.
constexpr std::array<std::string_view, 14> end_texts = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>",      "<|call|>",           "<end_of_turn>", "<|endoftext|>",
    "<|eom_id|>", "<EOT>",      "_<EOT>",  "<|end_of_text|>", "<end_of_utterance>", "<eos>",         "</s>"};

class GgufReader {
 public:
  explicit GgufReader(const checkpoint::Checkpoint& checkpoint) : checkpoint_(checkpoint), reader_(checkpoint) {}

  TokenizerData read() {
    data_.place = checkpoint_.path().string();
    data_.added_match = AddedMatch::longest_first;
    data_.keep_unknown_symbols = true;
    const auto kind = checkpoint_.get_string(model_key);
    if (kind == "gpt2")
      read_byte_level();
    else if (kind == "llama")
      read_sentence_piece();
    else
      throw input_error(key_place(checkpoint_, model_key), "this kind of tokenizer is not supported", "gpt2, llama",
                        kind ? checkpoint::in_quotes(*kind) : "none");
    data_.kind = *kind;
    return std::move(data_);
  }

 private:
  void read_byte_level() {
    const PreTokenizer pre = read_pre();
    read_vocabulary(11, 11);  // BOS and EOS of a GPT-2 vocabulary whose file names none
    refuse_true("tokenizer.ggml.add_space_prefix", "a space before every text is not supported with byte-level BPE");
    refuse_other_steps();
    data_.byte_level = true;
    data_.ignore_merges = pre.ignore_merges;
    data_.splits.push_back({.kind = SplitStep::Kind::gguf, .split = pre.split});
    read_bos(pre.add_bos);
    read_merges();
  }

  void read_sentence_piece() {
    read_vocabulary(1, 2);
    refuse_other_steps();
    const auto scores = checkpoint_.get_numbers(scores_key);
    if (!scores || scores->size() != data_.tokens.size())
      throw input_error(key_place(checkpoint_, scores_key), "there is not one score a token",
                        std::to_string(data_.tokens.size()), scores ? std::to_string(scores->size()) : "none");
    for (std::size_t id = 0; id < scores->size(); ++id)
      if (!std::isfinite((*scores)[id]))
        throw input_error(key_place(checkpoint_, scores_key) + ", token " + std::to_string(id),
                          "the score is no number", "a finite number", std::to_string((*scores)[id]));
    data_.scores = *scores;
    data_.merge_by_score = data_.byte_fallback = true;
    data_.space = "\u2581";
    data_.unknown = read_id("tokenizer.ggml.unknown_token_id", 0);
    if (reader_.bool_or("tokenizer.ggml.add_space_prefix", true)) {
      data_.normalizers.push_back({.kind = NormalizerStep::Kind::prepend, .content = " "});
      data_.strip_first = " ";
    }
    data_.normalizers.push_back(
        {.kind = NormalizerStep::Kind::replace, .content = data_.space, .what = literal_matcher(" ")});
    read_bos(true);
  }

  PreTokenizer read_pre() {
    const auto pre = checkpoint_.get_string(pre_key);
    data_.pre = pre.value_or("");
    std::string supported;
    for (const PreTokenizer& known : pretokenizers()) {
      for (const std::string_view name : known.names) {
        if (pre && *pre == name) return known;
        supported += (supported.empty() ? "" : ", ") + std::string(name);
      }
    }
    throw input_error(key_place(checkpoint_, pre_key), "this way to split text into words is not supported", supported,
                      pre ? checkpoint::in_quotes(*pre) : "none");
  }

  void refuse_true(const char* key, const char* why) { reader_.must_be(key, false, why); }

  /// Steps before or after the model that a file may ask for: they would change the ids.
  void refuse_other_steps() {
    refuse_true("tokenizer.ggml.add_eos_token", "an end token behind every prompt is not supported");
    refuse_true("tokenizer.ggml.add_sep_token", "a separator behind every prompt is not supported");
    refuse_true("tokenizer.ggml.normalizer.lowercase", "text in lower case is not supported here");
    constexpr const char* map = "tokenizer.ggml.precompiled_charsmap";
    if (reader_.has(map))
      reader_.refuse(map, "text is not normalised here", "no such key", checkpoint_.keys(map).at(map));
  }

  /// The id under `key`, `absent` where it is not there; -1 where that is outside the vocabulary.
  std::int32_t read_id(const char* key, std::int32_t absent) {
    const auto size = static_cast<std::int32_t>(data_.tokens.size());
    const auto value = checkpoint_.get_int(key);
    if (!value) return absent < size ? absent : -1;
    if (*value < 0 || *value >= size)
      throw input_error(key_place(checkpoint_, key), "the id lies outside the vocabulary",
                        "0 to " + std::to_string(size - 1), std::to_string(*value));
    return static_cast<std::int32_t>(*value);
  }

  void read_types() {
    data_.types.assign(data_.tokens.size(), TokenType::normal);
    const auto types = checkpoint_.get_numbers(types_key);
    if (!types) return;
    if (types->size() != data_.tokens.size())
      throw input_error(key_place(checkpoint_, types_key), "there is not one type a token",
                        std::to_string(data_.tokens.size()), std::to_string(types->size()));
    for (std::size_t i = 0; i < types->size(); ++i) {
      const double type = (*types)[i];
      if (!(type >= 1 && type <= 6) || type != static_cast<int>(type))
        throw input_error(key_place(checkpoint_, types_key) + ", token " + std::to_string(i), "the type is unknown",
                          "1 to 6", std::to_string(type));
      data_.types[i] = static_cast<TokenType>(static_cast<int>(type));
    }
  }

  void read_vocabulary(std::int32_t default_bos, std::int32_t default_eos) {
    auto texts = checkpoint_.get_strings(tokens_key);
    if (!texts || texts->empty())
      throw input_error(key_place(checkpoint_, tokens_key), "the file holds no vocabulary", "a list of tokens", "none");
    data_.tokens = std::move(*texts);
    read_types();
    for (std::size_t id = 0; id < data_.tokens.size(); ++id)
      check_utf8(data_.tokens[id], data_.place + ": token " + std::to_string(id));
    std::unordered_map<std::string_view, std::int32_t> ids;
    for (std::size_t id = 0; id < data_.tokens.size(); ++id) ids[data_.tokens[id]] = static_cast<std::int32_t>(id);

    data_.bos = read_id("tokenizer.ggml.bos_token_id", default_bos);
    const auto add_end = [&](std::int32_t id) {
      auto& ends = data_.end_tokens;
      if (id >= 0 && std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
    };
    add_end(read_id("tokenizer.ggml.eos_token_id", default_eos));
    add_end(read_id("tokenizer.ggml.eot_token_id", -1));
    add_end(read_id("tokenizer.ggml.eom_token_id", -1));
    for (const std::string_view text : end_texts) {
      const auto found = ids.find(text);
      if (found == ids.end()) continue;
      add_end(found->second);
      data_.types[static_cast<std::size_t>(found->second)] = TokenType::control;
    }
    for (std::size_t id = 0; id < data_.tokens.size(); ++id) {
      const TokenType type = data_.types[id];
      if (type != TokenType::control && type != TokenType::unknown && type != TokenType::user_defined) continue;
      data_.added.push_back({.id = static_cast<std::int32_t>(id), .special = type != TokenType::user_defined});
    }
  }

  void read_bos(bool absent) {
    if (!reader_.bool_or("tokenizer.ggml.add_bos_token", absent)) return;
    if (data_.bos < 0) throw input_error(data_.place, "the model wants a BOS token before every text, and has none");
    data_.prefix = {data_.bos};
  }

  void read_merges() {
    const auto merges = checkpoint_.get_strings(merges_key);
    if (!merges) throw input_error(key_place(checkpoint_, merges_key), "the file holds no merges");
    data_.merges.reserve(merges->size());
    for (std::size_t rank = 0; rank < merges->size(); ++rank) {
      const std::string& merge = (*merges)[rank];
      const std::size_t space = merge.empty() ? std::string::npos : merge.find(' ', 1);
      const std::string place = key_place(checkpoint_, merges_key) + ", entry " + std::to_string(rank);
      if (space == std::string::npos || space + 1 == merge.size())
        throw input_error(place, "a merge is not what it should be", "two symbols with a space between them");
      check_utf8(merge, place);
      data_.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
  }

  const checkpoint::Checkpoint& checkpoint_;
  checkpoint::ConfigReader reader_;
  TokenizerData data_;
};

}  // namespace

TokenizerData read_gguf_tokenizer(const checkpoint::Checkpoint& checkpoint) {
  return GgufReader(checkpoint).read();
}

}  // namespace headroom::tokenizer
