// SPDX-License-Identifier: Apache-2.0
// The fast path of chat templates: ChatML and its like, recognised by content, rendered without Python.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/chat_template.h"

namespace headroom::tokenizer {

struct ChatMl {
  struct Part {
    enum class Kind { literal, role, content } kind;
    std::string literal;
  };
  std::string default_system;  ///< put before the first message where that is no system message
  std::vector<Part> message;
  std::string generation;
};

/// nullopt where the Jinja source has another shape.
std::optional<ChatMl> read_chatml(std::string_view source);
RenderedPrompt render_chatml(const ChatMl& shape, const std::vector<ChatMessage>& messages);

}  // namespace headroom::tokenizer
