// SPDX-License-Identifier: Apache-2.0
#include "base/proc_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>

namespace headroom::proc {
namespace {

constexpr std::int64_t most_processors = 1 << 20;

/// Of a list such as "0-3,8".
std::vector<int> processors_in(std::string_view list) {
  std::vector<int> processors;
  for (std::size_t begin = 0; begin < list.size();) {
    const auto end = std::min(list.find(',', begin), list.size());
    const auto range = list.substr(begin, end - begin);
    const auto dash = range.find('-');
    const auto first = number(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(range.substr(dash + 1));
    if (!first || !last || *last < *first || *last > most_processors || std::ssize(processors) > most_processors)
      return {};
    for (std::int64_t one = *first; one <= *last; ++one) processors.push_back(static_cast<int>(one));
    begin = end + 1;
  }
  return processors;
}

}  // namespace

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<std::int64_t> number_in(const std::filesystem::path& file) {
  const auto lines = lines_of(file);
  return lines.empty() ? std::nullopt : number(lines.front());
}

std::optional<std::int64_t> entry(const std::filesystem::path& file, std::string_view key) {
  for (const auto& line : lines_of(file)) {
    const auto words = words_of(line);
    if (words.size() < 2) continue;
    std::string_view name = words[0];
    if (name.ends_with(':')) name.remove_suffix(1);
    if (name == key) return number(words[1]);
  }
  return std::nullopt;
}

std::optional<std::int64_t> kilobytes(const std::filesystem::path& file, std::string_view key) {
  const auto value = entry(file, key);
  return value && *value <= std::numeric_limits<std::int64_t>::max() / 1024 ? std::optional(*value * 1024)
                                                                            : std::nullopt;
}

std::vector<int> allowed_processors(const std::filesystem::path& root) {
  for (const auto& line : lines_of(root / "proc/self/status")) {
    const auto words = words_of(line);
    if (words.size() == 2 && words[0] == "Cpus_allowed_list:") return processors_in(words[1]);
  }
  return {};
}

}  // namespace headroom::proc
