// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/prompt.h"

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/chat_template.h"

namespace headroom::experiment {
namespace {

constexpr std::uintmax_t max_prompt_bytes = 16u << 20;
constexpr std::int64_t default_new_tokens = 16;  // of a prompt that is no task

std::string read_text(const std::string& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (error || !std::filesystem::exists(status))
    throw input_error(file, "cannot be read", "a text file", "no such file");
  if (!std::filesystem::is_regular_file(status))
    throw input_error(file, "cannot be read", "a text file", "a folder or device");
  const auto bytes = std::filesystem::file_size(file, error);
  if (error || bytes > max_prompt_bytes)
    throw input_error(file, "is too large for a prompt", std::to_string(max_prompt_bytes) + " bytes at most",
                      std::to_string(bytes) + " bytes");
  std::ifstream stream(file, std::ios::binary);
  std::string text(static_cast<std::size_t>(bytes), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(bytes));
  if (!stream) throw input_error(file, "cannot be read", std::to_string(bytes) + " bytes", "fewer");
  return text;
}

void check_text(const std::string& text, const std::string& place) {
  if (text.empty()) throw input_error(place, "is empty", "at least one character", "0 bytes");
  if (text.size() > max_prompt_bytes)
    throw input_error(place, "is too large for a prompt", std::to_string(max_prompt_bytes) + " bytes at most",
                      std::to_string(text.size()) + " bytes");
  if (const auto nul = text.find('\0'); nul != std::string::npos)
    throw input_error(place, "is binary, not text", "UTF-8 text", "a zero byte at offset " + std::to_string(nul));
  if (const auto bad = first_invalid_utf8(text))
    throw input_error(place, "is not valid UTF-8", "UTF-8 text", "an invalid byte at offset " + std::to_string(*bad));
}

std::vector<tokenizer::ChatMessage> messages(const protocol::RunSpec& spec, const std::string& user) {
  std::vector<tokenizer::ChatMessage> list;
  if (spec.system_file) {
    const auto system = read_text(*spec.system_file);
    if (!system.empty()) check_text(system, *spec.system_file);
    list.push_back({"system", system});
  }
  list.push_back({"user", user});
  return list;
}

using Tokens = std::vector<tokenizer::Token>;

/// `text` is the rendered chat and, behind it, what the answer begins with. Control tokens come from the template
/// alone: what looks like one in a message or in the answer's beginning stays text.
Tokens encode_chat(const tokenizer::Tokenizer& tokenizer, const tokenizer::RenderedPrompt& rendered,
                   const std::string& text) {
  auto literal = rendered.contents();
  literal.push_back({static_cast<std::int64_t>(rendered.text.size()), static_cast<std::int64_t>(text.size())});
  return tokenizer.encode(text, {.parse_special = true, .literal = std::move(literal)});
}

/// What the template and the system message add around the user's text, in tokens.
std::int64_t chat_overhead(const protocol::RunSpec& spec, Session& session) {
  const auto rendered = tokenizer::render_chat(session.checkpoint(), messages(spec, ""));
  return static_cast<std::int64_t>(encode_chat(session.tokenizer(), rendered, rendered.text).size());
}

}  // namespace

PreparedPrompt prepare_prompt(const protocol::RunSpec& spec, Session& session) {
  PreparedPrompt prompt;
  const auto context = session.config().context_length;
  const auto& tokenizer = session.tokenizer();
  std::string place = spec.prompt        ? "--prompt"
                      : spec.prompt_file ? *spec.prompt_file
                                         : "--task " + spec.task.value_or("");
  std::string text, prefix = spec.answer_prefix;
  prompt.chat = spec.chat;
  if (spec.task) {
    if (spec.length > context)
      throw input_error("--length", "is too long for the model's context", std::to_string(context) + " tokens at most",
                        std::to_string(spec.length) + " tokens");
    prompt.chat = prompt.chat || tokenizer::has_chat_template(session.checkpoint());
    auto overhead = prompt.chat ? chat_overhead(spec, session) : 0;
    overhead += static_cast<std::int64_t>(tokenizer.encode(spec.answer_prefix, {}).size());  // in place of the task's own
    prompt.sample = tasks::make_sample(*spec.task, spec.length, spec.seed, tokenizer, overhead, spec.max_new_tokens);
    prompt.max_new_tokens = prompt.sample->max_new_tokens;
    text = prompt.sample->prompt;
    if (prefix.empty()) prefix = prompt.sample->answer_prefix;
  } else {
    prompt.max_new_tokens = spec.max_new_tokens.value_or(default_new_tokens);
    text = spec.prompt ? *spec.prompt : read_text(*spec.prompt_file);
  }
  check_text(text, place);
  if (!prefix.empty()) check_text(prefix, "--answer-prefix");

  Tokens tokens;
  if (prompt.chat) {
    const auto rendered = tokenizer::render_chat(session.checkpoint(), messages(spec, text));
    prompt.table.text = rendered.text + prefix;
    tokens = encode_chat(tokenizer, rendered, prompt.table.text);
  } else {
    prompt.table.text = text + prefix;
    tokens = tokenizer.encode(prompt.table.text, {});
  }
  if (tokens.empty()) throw input_error(place, "is empty", "at least one token", "none");
  const auto length = static_cast<std::int64_t>(tokens.size());
  if (length > context)
    throw input_error(place, "is too long for the model's context", std::to_string(context) + " tokens at most",
                      std::to_string(length) + " tokens");
  for (const auto& token : tokens) {
    prompt.table.ids.push_back(token.id);
    prompt.table.begin.push_back(token.begin);
    prompt.table.end.push_back(token.end);
  }
  return prompt;
}

}  // namespace headroom::experiment
