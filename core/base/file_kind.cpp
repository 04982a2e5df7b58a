// SPDX-License-Identifier: Apache-2.0
#include "base/file_kind.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace headroom {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::string_view bytes;
  std::string_view kind;
};
constexpr std::string_view zip = "a ZIP archive (as PyTorch's .bin, .pt and .pth files are)";
constexpr std::string_view old_ggml = "a GGML file from before GGUF";
// The longer of two that begin alike comes first.
constexpr std::array signatures = {
    Signature{"version https://git-lfs.github.com/spec/",
              "a Git LFS pointer, which stands for the file: `git lfs pull` fetches it"},
    Signature{"GGUF", "a GGUF file"},
    Signature{"lmgg", old_ggml},
    Signature{"fmgg", old_ggml},
    Signature{"tjgg", old_ggml},
    Signature{"PK\x03\x04", zip},
    Signature{"PK\x05\x06", zip},
    Signature{"Headroom run record", "a run record"},
    Signature{"\x89HDF\r\n\x1a\n", "an HDF5 file"},
    Signature{"\x1f\x8b", "a gzip archive: unpack it"},
    Signature{"BZh", "a bzip2 archive: unpack it"},
    Signature{"\xfd"
              "7zXZ\0"sv,
              "an xz archive: unpack it"},
    Signature{"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it"},
    Signature{"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"},
    Signature{"Rar!\x1a\x07", "a RAR archive: unpack it"},
    Signature{"%PDF-", "a PDF document"},
    Signature{"\x7f"
              "ELF",
              "a program (ELF)"},
    Signature{"\x89PNG", "a PNG picture"},
};

char lower_ascii(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string_view without_leading_space(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

bool begins_as_html(std::string_view text) {
  constexpr std::array tags = {"<!doctype html"sv, "<html"sv, "<head"sv, "<body"sv};
  return std::any_of(tags.begin(), tags.end(), [&](std::string_view tag) {
    return text.size() >= tag.size() &&
           std::equal(tag.begin(), tag.end(), text.begin(), [](char a, char b) { return a == lower_ascii(b); });
  });
}

/// The length of a header, eight bytes, then JSON.
bool begins_as_safetensors(std::string_view head) {
  if (head.size() < 10 || head[8] != '{') return false;
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<std::uint8_t>(head[i]);
  return length >= 2 && length <= 100'000'000;
}

/// Protocols 2 to 5; older ones begin with a letter that says nothing.
bool begins_as_pickle(std::string_view head) {
  return head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
}

/// The first words of a short text, e.g. "Entry not found".
std::string as_text(std::string_view head) {
  constexpr std::size_t longest = 40;
  std::string_view text = without_leading_space(head);
  text = text.substr(0, text.find_first_of("\r\n"));
  const bool cut = text.size() > longest;
  if (cut) text = text.substr(0, longest);
  while (!text.empty() && first_invalid_utf8(text)) text.remove_suffix(1);  // a character that was cut
  const bool prints = std::none_of(head.begin(), head.end(), [](char c) {
    return static_cast<std::uint8_t>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t';
  });
  if (text.empty() || !prints) return {};
  return "text that begins with \"" + std::string(text) + (cut ? "…\"" : "\"");
}

}  // namespace

std::string file_kind(std::string_view head) {
  head = head.substr(0, file_kind_bytes);
  if (head.empty()) return "an empty file";
  for (const Signature& known : signatures)
    if (head.starts_with(known.bytes)) return std::string(known.kind);
  if (head.size() >= 262 && head.substr(257, 5) == "ustar") return "a tar archive: unpack it";
  if (begins_as_pickle(head)) return "a Python pickle, which is a program and not read";
  if (begins_as_safetensors(head)) return "a safetensors file";
  if (head.find_first_not_of('\0') == std::string_view::npos)
    return "a file of zero bytes, as downloads that never finished leave";
  if (const std::string encoding = foreign_encoding(head); !encoding.empty()) return "text in " + encoding;
  const std::string_view text = without_leading_space(head);
  if (begins_as_html(text)) return "an HTML page (what a web site answers in place of a download)";
  if (text.starts_with('{') || text.starts_with('[')) return "JSON";
  return as_text(head);
}

std::string foreign_encoding(std::string_view text) {
  if (text.starts_with("\xff\xfe\0\0"sv)) return "UTF-32 (little-endian)";
  if (text.starts_with("\0\0\xfe\xff"sv)) return "UTF-32 (big-endian)";
  if (text.starts_with("\xff\xfe")) return "UTF-16 (little-endian)";
  if (text.starts_with("\xfe\xff")) return "UTF-16 (big-endian)";
  // Without a mark: letters of European languages have a zero in every second byte, and none in the others.
  const std::string_view head = text.substr(0, file_kind_bytes & ~std::size_t{1});
  std::array<std::size_t, 2> zeros{};
  for (std::size_t i = 0; i < head.size(); ++i) zeros[i & 1] += head[i] == '\0' ? 1 : 0;
  const std::size_t pairs = head.size() / 2;
  if (pairs < 2) return {};
  if (zeros[0] == 0 && zeros[1] * 10 >= pairs * 9) return "UTF-16 (little-endian)";
  if (zeros[1] == 0 && zeros[0] * 10 >= pairs * 9) return "UTF-16 (big-endian)";
  return {};
}

}  // namespace headroom
