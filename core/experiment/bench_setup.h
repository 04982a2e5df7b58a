// SPDX-License-Identifier: Apache-2.0
// What a benchmark runs on: a checkpoint or random weights of named shapes, ids of any length, the list of methods.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attention/policy.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"
#include "experiment/bench.h"

namespace headroom::experiment {

struct BenchModel {
  std::unique_ptr<checkpoint::Checkpoint> checkpoint;
  checkpoint::ModelConfig config;
  bool random = false;
};
/// Throws usage errors (neither or both of model and config, unknown config) and input errors.
BenchModel open_bench_model(const BenchSpec& spec);

/// `length` ids: a task's prompt for a checkpoint with a tokenizer, since real text is what supports depend on, else
/// ids from all over the vocabulary. Past the model's context the text goes on: timing alone.
std::vector<std::int32_t> bench_ids(const BenchModel& model, std::int64_t length);

struct BenchMethod {
  std::string id;   ///< as in records: "indexer-k512-g1"
  std::string tag;  ///< cost_model.h
  std::shared_ptr<const attention::Policy> policy;
};
/// The sparse methods asked for, crossed with budgets and granularities. "dense" is left out: baselines are always run.
std::vector<BenchMethod> sparse_methods(const BenchSpec& spec, const BenchModel& model, c10::DeviceType device);

}  // namespace headroom::experiment
