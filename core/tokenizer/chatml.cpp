// SPDX-License-Identifier: Apache-2.0
// ChatML templates: the Jinja source is cut into statements and outputs and must have ChatML's shape: a loop over the
// messages with an optional default system message, then the generation prompt. Anything else is left to jinja2, so
// that no prompt is rendered differently from what the model was trained on.
#include "tokenizer/chatml.h"

#include <algorithm>

namespace headroom::tokenizer {
namespace {

struct Item {
  enum class Kind { text, output, statement } kind;
  std::string body;
};

using Part = ChatMl::Part;

std::string without_spaces_outside_quotes(std::string_view text) {
  std::string out;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0 && c == '\\' && i + 1 < text.size()) {
      out += c;
      out += text[++i];
      continue;
    }
    if (c == '\'' || c == '"') {
      if (quote == 0)
        quote = c;
      else if (quote == c)
        quote = 0;
      out += quote == 0 || quote == c ? '\'' : c;
      continue;
    }
    if (quote != 0 || std::string_view(" \t\r\n").find(c) == std::string_view::npos) out += c;
  }
  return out;
}

/// Cuts the source at {{ }}, {% %} and {# #}, with white space as transformers sets it: trim_blocks, lstrip_blocks, and
/// the minus signs. nullopt where a tag does not end.
std::optional<std::vector<Item>> cut(std::string_view source) {
  constexpr std::string_view white = " \t\r\n";
  std::vector<Item> items;
  bool strip_left = false, after_block = false;
  while (!source.empty()) {
    std::size_t open = source.find('{');
    while (open != std::string_view::npos &&
           (open + 1 == source.size() || std::string_view("{%#").find(source[open + 1]) == std::string_view::npos))
      open = source.find('{', open + 1);
    std::string text(source.substr(0, open));
    const char tag = open == std::string_view::npos ? 0 : source[open + 1];
    const bool minus = tag != 0 && open + 2 < source.size() && source[open + 2] == '-';
    if (strip_left)
      text.erase(0, std::min(text.find_first_not_of(white), text.size()));
    else if (after_block && text.starts_with('\n'))
      text.erase(0, 1);
    if (minus) {
      const std::size_t last = text.find_last_not_of(white);
      text.erase(last == std::string::npos ? 0 : last + 1);
    } else if (tag == '%' || tag == '#') {
      const std::size_t last = text.find_last_not_of(" \t");
      if (last == std::string::npos ? items.empty() || after_block : text[last] == '\n')
        text.erase(last == std::string::npos ? 0 : last + 1);
    }
    if (!text.empty()) items.push_back({Item::Kind::text, text});
    if (tag == 0) break;
    const std::string_view close = tag == '{' ? "}}" : tag == '%' ? "%}" : "#}";
    const std::size_t end = source.find(close, open + 2);
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view body = source.substr(open + 2, end - open - 2);
    if (minus && !body.empty()) body.remove_prefix(1);
    strip_left = body.ends_with('-');
    if (strip_left) body.remove_suffix(1);
    if (tag != '#') {
      items.push_back({tag == '{' ? Item::Kind::output : Item::Kind::statement, without_spaces_outside_quotes(body)});
    }
    after_block = tag != '{';
    source.remove_prefix(end + 2);
  }
  return items;
}

/// 'literals', message['role'] and message['content'] joined by +. False for anything else.
bool parse_output(std::string_view body, std::vector<Part>& parts) {
  while (true) {
    if (body.starts_with('\'')) {
      std::string literal;
      std::size_t i = 1;
      for (; i < body.size() && body[i] != '\''; ++i) {
        if (body[i] != '\\' || i + 1 == body.size()) {
          literal += body[i];
          continue;
        }
        switch (body[++i]) {
          case 'n':
            literal += '\n';
            break;
          case 't':
            literal += '\t';
            break;
          case '\\':
            literal += '\\';
            break;
          case '\'':
            literal += '\'';
            break;
          case '"':
            literal += '"';
            break;
          default:
            return false;
        }
      }
      if (i >= body.size()) return false;
      body.remove_prefix(i + 1);
      parts.push_back({Part::Kind::literal, std::move(literal)});
    } else {
      const auto take = [&](std::string_view expression, Part::Kind kind) {
        if (!body.starts_with(expression)) return false;
        body.remove_prefix(expression.size());
        parts.push_back({kind, {}});
        return true;
      };
      if (!take("message['role']", Part::Kind::role) && !take("message.role", Part::Kind::role) &&
          !take("message['content']", Part::Kind::content) && !take("message.content", Part::Kind::content))
        return false;
    }
    if (body.empty()) return true;
    if (!body.starts_with('+')) return false;
    body.remove_prefix(1);
  }
}

