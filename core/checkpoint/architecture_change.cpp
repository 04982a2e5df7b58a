// SPDX-License-Identifier: Apache-2.0
// headroom_adapter.json: what a base becomes with its adapter (docs/adapters.md).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"
#include "checkpoint/adapter.h"
#include "checkpoint/json_input.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace {

constexpr std::uint64_t most_change_bytes = 1 << 20;
constexpr std::int64_t most_change_tokens = 1 << 24;
constexpr std::string_view change_kinds[] = {"full", "sliding", "linear"};

bool is_sha256(const std::string& text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

ArchitectureChange read_architecture_change(const std::filesystem::path& file) {
  const nlohmann::json json =
      parse_json_object(InputFile(file).text(most_change_bytes), file.string(), 8);
  const auto place = [&](const char* key) { return file.string() + ": key " + in_quotes(key); };
  Fields fields(json, file.string());
  ArchitectureChange change;
  change.file = file;
  fields.integer("format", 1, 1);
  change.base_sha256 = fields.string("base_sha256", 256);
  if (!is_sha256(change.base_sha256))
    throw input_error(place("base_sha256"), "this is no SHA-256", "64 hexadecimal digits in lower case",
                      in_quotes(change.base_sha256));
  fields.string_or("base_name", {});  // for people
  change.name = fields.string_or("name", {}, 64);
  if (std::ranges::any_of(change.name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    throw input_error(place("name"), "the name has control characters", "plain text", in_quotes(change.name));
  if (fields.has("layer_kinds")) {
    change.kinds = fields.strings("layer_kinds", 1024, 64);
    for (std::size_t i = 0; i < change.kinds.size(); ++i)
      if (std::ranges::find(change_kinds, change.kinds[i]) == std::end(change_kinds))
        throw input_error(place("layer_kinds") + ", layer " + std::to_string(i), "this kind of layer is not known",
                          "full, sliding or linear", in_quotes(change.kinds[i]));
  }
  const bool slides = std::ranges::find(change.kinds, "sliding") != change.kinds.end();
  if (slides != fields.has("window"))
    throw input_error(place("window"), slides ? "the key is missing" : "no layer slides by layer_kinds",
                      slides ? "the window of the sliding layers, in tokens" : "no window",
                      slides ? std::string("nothing") : headroom::describe(json["window"]));
  if (slides) change.window = fields.integer("window", 1, most_change_tokens);
  if (fields.has("rope_base")) change.rope_base = fields.number("rope_base", 1, 1e12);
  if (fields.has("context")) change.context = fields.integer("context", 1, most_change_tokens);
  fields.refuse_unknown();
  return change;
}

}  // namespace headroom::checkpoint
