// SPDX-License-Identifier: Apache-2.0
// The program's version, as CMake knows it.
#pragma once

#include <string_view>

namespace headroom {

std::string_view program_version();  ///< "0.1.0"

}  // namespace headroom
