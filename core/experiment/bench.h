// SPDX-License-Identifier: Apache-2.0
// `headroom bench`: TTFT by method and length, with dense baselines and LibTorch's own floor in the same run. Timing
// alone: no quality is measured here.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/progress.h"
#include "record/types.h"

namespace headroom::experiment {

struct BenchSpec {
  std::string model = {};   ///< path or short name; else
  std::string config = {};  ///< a name of bench_configs(), with random weights
  std::vector<std::int64_t> lengths = {};
  std::vector<std::string> methods = {};  ///< empty: dense and oracle, and indexer where a shipped one fits
  std::vector<Budget> budgets = {{BudgetKind::tokens, 512}};
  std::vector<std::int64_t> granularities = {1};
  std::optional<std::string> indexer = {};
  std::vector<int> dense_layers = {};
  std::string device = "auto", dtype = "auto";
  int repeats = 3;
};

/// Ratios of a baseline's median TTFT to this row's; none where the baseline did not run.
struct Speedups {
  std::optional<double> fastest_dense, fa2, cudnn, libtorch;
};

struct BenchRow {
  std::int64_t length = 0;
  std::string method, backend, label, plan;
  std::optional<Budget> budget;
  std::int64_t granularity = 1;
  double density = 1;  ///< counted in the warm-up pass, over full layers
  record::Quartiles ttft;
  std::array<double, num_stages> stages_ms{};  ///< medians by Stage
  std::int64_t peak_bytes = 0;
  Speedups speedup_over;               ///< all none where `label` is set: a reference path is not a speed claim
  std::optional<double> amdahl_bound;  ///< T / (T - T_attention) of the fastest dense row of this length
  double floor_ms = 0;                 ///< dense_baselines.h, median over the repeats
  std::string error;                   ///< a baseline that refused this shape: why; its times are 0
};

struct BenchReport {
  std::string device, device_note, dtype, config, weights;  ///< weights: "random, no quality" or the file's hash
  int repeats = 0, warmups = 1;
  std::vector<BenchRow> rows;
};

std::vector<std::string> bench_configs();
/// Per length: a warm-up of every method, then `repeats` rounds over all methods and the floor, so that slow drift of
/// the machine meets all alike. `on_row` gets the rows of a length once they are complete. Throws usage, input, device
/// errors; cancelled where a stop was requested.
BenchReport bench(const BenchSpec& spec, const JobContext& job,
                  const std::function<void(const BenchRow&)>& on_row = {});
/// As the command line's contract has it, with more fields.
nlohmann::json to_json(const BenchReport& report);

}  // namespace headroom::experiment
