// SPDX-License-Identifier: Apache-2.0
// All methods of `headroom bench` at one length. Internal to bench.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "experiment/bench/bench.h"
#include "experiment/bench/bench_setup.h"
#include "experiment/bench/drawn_supports.h"
#include "experiment/plan/cost_model.h"
#include "experiment/bench/llama_cpp.h"
#include "experiment/plan/plan.h"
#include "experiment/passes/timed_pass.h"
#include "model/decoder.h"

namespace headroom::experiment {

/// What all lengths share; must outlive them.
struct BenchContext {
  const BenchSpec& spec;
  const BenchModel& model;
  const model::Decoder& decoder;
  const JobContext& job;
  std::string machine;
  std::vector<std::shared_ptr<const attention::Backend>> backends;
  std::optional<PlanFile> plans;
  CostModel* costs = nullptr;           ///< null: no automatic plans here
  const LlamaCpp* llama_cpp = nullptr;  ///< null: not asked for
};

class LengthBench {
 public:
  LengthBench(const BenchContext& context, std::vector<std::int32_t> ids);
  void add_dense(const attention::Backend& backend);
  void add(const Method& method);
  std::vector<BenchRow> run();
  /// What drawn supports take for these methods.
  static std::int64_t drawn_bytes(const std::vector<Method>& methods, std::int64_t length);

 private:
  // One method while it is being measured.
  struct Candidate {
    Method method;
    BenchRow row;
    std::vector<double> warm_up_ms;                      ///< [layers] score, selection and attention
    const attention::Backend* backend = nullptr;
    const attention::Backend* dense_backend = nullptr;  ///< of the layers that run dense
    std::vector<TimedPass> passes;
  };

  Candidate& add_row(Method method, const attention::Backend& backend);
  const attention::Backend& drawn_backend(std::int64_t k);
  model::PrefillOptions options(const Candidate& candidate, const std::string& phase) const;
  void warm_up(Candidate& candidate) const;
  void make_plan(Candidate& candidate) const;
  void time_once(Candidate& candidate, int round) const;
  void count_rates(BenchRow& row, std::int64_t products) const;
  void add_llama_cpp(std::vector<BenchRow>& rows) const;
  std::int64_t length() const { return static_cast<std::int64_t>(ids_.size()); }
  bool past_context() const;

  const BenchContext& context_;
  std::vector<std::int32_t> ids_;
  std::set<int> listed_;
  std::shared_ptr<const attention::Policy> dense_policy_;
  std::unique_ptr<StageTimer> timer_;
  std::vector<Candidate> candidates_;
  struct Drawn {
    DrawnSupports supports;
    std::shared_ptr<const attention::Backend> backend;
  };
  std::map<std::int64_t, std::unique_ptr<Drawn>> drawn_;  ///< by k
};

}  // namespace headroom::experiment
