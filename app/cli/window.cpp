// SPDX-License-Identifier: Apache-2.0
#include "window.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/paths.h"
#include "standard_streams.h"

namespace headroom::cli {

void become_window(std::vector<std::string> arguments, const std::string& purpose) {
  const std::filesystem::path program = executable_folder() / "headroom-gui";
  if (::access(program.c_str(), X_OK) != 0)
    throw device_error(purpose + " headroom-gui, which was not built: build it with Qt 6 and QCustomPlot");
  arguments.insert(arguments.begin(), program.string());
  std::vector<char*> words;
  for (std::string& word : arguments) words.push_back(word.data());
  words.push_back(nullptr);
  std::fflush(nullptr);
  release_signals();
  ::execv(program.c_str(), words.data());
  throw device_error(program.string() + " cannot be started", {}, std::strerror(errno));
}

void open_window() {
  const auto given = [](const char* name) {
    const char* value = std::getenv(name);
    return value && *value;
  };
  constexpr const char* displays[] = {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"};
  if (std::none_of(std::begin(displays), std::end(displays), given))
    throw device_error("there is no display to open the window on; headroom --help lists what works without one");
  become_window({}, "the window is");
}

}  // namespace headroom::cli
