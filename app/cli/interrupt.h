// SPDX-License-Identifier: Apache-2.0
// Ctrl+C as a stop request, so that long work ends where it polls and keeps what it has finished.
#pragma once

#include <stop_token>

namespace headroom::cli {

/// From the first call on, SIGINT and SIGTERM request a stop; the second one ends the process with exit code 5 at once.
/// Call it before any other thread is started.
std::stop_token interrupt_token();

}  // namespace headroom::cli
