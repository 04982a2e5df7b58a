// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/chat_template.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/json_fields.h"
#include "base/utf8.h"
#include "checkpoint/input_file.h"
#include "checkpoint/json_input.h"
#include "checkpoint/metadata.h"
#include "tokenizer/chatml.h"
#include "tokenizer/json_node.h"
#include "tokenizer/template_process.h"

namespace headroom::tokenizer {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr std::string_view template_key = "tokenizer.chat_template";
constexpr std::uint64_t max_template = 1 << 20, max_settings_file = 16 << 20;  // bytes
constexpr std::size_t max_rendered = std::size_t{64} << 20;
constexpr const char* way_on = "a prompt without --chat";

struct TemplateSource {
  std::string text;
  std::string place;  ///< for messages
};

bool is_folder(const checkpoint::Checkpoint& checkpoint) {
  return checkpoint.format() == checkpoint::Format::safetensors;
}

std::optional<Json> settings_of(const checkpoint::Checkpoint& checkpoint) {
  const fs::path file = checkpoint.path() / "tokenizer_config.json";
  std::error_code failed;
  if (!is_folder(checkpoint) || !fs::exists(file, failed)) return std::nullopt;
  return checkpoint::parse_json_object(checkpoint::InputFile(file).text(max_settings_file), file.string(), 24);
}

/// A text, or a list of {"name", "template"}, of which the default one counts.
std::optional<std::string> named_template(const JsonNode& node) {
  if (!node.json().is_array()) return node.string();
  for (std::size_t i = 0; i < node.size(); ++i)
    if (node[i].at("name").string() == "default") return node[i].at("template").string();
  node.fail("no template of the list is the default one", "an entry of the name 'default'", describe(node.json()));
}

std::optional<TemplateSource> find_source(const checkpoint::Checkpoint& checkpoint) {
  std::optional<TemplateSource> found;
  if (!is_folder(checkpoint)) {
    if (auto text = checkpoint.get_string(template_key))
      found = {std::move(*text), checkpoint.path().string() + ": key '" + std::string(template_key) + "'"};
  } else {
    const fs::path file = checkpoint.path() / "chat_template.jinja";
    std::error_code failed;
    if (fs::exists(file, failed)) {
      found = {checkpoint::InputFile(file).text(max_template), file.string()};
    } else if (const auto settings = settings_of(checkpoint)) {
      const JsonNode root(*settings, (checkpoint.path() / "tokenizer_config.json").string() + ": ");
      if (const auto node = root.find("chat_template"))
        if (auto text = named_template(*node)) found = {std::move(*text), node->path()};
    }
  }
  if (found && found->text.size() > max_template)
    throw input_error(found->place, "the chat template is too long", "at most 1 MiB",
                      std::to_string(found->text.size()) + " bytes");
  if (found && first_invalid_utf8(found->text))
    throw input_error(found->place, "the chat template is not valid UTF-8", "UTF-8",
                      "another byte at offset " + std::to_string(*first_invalid_utf8(found->text)));
  return found;
}

/// The texts of special tokens, which transformers gives its templates by name.
Json special_variables(const checkpoint::Checkpoint& checkpoint) {
  Json variables = Json::object();
  constexpr std::array<std::pair<const char*, const char*>, 4> names = {
      {{"bos_token", "tokenizer.ggml.bos_token_id"},
       {"eos_token", "tokenizer.ggml.eos_token_id"},
       {"unk_token", "tokenizer.ggml.unknown_token_id"},
       {"pad_token", "tokenizer.ggml.padding_token_id"}}};
  if (is_folder(checkpoint)) {
    const auto settings = settings_of(checkpoint);
    if (!settings) return variables;
    const JsonNode root(*settings, (checkpoint.path() / "tokenizer_config.json").string() + ": ");
    for (const char* name :
         {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
      const auto node = root.find(name);
      if (node) variables[name] = node->json().is_object() ? node->at("content").string() : node->string();
    }
    return variables;
  }
  const auto tokens = checkpoint.get_strings("tokenizer.ggml.tokens");
  for (const auto& [name, key] : names) {
    const auto id = checkpoint.get_int(key);
    if (id && tokens && *id >= 0 && static_cast<std::size_t>(*id) < tokens->size()) {
      const std::string& text = (*tokens)[static_cast<std::size_t>(*id)];
      if (first_invalid_utf8(text))
        throw input_error(checkpoint.path().string() + ": key 'tokenizer.ggml.tokens', token " + std::to_string(*id),
                          "the text is not valid UTF-8", "UTF-8", "other bytes");
      variables[name] = text;
    }
  }
  return variables;
}

std::string line_text(const std::string& source, std::int64_t line) {
  std::size_t begin = 0;
  for (std::int64_t i = 1; i < line && begin != std::string::npos; ++i) {
    begin = source.find('\n', begin);
    if (begin != std::string::npos) ++begin;
  }
  return begin == std::string::npos ? "" : source.substr(begin, source.find('\n', begin) - begin);
}

[[noreturn]] void refuse(const TemplateSource& source, Fields& answer) {
  const std::string kind = answer.string("error", 32), said = answer.string("message");
  if (kind == "argument") {
    const auto used = answer.strings("used", 64);
    std::string list;
    for (const std::string& name : used)
      if (name != "messages" && name != "add_generation_prompt") list += (list.empty() ? "" : ", ") + name;
    throw Error(ErrorKind::usage, "the chat template does not use this argument",
                {"--template-arg", list.empty() ? "none" : "one of " + list, checkpoint::in_quotes(said)});
  }
  if (kind == "contents")
    throw input_error(
        source.place,
        "the chat template changes the messages, so that it cannot be told which parts of the prompt they are", way_on,
        "contents that are not there as they were written");
  if (kind == "limit")
    throw input_error(source.place, "the chat template " + said, "at most 1 GiB and 64 MiB of text", "more");
  const std::int64_t line = answer.integer_or("line", 0, 0, 1 << 30);
  const std::string what = kind == "raised"      ? "the chat template refuses this conversation: "
                           : kind == "syntax"    ? "the chat template has a syntax error: "
                           : kind == "sandbox"   ? "the chat template does what the sandbox forbids: "
                           : kind == "undefined" ? "the chat template uses what is not there: "
                                                 : "the chat template fails: ";
  throw input_error(source.place + (line > 0 ? ", line " + std::to_string(line) : ""),
                    what + checkpoint::in_quotes(said),
                    kind == "raised" ? "a conversation that it takes, or " + std::string(way_on) : way_on,
                    line > 0 ? checkpoint::in_quotes(line_text(source.text, line)) : "");
}

RenderedPrompt read_answer(const std::string& text, const TemplateSource& source, std::size_t messages) {
  const Json json = parse_json(text, source.place);
  Fields answer(json, source.place);
  if (answer.has("error")) refuse(source, answer);
  RenderedPrompt out;
  out.text = answer.string("text", 4 * max_rendered);
  if (first_invalid_utf8(out.text))
    throw input_error(source.place, "the rendered prompt is not valid UTF-8", "UTF-8", "other");
  const Json& segments = answer.array("segments", 1 << 20);
  std::int64_t at = 0;
  for (const Json& segment : segments) {
    const bool whole = segment.is_array() && segment.size() == 3 && segment[0].is_number_integer() &&
                       segment[1].is_number_integer() && (segment[2].is_null() || segment[2].is_number_unsigned());
    const std::int64_t begin = whole ? segment[0].get<std::int64_t>() : -1,
                       end = whole ? segment[1].get<std::int64_t>() : -1;
    if (begin != at || end <= begin || end > static_cast<std::int64_t>(out.text.size()) ||
        (!segment[2].is_null() && segment[2].get<std::size_t>() >= messages))
      throw input_error(source.place, "the pieces of the rendered prompt do not fit it", "pieces side by side",
                        describe(segment));
    out.segments.push_back({{begin, end}, {}});
    if (!segment[2].is_null()) out.segments.back().message = segment[2].get<std::size_t>();
    at = end;
  }
  if (at != static_cast<std::int64_t>(out.text.size()))
    throw input_error(source.place, "the pieces of the rendered prompt do not fit it", std::to_string(out.text.size()),
                      std::to_string(at));
  return out;
}

RenderedPrompt render_by_jinja(const checkpoint::Checkpoint& checkpoint, const TemplateSource& source,
                               const std::vector<ChatMessage>& messages, const TemplateArguments& arguments,
                               const JobContext& job) {
  Json list = Json::array(), given = Json::object();
  for (const auto& [role, content] : messages) {
    if (first_invalid_utf8(content))
      throw input_error("message " + std::to_string(list.size()), "the text is not valid UTF-8", "UTF-8",
                        "other bytes");
    list.push_back(Json::array({role, content}));
  }
  for (const auto& [name, value] : arguments) {
    if (first_invalid_utf8(name))
      throw Error(ErrorKind::usage, "the name is not valid UTF-8", {"--template-arg", "UTF-8", "other bytes"});
    given[name] = Json::parse(value);
  }
  const Json request = {{"template", source.text},
                        {"messages", std::move(list)},
                        {"variables", special_variables(checkpoint)},
                        {"arguments", std::move(given)},
                        {"most", max_rendered}};
  const auto answer = ask_template_process(request.dump(), source.place, job);
  if (!answer)
    throw input_error(source.place, "this chat template is not ChatML and needs Python with jinja2, which is not there",
                      "the environment that scripts/run makes, python3 with jinja2, or " + std::string(way_on),
                      "neither");
  return read_answer(*answer, source, messages.size());
}

void check_arguments(const TemplateArguments& arguments) {
  for (const auto& [name, value] : arguments) {
    for (const char* taken : {"messages", "add_generation_prompt", "tools", "documents", "bos_token", "eos_token"})
      if (name == taken)
        throw Error(ErrorKind::usage, "this argument is given by the program",
                    {"--template-arg", "another name", name});
    if (!Json::accept(value)) throw Error(ErrorKind::usage, "the value is no JSON", {"--template-arg", "JSON", value});
  }
}

}  // namespace

ChatTemplate find_chat_template(const checkpoint::Checkpoint& checkpoint) {
  const auto source = find_source(checkpoint);
  if (!source) return ChatTemplate::none;
  return read_chatml(source->text) ? ChatTemplate::known : ChatTemplate::other;
}

bool can_render_templates() {
  static const bool can = [] {
    try {
      return ask_template_process(R"({"probe": true})", "chat templates", {}).has_value();
    } catch (const Error&) {
      return false;
    }
  }();
  return can;
}

bool has_chat_template(const checkpoint::Checkpoint& checkpoint) {
  const ChatTemplate found = find_chat_template(checkpoint);
  return found == ChatTemplate::known || (found == ChatTemplate::other && can_render_templates());
}

std::vector<ByteRange> RenderedPrompt::contents() const {
  std::vector<ByteRange> ranges;
  for (const Segment& segment : segments)
    if (segment.message) ranges.push_back(segment.bytes);
  return ranges;
}

RenderedPrompt render_chat(const checkpoint::Checkpoint& checkpoint, const std::vector<ChatMessage>& messages,
                           const TemplateArguments& arguments, const JobContext& job) {
  const auto source = find_source(checkpoint);
  if (!source) {
    throw input_error(checkpoint.path().string(),
                      "the model has no chat template: it is a base model, or its file leaves it out", way_on,
                      "a chat");
  }
  check_arguments(arguments);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role.empty() || role.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") != std::string::npos)
      throw input_error("message " + std::to_string(i), "this is no role", "system, user, assistant or another word",
                        checkpoint::in_quotes(role));
  }
  if (const auto shape = read_chatml(source->text)) {
    if (!arguments.empty())
      throw Error(ErrorKind::usage, "the chat template does not use this argument",
                  {"--template-arg", "none", checkpoint::in_quotes(arguments.begin()->first)});
    return render_chatml(*shape, messages);
  }
  return render_by_jinja(checkpoint, *source, messages, arguments, job);
}

}  // namespace headroom::tokenizer
