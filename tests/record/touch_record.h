// SPDX-License-Identifier: Apache-2.0
// Reads everything that a record holds and draws a few tiles of it, as the window would.
#pragma once

#include <filesystem>

namespace headroom::test {

/// Throws what the record layer throws; returns the number of values that were seen.
std::int64_t touch_everything(const std::filesystem::path& file);

}  // namespace headroom::test
