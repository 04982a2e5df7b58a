// SPDX-License-Identifier: Apache-2.0
// Where things lie: beside the running program, in the source or install tree, in the user's cache.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace headroom {

/// Folder of the running executable.
std::filesystem::path executable_folder();
/// Finds `relative` (e.g. "sample_data/indexers", "resources/icons") from the executable: ../, ../share/headroom/, and
/// the folders in HEADROOM_DATA. Empty where it does not exist.
std::optional<std::filesystem::path> find_data(std::string_view relative);
/// ${XDG_CACHE_HOME:-~/.cache}/headroom
std::filesystem::path cache_folder();
/// A path as given, or a fetched model's short name ("smollm2", "gemma3-270m"). Throws input errors naming
/// scripts/fetch-model where a short name has not been fetched.
std::filesystem::path resolve_model(const std::string& path_or_name);

}  // namespace headroom
