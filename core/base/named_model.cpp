// SPDX-License-Identifier: Apache-2.0
#include "base/named_model.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"
#include "base/paths.h"

namespace headroom {
namespace fs = std::filesystem;
namespace {

constexpr const char* shipped_models_folder = "sample_data/models";
constexpr const char* manifest_name = "model.json";
constexpr std::size_t most_manifest_bytes = 1 << 16;

/// A name that can be a folder's and no path.
bool is_short_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name.front() != '.' && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

/// The base's short name, of a manifest {"format": 1, "base": …, "title": …}.
std::string read_manifest(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(most_manifest_bytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > most_manifest_bytes)
    throw input_error(file.string(), "the manifest is too large",
                      std::to_string(most_manifest_bytes) + " bytes at most", "more");
  const nlohmann::json json = parse_json(text, file.string(), 8);
  Fields fields(json, file.string());
  fields.integer("format", 1, 1);
  std::string base = fields.string("base", 64);
  fields.string_or("title", {});  // for people
  fields.refuse_unknown();
  if (!is_short_name(base)) fields.fail("base", "a fetched model's short name", base);
  return base;
}

}  // namespace

std::vector<std::string> shipped_model_names() {
  std::vector<std::string> names;
  std::error_code failed;
  if (const auto folder = find_data(shipped_models_folder)) {
    for (const auto& entry : fs::directory_iterator(*folder, failed))
      if (fs::is_regular_file(entry.path() / manifest_name, failed)) names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

NamedModel find_named_model(const std::string& path_or_name, const std::optional<std::string>& adapter) {
  NamedModel named;
  if (adapter) named.adapter = *adapter;
  if (!is_short_name(path_or_name)) {
    named.path = path_or_name;
    return named;
  }
  if (const auto manifest =
          find_data(std::string(shipped_models_folder) + "/" + path_or_name + "/" + std::string(manifest_name))) {
    if (adapter)
      throw input_error("--adapter", path_or_name + " means a base with its adapter already",
                        "one adapter: the base's name beside it", *adapter);
    const std::string base = read_manifest(*manifest);
    named.adapter = manifest->parent_path();
    std::error_code failed;
    if (!fs::exists(*named.adapter / "adapter_model.safetensors", failed))
      throw input_error(path_or_name, "the adapter of this model is not here: train.py beside it makes it",
                        (*named.adapter / "adapter_model.safetensors").string(), "no such file");
    named.path = resolve_model(base);
    if (named.path == base)
      throw input_error(manifest->string(), "the base is no model that can be fetched", "smollm2 or gemma3-270m", base);
    return named;
  }
  named.path = resolve_model(path_or_name);
  std::error_code failed;
  if (named.path == path_or_name && !fs::exists(fs::symlink_status(named.path, failed))) {
    std::string names = "smollm2, gemma3-270m";
    for (const std::string& name : shipped_model_names()) names += ", " + name;
    throw input_error(path_or_name, "there is no such model",
                      "a GGUF file, a folder with config.json, or a short name: " + names, "nothing");
  }
  return named;
}

}  // namespace headroom
