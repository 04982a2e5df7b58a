// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/prompt.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "experiment/run/prompt_text.h"
#include "tasks/haystack.h"
#include "tasks/prompt_file.h"
#include "tokenizer/chat_template.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t default_new_tokens = 16;  // of a prompt that is no task
constexpr std::size_t quoted_bytes = 200;        // of a template's own message

using Tokens = std::vector<tokenizer::Token>;

class PromptMaker {
 public:
  PromptMaker(const protocol::RunSpec& spec, Session& session, const JobContext& job)
      : spec_(spec), session_(session), job_(job), context_(session.config().context_length) {}

  std::int64_t tokens_around(bool chat) {
    prompt_.chat = chat;
    return tokens_around();
  }

  /// A prompt of a set that was read already.
  void give(const tasks::Sample& sample, const std::string& place) {
    given_ = true;
    name_in_set_ = place;
    prompt_.sample = sample;
    if (spec_.max_new_tokens) prompt_.sample->max_new_tokens = *spec_.max_new_tokens;
  }

  PreparedPrompt make() {
    prompt_.chat = spec_.chat;
    if (spec_.prompts) read_from_set();
    const bool of_set = spec_.prompts || given_;
    if (spec_.task || of_set) choose_rendering();
    if (spec_.system_file) read_system();
    std::string prefix = spec_.answer_prefix;
    const std::string text = spec_.task ? task_text(prefix) : of_set ? text_of_set(prefix) : own_text();
    if (!is_conversation()) check_prompt_text(text, place());
    if (!prefix.empty()) check_prompt_text(prefix, "--answer-prefix");
    const Tokens tokens = prompt_.chat ? chat_tokens(text, prefix) : plain_tokens(text + prefix);
    if (tokens.empty()) throw input_error(place(), "is empty", "at least one token", "none");
    fill_table(tokens);
    return std::move(prompt_);
  }

 private:
  std::string place() const {
    if (spec_.prompt) return "--prompt";
    if (given_) return name_in_set_;
    if (spec_.prompts) return *spec_.prompts + ": " + name_in_set_;
    return spec_.prompt_file ? *spec_.prompt_file : "--task " + spec_.task.value_or("");
  }
  void warn(std::string sentence) {
    if (!sentence.empty()) prompt_.warnings.push_back(std::move(sentence));
  }

  /// A task is a chat wherever the model has a template for one; a person who asked for a chat, or gave it a system
  /// message, gets one or a refusal.
  void choose_rendering() {
    if (tokenizer::has_chat_template(session_.checkpoint())) {
      prompt_.chat = true;
      return;
    }
    if (prompt_.chat) return;  // refused where it is rendered, with the reason
    const bool none = tokenizer::find_chat_template(session_.checkpoint()) == tokenizer::ChatTemplate::none;
    const std::string why = none ? "the model has no chat template"
                                 : "the model's chat template needs Python with jinja2, which is not there";
    if (is_conversation())
      throw input_error(place(), "is a conversation, and " + why, "a model whose chat template can be rendered",
                        session_.checkpoint().path().string());
    if (spec_.system_file || !spec_.template_arguments.empty())
      throw input_error(spec_.system_file ? "--system" : "--template-arg",
                        std::string(spec_.system_file ? "a system message" : "a template's argument") +
                            " has no place in a bare prompt, and " + why,
                        "a model whose chat template can be rendered", session_.checkpoint().path().string());
    warn(why + ": the " + (spec_.task ? "task" : "prompt") + " runs as a bare prompt");
  }

  bool is_conversation() const { return prompt_.sample && !prompt_.sample->messages.empty(); }

  void read_from_set() {
    tasks::PromptSet set = tasks::read_prompts(*spec_.prompts, {}, job_);
    const auto found = std::find_if(set.prompts.begin(), set.prompts.end(),
                                    [&](const tasks::FilePrompt& prompt) { return prompt.index == spec_.index; });
    if (found == set.prompts.end())
      throw input_error(*spec_.prompts, "has no prompt of this index",
                        "--index of one of its " + std::to_string(set.prompts.size()) + " prompts, e.g. " +
                            std::to_string(set.prompts.front().index),
                        std::to_string(spec_.index));
    name_in_set_ = found->name;
    for (std::string& note : set.warnings) warn(std::move(note));
    prompt_.sample = std::move(found->sample);
    if (spec_.max_new_tokens) prompt_.sample->max_new_tokens = *spec_.max_new_tokens;
  }

  std::string text_of_set(std::string& prefix) {
    prompt_.max_new_tokens = prompt_.sample->max_new_tokens;
    if (prefix.empty()) prefix = prompt_.sample->answer_prefix;
    return prompt_.sample->prompt;
  }

  void read_system() {
    if (is_conversation() && prompt_.sample->messages.front().role == "system")
      throw input_error("--system", "the conversation has a system message of its own", "one system message", place());
    system_ = read_prompt_file(*spec_.system_file, job_);
    if (!system_->empty()) check_prompt_text(*system_, *spec_.system_file);
    for (std::string& note : prompt_text_notes(*system_, *spec_.system_file)) warn(std::move(note));
  }

  std::string own_text() {
    prompt_.max_new_tokens = spec_.max_new_tokens.value_or(default_new_tokens);
    if (spec_.prompt) return *spec_.prompt;
    std::string text = read_prompt_file(*spec_.prompt_file, job_);
    for (std::string& note : prompt_text_notes(text, *spec_.prompt_file)) warn(std::move(note));
    return text;
  }

