// SPDX-License-Identifier: Apache-2.0
// tokenizer.json and the files beside it, as transformers saves them. Nobody vouches for them: every value is checked
// for its kind, ids for their range, and every message names file and path.
#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "checkpoint/input_file.h"
#include "checkpoint/json_input.h"
#include "checkpoint/metadata.h"
#include "tokenizer/json_node.h"
#include "tokenizer/json_steps.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t max_tokenizer = 256 << 20, max_settings = 16 << 20;  // bytes
constexpr int max_depth = 24;
constexpr std::size_t max_tokens = std::size_t{1} << 22, max_token_bytes = 4096;

class JsonReader {
 public:
  explicit JsonReader(const fs::path& folder) : folder_(folder) {}

  TokenizerData read() {
    const fs::path file = folder_ / "tokenizer.json";
    std::error_code failed;
    if (!fs::exists(file, failed)) refuse_other_tokenizers();
    data_.place = file.string();
    // The whole tree lives only here: the largest files have a million values.
    const nlohmann::json json =
        checkpoint::parse_json_object(checkpoint::InputFile(file).text(max_tokenizer), file.string(), max_depth);
    const JsonNode root(json, file.string() + ": ");
    const auto settings = settings_of("tokenizer_config.json");
    read_model(root.at("model"));
    read_added(root, settings ? &*settings : nullptr);
    refuse_holes(root);
    if (const auto node = root.find("normalizer")) read_normalizer(*node, data_);
    if (const auto node = root.find("pre_tokenizer")) read_pre_tokenizer(*node, data_);
    if (data_.byte_level && data_.model != "bpe")
      root.at("pre_tokenizer").fail("ByteLevel goes with BPE alone", "a model of type BPE", data_.kind);
    if (const auto node = root.find("post_processor")) read_post_processor(*node, data_);
    if (const auto node = root.find("decoder")) read_decoder(*node, data_);
    data_.pre = splits_text(root);
    for (const char* key : {"truncation", "padding"})
      if (const auto node = root.find(key)) refuse_length(*node);
    if (settings) read_settings(JsonNode(*settings, place_of("tokenizer_config.json")));
    read_end_tokens(settings ? &*settings : nullptr);
    return std::move(data_);
  }

 private:
  std::string place_of(const char* name) const { return (folder_ / name).string() + ": "; }

  /// The settings of a file beside tokenizer.json; nothing where there is none.
  std::optional<nlohmann::json> settings_of(const char* name) const {
    const fs::path file = folder_ / name;
    std::error_code failed;
    if (!fs::exists(file, failed)) return std::nullopt;
    return checkpoint::parse_json_object(checkpoint::InputFile(file).text(max_settings), file.string(), max_depth);
  }

  [[noreturn]] void refuse_other_tokenizers() const {
    std::string found = "none";
    std::error_code failed;
    for (const char* other : {"tokenizer.model", "vocab.json", "tekken.json", "spiece.model"})
      if (fs::exists(folder_ / other, failed)) found = std::string("no tokenizer.json, but ") + other;
    throw input_error(folder_.string(), "the folder holds no tokenizer that is read", "tokenizer.json", found);
  }

  void refuse_length(const JsonNode& node) const {
    node.fail("texts would be cut or filled up, which prompts must not be", "null", describe(node.json()));
  }

  static std::string splits_text(const JsonNode& root) {
    const auto node = root.find("pre_tokenizer");
    return node ? node->at("type").string() : "none";
  }

  void put_token(const JsonNode& node, const std::string& text, std::int32_t id, TokenType type) {
    const auto place = static_cast<std::size_t>(id);
    if (text.size() > max_token_bytes)
      node.fail("a token is too long", "at most " + std::to_string(max_token_bytes) + " bytes",
                std::to_string(text.size()));
    if (place >= data_.tokens.size()) {
      if (place >= max_tokens) node.fail("the id is too large", "below 2^22", std::to_string(id));
      data_.tokens.resize(place + 1);
      data_.types.resize(place + 1, TokenType::normal);
      there_.resize(place + 1, false);
    }
    if (there_[place])
      node.fail("two tokens have the same id", "each id once",
                std::to_string(id) + ": " + checkpoint::in_quotes(data_.tokens[place]) + " and " +
                    checkpoint::in_quotes(text));
    there_[place] = true;
    data_.tokens[place] = text;
    data_.types[place] = type;
    ids_.emplace(text, id);
  }

