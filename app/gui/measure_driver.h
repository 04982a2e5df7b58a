// SPDX-License-Identifier: GPL-3.0-or-later
// `headroom-gui --measure RUN.h5`: drives the window as a reader would and prints how long each thing took.
#pragma once

#include "gui/render_driver.h"

namespace headroom::gui {

/// Prints a table to standard output: for each interaction the number of times it was done, the time to the next drawn
/// frame (median, 95th percentile, largest), the longest time that the event loop was busy at a stretch until all was
/// drawn, and what was hoped for. Returns an exit code (docs: command line).
int measure_window(const CommandLine& line);

}  // namespace headroom::gui
