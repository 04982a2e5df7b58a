// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include "base/utf8.h"

namespace headroom {

Error::Error(ErrorKind kind, std::string message, ErrorDetail detail)
    : kind_(kind), message_(std::move(message)), detail_(std::move(detail)) {
  // A file's name is any bytes; what is said of it goes into JSON, windows and logs.
  for (std::string* part : {&message_, &detail_.place, &detail_.expected, &detail_.found})
    if (first_invalid_utf8(*part)) *part = escape_invalid_utf8(*part);
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
