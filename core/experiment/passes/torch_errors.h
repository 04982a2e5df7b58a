// SPDX-License-Identifier: Apache-2.0
// LibTorch's own exceptions become ours, with the exit code that fits.
#pragma once

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "base/error.h"

namespace headroom::experiment {

template <typename Work>
void translate_errors(Work&& work) {
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    throw device_error("out of memory on the device", {}, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    throw Error(ErrorKind::internal, std::string("LibTorch: ") + error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    throw device_error("out of memory");
  }
}

}  // namespace headroom::experiment
