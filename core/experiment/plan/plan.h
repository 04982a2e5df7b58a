// SPDX-License-Identifier: Apache-2.0
// Plans: which full layers run dense in timed passes, because sparse attention would take longer there. Timing alone:
// what is recorded and scored is always the method as defined (METHOD.md, "Quality").
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "attention/backend.h"
#include "base/progress.h"
#include "model/model_config.h"
#include "record/run_record.h"
#include "record/types.h"

namespace headroom::experiment {

/// A layer runs sparse where score, selection and attention together take less than this share of dense attention.
inline constexpr double worth_sparse = 0.97;

/// One method at one prompt length.
struct MethodPlan {
  std::string method;  ///< id as in records, e.g. "indexer-k512-g1"
  std::int64_t length = 0;
  record::TimingPlan timing;
};
struct PlanFile {
  std::string place;  ///< file name for messages
  std::string model_name, model_sha256;
  std::vector<MethodPlan> plans;
};

/// The plan of passes that run as defined: dense, or sparse in every full layer that is not listed.
record::TimingPlan defined_plan(bool dense, const std::set<int>& dense_layers, const model::ModelConfig& config);
/// Chooses by the layers' times; layers without both times and listed ones stay as they are.
void choose_layers(record::TimingPlan& plan, const std::set<int>& dense_layers);
/// The same from passes that were timed here: score, selection and attention of every layer in ms, of the fastest dense
/// attention and of the method. What a layer holds changes nothing for dense attention, so that the median over its full
/// layers is every layer's time, without what disturbed single ones.
void choose_layers_by_times(record::TimingPlan& plan, std::span<const double> dense_ms,
                            std::span<const double> sparse_ms, const std::set<int>& dense_layers);
std::set<int> dense_layers_of(const record::TimingPlan& plan);
/// "sparse in 30 of 30 layers", "dense in 6 of 30 layers: 0–3, 7, 9"; "; timing only" follows where recorded passes run
/// otherwise, with `dense_layers` dense.
std::string plan_text(const record::TimingPlan& plan, bool dense, const std::set<int>& dense_layers);
/// Density of the timed passes from that of the recorded pass, in which `dense_layers` ran dense. Exact for budgets in
/// tokens and percent, whose layers all have one density.
double planned_density(const record::TimingPlan& plan, double recorded_density, const std::set<int>& dense_layers);

/// The plans of a record's sparse methods, for `export --view plan`. The oracle has none: it is a reference.
PlanFile plans_of(const record::RunRecord& record);
nlohmann::json to_json(const PlanFile& file);
/// Throws input errors that name file, field, what was expected and what was found.
PlanFile read_plan_file(const std::filesystem::path& file, const JobContext& job = {});
/// Throws input errors where the plans belong to another model.
void check_model(const PlanFile& file, const std::string& model_sha256);
/// The plan of a method at a length, fitted to the model. Throws input errors: there is none, its layers are not the
/// model's full layers, it runs a layer sparse that `dense_layers` lists.
record::TimingPlan find_plan(const PlanFile& file, const std::string& method, std::int64_t length,
                             const std::set<int>& dense_layers, const model::ModelConfig& config);
/// Throws an input error where a plan of `file` times dense layers on a backend that is not among `backends`.
void check_dense_backend(const PlanFile& file, const record::TimingPlan& plan,
                         std::span<const std::shared_ptr<const attention::Backend>> backends);

}  // namespace headroom::experiment
