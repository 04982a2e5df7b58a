// SPDX-License-Identifier: Apache-2.0
#include "model/architecture.h"

#include <array>

#include "base/error.h"

namespace headroom::model {

// architectures.inc is made by CMake: one HEADROOM_ARCHITECTURE(arch_x) for each arch_x.cpp.
#define HEADROOM_ARCHITECTURE(name) Architecture name();
#include "architectures.inc"
#undef HEADROOM_ARCHITECTURE

const Architecture& find_architecture(const std::string& name, const std::string& place) {
#define HEADROOM_ARCHITECTURE(name) name(),
  static const std::array known = {
#include "architectures.inc"
  };
#undef HEADROOM_ARCHITECTURE
  std::string names;
  for (const Architecture& architecture : known) {
    if (architecture.name == name) return architecture;
    names += (names.empty() ? "" : ", ") + std::string(architecture.name);
  }
  throw input_error(place, "this architecture is not supported", names, name);
}

}  // namespace headroom::model
