// SPDX-License-Identifier: Apache-2.0
// The methods of a run: of each one recorded pass and the answer, then timed passes of all in turn with nothing
// recorded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "experiment/passes/recorded_pass.h"
#include "experiment/passes/scored_pass.h"
#include "experiment/passes/stream_store.h"
#include "experiment/passes/timed_pass.h"
#include "experiment/plan/cost_model.h"
#include "experiment/run/prepared_run.h"
#include "experiment/run/progress_plan.h"
#include "model/decoder.h"
#include "record/types.h"

namespace headroom::experiment {

class MethodRunner {
 public:
  using AnswerSink = std::function<void(const std::string& method, const std::string& text)>;
  /// `keep_maps`: whether q, k, thumbnails and supports go to `store` (a record is wanted). All references must outlive
  /// this object. `notice`: told in words what a user should know. `answer_grows`: RunCallbacks' of that name.
  MethodRunner(const PreparedRun& run, const model::Decoder& decoder, StreamStore& store, bool keep_maps,
               ProgressPlan& progress, CostModel::Notice notice = {}, AnswerSink answer_grows = {});

  static constexpr std::int64_t warmups = 1;

  /// The ids of the task's reference answer, as they would follow the prompt; empty without a task or without room for
  /// them in the context.
  static std::vector<std::int32_t> reference_ids(const PreparedRun& run);

  /// The first call with a dense method makes the reference that later ones are compared with.
  MethodData run(const Method& method, const JobContext& job);
  /// Times what run() has recorded, `summaries` in the order of `methods`, in turn (dense, A, B, dense, ...): what
  /// changes in the machine meanwhile meets all, and passes of one round can be compared. Each whole round is in
  /// `summaries` at once, also where a later one is stopped.
  void time_in_turn(const std::vector<Method>& methods, std::vector<record::MethodSummary>& summaries,
                    const JobContext& job);

  /// Whether time_in_turn() makes a pass more of each method that is for plans (is_for_plans()), to choose them.
  static bool plans_by_times(const PreparedRun& run);
  /// Dense, or one that a plan may run dense in some layers.
  static bool is_for_plans(const Method& method);

 private:
  /// What is timed: a method, or dense once more through another backend.
  struct Lane {
    std::size_t method = 0;  ///< of the summaries
    std::string baseline;    ///< backend; empty: the method itself
    std::string phase;
    model::PrefillOptions pass;
    std::vector<TimedPass> passes;
  };
  record::TimingPlan timing_plan(const Method& method, const JobContext& job);
  /// That of the timing plan; null where there is none of this name.
  const attention::Backend* dense_backend(const record::MethodSummary& summary) const;
  std::vector<Lane> lanes(const std::vector<Method>& methods,
                          const std::vector<record::MethodSummary>& summaries) const;
  /// False, and told, where a baseline's library does not take the model's shapes.
  bool warms_up(const Lane& lane);
  /// On a GPU, where costs are not predicted: one pass as defined of every lane that is for plans, whose layers' times
  /// choose the plans of deployable methods and the dense attention that their dense layers run.
  void plan_by_times(std::vector<Lane>& lanes, const std::vector<Method>& methods,
                     std::vector<record::MethodSummary>& summaries, StageTimer& timer, const JobContext& job);
  void summarise_lanes(const std::vector<Lane>& lanes, std::vector<record::MethodSummary>& summaries) const;
  void score(model::PrefillResult& result, MethodData& data, const JobContext& job);
  model::PrefillOptions options(const Method& method) const;
  std::int64_t new_tokens() const;
  void provide_dense_stream(const Method& method, std::span<const std::int32_t> ids);
  void score_reference_answer(const Method& method, record::MethodSummary& summary, const JobContext& job);

  const PreparedRun& run_;
  const model::Decoder& decoder_;
  bool keep_maps_;
  ProgressPlan& progress_;
  CostModel::Notice notice_;
  AnswerSink answer_grows_;
  RecordedPass recorded_;
  std::unique_ptr<attention::Policy> dense_policy_;
  std::optional<CostModel> costs_;           ///< made when a plan is first wanted
  std::optional<ScoredAnswer> dense_answer_;  ///< what others are scored against; none until dense has run
};

}  // namespace headroom::experiment
