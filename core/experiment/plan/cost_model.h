// SPDX-License-Identifier: Apache-2.0
// What one layer's attention takes on this machine, dense and sparse, at any length: measured with short runs of one
// layer at first use, kept in the user's cache, interpolated between lengths.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "attention/backend.h"
#include "attention/policy.h"
#include "base/machine_load.h"
#include "base/paths.h"
#include "base/progress.h"
#include "model/model_config.h"
#include "experiment/run/methods.h"
#include "record/types.h"

namespace headroom::experiment {

/// One measurement: milliseconds of a layer at a length.
struct CostPoint {
  std::int64_t length = 0;
  double score_ms = 0, select_ms = 0, attention_ms = 0;
};

/// What one method costs. `kept_pairs(length)`: causal pairs that it attends to. Score and selection are taken as
/// proportional to all causal pairs, attention to the kept ones, each with a rate that changes with the length
/// (caches): straight in log length between points, held at both ends.
double predict_ms(const std::vector<CostPoint>& points, std::int64_t length,
                  const std::function<double(std::int64_t)>& kept_pairs);

/// What a method and the dense backends cost, measured in turns: a machine that is busy or slow for a while is so for
/// all of them, and only their ratio matters.
struct MethodCosts {
  std::map<std::string, std::vector<CostPoint>> dense;  ///< by backend
  std::vector<CostPoint> sparse;
  std::optional<MachineLoad> load;  ///< meanwhile; none where the system does not say
  bool complete = false;  ///< no longer length is worth measuring: it would take too long, or is the longest there is
};

/// CPU only. Not safe for use from several threads at once.
class CostModel {
 public:
  /// Told of what a user should know: a damaged cache.
  using Notice = std::function<void(const std::string&)>;
  /// Processor times up to now.
  using ProcessorClock = std::function<std::optional<CpuTimes>()>;

  /// `backends`: make_backends() of the CPU; sparse attention runs on the first. `machine` names the processor, as
  /// RunMeta::device.
  CostModel(const model::ModelConfig& config, c10::ScalarType dtype,
            std::vector<std::shared_ptr<const attention::Backend>> backends, std::string machine, Notice notice = {},
            std::filesystem::path folder = cache_folder() / "costs",
            ProcessorClock processors = [] { return cpu_times(); });

  /// From memory, the cache, or a measurement. What was measured while other work took processors is measured again by
  /// the next process, and the quieter of both is kept. Of lengths up to `length`, which takes two seconds at most.
  /// `layer`: one whose shape is measured and that the method has weights for.
  const MethodCosts& costs(const Method& method, int layer, std::int64_t length, const JobContext& job);
  const model::ModelConfig& config() const { return config_; }
  const std::string& machine() const { return machine_; }
  c10::ScalarType dtype() const { return dtype_; }

 private:
  MethodCosts measure(const attention::Policy& policy, int layer, std::int64_t up_to, const JobContext& job) const;
  std::string key(const Method& method, int layer) const;
  /// None where there is no file of this build that can be read.
  std::optional<MethodCosts> kept_costs(const std::filesystem::path& file, const std::string& built) const;

  model::ModelConfig config_;
  c10::ScalarType dtype_;
  std::vector<std::shared_ptr<const attention::Backend>> backends_;
  std::string machine_;
  Notice notice_;
  std::filesystem::path folder_;
  std::map<std::string, MethodCosts> known_;
  ProcessorClock processors_;
};

/// Whether a method's timed passes may use an automatic plan: not dense, no reference (it runs as defined), and not
/// mass budgets, whose keys only the prompt tells.
bool may_plan(const attention::Policy& policy);
/// The backend whose dense attention is predicted to take the least at this length.
std::string fastest_dense(CostModel& costs, std::int64_t length, const JobContext& job);

/// Predicts both times of every full layer and chooses (plan.h); dense layers run the backend that is predicted to take
/// the least.
record::TimingPlan automatic_plan(CostModel& costs, const Method& method, std::int64_t length,
                                  const std::set<int>& dense_layers, const model::ModelConfig& config,
                                  const JobContext& job);

}  // namespace headroom::experiment
