// SPDX-License-Identifier: Apache-2.0
// The tiny checkpoints of tests/model/families and what transformers computes from them
// (tests/support/make_family_fixtures.py says what a folder holds).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace headroom::test {

struct FamilyCase {
  std::string name;
  std::filesystem::path folder;
  std::vector<std::int32_t> ids;
  at::Tensor rows;                 ///< [n] int64: the positions that all others are of
  at::Tensor logits, logits_bf16;  ///< [n, vocabulary] fp64
  std::vector<at::Tensor> hidden;  ///< after each layer, [n, width] fp64
  bool has_gguf() const { return std::filesystem::exists(folder / "model.gguf"); }
  bool has_own_weights() const { return std::filesystem::exists(folder / "model.safetensors"); }
};

/// Every folder that is there, by name.
std::vector<std::string> family_case_names();
FamilyCase read_family_case(const std::string& name);

/// Writes config.json and model.safetensors of the case into `into` (made where it is not there) and returns it.
std::filesystem::path write_checkpoint(const FamilyCase& one, const std::filesystem::path& into);

/// Changes config.json of a folder; `change` gets the whole and the part that describes the text model.
void edit_config(const std::filesystem::path& folder,
                 const std::function<void(nlohmann::json& whole, nlohmann::json& text)>& change);
/// Changes a folder's model.safetensors: its table of tensors, and the bytes that follow it.
void edit_weights(const std::filesystem::path& folder,
                  const std::function<void(nlohmann::json& table, std::string& data)>& change);

}  // namespace headroom::test
