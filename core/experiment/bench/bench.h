// SPDX-License-Identifier: Apache-2.0
// `headroom bench`: TTFT by method and length, with dense baselines and LibTorch's own floor in the same run. Timing
// alone: no quality is measured here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/progress.h"
#include "record/bench/bench_report.h"

namespace headroom::experiment {

struct BenchSpec {
  std::string model = {};   ///< path or short name; else
  std::optional<std::string> adapter = {};  ///< folder or file of a LoRA adapter to merge into the model
  std::string config = {};  ///< a name of known_configs() or a file as config.json is, with random weights
  std::vector<std::int64_t> lengths = {};
  std::vector<std::string> methods = {};  ///< empty: dense and oracle, and indexer where a shipped one fits
  std::vector<Budget> budgets = {{BudgetKind::tokens, 512}};
  std::vector<std::int64_t> granularities = {1};
  std::optional<std::string> indexer = {};
  std::vector<int> dense_layers = {};
  std::string device = "auto", dtype = "auto";
  int threads = 0;                            ///< 0: as LibTorch chooses
  std::optional<std::string> plan = {};       ///< a plan file, or "none": as defined; unset: automatic
  std::optional<std::string> llama_cpp = {};  ///< a Python with llama-cpp-python
  int llama_cpp_repeats = 1;
  int repeats = 3;
  std::string supports = "own";  ///< "own", or "measured": drawn with a trained model's overlap (drawn_supports.h)
};

using record::BenchReport;
using record::BenchRow;
using record::DeviceShare;
using record::Speedups;

struct BenchCallbacks {
  /// After the rows of a length: what would be lost if the next one failed or were stopped.
  std::function<void(const BenchReport& so_far)> on_length;
  std::function<void(const std::string&)> notice;
};

/// Per length: a warm-up of every method as defined, which chooses the plan; then `repeats` rounds over all methods and
/// the floor, so that slow drift of the machine meets all alike; then llama.cpp where it is asked for. Throws usage,
/// input, device errors; cancelled where a stop was requested.
BenchReport bench(const BenchSpec& spec, const JobContext& job, const BenchCallbacks& callbacks = {});

}  // namespace headroom::experiment
