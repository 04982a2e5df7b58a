// SPDX-License-Identifier: Apache-2.0
#include "experiment/distil/text_split.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/sha256.h"
#include "base/utf8.h"

namespace headroom::experiment {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t min_file_bytes = 200;
constexpr std::uintmax_t max_file_bytes = 16u << 20;
constexpr std::size_t min_block_bytes = 1024, max_block_bytes = 4096;
constexpr std::int64_t min_pieces = 4, min_share = 64;

std::string hash(std::string_view content) {
  return sha256({reinterpret_cast<const std::uint8_t*>(content.data()), content.size()});
}

bool is_text(const std::string& content) {
  return content.size() >= min_file_bytes && content.find('\0') == std::string::npos && !first_invalid_utf8(content);
}

std::vector<std::string_view> cut_into_blocks(std::string_view text) {
  std::vector<std::string_view> blocks;
  while (!text.empty()) {
    std::size_t end = text.find('\n', min_block_bytes - 1);
    end = std::min({end == std::string_view::npos ? end : end + 1, max_block_bytes, text.size()});
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    blocks.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return blocks;
}

void count(TextSplit& split, Part part, std::size_t bytes) {
  TextSplit::Counts& counts = part == Part::evaluation ? split.evaluation : split.training;
  ++counts.pieces;
  counts.bytes += static_cast<std::int64_t>(bytes);
}

SplitTexts by_files(const std::vector<std::string>& files) {
  SplitTexts result;
  result.split.unit = "files";
  for (const std::string& file : files) {
    const Part part = part_of(file);
    count(result.split, part, file.size());
    result.of(part).push_back(file);
  }
  return result;
}

SplitTexts by_blocks(const std::vector<std::string>& files) {
  SplitTexts result;
  result.split.unit = "blocks";
  for (const std::string& file : files) {
    std::optional<Part> before;
    for (const std::string_view block : cut_into_blocks(file)) {
      const Part part = part_of(block);
      count(result.split, part, block.size());
      if (before != part) result.of(part).emplace_back();
      result.of(part).back() += block;
      before = part;
    }
  }
  return result;
}

bool enough_pieces(const TextSplit& split) {
  return std::min(split.training.pieces, split.evaluation.pieces) >= min_pieces;
}

bool enough_bytes(const TextSplit& split) {
  const auto [least, most] = std::minmax(split.training.bytes, split.evaluation.bytes);
  return least >= (least + most) / min_share;
}

std::string fingerprint(const std::vector<std::string>& files, const std::string& unit) {
  std::vector<std::string> hashes;
  for (const std::string& file : files) hashes.push_back(hash(file));
  std::ranges::sort(hashes);
  std::string all = unit;
  for (const std::string& one : hashes) all += one;
  return hash(all);
}

}  // namespace

Texts read_texts(const std::vector<fs::path>& paths) {
  Texts texts;
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    std::error_code failed;
    if (fs::is_directory(path, failed)) {
      for (const auto& entry :
           fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, failed)) {
        if (!entry.is_regular_file(failed)) continue;
        if (entry.file_size(failed) <= max_file_bytes)
          files.push_back(entry.path());
        else
          ++texts.passed_over;
      }
    } else if (fs::is_regular_file(path, failed)) {
      files.push_back(path);
    } else {
      throw input_error(path.string(), "training text is not there", "a file or a folder");
    }
  }
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    std::ifstream stream(file, std::ios::binary);
    std::ostringstream content;
    content << stream.rdbuf();
    if (!is_text(content.str())) {
      ++texts.passed_over;
      continue;
    }
    texts.files.push_back(content.str());
    texts.paths.push_back(file);
  }
  if (texts.files.empty() && !paths.empty())
    throw input_error(paths.front().string(), "holds no text to train on", "UTF-8 text files of at least 200 bytes",
                      std::to_string(texts.passed_over) + " files, none of them usable");
  return texts;
}

Part part_of(std::string_view content) {
  const char last = hash(content).back();  // hexadecimal
  return last == '0' || last == '8' ? Part::evaluation : Part::training;
}

SplitTexts split_texts(Texts texts) {
  SplitTexts result;
  if (!texts.files.empty()) {
    result = by_files(texts.files);
    if (!enough_pieces(result.split) || !enough_bytes(result.split)) result = by_blocks(texts.files);
    if (!enough_pieces(result.split))
      throw input_error("--text", "too little text to hold a part of it out",
                        std::to_string(min_pieces) + " blocks of a KB in each part: 64 KB in all will do",
                        std::to_string(result.split.training.bytes + result.split.evaluation.bytes) + " bytes, " +
                            std::to_string(result.split.evaluation.pieces) + " blocks held out");
    result.split.fingerprint = fingerprint(texts.files, result.split.unit);
  }
  result.split.passed_over = texts.passed_over;
  return result;
}

}  // namespace headroom::experiment
