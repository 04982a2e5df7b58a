// SPDX-License-Identifier: Apache-2.0
// The one exception type of the core. Its kind decides the exit code; its fields say file, place, expected and found.
#pragma once

#include <exception>
#include <string>

namespace headroom {

/// Values are the program's exit codes (docs: command line).
enum class ErrorKind { internal = 1, usage = 2, input = 3, device = 4, cancelled = 5 };

struct ErrorDetail {
  std::string place;     ///< file, tensor, dataset or option where it was found; may be empty
  std::string expected;  ///< may be empty
  std::string found;     ///< may be empty
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, ErrorDetail detail = {});

  ErrorKind kind() const noexcept { return kind_; }
  const std::string& message() const noexcept { return message_; }
  const ErrorDetail& detail() const noexcept { return detail_; }
  /// One line: "place: message (expected …, found …)".
  const char* what() const noexcept override { return line_.c_str(); }

 private:
  ErrorKind kind_;
  std::string message_;
  ErrorDetail detail_;
  std::string line_;
};

/// Bad file, model, prompt, record or JSON: exit code 3.
Error input_error(std::string place, std::string message, std::string expected = {}, std::string found = {});
/// Wrong command line or job specification: exit code 2.
Error usage_error(std::string message);
/// Device or memory not available: exit code 4.
Error device_error(std::string message, std::string expected = {}, std::string found = {});
/// Thrown where a stop was requested: exit code 5.
Error cancelled_error();

}  // namespace headroom
