// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/indexer_choice.h"

#include "base/error.h"

namespace headroom::experiment {

std::string words_of_model(const std::string& model, const std::optional<std::string>& adapter) {
  return adapter ? model + " --adapter " + *adapter : model;
}

std::optional<std::filesystem::path> find_indexer(const std::optional<std::string>& given,
                                                  const std::string& model_sha256) {
  if (given) return *given;
  return indexer::find_shipped_indexer(model_sha256);
}

std::shared_ptr<const indexer::Indexer> load_indexer_of(const std::optional<std::filesystem::path>& file,
                                                        const std::string& model_sha256, const std::string& model) {
  const std::string make_one = "; make one with: headroom distill " + model + " --out indexer.safetensors";
  if (!file) {
    throw input_error("indexer", "there is none for this model" + make_one + ", then give it with --indexer",
                      "an indexer distilled for " + model_sha256.substr(0, 12) + "…", "none");
  }
  auto loaded = std::make_shared<const indexer::Indexer>(indexer::load_indexer(*file));
  if (loaded->metadata.base_model_sha256 != model_sha256) {
    throw input_error(file->string(), "belongs to another model (" + loaded->metadata.base_model_name + ")" + make_one,
                      model_sha256, loaded->metadata.base_model_sha256);
  }
  return loaded;
}

void check_full_layers(const std::vector<int>& layers, const char* option, const model::ModelConfig& config) {
  for (const int layer : layers) {
    if (layer < 0 || layer >= config.num_layers())
      throw input_error(option, "the model has no such layer", "0 to " + std::to_string(config.num_layers() - 1),
                        std::to_string(layer));
    if (!config.is_full(layer))
      throw input_error(option, "layer " + std::to_string(layer) + " has no full attention", "a full layer",
                        std::string(model::to_string(config.layer(layer).kind)));
  }
}

}  // namespace headroom::experiment
