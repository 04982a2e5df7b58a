// SPDX-License-Identifier: Apache-2.0
// All methods of `headroom bench` at one length. Internal to bench.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "experiment/bench.h"
#include "experiment/bench_setup.h"
#include "experiment/cost_model.h"
#include "experiment/dense_baselines.h"
#include "experiment/llama_cpp.h"
#include "experiment/plan.h"
#include "experiment/stage_timer.h"
#include "model/decoder.h"

namespace headroom::experiment {

/// What all lengths share; must outlive them.
struct BenchContext {
  const BenchSpec& spec;
  const BenchModel& model;
  const model::Decoder& decoder;
  const JobContext& job;
  std::string machine;
  std::vector<DenseBaseline> baselines;
  std::optional<PlanFile> plans;
  CostModel* costs = nullptr;           ///< null: no automatic plans here
  const LlamaCpp* llama_cpp = nullptr;  ///< null: not asked for
};

class LengthBench {
 public:
  LengthBench(const BenchContext& context, std::vector<std::int32_t> ids);
  void add_dense(const DenseBaseline& baseline);
  void add(const BenchMethod& method);
  std::vector<BenchRow> run();

 private:
  // One method while it is being measured.
  struct Candidate {
    std::shared_ptr<const attention::Policy> policy;
    std::string tag;
    BenchRow row;
    std::vector<double> warm_up_ms;                   ///< [layers] score, selection and attention
    const attention::Policy* dense_policy = nullptr;  ///< of the layers that run dense
    std::vector<double> ttft;
    std::array<std::vector<double>, num_stages> stages;
  };

  Candidate& add_row(const attention::PolicyInfo& info);
  model::PrefillOptions options(const Candidate& candidate, const std::string& phase) const;
  void warm_up(Candidate& candidate) const;
  void make_plan(Candidate& candidate) const;
  void time_once(Candidate& candidate, int round) const;
  void count_rates(BenchRow& row) const;
  void add_llama_cpp(std::vector<BenchRow>& rows) const;
  std::int64_t length() const { return static_cast<std::int64_t>(ids_.size()); }
  bool past_context() const;

  const BenchContext& context_;
  std::vector<std::int32_t> ids_;
  std::set<int> listed_;
  std::unique_ptr<StageTimer> timer_;
  std::vector<Candidate> candidates_;
};

}  // namespace headroom::experiment
