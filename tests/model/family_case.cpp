// SPDX-License-Identifier: Apache-2.0
#include "model/family_case.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_file.h"

namespace headroom::test {
namespace fs = std::filesystem;
namespace {

const fs::path cases_folder = HEADROOM_SOURCE_DIR "/tests/model/families";

at::Tensor read_tensor(const checkpoint::SafetensorsFile& file, const std::string& name) {
  const auto* const info = file.find(name);
  const at::Tensor values = at::empty(info->shape, at::kFloat);
  file.read_f32(name, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values;
}

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

std::vector<std::string> family_case_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(cases_folder))
    if (fs::exists(entry.path() / "expected.safetensors")) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

FamilyCase read_family_case(const std::string& name) {
  FamilyCase one;
  one.name = name;
  one.folder = cases_folder / name;
  const auto file = checkpoint::SafetensorsFile::open(one.folder / "expected.safetensors");
  const at::Tensor ids = read_tensor(*file, "ids");
  for (std::int64_t i = 0; i < ids.size(0); ++i) one.ids.push_back(static_cast<std::int32_t>(ids[i].item<float>()));
  one.rows = read_tensor(*file, "rows").to(at::kLong);
  one.logits = read_tensor(*file, "logits").to(at::kDouble);
  one.logits_bf16 = read_tensor(*file, "logits_bf16").to(at::kDouble);
  for (std::size_t i = 0; file->find("hidden." + std::to_string(i)); ++i)
    one.hidden.push_back(read_tensor(*file, "hidden." + std::to_string(i)).to(at::kDouble));
  return one;
}

fs::path write_checkpoint(const FamilyCase& one, const fs::path& into) {
  fs::create_directories(into);
  std::string weights_of = one.name;
  if (!one.has_own_weights()) std::ifstream(one.folder / "weights_of") >> weights_of;
  write_bytes(into / "config.json", bytes_of(one.folder / "config.json"));
  write_bytes(into / "model.safetensors", bytes_of(cases_folder / weights_of / "model.safetensors"));
  return into;
}

void edit_config(const fs::path& folder,
                 const std::function<void(nlohmann::json& whole, nlohmann::json& text)>& change) {
  nlohmann::json json = nlohmann::json::parse(bytes_of(folder / "config.json"));
  change(json, json.contains("text_config") ? json["text_config"] : json);
  write_bytes(folder / "config.json", json.dump(1));
}

void edit_weights(const fs::path& folder, const std::function<void(nlohmann::json& table, std::string& data)>& change) {
  const std::string bytes = bytes_of(folder / "model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  nlohmann::json table = nlohmann::json::parse(bytes.substr(sizeof length, length));
  std::string data = bytes.substr(sizeof length + length);
  change(table, data);
  const std::string header = table.dump();
  length = header.size();
  std::string out(reinterpret_cast<const char*>(&length), sizeof length);
  write_bytes(folder / "model.safetensors", out + header + data);
}

}  // namespace headroom::test
