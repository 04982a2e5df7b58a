// SPDX-License-Identifier: Apache-2.0
// The checked JSON of base/json_fields.h under the names by which messages are read and written.
#pragma once

#include "base/json_fields.h"

namespace headroom::protocol {

using headroom::describe;
using headroom::dump_json;
using headroom::Fields;
using headroom::parse_json;

}  // namespace headroom::protocol
