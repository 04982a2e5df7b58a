// SPDX-License-Identifier: Apache-2.0
// What a model's name on the command line means: a path, a fetched model's short name, or the short name of a model
// that ships as an adapter of one (sample_data/models/NAME with a manifest, model.json).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace headroom {

struct NamedModel {
  std::filesystem::path path;                    ///< of the base
  std::optional<std::filesystem::path> adapter;  ///< its folder or file
};

/// `adapter`: what --adapter says. Throws input errors: a short name whose base has not been fetched or whose adapter
/// is not there, a manifest that is not what it should be, an adapter beside a name that means one already, and for a
/// plain word that is neither file nor name, listing the names.
NamedModel find_named_model(const std::string& path_or_name, const std::optional<std::string>& adapter = {});

/// Short names of what ships as an adapter, whether it is complete or not, in order.
std::vector<std::string> shipped_model_names();

}  // namespace headroom
