// SPDX-License-Identifier: GPL-3.0-or-later
// A result of `headroom bench` that is open in the window: the Timing page shows it.
#pragma once

#include <filesystem>
#include <memory>

#include "record/bench/bench_report.h"

namespace headroom::views {

struct OpenBench {
  std::filesystem::path path;
  record::BenchReport report;
};
using BenchPtr = std::shared_ptr<const OpenBench>;

/// NAME.json: what the window takes for a bench result.
bool is_bench_name(const std::filesystem::path& file);
/// For workers. Throws input errors.
BenchPtr read_open_bench(const std::filesystem::path& file);

}  // namespace headroom::views
