// SPDX-License-Identifier: Apache-2.0
// Random weights of a known shape as a model: times, sizes and records of models that are not at hand. No quality.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "indexer/indexer.h"
#include "model/model_config.h"
#include "tokenizer/tokenizer.h"

namespace headroom::experiment {

/// The configurations that come with the program (resources/configs), by name.
std::vector<std::string> known_configs();

struct RandomModel {
  std::unique_ptr<checkpoint::Checkpoint> checkpoint;
  model::ModelConfig config;
  std::filesystem::path file;  ///< of the configuration
};
/// `config`: a name of known_configs() or a file as config.json is. Throws usage errors for what is neither, input
/// errors for the file.
RandomModel open_random_model(const std::string& config);

/// How a job names such a model: "random-init:qwen3-8b".
inline constexpr std::string_view random_model_prefix = "random-init:";
bool names_random_model(std::string_view model);

/// One token a byte of the text, by the byte's value; ids from 256 on stand for nothing. Throws an input error for a
/// vocabulary below 256.
std::unique_ptr<tokenizer::Tokenizer> make_byte_tokenizer(std::int64_t vocabulary);
/// Random weights are nobody's: an indexer of their width takes as long as one of their own would. That of `file`, or a
/// random one, 128 wide. Throws input errors for the file.
std::shared_ptr<const indexer::Indexer> indexer_of_random_model(const model::ModelConfig& config,
                                                                const std::optional<std::filesystem::path>& file);

}  // namespace headroom::experiment
