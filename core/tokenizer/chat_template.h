// SPDX-License-Identifier: Apache-2.0
// Chat messages to the prompt text that the model was trained on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace headroom::tokenizer {

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

struct RenderedPrompt {
  std::string text;             ///< to be encoded with parse_special
  std::int64_t user_begin = 0;  ///< byte range of the last user message in it
  std::int64_t user_end = 0;
};

/// Whether the checkpoint carries a chat template that is understood.
bool has_chat_template(const checkpoint::Checkpoint& checkpoint);
/// Renders with the generation prompt at the end; without a system message the template's own default is inserted.
/// Control tokens inside the contents are not protected: callers encode contents apart where that matters.
/// Throws input errors where the model has no template, or one that is not understood (says so).
RenderedPrompt render_chat(const checkpoint::Checkpoint& checkpoint, const std::vector<ChatMessage>& messages,
                           const std::map<std::string, std::string>& arguments = {});

}  // namespace headroom::tokenizer
