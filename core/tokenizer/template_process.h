// SPDX-License-Identifier: Apache-2.0
// resources/chat_template.py in a process of its own, with limits.
#pragma once

#include <optional>
#include <string>

#include "base/progress.h"

namespace headroom::tokenizer {

/// The answer to `request` (both JSON, described in the script); nothing where no Python with jinja2 is there. Throws
/// input errors at `place` where the process takes too long, answers too much or dies.
std::optional<std::string> ask_template_process(const std::string& request, const std::string& place,
                                                const JobContext& job);

}  // namespace headroom::tokenizer