  void read_model(const JsonNode& model) {
    const JsonNode type = model.at("type");
    data_.kind = type.string();
    if (data_.kind == "BPE") {
      read_bpe(model);
    } else if (data_.kind == "Unigram") {
      read_unigram(model);
    } else {
      type.fail("this model is not supported", "BPE or Unigram", checkpoint::in_quotes(data_.kind));
    }
  }

  void read_bpe(const JsonNode& model) {
    data_.model = "bpe";
    const JsonNode vocabulary = model.at("vocab");
    if (!vocabulary.json().is_object()) vocabulary.wrong("an object of ids by token");
    for (const auto& [text, id] : vocabulary.json().items()) {
      if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() >= static_cast<double>(max_tokens))
        JsonNode(id, vocabulary.path() + "[" + checkpoint::in_quotes(text) + "]").wrong("an id below 2^22");
      const auto number = id.get<std::int32_t>();
      const auto place = static_cast<std::size_t>(number);
      if (text.size() > max_token_bytes || (place < there_.size() && there_[place]))
        put_token(JsonNode(id, vocabulary.path() + "[" + checkpoint::in_quotes(text) + "]"), text, number,
                  TokenType::normal);  // says what is wrong
      put_token(vocabulary, text, number, TokenType::normal);
    }
    if (data_.tokens.empty()) vocabulary.wrong("at least one token");
    read_merges(model.at("merges"));
    if (const auto dropout = model.find("dropout"); dropout && dropout->number() != 0)
      dropout->fail("merges that are left out by chance are not supported", "null", describe(dropout->json()));
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const auto node = model.find(key); node && !node->string().empty())
        node->fail("a mark inside of words is not supported", "null or \"\"", checkpoint::in_quotes(node->string()));
    if (const auto unknown = model.find("unk_token")) data_.unknown = token_of(*unknown);
    data_.fuse_unknown = model.boolean_or("fuse_unk", false);
    data_.byte_fallback = model.boolean_or("byte_fallback", false);
    data_.ignore_merges = model.boolean_or("ignore_merges", false);
  }

  void read_merges(const JsonNode& merges) {
    const std::size_t count = merges.size();
    data_.merges.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const nlohmann::json& merge = merges.json()[i];
      std::string left, right;
      if (merge.is_string()) {
        const auto& text = merge.get_ref<const std::string&>();
        const std::size_t space = text.find(' ');
        if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
          merges[i].wrong("two tokens with one space between them");
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get_ref<const std::string&>();
        right = merge[1].get_ref<const std::string&>();
      } else {
        merges[i].wrong("a string or a pair of strings");
      }
      for (const std::string& part : {left, right, left + right})
        if (!ids_.contains(part))
          merges[i].fail("a merge has a part, or makes a token, that is not in the vocabulary", "tokens of model.vocab",
                         checkpoint::in_quotes(part));
      data_.merges.emplace_back(std::move(left), std::move(right));
    }
  }

  void read_unigram(const JsonNode& model) {
    data_.model = "unigram";
    const JsonNode vocabulary = model.at("vocab");
    const std::size_t count = vocabulary.size();
    if (count == 0 || count > max_tokens) vocabulary.wrong("1 to 2^22 tokens");
    for (std::size_t i = 0; i < count; ++i) {
      const nlohmann::json& entry = vocabulary.json()[i];
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number() ||
          !std::isfinite(entry[1].get<double>()))
        vocabulary[i].wrong("a pair of token and score");
      put_token(vocabulary, entry[0].get_ref<const std::string&>(), static_cast<std::int32_t>(i), TokenType::normal);
      data_.scores.push_back(entry[1].get<double>());
    }
    if (const auto unknown = model.find("unk_id")) {
      data_.unknown = unknown->id();
      if (static_cast<std::size_t>(data_.unknown) >= count)
        unknown->fail("the id lies outside the vocabulary", "0 to " + std::to_string(count - 1),
                      std::to_string(data_.unknown));
    }
    data_.byte_fallback = model.boolean_or("byte_fallback", false);
    data_.fuse_unknown = true;
  }

  std::int32_t token_of(const JsonNode& node) const {
    const auto found = ids_.find(node.string());
    if (found == ids_.end())
      node.fail("the token is not in the vocabulary", "one of its tokens", checkpoint::in_quotes(node.string()));
    return found->second;
  }

  /// Flags of an added token; `special` is what special_tokens_map's entries have.
  AddedToken flags_of(const JsonNode& node, std::int32_t id, bool special) const {
    AddedToken token{.id = id};
    token.special = node.boolean_or("special", special);
    token.lstrip = node.boolean_or("lstrip", false);
    token.rstrip = node.boolean_or("rstrip", false);
    token.single_word = node.boolean_or("single_word", false);
    token.normalized = node.boolean_or("normalized", !token.special);
    return token;
  }

  void add(const JsonNode& node, const std::string& text, AddedToken token) {
    const auto place = static_cast<std::size_t>(token.id);
    if (const auto known = ids_.find(text); known != ids_.end()) {
      if (known->second != token.id)
        node.fail("a token has two ids", std::to_string(known->second), std::to_string(token.id));
    } else {
      put_token(node, text, token.id, TokenType::normal);
    }
    data_.types[place] = token.special ? TokenType::control : TokenType::user_defined;
    if (const auto [at, is_new] = added_at_.emplace(token.id, data_.added.size()); is_new)
      data_.added.push_back(token);
    else
      data_.added[at->second] = token;
  }

  void read_added(const JsonNode& root, const nlohmann::json* settings) {
    if (const auto list = root.find("added_tokens")) {
      const std::size_t count = list->size();
      std::set<std::int32_t> seen;
      for (std::size_t i = 0; i < count; ++i) {
        const JsonNode node = (*list)[i];
        const std::int32_t id = node.at("id").id();
        if (!seen.insert(id).second) node.fail("two added tokens have the same id", "each id once", std::to_string(id));
        add(node, node.at("content").string(), flags_of(node, id, false));
      }
    }
    if (settings == nullptr) return;
    // What tokenizer_config.json says of a token stands above tokenizer.json, as in transformers.
    const JsonNode config(*settings, place_of("tokenizer_config.json"));
    if (const auto map = config.find("added_tokens_decoder")) {
      if (!map->json().is_object()) map->wrong("an object of tokens by id");
      for (const auto& [key, value] : map->json().items()) {
        const JsonNode node(value, map->path() + "[" + checkpoint::in_quotes(key) + "]");
        if (key.empty() || key.size() > 7 || key.find_first_not_of("0123456789") != std::string::npos)
          node.fail("the key is no token id", "digits", checkpoint::in_quotes(key));
        const std::int32_t id = std::stoi(key);
        const std::string& text = node.at("content").string();
        const auto place = static_cast<std::size_t>(id);
        if (place < there_.size() && there_[place] && data_.tokens[place] != text)
          node.fail("tokenizer.json has another token of this id", checkpoint::in_quotes(data_.tokens[place]),
                    checkpoint::in_quotes(text));
        add(node, text, flags_of(node, id, false));
      }
    }
  }

  void refuse_holes(const JsonNode& root) const {
    const auto hole = std::ranges::find(there_, false);
    if (hole == there_.end()) return;
    root.at("model").at("vocab").fail("an id has no token",
                                      "ids from 0 to " + std::to_string(there_.size() - 1) + ", each once",
                                      "no token " + std::to_string(hole - there_.begin()));
  }

  /// A special token of the settings: its text, or an object with its `content`. -1 where it is absent.
  std::int32_t special_token(const JsonNode& settings, const char* key) const {
    const auto node = settings.find(key);
    if (!node) return -1;
    const JsonNode text = node->json().is_object() ? node->at("content") : *node;
    const auto found = ids_.find(text.string());
    return found == ids_.end() ? -1 : found->second;
  }

  void read_settings(const JsonNode& settings) {
    data_.bos = special_token(settings, "bos_token");
    const auto add_bos = settings.find("add_bos_token"), add_eos = settings.find("add_eos_token");
    if (add_eos && add_eos->boolean())
      add_eos->fail("an end token behind every prompt is not supported", "false", "true");
    if (add_bos || add_eos) {  // stands above the post-processor
      data_.prefix.clear();
      if (add_bos && add_bos->boolean() && data_.bos >= 0) data_.prefix = {data_.bos};
    }
    if (const auto split = settings.find("split_special_tokens"); split && split->boolean())
      split->fail("control tokens that are never parsed are not supported", "false", "true");
    const auto prefix = settings.find("add_prefix_space");
    if (!prefix) return;
    bool has_prefix = std::ranges::any_of(
        data_.normalizers, [](const NormalizerStep& step) { return step.kind == NormalizerStep::Kind::prepend; });
    for (const SplitStep& step : data_.splits)
      has_prefix |=
          step.prefix_space || (step.kind == SplitStep::Kind::metaspace && step.prepend != SplitStep::Prepend::never);
    if (prefix->boolean() != has_prefix)
      prefix->fail("tokenizer.json does otherwise", has_prefix ? "true" : "false", has_prefix ? "false" : "true");
  }

  /// Those of the generation's settings, else of the model's, and the tokenizer's own.
  void read_end_tokens(const nlohmann::json* settings) {
    const auto add = [&](std::int32_t id) {
      if (id >= 0 && std::ranges::find(data_.end_tokens, id) == data_.end_tokens.end()) data_.end_tokens.push_back(id);
    };
    const auto add_ids = [&](const JsonNode& node) {
      const bool list = node.json().is_array();
      for (std::size_t i = 0; i < (list ? node.size() : 1); ++i) {
        const JsonNode one = list ? node[i] : node;
        const std::int32_t id = one.id();
        if (static_cast<std::size_t>(id) >= data_.tokens.size()) continue;  // an embedding of more rows may have it
        add(id);
      }
    };
    bool found = false;
    for (const char* name : {"generation_config.json", "config.json"}) {
      const auto json = found ? std::nullopt : settings_of(name);
      if (!json) continue;
      const JsonNode root(*json, place_of(name));
      if (const auto node = root.find("eos_token_id")) {
        add_ids(*node);
        found = true;
      } else if (const auto text = root.find("text_config"); text && text->json().is_object()) {
        if (const auto nested = text->find("eos_token_id")) {
          add_ids(*nested);
          found = true;
        }
      }
    }
    if (settings != nullptr) add(special_token(JsonNode(*settings, place_of("tokenizer_config.json")), "eos_token"));
    if (const auto map = settings_of("special_tokens_map.json")) {
      const JsonNode root(*map, place_of("special_tokens_map.json"));
      add(special_token(root, "eos_token"));
      if (data_.bos < 0) data_.bos = special_token(root, "bos_token");
    }
  }

  fs::path folder_;
  TokenizerData data_;
  std::vector<bool> there_;  ///< by id
  std::unordered_map<std::string, std::int32_t> ids_;
  std::unordered_map<std::int32_t, std::size_t> added_at_;  ///< places in data_.added, by id
};

}  // namespace

TokenizerData read_json_tokenizer(const checkpoint::Checkpoint& checkpoint) {
  return JsonReader(checkpoint.path()).read();
}

}  // namespace headroom::tokenizer
