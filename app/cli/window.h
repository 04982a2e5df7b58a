// SPDX-License-Identifier: Apache-2.0
// The window's program, which lies beside this one.
#pragma once

#include <string>
#include <vector>

namespace headroom::cli {

/// Becomes headroom-gui with these arguments. Throws a device error where it is not there or does not start; `purpose`
/// begins the sentence, e.g. "pictures are drawn by".
[[noreturn]] void become_window(std::vector<std::string> arguments, const std::string& purpose);
/// What `headroom` alone does. Throws a device error where there is no display.
[[noreturn]] void open_window();

}  // namespace headroom::cli
