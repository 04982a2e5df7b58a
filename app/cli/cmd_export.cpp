// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

namespace headroom::cli {

void add_export(CLI::App&, Action&) {}

}  // namespace headroom::cli
