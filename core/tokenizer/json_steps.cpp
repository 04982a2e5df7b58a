// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/json_steps.h"

#include "checkpoint/metadata.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

constexpr std::size_t max_steps = 64, max_content = 1024;

bool is_number_character(char32_t point) {
  return class_of(point) == CodePointClass::number;
}
bool is_punctuation_character(char32_t point) {
  const bool ascii_symbol = point < 0x80 && class_of(point) == CodePointClass::symbol;
  return ascii_symbol || class_of(point) == CodePointClass::punctuation;
}

[[noreturn]] void unknown_type(const JsonNode& node, const char* what, const char* known) {
  node.at("type").fail(std::string("this ") + what + " is not supported", known,
                       checkpoint::in_quotes(node.at("type").string()));
}

/// Calls each(member) for the members of a Sequence, however nested, else for the node itself.
template <class Each>
void for_each_step(const JsonNode& node, const char* key, std::size_t& count, const Each& each) {
  if (node.at("type").string() != "Sequence") {
    if (++count > max_steps) node.fail("there are too many steps", "at most 64", "more");
    return each(node);
  }
  const JsonNode list = node.at(key);
  for (std::size_t i = 0; i < list.size(); ++i) for_each_step(list[i], key, count, each);
}

std::string short_string(const JsonNode& node) {
  if (node.string().size() > max_content)
    node.fail("the text is too long", "at most 1024 bytes", std::to_string(node.string().size()));
  return node.string();
}

/// {"String": text} or {"Regex": pattern}.
std::shared_ptr<const Matcher> read_pattern(const JsonNode& node) {
  if (const auto text = node.find("String")) {
    if (text->string().empty()) text->wrong("a text that is not empty");
    return literal_matcher(short_string(*text));
  }
  if (const auto pattern = node.find("Regex")) return pattern_matcher(pattern->string(), pattern->path());
  node.wrong("{\"String\": …} or {\"Regex\": …}");
}