class ShapeReader {
 public:
  explicit ShapeReader(const std::vector<Item>& items) : items_(items) {}

  std::optional<ChatMl> read() {
    ChatMl shape;
    if (statement("ifnotadd_generation_promptisdefined") &&
        !(statement("setadd_generation_prompt=false") && statement("endif")))
      return std::nullopt;
    if (!statement("formessageinmessages")) return std::nullopt;
    if (statement("ifloop.firstandmessages[0]['role']!='system'") ||
        statement("ifloop.firstandmessages[0].role!='system'")) {
      if (!literal(shape.default_system) || !statement("endif")) return std::nullopt;
    }
    if (!parts(shape.message) || !statement("endfor")) return std::nullopt;
    if (!statement("ifadd_generation_prompt") || !literal(shape.generation) || !statement("endif")) return std::nullopt;
    if (at_ != items_.size()) return std::nullopt;
    const auto is_content = [](const Part& part) { return part.kind == Part::Kind::content; };
    const bool chatml = shape.message.front().literal == "<|im_start|>" && shape.generation.starts_with("<|im_start|>");
    if (!chatml || std::count_if(shape.message.begin(), shape.message.end(), is_content) != 1) return std::nullopt;
    return shape;
  }

 private:
  bool statement(std::string_view body) {
    if (at_ == items_.size() || items_[at_].kind != Item::Kind::statement || items_[at_].body != body) return false;
    ++at_;
    return true;
  }
  /// Outputs and plain text up to the next statement; at least one.
  bool parts(std::vector<Part>& out) {
    for (; at_ < items_.size() && items_[at_].kind != Item::Kind::statement; ++at_) {
      if (items_[at_].kind == Item::Kind::text)
        out.push_back({Part::Kind::literal, items_[at_].body});
      else if (!parse_output(items_[at_].body, out))
        return false;
    }
    return !out.empty();
  }
  bool literal(std::string& out) {
    std::vector<Part> found;
    if (!parts(found)) return false;
    for (const Part& part : found) {
      if (part.kind != Part::Kind::literal) return false;
      out += part.literal;
    }
    return true;
  }

  const std::vector<Item>& items_;
  std::size_t at_ = 0;
};

/// "text" of "<|im_start|>system\ntext<|im_end|>\n", as far as it is built like that.
std::string without_marks(std::string_view turn) {
  constexpr std::string_view start = "<|im_start|>system\n", end = "<|im_end|>";
  if (turn.starts_with(start)) turn.remove_prefix(start.size());
  return std::string(turn.substr(0, turn.rfind(end)));
}

}  // namespace

std::optional<ChatMl> read_chatml(std::string_view source) {
  const auto items = cut(source);
  return items ? ShapeReader(*items).read() : std::nullopt;
}

RenderedPrompt render_chatml(const ChatMl& shape, const std::vector<ChatMessage>& messages) {
  RenderedPrompt out;
  const auto add = [&out](const std::string& text, std::optional<std::size_t> message) {
    if (text.empty()) return;
    const auto begin = static_cast<std::int64_t>(out.text.size());
    out.text += text;
    const auto end = static_cast<std::int64_t>(out.text.size());
    if (!out.segments.empty() && !message && !out.segments.back().message)
      out.segments.back().bytes.end = end;
    else
      out.segments.push_back({{begin, end}, message});
  };
  if (!messages.empty() && messages.front().role != "system") {
    add(shape.default_system, {});
    out.default_system = without_marks(shape.default_system);
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& [role, content] = messages[i];
    for (const Part& part : shape.message) {
      switch (part.kind) {
        case Part::Kind::literal:
          add(part.literal, {});
          break;
        case Part::Kind::role:
          add(role, {});
          break;
        case Part::Kind::content:
          add(content, i);
          break;
      }
    }
  }
  add(shape.generation, {});
  return out;
}

}  // namespace headroom::tokenizer
