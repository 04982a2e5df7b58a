// SPDX-License-Identifier: Apache-2.0
#include "protocol/framing.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace headroom::protocol {
namespace {

constexpr const char* header_place = "message header";

std::string printable(std::string_view text) {
  std::string shown;
  for (char c : text.substr(0, 40)) shown += c >= 0x20 && c < 0x7f ? c : '?';
  return "\"" + shown + "\"";
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

constexpr std::string_view first_header = "Content-Length: ";  // as frame_message() writes it

/// Whether `text` begins with the first header of a message, whole or as far as it has come.
bool begins_message(std::string_view text, bool& whole) {
  const std::size_t shared = std::min(text.size(), first_header.size());
  whole = false;
  if (text.substr(0, shared) != first_header.substr(0, shared)) return false;
  const auto end = text.find_first_not_of("0123456789", shared);
  if (end == std::string_view::npos) return text.size() < first_header.size() + 20;
  if (shared < first_header.size() || end == shared) return false;
  whole = text.substr(end, 2) == "\r\n";
  return whole || text.substr(end) == "\r";
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

void MessageReader::fail(const std::string& message, const std::string& expected, const std::string& found) {
  failed_ = true;
  buffer_.clear();
  start_ = scanned_ = 0;
  throw input_error(header_place, message, expected, found);
}

bool MessageReader::skip_preamble() {
  const std::string_view rest = std::string_view(buffer_).substr(start_);
  bool whole = false;
  std::size_t at = 0;  // of what may be a header
  while ((at = rest.find(first_header.front(), at)) != std::string_view::npos &&
         !begins_message(rest.substr(at), whole))
    ++at;
  at = std::min(at, rest.size());
  preamble_ += rest.substr(0, at);
  start_ += at;
  skips_preamble_ = !whole;
  if (!whole && preamble_.size() > max_preamble_bytes)
    fail("is not there", "Content-Length: N in the first " + std::to_string(max_preamble_bytes) + " bytes",
         printable(preamble_));
  return whole;
}

void MessageReader::feed(std::string_view bytes) {
  if (failed_) return;
  if (start_ > 0 && start_ >= buffer_.size() / 2) {
    buffer_.erase(0, start_);
    start_ = 0;
  }
  buffer_.append(bytes);
}

void MessageReader::read_header(std::string_view block) {
  while (!block.empty()) {
    const auto end = block.find("\r\n");
    const std::string_view line = block.substr(0, end);
    block.remove_prefix(std::min(block.size(), line.size() + 2));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) fail("is not a header line", "Name: value", printable(line));
    if (!equal_ignoring_case(trim(line.substr(0, colon)), "Content-Length")) continue;
    if (body_bytes_) fail("Content-Length is given twice", "one", printable(line));
    const std::string_view digits = trim(line.substr(colon + 1));
    std::size_t bytes = 0;
    const auto [stop, status] = std::from_chars(digits.data(), digits.data() + digits.size(), bytes);
    if (status != std::errc() || stop != digits.data() + digits.size() || bytes > max_message_bytes)
      fail("Content-Length is not valid", "0 to " + std::to_string(max_message_bytes), printable(digits));
    body_bytes_ = bytes;
  }
  if (!body_bytes_) fail("Content-Length is missing", "Content-Length: N", "other headers only");
}

std::optional<std::string> MessageReader::next() {
  if (failed_) throw input_error(header_place, "the stream is broken", "a new connection", "bytes after a bad header");
  if (skips_preamble_ && !skip_preamble()) return std::nullopt;
  if (!body_bytes_) {
    const std::string_view rest = std::string_view(buffer_).substr(start_);
    const auto from = scanned_ > 3 ? scanned_ - 3 : 0;  // the blank line may straddle two feeds
    const auto end = rest.find("\r\n\r\n", from);
    if (end == std::string_view::npos) {
      scanned_ = rest.size();
      if (rest.size() > max_header_bytes)
        fail("is too long", std::to_string(max_header_bytes) + " bytes at most", printable(rest));
      // Garbage without a line end would otherwise be waited on until the limit.
      const auto line_end = rest.find("\r\n");
      const auto first_line = rest.substr(0, line_end);
      const bool control = std::any_of(first_line.begin(), first_line.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\r') ||
               static_cast<unsigned char>(c) >= 0x7f;
      });
      if (control || (!first_line.empty() && (first_line.front() == '{' || first_line.front() == ' ')))
        fail("is not a header line", "Content-Length: N", printable(first_line));
      return std::nullopt;
    }
    if (end > max_header_bytes) fail("is too long", std::to_string(max_header_bytes) + " bytes at most", "more");
    read_header(rest.substr(0, end));
    start_ += end + 4;
    scanned_ = 0;
  }
  if (buffer_.size() - start_ < *body_bytes_) return std::nullopt;
  std::string body = buffer_.substr(start_, *body_bytes_);
  start_ += *body_bytes_;
  body_bytes_.reset();
  if (start_ == buffer_.size()) {
    buffer_.clear();
    start_ = 0;
  }
  return body;
}

std::string frame_message(std::string_view body) {
  if (body.size() > max_message_bytes)
    throw Error(ErrorKind::internal, "a message is too large to send",
                {{}, std::to_string(max_message_bytes), std::to_string(body.size())});
  std::string framed = "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  framed += body;
  return framed;
}

}  // namespace headroom::protocol
