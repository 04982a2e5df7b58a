// SPDX-License-Identifier: Apache-2.0
// What a job asks of a model, held against that model, the same for runs and benchmarks: the indexer, and layers by
// number.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/model_config.h"
#include "indexer/indexer.h"

namespace headroom::experiment {

/// A model as a command line names it: "smollm2", "smollm2 --adapter DIR".
std::string words_of_model(const std::string& model, const std::optional<std::string>& adapter);

/// The file that was given, else a shipped indexer of the model with this hash; none where there is neither.
std::optional<std::filesystem::path> find_indexer(const std::optional<std::string>& given,
                                                  const std::string& model_sha256);

/// Reads what find_indexer() found. Throws input errors where that was nothing or the indexer belongs to another model;
/// both name `headroom distill` with `model`, as the user calls it.
std::shared_ptr<const indexer::Indexer> load_indexer_of(const std::optional<std::filesystem::path>& file,
                                                        const std::string& model_sha256, const std::string& model);

/// Throws input errors for layers that the model does not have, or that have no full attention. `option` is its place.
void check_full_layers(const std::vector<int>& layers, const char* option, const model::ModelConfig& config);

}  // namespace headroom::experiment
