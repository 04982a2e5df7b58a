// SPDX-License-Identifier: Apache-2.0
// Words that several commands read alike.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string>

namespace headroom::cli {

/// What --adapter means, for every command that has it.
inline constexpr const char* adapter_help =
    "LoRA adapter as PEFT saves it, its folder or file: merged into the model's weights as they are read";

/// What --device means, for those that can use several.
inline constexpr const char* device_help =
    "auto, cpu or cuda[:i]; several GPUs for a large model: cuda:i,cuda:j or cuda:all";

/// What --config means.
std::string config_help();
/// Throws a usage error where --config and --random-init do not come together.
void check_random_options(const std::string& config, bool random_init);

/// "auto" (none: the decoder chooses), "bf16" or "f32". Throws usage errors.
std::optional<c10::ScalarType> parse_dtype(const std::string& text);

/// Throws a usage error: `option` is not understood.
[[noreturn]] void refuse_option(const char* option, const std::string& expected, const std::string& found);
/// "256MB", "1GB", "4096": bytes of --record-limit. Throws usage errors.
std::int64_t parse_bytes(const std::string& text);
/// "all" (0) or "last:1024" of --keep-queries. Throws usage errors.
std::int64_t parse_keep_queries(const std::string& text);

}  // namespace headroom::cli
