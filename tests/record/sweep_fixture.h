// SPDX-License-Identifier: Apache-2.0
// A sweep made by hand: two tasks, two lengths, dense, an oracle and an indexer at two budgets, one of them shared by
// blocks of 64.
#pragma once

#include <cmath>

#include "record/sweep/sweep_types.h"

namespace headroom::test {

inline record::SweepMethod sweep_method(const char* name, MethodRole role, ScoreKind score, int k, int granularity) {
  record::SweepMethod method;
  method.name = name;
  method.title = name;
  method.role = role;
  method.score = score;
  method.is_default = true;
  method.granularity = granularity;
  method.causal = granularity == 1;
  method.id = k > 0 ? std::string(name) + "-k" + std::to_string(k) + "-g" + std::to_string(granularity) : name;
  method.fingerprint = "print of " + method.id;
  if (k > 0) method.budget = Budget{BudgetKind::tokens, static_cast<double>(k)};
  return method;
}

inline record::SweepMeta sweep_meta(std::int64_t samples = 40, std::int64_t calibration = 4) {
  record::SweepMeta meta;
  meta.created = "2026-06-01T00:00:00Z";
  meta.program_version = "1";
  meta.model_name = "tiny";
  meta.model_file = "tiny.gguf";
  meta.model_sha256 = std::string(64, 'a');
  meta.architecture = "llama";
  meta.dtype = "f32";
  meta.context = 4096;
  meta.layers.resize(3);
  for (auto& layer : meta.layers) layer.num_q_heads = layer.num_kv_heads = 2, layer.head_dim = 16, layer.scale = 0.25;
  meta.devices = {"a processor"};
  meta.rendering = "chat";
  meta.tasks = {{"needle", "A needle", true, true}, {"words", "Words", false, true}};
  meta.lengths = {512, 1024};
  meta.samples = samples;
  meta.calibration = calibration;
  meta.curves = calibration > 0 ? 1 : 0;
  meta.methods = {sweep_method("dense", MethodRole::dense, ScoreKind::none, 0, 1),
                  sweep_method("oracle", MethodRole::reference, ScoreKind::mass, 64, 1),
                  sweep_method("oracle", MethodRole::reference, ScoreKind::mass, 128, 1),
                  sweep_method("indexer", MethodRole::deployable, ScoreKind::index, 64, 1),
                  sweep_method("indexer", MethodRole::deployable, ScoreKind::index, 64, 64)};
  return meta;
}

/// Dense is right in half of `needle` and in 3 of 4 of `words`; methods lose more the worse they are.
inline record::SweepRow sweep_row(const record::SweepMeta& meta, const record::SweepSample& sample,
                                  std::size_t method) {
  record::SweepRow row;
  row.sample = sample;
  row.method = method;
  row.tokens = sample.length - 20;
  const std::int64_t i = sample.seed % 100;
  const std::int64_t loses = method == 0 ? 0 : method == 1 ? 8 : method == 2 ? 16 : method == 3 ? 6 : 4;
  const bool lost = loses > 0 && i % loses == 0;
  row.score = sample.task == 0 ? (i % 2 == 0 && !lost ? 100 : 0) : lost ? 50 : 75;
  row.density = meta.methods[method].budget
                    ? std::min(1.0, 2 * meta.methods[method].budget->value / static_cast<double>(sample.length))
                    : 1;
  row.answer = "answer \xc3\xa4 " + std::to_string(i);
  if (sample.calibration) return row;
  record::SweepForced& forced = row.forced.emplace();
  forced.positions = 10;
  forced.top1_flips = lost ? 2 : 0;
  if (lost) forced.first_divergence = 3;
  forced.kl_mean = 0.01 * static_cast<double>(method) + 1e-3 * static_cast<double>(i);
  forced.kl_p95 = 2 * forced.kl_mean;
  forced.nll_mean = 0.5;
  if (method > 0) row.output_l2 = {0.125f, std::nanf(""), 0.25f};
  return row;
}

inline record::SweepCurves sweep_curves(const record::SweepMeta& meta, const record::SweepSample& sample) {
  record::SweepCurves curves;
  curves.sample = sample;
  curves.tokens = sample.length - 20;
  curves.budgets = {1, 8, 32, 128, curves.tokens};
  for (std::size_t layer = 0; layer < meta.layers.size(); ++layer)
    for (int statistic = 0; statistic < 3; ++statistic)
      for (const std::int64_t budget : curves.budgets)
        curves.values.push_back(budget == curves.tokens ? std::nanf("")
                                                        : 1 - std::pow(static_cast<float>(budget) + 1,
                                                                       -0.3f * static_cast<float>(layer + 1)));
  return curves;
}

inline record::SweepRecord sweep_record(record::SweepMeta meta = sweep_meta()) {
  record::SweepRecord record;
  for (const record::SweepSample& sample : record::own_samples(meta)) {
    for (std::size_t method = 0; method < (sample.calibration ? 1 : meta.methods.size()); ++method)
      record.rows.push_back(sweep_row(meta, sample, method));
    if (sample.calibration && sample.seed == meta.seed + record::calibration_seeds)
      record.curves.push_back(sweep_curves(meta, sample));
  }
  meta.complete = true;
  record.meta = meta;
  record::sort_rows(record);
  return record;
}

}  // namespace headroom::test
