// SPDX-License-Identifier: GPL-3.0-or-later
// Where a newly opened record is looked at first (record/opening.h), in the window's types.
#pragma once

#include <QString>
#include <memory>
#include <optional>

#include "record/opening.h"

namespace headroom::views {

using record::opening_layer;
using record::retrieval_layer;
QString opening_method_id(const record::RunRecord& record);
/// The record with all its small parts read (statistics, curves, the thumbnail that colours are chosen by), which stay
/// in memory as long as this pointer does: what pages ask of them on the window's thread touches no disk. What is
/// damaged is left out; whoever shows it says so.
std::shared_ptr<const record::RunRecord> with_small_parts(std::shared_ptr<const record::RunRecord> record,
                                                          std::optional<int> layer);

}  // namespace headroom::views
