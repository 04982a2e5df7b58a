// SPDX-License-Identifier: Apache-2.0
// `headroom bench`: TTFT by method and length, with dense baselines and LibTorch's own floor in the same run. Timing
// alone: no quality is measured here.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/method.h"
#include "base/progress.h"
#include "record/types.h"

namespace headroom::experiment {

struct BenchSpec {
  std::string model = {};   ///< path or short name; else
  std::optional<std::string> adapter = {};  ///< folder or file of a LoRA adapter to merge into the model
  std::string config = {};  ///< a name of bench_configs() or a file as config.json is, with random weights
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

/// Ratios of a baseline's median TTFT to this row's; none where the baseline did not run.
struct Speedups {
  std::optional<double> fastest_dense, fa2, cudnn, libtorch, llama_cpp;
};

/// What one of several devices did in a pass.
struct DeviceShare {
  std::string device;            ///< "cuda:1"
  std::int64_t first_layer = 0;  ///< its layers begin here
  std::int64_t weight_bytes = 0, peak_bytes = 0;
  double ms = 0;  ///< its layers' stages, medians; the crossing to it is the transfer stage of its first layer
};

struct BenchRow {
  std::int64_t length = 0;
  std::string id, method, backend, label, plan;
  MethodRole role = MethodRole::dense;
  std::string note;  ///< e.g. "past the model's context of 8192: timing only"
  std::optional<Budget> budget;
  std::int64_t granularity = 1;
  double density = 1;                   ///< of the timed passes, over full layers
  double density_as_defined = 1;        ///< counted in the warm-up pass, which runs as defined
  std::string supports = "own";         ///< "measured": what was attended to was drawn, the selection timed as it is
  std::optional<double> union_factor;   ///< keys in the unions of 16 neighbouring queries / their own keys, times 16
  record::TimingPlan timing_plan;       ///< layers' times: this length's warm-up passes
  std::optional<double> as_defined_ms;  ///< the warm-up pass's stages: what it takes without a plan, one pass
  std::optional<double> predicted_dense_ms;   ///< of a layer's attention, by the cost model
  std::optional<double> predicted_sparse_ms;  ///< of a layer's score, selection and attention
  bool staged = true;                         ///< false: llama.cpp, whose stages are not known
  record::Quartiles ttft;
  std::optional<MachineLoad> load;             ///< during the timed passes
  std::array<double, num_stages> stages_ms{};  ///< medians by Stage
  std::int64_t peak_bytes = 0, peak_bytes_above_weights = 0;
  std::vector<DeviceShare> devices;  ///< empty where there is one
  std::optional<double> attention_gflops;  ///< multiplies and adds of the pairs attended to, over the attention stage
  std::optional<double> union_gflops;  ///< the same of all keys in the unions of 16 rows, which a GPU's kernels work on
  /// q_I.k_I (or q.k of every head) of causal pairs, over score and select together, which kernels fuse.
  std::optional<double> score_gflops;
  std::optional<double> gemm_gflops;       ///< of projections and MLP, over their stages in the same passes
  Speedups speedup_over;  ///< all none for the oracle, and where `label` is set: references are no speed claim
  std::optional<double> kernel_factor;    ///< LibTorch's dense / the fastest dense
  std::optional<double> sparsity_factor;  ///< the fastest dense / this row; times the above: the speedup over LibTorch
  std::optional<double> time_over_libtorch;  ///< this row / LibTorch's dense; of the oracle, too
  std::optional<double> bound_reached;       ///< speedup over the fastest dense / amdahl_bound
  std::optional<double> amdahl_bound;        ///< T / (T - T_attention) of the fastest dense row of this length
  double floor_ms = 0;                       ///< floor.h, median over the repeats
  std::string error;                         ///< a baseline that refused this shape: why; its times are 0
};

struct BenchReport {
  std::string device, device_note, dtype, config, weights;  ///< weights: "random, no quality" or the file's hash
  std::string llama_cpp;                                    ///< version; empty where it did not run
  std::int64_t weight_bytes = 0;
  std::int64_t memory_needed = 0;  ///< estimated before the work: weights and all else, where the weights are
  int threads = 0, repeats = 0, warmups = 1;
  std::string supports = "own";  ///< as BenchSpec
  bool complete = false;  ///< every length has its rows
  std::vector<BenchRow> rows;
};

struct BenchCallbacks {
  /// After the rows of a length: what would be lost if the next one failed or were stopped.
  std::function<void(const BenchReport& so_far)> on_length;
  std::function<void(const std::string&)> notice;
};

std::vector<std::string> bench_configs();
/// Per length: a warm-up of every method as defined, which chooses the plan; then `repeats` rounds over all methods and
/// the floor, so that slow drift of the machine meets all alike; then llama.cpp where it is asked for. Throws usage,
/// input, device errors; cancelled where a stop was requested.
BenchReport bench(const BenchSpec& spec, const JobContext& job, const BenchCallbacks& callbacks = {});
/// As the command line's contract has it, with more fields.
nlohmann::json to_json(const BenchReport& report);

}  // namespace headroom::experiment
