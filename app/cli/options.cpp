// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <charconv>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "experiment/run/random_model.h"

namespace headroom::cli {
namespace {

std::int64_t parse_count(std::string_view digits, const char* option, const std::string& expected,
                         const std::string& text) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (status != std::errc() || end != digits.data() + digits.size() || value < 0 || value > (1LL << 50))
    refuse_option(option, expected, text);
  return value;
}

}  // namespace

void refuse_option(const char* option, const std::string& expected, const std::string& found) {
  throw Error(ErrorKind::usage, "is not understood", {option, expected, found});
}

std::string config_help() {
  std::string known;
  for (const std::string& name : experiment::known_configs()) known += (known.empty() ? "" : ", ") + name;
  return "a configuration instead of a model: a file as config.json is, or " + known;
}

void check_random_options(const std::string& config, bool random_init) {
  if (random_init == config.empty()) throw usage_error("--config and --random-init go together, in place of a model");
}

std::optional<c10::ScalarType> parse_dtype(const std::string& text) {
  if (text == "auto") return std::nullopt;
  if (text == "bf16") return c10::kBFloat16;
  if (text == "f32") return c10::kFloat;
  throw usage_error("dtype \"" + text + "\" is not known: expected auto, bf16 or f32");
}

std::int64_t parse_bytes(const std::string& text) {
  constexpr const char* expected = "bytes, or a number with KB, MB or GB, e.g. 256MB";
  constexpr std::pair<std::string_view, int> units[] = {{"KB", 10}, {"MB", 20}, {"GB", 30}};
  for (const auto& [unit, shift] : units) {
    if (!text.ends_with(unit)) continue;
    const auto count = parse_count(std::string_view(text).substr(0, text.size() - 2), "--record-limit", expected, text);
    if (count > (1LL << (50 - shift))) refuse_option("--record-limit", expected, text);
    return count << shift;
  }
  return parse_count(text, "--record-limit", expected, text);
}

std::int64_t parse_keep_queries(const std::string& text) {
  if (text == "all") return 0;
  constexpr const char* expected = "all, or last:N with N of at least 1, e.g. last:1024";
  if (!text.starts_with("last:")) refuse_option("--keep-queries", expected, text);
  const auto count = parse_count(std::string_view(text).substr(5), "--keep-queries", expected, text);
  if (count == 0) refuse_option("--keep-queries", expected, text);
  return count;
}

}  // namespace headroom::cli
