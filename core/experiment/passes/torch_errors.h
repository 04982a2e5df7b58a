// SPDX-License-Identifier: Apache-2.0
// LibTorch's own exceptions become ours, with the exit code that fits.
#pragma once

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "base/error.h"

namespace headroom::experiment {

/// LibTorch's account of a full GPU: how much was asked for, how much there is and how much of it is free.
inline std::string first_sentences(const std::string& text) {
  const auto end = text.find(" Including non-PyTorch memory");
  return end == std::string::npos ? text.substr(0, 400) : text.substr(0, end);
}

/// `beside`: what is known of the memory that the work needs, for the message where a device has too little.
template <typename Work>
void translate_errors(Work&& work, const std::string& beside = {}) {
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    throw device_error("out of memory on the device" + (beside.empty() ? "" : ": " + beside), {},
                       first_sentences(error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    throw Error(ErrorKind::internal, std::string("LibTorch: ") + error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    throw device_error("out of memory");
  }
}

}  // namespace headroom::experiment
