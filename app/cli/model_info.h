// SPDX-License-Identifier: Apache-2.0
// What a model is, as `headroom info --json` prints it and the engine answers model/inspect.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "base/named_model.h"

namespace headroom::cli {

struct ModelInfoOptions {
  bool hash = false;                        ///< of files above 4 GiB, too; else theirs is null
  std::optional<std::int64_t> length = {};  ///< also what a prefill of so many tokens takes
};

/// A model, with its adapter where it has one, or a configuration alone (a file that ends in .json). Throws input
/// errors.
nlohmann::json model_info(const NamedModel& model, const ModelInfoOptions& options = {});

}  // namespace headroom::cli
