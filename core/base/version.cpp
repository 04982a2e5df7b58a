// SPDX-License-Identifier: Apache-2.0
#include "base/version.h"

namespace headroom {

std::string_view program_version() { return HEADROOM_VERSION; }

}  // namespace headroom
