// SPDX-License-Identifier: Apache-2.0
// Content-Length framing of messages over a byte stream, as language servers use it. Input is untrusted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace headroom::protocol {

inline constexpr std::size_t max_message_bytes = 64u << 20;
inline constexpr std::size_t max_header_bytes = 4096;  ///< of one message's whole header block

/// What a stream may hold before its first message. A login shell's greeting comes out of the engine's own standard
/// output where it is reached through ssh; no peer but a far engine may send one.
enum class Preamble { refused, skipped };
inline constexpr std::size_t max_preamble_bytes = 64u << 10;

/// Fed with bytes as they come, gives message bodies. After an error the stream cannot be resynchronised: every further
/// call throws the same kind of error.
class MessageReader {
 public:
  explicit MessageReader(Preamble preamble = Preamble::refused) : skips_preamble_(preamble == Preamble::skipped) {}
  void feed(std::string_view bytes);
  /// The next whole body, or nothing while bytes are missing. Throws input errors: a header block too long, without
  /// Content-Length or with one that is malformed, repeated or above max_message_bytes.
  std::optional<std::string> next();
  /// Whether a message has begun and is not finished (for the end of input).
  bool pending() const { return buffer_.size() > start_; }
  /// What came before the first message, as it came. While that has not begun: all that has come.
  const std::string& preamble() const { return preamble_; }

 private:
  [[noreturn]] void fail(const std::string& message, const std::string& expected, const std::string& found);
  void read_header(std::string_view block);
  /// Moves what cannot belong to a first header into preamble_; whether one has begun.
  bool skip_preamble();

  std::string buffer_;
  std::size_t start_ = 0;    ///< first byte of buffer_ that has not been given out
  std::size_t scanned_ = 0;  ///< header bytes already searched for the blank line
  std::optional<std::size_t> body_bytes_;
  std::string preamble_;
  bool skips_preamble_;  ///< until the first message
  bool failed_ = false;
};

/// Header and body. Throws an internal error for bodies above max_message_bytes.
std::string frame_message(std::string_view body);

}  // namespace headroom::protocol
