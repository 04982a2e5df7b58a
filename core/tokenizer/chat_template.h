// SPDX-License-Identifier: Apache-2.0
// Chat messages to the prompt text that the model was trained on.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace headroom::tokenizer {

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

struct RenderedPrompt {
  struct Segment {
    ByteRange bytes;
    std::optional<std::size_t> message;  ///< whose content it is; unset: the template's own text, roles included
  };
  std::string text;
  std::vector<Segment> segments;  ///< cover `text` without gaps, in order; empty contents have none
  std::string default_system;     ///< the system message that the template put in by itself; empty where it did not

  /// The bytes of all contents. To be encoded with parse_special and these as `literal`, so that control tokens come
  /// from the template alone.
  std::vector<ByteRange> contents() const;
};

enum class ChatTemplate { none, not_understood, understood };
/// What the checkpoint carries.
ChatTemplate find_chat_template(const checkpoint::Checkpoint& checkpoint);
/// Whether the checkpoint carries a chat template that is understood.
bool has_chat_template(const checkpoint::Checkpoint& checkpoint);
/// Renders with the generation prompt at the end; without a system message the template's own default is inserted.
/// Throws input errors where the model has no template, or one that is not understood (says so), and for a role that is
/// no word of lower-case letters and underscores (it is the template's text, so it must not hold a control token).
RenderedPrompt render_chat(const checkpoint::Checkpoint& checkpoint, const std::vector<ChatMessage>& messages);

}  // namespace headroom::tokenizer
