// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

namespace headroom {

Error::Error(ErrorKind kind, std::string message, ErrorDetail detail)
    : kind_(kind), message_(std::move(message)), detail_(std::move(detail)) {
  if (!detail_.place.empty()) line_ = detail_.place + ": ";
  line_ += message_;
  std::string facts;
  if (!detail_.expected.empty()) facts = "expected " + detail_.expected;
  if (!detail_.found.empty()) facts += (facts.empty() ? "found " : ", found ") + detail_.found;
  if (!facts.empty()) line_ += " (" + facts + ")";
}

Error input_error(std::string place, std::string message, std::string expected, std::string found) {
  return Error(ErrorKind::input, std::move(message), {std::move(place), std::move(expected), std::move(found)});
}

Error usage_error(std::string message) { return Error(ErrorKind::usage, std::move(message)); }

Error device_error(std::string message, std::string expected, std::string found) {
  return Error(ErrorKind::device, std::move(message), {{}, std::move(expected), std::move(found)});
}

Error cancelled_error() { return Error(ErrorKind::cancelled, "cancelled"); }

}  // namespace headroom
