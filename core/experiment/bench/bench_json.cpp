// SPDX-License-Identifier: Apache-2.0
// The answer of `bench --json`.
#include <cmath>
#include <nlohmann/json.hpp>

#include "experiment/bench/bench.h"
#include "record/record_json.h"

namespace headroom::experiment {
namespace {

using nlohmann::json;

json or_null(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? json(*value) : json(nullptr);
}

/// How the timed passes ran and what the cost model expected of both ways.
json plan_json(const BenchRow& row) {
  json plan = record::to_json(row.timing_plan);
  plan["predicted_dense_ms"] = or_null(row.predicted_dense_ms);
  plan["predicted_sparse_ms"] = or_null(row.predicted_sparse_ms);
  return plan;
}

json devices_json(const std::vector<DeviceShare>& devices) {
  json list = json::array();
  for (const DeviceShare& share : devices)
    list.push_back({{"device", share.device},
                    {"first_layer", share.first_layer},
                    {"weight_bytes", share.weight_bytes},
                    {"peak_bytes", share.peak_bytes},
                    {"ms", share.ms}});
  return list;
}

json row_json(const BenchRow& row) {
  const auto stage = [&](Stage s) {
    return row.staged ? json(row.stages_ms[static_cast<std::size_t>(s)]) : json(nullptr);
  };
  json stages;
  for (std::size_t s = 0; s < num_stages; ++s) stages[std::string(stage_names[s])] = stage(static_cast<Stage>(s));
  const auto& over = row.speedup_over;
  const bool rates = row.attention_gflops && row.gemm_gflops;
  return {{"length", row.length},
          {"id", row.id},
          {"method", row.method},
          {"backend", row.backend},
          {"label", row.label},
          {"note", row.note},
          {"budget", row.budget ? record::to_json(*row.budget) : json()},
          {"granularity", row.granularity},
          {"density", row.density},
          {"density_as_defined", row.density_as_defined},
          {"supports", row.supports},
          {"union_factor", or_null(row.union_factor)},
          {"plan", row.plan},
          {"plan_layers", record::layer_runs_json(row.timing_plan)},
          {"timing_plan", plan_json(row)},
          {"ttft_ms", record::to_json(row.ttft)},
          {"machine_load", record::to_json(row.load)},
          {"as_defined_ms", or_null(row.as_defined_ms)},
          {"attention_ms", stage(Stage::attention)},
          {"score_ms", stage(Stage::score)},
          {"select_ms", stage(Stage::select)},
          {"stages_ms", stages},
          {"peak_bytes", row.staged ? json(row.peak_bytes) : json(nullptr)},
          {"peak_bytes_above_weights", row.staged ? json(row.peak_bytes_above_weights) : json(nullptr)},
          {"devices", devices_json(row.devices)},
          {"attention_gflops", or_null(row.attention_gflops)},
          {"union_gflops", or_null(row.union_gflops)},
          {"score_gflops", or_null(row.score_gflops)},
          {"gemm_gflops", or_null(row.gemm_gflops)},
          {"share_of_gemm_rate", rates ? json(*row.attention_gflops / *row.gemm_gflops) : json(nullptr)},
          {"speedup_over",
           {{"fastest_dense", or_null(over.fastest_dense)},
            {"fa2", or_null(over.fa2)},
            {"cudnn", or_null(over.cudnn)},
            {"libtorch", or_null(over.libtorch)},
            {"llama_cpp", or_null(over.llama_cpp)}}},
          {"kernel_factor", or_null(row.kernel_factor)},
          {"sparsity_factor", or_null(row.sparsity_factor)},
          {"time_over_libtorch", or_null(row.time_over_libtorch)},
          {"amdahl_bound", or_null(row.amdahl_bound)},
          {"bound_reached", or_null(row.bound_reached)},
          {"floor_ms", row.floor_ms},
          {"ttft_over_floor", row.floor_ms > 0 && row.error.empty() ? json(row.ttft.median / row.floor_ms) : json()},
          {"error", row.error.empty() ? json() : json(row.error)}};
}

}  // namespace

json to_json(const BenchReport& report) {
  json rows = json::array();
  for (const BenchRow& row : report.rows) rows.push_back(row_json(row));
  return {{"device", report.device},
          {"device_note", report.device_note},
          {"dtype", report.dtype},
          {"config", report.config},
          {"weights", report.weights},
          {"weight_bytes", report.weight_bytes},
          {"memory_needed", report.memory_needed},
          {"threads", report.threads},
          {"repeats", report.repeats},
          {"warmups", report.warmups},
          {"supports", report.supports},
          {"llama_cpp", report.llama_cpp.empty() ? json(nullptr) : json(report.llama_cpp)},
          {"complete", report.complete},
          {"rows", rows}};
}

}  // namespace headroom::experiment
