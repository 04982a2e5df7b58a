// SPDX-License-Identifier: Apache-2.0
#include "interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"

namespace headroom::cli {

std::stop_token interrupt_token() {
  // A thread that waits for the signals, since next to nothing may be done inside a handler. It lives as long as the
  // process and so does its stop source.
  static std::stop_source* source = [] {
    auto* made = new std::stop_source;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::thread([made, signals] {
      for (int received = 0; sigwait(&signals, &received) == 0;) {
        if (!made->request_stop()) _exit(static_cast<int>(ErrorKind::cancelled));
      }
    }).detach();
    return made;
  }();
  return source->get_token();
}

}  // namespace headroom::cli