  std::int64_t tokens_around() const {
    return static_cast<std::int64_t>(prompt_.chat ? encode_chat(render(""), "").size()
                                                  : session_.tokenizer().encode("", {}).size());  // BOS, or nothing
  }

  std::string task_text(std::string& prefix) {
    if (spec_.length > context_)
      throw input_error("--length", "is too long for the model's context", std::to_string(context_) + " tokens at most",
                        std::to_string(spec_.length) + " tokens");
    const auto& tokenizer = session_.tokenizer();
    // A prefix in place of the task's own.
    const std::int64_t around =
        tokens_around() + static_cast<std::int64_t>(tokenizer.encode(prefix, {.add_bos = false}).size());
    std::optional<tasks::Haystack> haystack;
    if (spec_.haystack) haystack = tasks::read_haystack(*spec_.haystack, job_);
    if (haystack && haystack->passed_over > 0)
      warn("the haystack passes over " + std::to_string(haystack->passed_over) + " files that are no UTF-8 text");
    prompt_.sample = tasks::make_sample(*spec_.task, spec_.length, spec_.seed, tokenizer, around, spec_.max_new_tokens,
                                        haystack ? &*haystack : nullptr);
    prompt_.max_new_tokens = prompt_.sample->max_new_tokens;
    if (prefix.empty()) prefix = prompt_.sample->answer_prefix;
    return prompt_.sample->prompt;
  }

  tokenizer::RenderedPrompt render(const std::string& user) const {
    std::vector<tokenizer::ChatMessage> messages;
    if (system_) messages.push_back({"system", *system_});
    if (is_conversation())
      messages.insert(messages.end(), prompt_.sample->messages.begin(), prompt_.sample->messages.end());
    else
      messages.push_back({"user", user});
    return tokenizer::render_chat(session_.checkpoint(), messages, spec_.template_arguments, job_);
  }

  /// Control tokens come from the template alone: what looks like one in a message or in the answer's beginning stays
  /// text. Where the template itself begins with BOS, the one that the file wants in front is there already.
  Tokens encode_chat(const tokenizer::RenderedPrompt& rendered, const std::string& prefix) const {
    auto literal = rendered.contents();
    const std::string text = rendered.text + prefix;
    literal.push_back({static_cast<std::int64_t>(rendered.text.size()), static_cast<std::int64_t>(text.size())});
    Tokens tokens = session_.tokenizer().encode(text, {.parse_special = true, .literal = std::move(literal)});
    const bool added = tokens.size() > 1 && tokens[0].begin == tokens[0].end;
    if (added && tokens[1].id == tokens[0].id) tokens.erase(tokens.begin());
    return tokens;
  }

  Tokens chat_tokens(const std::string& text, const std::string& prefix) {
    const auto rendered = render(text);
    if (!rendered.default_system.empty()) {
      const std::string_view own = rendered.default_system;
      std::string_view head = own.substr(0, quoted_bytes);
      while (head.size() < own.size() && first_invalid_utf8(head)) head.remove_suffix(1);  // a character that was cut
      warn("the model's chat template puts a system message of its own first (--system replaces it): \"" +
           escape_controls(head) + (head.size() < own.size() ? "…\"" : "\""));
    }
    prompt_.table.text = rendered.text + prefix;
    Tokens tokens = encode_chat(rendered, prefix);
    warn(tokenizer::left_out_note(tokens, prompt_.table.text, "the rendered prompt"));
    return tokens;
  }

  Tokens plain_tokens(std::string text) {
    prompt_.table.text = std::move(text);
    Tokens tokens = session_.tokenizer().encode(prompt_.table.text, {});
    warn(tokenizer::left_out_note(tokens, prompt_.table.text, "the prompt"));
    return tokens;
  }

  void fill_table(const Tokens& tokens) {
    const auto length = static_cast<std::int64_t>(tokens.size());
    if (length > context_)
      throw input_error(place(), "is too long for the model's context", std::to_string(context_) + " tokens at most",
                        std::to_string(length) + " tokens");
    for (const auto& token : tokens) {
      prompt_.table.ids.push_back(token.id);
      prompt_.table.begin.push_back(token.begin);
      prompt_.table.end.push_back(token.end);
    }
  }

  const protocol::RunSpec& spec_;
  Session& session_;
  const JobContext& job_;
  std::int64_t context_;
  std::optional<std::string> system_;  ///< read once: it may be a pipe
  bool given_ = false;                 ///< prompt_.sample is there from the beginning
  std::string name_in_set_;            ///< of the prompt that was chosen from --prompts, or given
  PreparedPrompt prompt_;
};

}  // namespace

PreparedPrompt prepare_prompt(const protocol::RunSpec& spec, Session& session, const JobContext& job) {
  return PromptMaker(spec, session, job).make();
}

PreparedPrompt prepare_sample(const tasks::Sample& sample, const std::string& place, const protocol::RunSpec& settings,
                              Session& session, const JobContext& job) {
  PromptMaker maker(settings, session, job);
  maker.give(sample, place);
  return maker.make();
}

std::int64_t tokens_around_task(Session& session, bool chat) {
  const protocol::RunSpec spec;
  const JobContext job;
  return PromptMaker(spec, session, job).tokens_around(chat);
}

}  // namespace headroom::experiment
