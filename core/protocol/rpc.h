// SPDX-License-Identifier: Apache-2.0
// JSON-RPC 2.0 envelopes: what a framed message says before its parameters are looked at.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"

namespace headroom::protocol {

/// Codes of the JSON-RPC standard; faults of ours use the numbers of ErrorKind (1 to 5).
enum class RpcCode {
  parse_error = -32700,
  invalid_request = -32600,
  method_not_found = -32601,
  invalid_params = -32602
};

/// A structured error: what happened, where, what was expected, what was found.
struct ErrorInfo {
  int code = 0;
  std::string message, place, expected, found;
  bool operator==(const ErrorInfo&) const = default;
  /// One line, as Error::what().
  std::string line() const;
};

ErrorInfo error_info(const Error& error);
/// The exception that `info` stands for; unknown codes become internal errors.
Error to_error(const ErrorInfo& info);

using RequestId = std::variant<std::int64_t, std::string>;

struct Request {
  RequestId id;
  std::string method;
  nlohmann::json params = nlohmann::json::object();
};
struct Notification {
  std::string method;
  nlohmann::json params = nlohmann::json::object();
};
struct Response {
  std::optional<RequestId> id;  ///< none: the request could not be read far enough
  nlohmann::json result;        ///< where there is no error
  std::optional<ErrorInfo> error;
};
using Envelope = std::variant<Request, Notification, Response>;

/// Why a body is not an envelope, with the id where one could be read: answer it with an error response.
struct EnvelopeError {
  std::optional<RequestId> id;
  ErrorInfo error;
};

/// Never throws for bad input; batches are refused.
std::variant<Envelope, EnvelopeError> read_envelope(std::string_view body);

// Bodies to be framed.
std::string write_envelope(const Request& request);
std::string write_envelope(const Notification& notification);
std::string write_envelope(const Response& response);

nlohmann::json to_json(const ErrorInfo& error);
ErrorInfo error_info_from_json(const nlohmann::json& json);

}  // namespace headroom::protocol
