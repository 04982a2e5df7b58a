// SPDX-License-Identifier: Apache-2.0
// What a benchmark runs on: a checkpoint or random weights of named shapes, ids of any length, the list of methods.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/model_config.h"
#include "experiment/bench/bench.h"
#include "experiment/run/methods.h"

namespace headroom::experiment {

struct BenchModel {
  std::unique_ptr<checkpoint::Checkpoint> checkpoint;
  model::ModelConfig config;
  bool random = false;
};
/// Throws usage errors (neither or both of model and config, unknown config) and input errors.
BenchModel open_bench_model(const BenchSpec& spec);

/// `length` ids: a task's prompt for a checkpoint with a tokenizer, since real text is what supports depend on, else
/// ids from all over the vocabulary. Past the model's context the text goes on: timing alone.
std::vector<std::int32_t> bench_ids(const BenchModel& model, std::int64_t length);

/// The sparse methods asked for, crossed with budgets and granularities. Dense is left out: every backend's is always
/// run. Throws as list_methods and load_indexer_for (methods.h).
std::vector<Method> sparse_methods(const BenchSpec& spec, const BenchModel& model);

}  // namespace headroom::experiment
