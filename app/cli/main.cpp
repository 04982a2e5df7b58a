// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>

#include "commands.h"
#include "interrupt.h"
#include "standard_streams.h"
#include "waiting.h"

int main(int argc, char** argv) {
  headroom::cli::forget_waiting();
  headroom::cli::hold_standard_streams();
  headroom::cli::cancel_on_signals();
  const int code = headroom::cli::run_command_line(argc, argv);
  // Everything of ours is closed by now. LibTorch's own static destructors are not run: where the executable carries
  // another C++ library than LibTorch's, they end in "free(): invalid pointer" after the work is done.
  std::fflush(nullptr);
  std::_Exit(code);
}
