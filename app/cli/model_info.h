// SPDX-License-Identifier: Apache-2.0
// What a model is, as `headroom info --json` prints it and the engine answers model/inspect.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace headroom::cli {

/// The hash of files above 4 GiB is computed only where `hash` asks for it, else null. Throws input errors.
nlohmann::json model_info(const std::filesystem::path& path, bool hash = false);

}  // namespace headroom::cli
