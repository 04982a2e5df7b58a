// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/random_model.h"

#include <set>

#include "base/error.h"
#include "base/paths.h"
#include "checkpoint/config_json.h"
#include "model/random_checkpoint.h"
#include "tokenizer/tokenizer_data.h"
#include "tokenizer/unicode.h"
#include "tokenizer/word_model.h"

namespace headroom::experiment {
namespace fs = std::filesystem;
namespace {

constexpr const char* configs_folder = "resources/configs";

/// A file, or the name of one that comes with the program.
fs::path find_config(const std::string& name) {
  std::error_code failed;
  if (fs::path(name).extension() == ".json" || fs::is_regular_file(name, failed)) return name;
  if (const auto folder = find_data(configs_folder)) {
    if (const fs::path file = *folder / (name + ".json");
        fs::path(name).filename() == fs::path(name) && fs::is_regular_file(file, failed))
      return file;
  }
  std::string known;
  for (const std::string& one : known_configs()) known += one + ", ";
  throw usage_error("config \"" + name + "\" is not known: expected " + known + "or a file as config.json is");
}

}  // namespace

std::vector<std::string> known_configs() {
  std::set<std::string> names;
  std::error_code failed;
  if (const auto folder = find_data(configs_folder)) {
    for (const auto& entry : fs::directory_iterator(*folder, failed))
      if (entry.path().extension() == ".json") names.insert(entry.path().stem().string());
  }
  return {names.begin(), names.end()};
}

RandomModel open_random_model(const std::string& config) {
  RandomModel model;
  model.file = find_config(config);
  const auto described = checkpoint::open_config(model.file);
  model.config = model::read_model_config(*described);
  model.checkpoint = std::make_unique<model::RandomCheckpoint>(model.config, 1);
  return model;
}

bool names_random_model(std::string_view model) {
  return model.starts_with(random_model_prefix);
}

std::unique_ptr<tokenizer::Tokenizer> make_byte_tokenizer(std::int64_t vocabulary) {
  constexpr std::int64_t bytes = 256;
  if (vocabulary < bytes)
    throw input_error("random weights", "have too small a vocabulary for a text", "256 tokens, one a byte",
                      std::to_string(vocabulary) + " tokens");
  tokenizer::TokenizerData data;
  data.place = "random weights";
  data.kind = data.pre = "bytes";
  data.byte_level = true;
  for (std::int64_t id = 0; id < vocabulary; ++id) {
    std::string text;
    if (id < bytes)
      tokenizer::append_utf8(text, tokenizer::byte_character(static_cast<unsigned char>(id)));
    else
      text = "<unused_" + std::to_string(id) + ">";
    data.tokens.push_back(std::move(text));
    data.types.push_back(id < bytes ? tokenizer::TokenType::normal : tokenizer::TokenType::unused);
  }
  return tokenizer::build_tokenizer(std::move(data));
}

std::shared_ptr<const indexer::Indexer> indexer_of_random_model(const model::ModelConfig& config,
                                                                const std::optional<std::filesystem::path>& file) {
  if (file) return std::make_shared<const indexer::Indexer>(indexer::load_indexer(*file));
  std::vector<int> full;
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer)
    if (config.layer(layer).kind == model::LayerKind::full) full.push_back(static_cast<int>(layer));
  return indexer::random_indexer(config.width, 128, full);
}

}  // namespace headroom::experiment
