// SPDX-License-Identifier: Apache-2.0
// Chat messages to the prompt text that the model was trained on.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace headroom::tokenizer {

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// Variables of the template beside the messages, by name; values are JSON texts.
using TemplateArguments = std::map<std::string, std::string>;

struct RenderedPrompt {
  struct Segment {
    ByteRange bytes;
    std::optional<std::size_t> message;  ///< whose content it is; unset: the template's own text, roles included
  };
  std::string text;
  std::vector<Segment> segments;  ///< cover `text` without gaps, in order; empty contents have none
  std::string default_system;     ///< the system message that a known template put in by itself; empty where none

  /// The bytes of all contents. To be encoded with parse_special and these as `literal`, so that control tokens come
  /// from the template alone.
  std::vector<ByteRange> contents() const;
};

enum class ChatTemplate {
  none,
  other,  ///< rendered by jinja2, in a Python process of its own
  known   ///< ChatML and its like, rendered here
};
/// What the checkpoint carries: `tokenizer.chat_template` (GGUF); chat_template.jinja or `chat_template` of
/// tokenizer_config.json (a folder), of several named ones `default`. Throws input errors where that is no template.
ChatTemplate find_chat_template(const checkpoint::Checkpoint& checkpoint);
/// Whether there is a Python with jinja2: the one beside LibTorch, else `python3`. Asked once.
bool can_render_templates();
/// Whether the checkpoint carries a chat template that can be rendered on this machine.
bool has_chat_template(const checkpoint::Checkpoint& checkpoint);
/// Renders with the generation prompt at the end; without a system message the template's own default is inserted.
/// Throws input errors where the model has no template, where it refuses the conversation or fails (its text and line
/// are quoted), where it takes more than 10 s, 1 GiB or 64 MiB of output, where it cannot be told which parts of its
/// output are contents, and for a role that is no word of lower-case letters and underscores (it is the template's
/// text, so it must not hold a control token). Throws a usage error for an argument that the template does not use.
RenderedPrompt render_chat(const checkpoint::Checkpoint& checkpoint, const std::vector<ChatMessage>& messages,
                           const TemplateArguments& arguments = {}, const JobContext& job = {});

}  // namespace headroom::tokenizer
