// SPDX-License-Identifier: Apache-2.0
// A bench result as a GPU gives it: three dense baselines, a reference, a method whose plan is dense throughout at the
// short length, and one that is timed on a busy machine.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "record/bench/bench_report.h"

namespace headroom::test {

inline record::BenchRow bench_row(std::int64_t length, const std::string& method, double ms, double attention_ms) {
  record::BenchRow row;
  row.length = length;
  row.id = row.method = method;
  row.backend = "headroom";
  row.ttft = {ms, 0.98 * ms, 1.04 * ms, 5};
  row.stages_ms[static_cast<std::size_t>(Stage::attention)] = attention_ms;
  row.peak_bytes = 20'000'000'000;
  row.peak_bytes_above_weights = 2'000'000'000;
  row.plan = "dense in every layer";
  row.timing_plan.source = "defined";
  row.timing_plan.layers.assign(4, {record::LayerRun::dense});
  return row;
}

inline record::BenchRow sparse_row(std::int64_t length, const std::string& method, const std::string& title, int look,
                                   double ms, int dense_layers) {
  record::BenchRow row = bench_row(length, method, ms, 0.2 * ms);
  row.id = method + "-k512-g1";
  row.title = title;
  row.look = look;
  row.role = MethodRole::deployable;
  row.budget = Budget{BudgetKind::tokens, 512};
  row.density = dense_layers == 4 ? 1 : 0.0625;
  row.density_as_defined = 0.03;
  row.timing_plan.source = "automatic";
  row.plan = dense_layers == 4 ? "dense in all 4 layers; timing only" : "sparse in 4 of 4 layers";
  for (int layer = dense_layers; layer < 4; ++layer)
    row.timing_plan.layers[static_cast<std::size_t>(layer)].run = record::LayerRun::sparse;
  return row;
}

/// 4,096 and 32,768 tokens. Speedups over the fastest dense (cuDNN): the indexer's 1.60x at 32,768; the window's 2.00x,
/// a hint.
inline record::BenchReport small_bench() {
  using record::BenchRow;
  record::BenchReport report;
  report.device = "NVIDIA H200 (139 GB)";
  report.dtype = "bf16";
  report.config = "qwen3.5-9b";
  report.weights = "random, no quality";
  report.weight_bytes = 18'000'000'000;
  report.threads = 16;
  report.repeats = 5;
  report.complete = true;
  for (const std::int64_t length : {std::int64_t{4096}, std::int64_t{32768}}) {
    const double dense = length == 4096 ? 100 : 1600;
    const std::size_t begin = report.rows.size();
    for (const auto& [backend, factor] : {std::pair{"cudnn", 1.0}, {"fa2", 1.1}, {"libtorch", 2.0}}) {
      report.rows.push_back(bench_row(length, "dense", factor * dense, 0.5 * dense));
      report.rows.back().backend = backend;
    }
    report.rows.push_back(sparse_row(length, "oracle", "Oracle top-k", 1, 3 * dense, 0));
    report.rows.back().role = MethodRole::reference;
    report.rows.back().timing_plan.source = "defined";
    report.rows.push_back(sparse_row(length, "indexer", "Indexer top-k", 2, dense / 1.6, length == 4096 ? 4 : 0));
    report.rows.push_back(sparse_row(length, "sink_window", "Sinks and window", 3, dense / 2, 0));
    report.rows.back().load = MachineLoad{10, 8, 16, 16};
    for (std::size_t i = begin; i < report.rows.size(); ++i) {
      BenchRow& row = report.rows[i];
      row.floor_ms = 0.9 * dense;
      row.amdahl_bound = 2;
      if (row.role == MethodRole::reference || (row.role != MethodRole::dense && row.timing_plan.dense_throughout()))
        continue;
      const auto over = [&](std::size_t dense_row) {
        return report.rows[begin + dense_row].ttft.median / row.ttft.median;
      };
      row.speedup_over.fastest_dense = row.speedup_over.cudnn = over(0);
      row.speedup_over.fa2 = over(1);
      row.speedup_over.libtorch = over(2);
    }
  }
  return report;
}

inline void write_bench(const std::string& file, const record::BenchReport& report) {
  std::ofstream(file, std::ios::binary) << record::to_json(report).dump(2) << '\n';
}

}  // namespace headroom::test
