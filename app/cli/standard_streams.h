// SPDX-License-Identifier: Apache-2.0
// Standard input and output as files that can fail: a full disk, a directory in the place of a text, a descriptor that
// is closed.
#pragma once

#include <string>
#include <string_view>

namespace headroom::cli {

/// Before anything else is opened: no file of ours may get the number of a standard stream that is closed. A pipe
/// that is closed and a file that may not grow are errors from here on, not signals.
void hold_standard_streams();
/// SIGPIPE as other programs expect to find it: before this process becomes another one.
void release_signals();

// The answer of a command, to standard output. It is gathered and written at the end, or when it is long. Where it
// cannot be written: a device error (exit 4) that says path, needed and free; where the reader of a pipe has gone the
// program ends silently.
void write_answer(std::string_view text);
/// As printf writes it.
[[gnu::format(printf, 1, 2)]] void print_answer(const char* format, ...);
/// What was gathered, now: for answers that come while the work goes on.
void flush_answer();

/// Standard input. Throws input errors where it cannot be read: that is not an empty text.
class InputText {
 public:
  /// What is left of it.
  std::string rest();
  /// The next line, without its end; false at the end of input.
  bool line(std::string& text);

 private:
  bool read_more();
  std::string waiting_;
  bool ended_ = false;
};

}  // namespace headroom::cli