Behaviour read_behaviour(const JsonNode& node) {
  const std::string& name = node.string();
  if (name == "Removed") return Behaviour::removed;
  if (name == "Isolated") return Behaviour::isolated;
  if (name == "MergedWithPrevious") return Behaviour::merged_with_previous;
  if (name == "MergedWithNext") return Behaviour::merged_with_next;
  if (name == "Contiguous") return Behaviour::contiguous;
  node.wrong("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

void read_normalizer_step(const JsonNode& node, TokenizerData& data) {
  using Kind = NormalizerStep::Kind;
  const std::string& type = node.at("type").string();
  NormalizerStep step;
  if (type == "NFC") {
    step.kind = Kind::nfc;
  } else if (type == "NFD") {
    step.kind = Kind::nfd;
  } else if (type == "NFKC") {
    step.kind = Kind::nfkc;
  } else if (type == "NFKD") {
    step.kind = Kind::nfkd;
  } else if (type == "Lowercase") {
    step.kind = Kind::lowercase;
  } else if (type == "Strip") {
    step.kind = Kind::strip;
    step.left = node.at("strip_left").boolean();
    step.right = node.at("strip_right").boolean();
  } else if (type == "Prepend") {
    step.kind = Kind::prepend;
    step.content = short_string(node.at("prepend"));
  } else if (type == "Replace") {
    step.kind = Kind::replace;
    step.what = read_pattern(node.at("pattern"));
    step.content = short_string(node.at("content"));
  } else {
    unknown_type(node, "normalizer", "NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Sequence");
  }
  data.normalizers.push_back(std::move(step));
}

void read_split_step(const JsonNode& node, TokenizerData& data) {
  const std::string& type = node.at("type").string();
  SplitStep step;
  const auto push_class = [&](bool (*wanted)(char32_t), bool runs, Behaviour behaviour) {
    step.what = class_matcher(wanted, runs);
    step.behaviour = behaviour;
  };
  if (data.byte_level) node.fail("a step behind ByteLevel is not supported", "ByteLevel last", type);
  if (type == "ByteLevel") {
    step.kind = SplitStep::Kind::byte_level;
    step.prefix_space = node.boolean_or("add_prefix_space", true);
    if (node.boolean_or("use_regex", true))
      step.what = scanner_matcher(
          [](std::span<const char32_t> text, std::vector<std::size_t>& ends) { split_gpt2(text, 0, ends); });
    data.byte_level = true;
  } else if (type == "Split") {
    step.what = read_pattern(node.at("pattern"));
    step.behaviour = read_behaviour(node.at("behavior"));
    step.invert = node.boolean_or("invert", false);
  } else if (type == "Digits") {
    const bool each = node.boolean_or("individual_digits", false);
    push_class(is_number_character, false, each ? Behaviour::isolated : Behaviour::contiguous);
  } else if (type == "Punctuation") {
    const auto behaviour = node.find("behavior");
    push_class(is_punctuation_character, false, behaviour ? read_behaviour(*behaviour) : Behaviour::isolated);
  } else if (type == "WhitespaceSplit") {
    push_class(is_white_space, false, Behaviour::removed);
  } else if (type == "Whitespace") {  // \w+|[^\w\s]+
    push_class(is_white_space, false, Behaviour::removed);
    data.splits.push_back(step);
    push_class(is_word_character, true, Behaviour::isolated);
  } else if (type == "CharDelimiterSplit") {
    const std::string delimiter = short_string(node.at("delimiter"));
    if (delimiter.empty()) node.at("delimiter").wrong("one character");
    step.what = literal_matcher(delimiter);
    step.behaviour = Behaviour::removed;
  } else if (type == "Metaspace") {
    step.kind = SplitStep::Kind::metaspace;
    step.replacement = node.at("replacement").string();
    if (step.replacement.empty() || point_at(step.replacement, 0).second != step.replacement.size())
      node.at("replacement").wrong("one character");
    const auto scheme = node.find("prepend_scheme");
    const std::string name = scheme ? scheme->string() : node.boolean_or("add_prefix_space", true) ? "always" : "never";
    using Prepend = SplitStep::Prepend;
    if (name != "always" && name != "first" && name != "never") scheme->wrong("always, first or never");
    step.prepend = name == "always" ? Prepend::always : name == "first" ? Prepend::first : Prepend::never;
    step.cut = node.boolean_or("split", true);
    step.what = literal_matcher(step.replacement);
    step.behaviour = Behaviour::merged_with_next;
  } else {
    unknown_type(node, "pre-tokenizer",
                 "ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit, Metaspace, "
                 "Sequence");
  }
  data.splits.push_back(std::move(step));
}

void read_template(const JsonNode& node, TokenizerData& data) {
  const JsonNode single = node.at("single");
  bool text_seen = false;
  for (std::size_t i = 0; i < single.size(); ++i) {
    const JsonNode piece = single[i];
    if (const auto sequence = piece.find("Sequence")) {
      if (text_seen || sequence->at("id").string() != "A") sequence->wrong("the text A, once");
      text_seen = true;
      continue;
    }
    const JsonNode name = piece.at("SpecialToken").at("id");
    if (text_seen)
      name.fail("a token behind every text is not supported: prompts are to be gone on with", "none",
                checkpoint::in_quotes(name.string()));
    const JsonNode tokens = node.at("special_tokens");
    const auto token = tokens.find(name.string().c_str());
    if (!token) tokens.fail("a token of the template is missing", checkpoint::in_quotes(name.string()), "none");
    const JsonNode ids = token->at("ids");
    for (std::size_t k = 0; k < ids.size(); ++k) {
      const std::int32_t id = ids[k].id();
      if (id >= static_cast<std::int32_t>(data.tokens.size()))
        ids[k].fail("the id lies outside the vocabulary", "0 to " + std::to_string(data.tokens.size() - 1),
                    std::to_string(id));
      data.prefix.push_back(id);
    }
  }
  if (!text_seen) single.wrong("a list with the text A");
}

}  // namespace

void read_normalizer(const JsonNode& node, TokenizerData& data) {
  std::size_t count = 0;
  for_each_step(node, "normalizers", count, [&](const JsonNode& step) { read_normalizer_step(step, data); });
}

void read_pre_tokenizer(const JsonNode& node, TokenizerData& data) {
  std::size_t count = 0;
  for_each_step(node, "pretokenizers", count, [&](const JsonNode& step) { read_split_step(step, data); });
}

void read_post_processor(const JsonNode& node, TokenizerData& data) {
  std::size_t count = 0;
  bool templated = false;
  for_each_step(node, "processors", count, [&](const JsonNode& step) {
    const std::string& type = step.at("type").string();
    if (type == "ByteLevel") return;  // moves offsets, which are ours
    if (type != "TemplateProcessing" || templated)
      unknown_type(step, "post-processor", "ByteLevel, TemplateProcessing (once), Sequence");
    templated = true;
    read_template(step, data);
  });
}

void read_decoder(const JsonNode& node, TokenizerData& data) {
  std::size_t count = 0;
  const auto set_space = [&](const JsonNode& where, const std::string& text) {
    if (!data.space.empty() && data.space != text) where.fail("two texts stand for a space", data.space, text);
    data.space = text;
  };
  for_each_step(node, "decoders", count, [&](const JsonNode& step) {
    const std::string& type = step.at("type").string();
    if (type == "ByteLevel") {
      if (!data.byte_level)
        step.fail("bytes are decoded that the pre-tokenizer does not make", "ByteLevel in both", type);
    } else if (type == "Replace") {
      const auto text = step.at("pattern").find("String");
      if (!text || step.at("content").string() != " ") step.wrong("a text that stands for a space");
      set_space(step, short_string(*text));
    } else if (type == "Metaspace") {
      set_space(step, step.at("replacement").string());
      const auto scheme = step.find("prepend_scheme");
      const bool never = scheme ? scheme->string() == "never" : !step.boolean_or("add_prefix_space", true);
      if (!never) data.strip_first = " ";
    } else if (type == "Strip") {
      const auto number = [&](const char* key) { return step.at(key).number(); };
      if (step.at("content").string() != " " || number("start") > 1 || number("stop") != 0)
        step.wrong("one space taken away from the start");
      if (number("start") == 1) data.strip_first = " ";
    } else if (type == "ByteFallback") {
      if (!data.byte_fallback)
        step.fail("bytes are decoded that the model does not make", "byte_fallback in both", type);
    } else if (type != "Fuse") {
      unknown_type(step, "decoder", "ByteLevel, Replace, Metaspace, Strip, ByteFallback, Fuse, Sequence");
    }
  });
}

}  // namespace headroom::tokenizer
