// SPDX-License-Identifier: Apache-2.0
// What a model is, as `headroom info --json` prints it and the engine answers model/inspect.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>

namespace headroom::cli {

struct ModelInfoOptions {
  bool hash = false;                        ///< of files above 4 GiB, too; else theirs is null
  std::optional<std::int64_t> length = {};  ///< also what a prefill of so many tokens takes
};

/// A model, or a configuration alone (a file that ends in .json). Throws input errors.
nlohmann::json model_info(const std::filesystem::path& path, const ModelInfoOptions& options = {});

}  // namespace headroom::cli
