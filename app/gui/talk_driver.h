// SPDX-License-Identifier: GPL-3.0-or-later
// Talks without a display: exporting, checking, packing. Each returns an exit code (docs: command line) and prints
// problems to standard error.
#pragma once

#include "gui/render_driver.h"

namespace headroom::gui {

int export_talk_file(const CommandLine& line);
/// 0 where the talk can be presented; 3, and a line for each fault, where not.
int check_talk_file(const CommandLine& line);
int pack_talk_file(const CommandLine& line);

}  // namespace headroom::gui
