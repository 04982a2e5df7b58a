// SPDX-License-Identifier: Apache-2.0
// config.json as metadata: its own keys, nested objects joined by '.'. And a configuration without weights.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {

/// Nothing is dropped: a value that no key can have would be missed by none, and a default would stand in for it. Two
/// entries may have one name ("a.b" and "b" inside "a"): whoever takes them in says so.
std::vector<std::pair<std::string, MetadataValue>> config_values(const nlohmann::json& object);

/// A checkpoint of no tensors, in safetensors' words, from a file as config.json is: what a model would be. Throws
/// input errors.
std::unique_ptr<Checkpoint> open_config(const std::filesystem::path& file);

}  // namespace headroom::checkpoint
