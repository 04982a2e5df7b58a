// SPDX-License-Identifier: GPL-3.0-or-later
// Where a newly opened record is looked at first (record/opening.h), in the window's types.
#pragma once

#include <QString>

#include "record/opening.h"

namespace headroom::views {

using record::opening_layer;
using record::retrieval_layer;
QString opening_method_id(const record::RunRecord& record);

}  // namespace headroom::views
