// SPDX-License-Identifier: Apache-2.0
// The life of `headroom serve`: one window after the other. Without session/keep it ends with its input; with it the
// jobs go on, and the engine waits at its door until a window comes back or nothing is left to do.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>

#include "serve_channel.h"
#include "serve_door.h"
#include "serve_engine.h"

namespace headroom::cli {

class ServeHost {
 public:
  /// Messages come from standard input first. All outlive the host.
  ServeHost(ServeChannel& channel, ServeEngine& engine, std::stop_token stop);
  ~ServeHost();

  /// Jobs outlive the window from now on, or no longer. Throws device errors where there can be no door.
  void keep(bool on);
  /// Until the engine may end. Throws input errors where the framing of a window that is not kept is broken.
  void run();

 private:
  enum class End { input, finished, stopped, replaced };
  End talk();
  /// Nobody is connected: true where a window came, false where nothing is left to do.
  bool wait_for_window();
  void let_in(int socket);

  ServeChannel& channel_;
  ServeEngine& engine_;
  std::stop_token stop_;
  std::optional<ServeDoor> door_;
  int input_;
  int came_ = -1;  ///< a window that takes the place of the one that is connected
};

}  // namespace headroom::cli
