// SPDX-License-Identifier: Apache-2.0
// What `headroom bench` measured, as plain data, and its one JSON form: `bench --json` writes it, the window reads it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/machine_load.h"
#include "base/method.h"
#include "base/stage_clock.h"
#include "record/types.h"

namespace headroom::record {

/// Ratios of a baseline's median TTFT to this row's; none where the baseline did not run.
struct Speedups {
  std::optional<double> fastest_dense, fa2, cudnn, libtorch, llama_cpp;
};

struct BenchRow {
  std::int64_t length = 0;
  std::string id, method, backend, label, plan;
  std::string title;  ///< of the method, for people: "Oracle top-k"; empty in results of earlier versions
  int look = 0;       ///< of the method in pictures, 0 … num_method_looks - 1
  MethodRole role = MethodRole::dense;
  std::string note;  ///< e.g. "past the model's context of 8192: timing only"
  std::optional<Budget> budget;
  std::int64_t granularity = 1;
  double density = 1;                   ///< of the timed passes, over full layers
  double density_as_defined = 1;        ///< counted in the warm-up pass, which runs as defined
  std::string supports = "own";         ///< "measured": what was attended to was drawn, the selection timed as it is
  std::optional<double> union_factor;   ///< keys in the unions of 16 neighbouring queries / their own keys, times 16
  TimingPlan timing_plan;       ///< layers' times: this length's warm-up passes
  std::optional<double> as_defined_ms;  ///< the warm-up pass's stages: what it takes without a plan, one pass
  std::optional<double> predicted_dense_ms;   ///< of a layer's attention, by the cost model
  std::optional<double> predicted_sparse_ms;  ///< of a layer's score, selection and attention
  bool staged = true;                         ///< false: llama.cpp, whose stages are not known
  Quartiles ttft;
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
  std::string supports = "own";  ///< "own", or "measured": drawn with a trained model's overlap
  bool complete = false;  ///< every length has its rows
  std::vector<BenchRow> rows;
};

/// The parameters in a row's id that are not the default ones: "sinks=16"; most often empty.
std::string row_parameters(const BenchRow& row);
/// The dense row of this length that was fastest, llama.cpp apart; Speedups::fastest_dense is over it. Null: none ran.
const BenchRow* fastest_dense(const std::vector<BenchRow>& rows, std::int64_t length);
/// T / (T - T_attention) of a dense row: what free attention would bring.
std::optional<double> free_attention_bound(const BenchRow& dense);
/// Why no speedup may be said of a row, whatever its fields say; `none`: it may.
enum class NoSpeedup { none, reference, labelled, nothing_sparse, not_run, another_program, not_stated };
NoSpeedup no_speedup(const BenchRow& row);
/// More than one pass of either, and no other work beside them: anything less is a hint.
bool is_firm(const BenchRow& row, const BenchRow& dense);

/// As the command line's contract has it, with more fields.
nlohmann::json to_json(const BenchReport& report);
/// Takes hostile input: throws input errors at `place` that name the row, the field, what was expected and what was
/// found. Fields that it does not know are ignored; those that earlier versions did not write may be missing.
BenchReport bench_report_from_json(const nlohmann::json& json, const std::string& place);
/// A file of `headroom bench --json`, up to 64 MB.
BenchReport read_bench_report(const std::filesystem::path& file);

}  // namespace headroom::record
