// SPDX-License-Identifier: Apache-2.0
// One method's part of a run: timed passes with nothing recorded, then one recorded pass, then the answer.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "experiment/cost_model.h"
#include "experiment/dense_baselines.h"
#include "experiment/prepared_run.h"
#include "experiment/progress_plan.h"
#include "experiment/stage_timer.h"
#include "experiment/stream_store.h"
#include "model/decoder.h"
#include "record/types.h"

namespace headroom::experiment {

/// What the record says about one method beside its maps.
struct MethodData {
  record::MethodSummary summary;
  record::HeadStatistics statistics;
  record::MassCurves curves;
  std::vector<std::vector<float>> mass_received;        ///< [layers] of [Hq + 1, L]; empty for layers that are not full
  std::vector<std::vector<float>> selection_frequency;  ///< [layers] of [L]; empty for dense
};

/// Median and quartiles with linear interpolation between order statistics; `values` not empty.
record::Quartiles quartiles(std::vector<double> values);

class MethodRunner {
 public:
  /// `keep_maps`: whether q, k, thumbnails and supports go to `store` (a record is wanted). Thumbnails are
  /// `thumbnail_size` cells wide. All references must outlive this object.
  /// `notice`: told in words what a user should know.
  MethodRunner(const PreparedRun& run, const model::Decoder& decoder, StreamStore& store, bool keep_maps,
               ProgressPlan& progress, CostModel::Notice notice = {});

  static constexpr std::int64_t thumbnail_size = 128;
  static constexpr std::int64_t warmups = 1;

  /// The first call with a dense method makes the reference that later ones are compared with.
  MethodData run(const Method& method, const JobContext& job);

 private:
  record::TimingPlan timing_plan(const Method& method, const JobContext& job);
  void time_passes(const Method& method, record::MethodSummary& summary, const JobContext& job);
  void time_baselines(record::MethodSummary& summary, const JobContext& job);
  double time_once(model::PrefillOptions pass, const std::string& phase, StageTimer* timer);
  model::PrefillResult record_pass(const Method& method, MethodData& data);
  void record_layer(const Method& method, const attention::LayerQuery& query,
                    const std::vector<attention::SupportTile>& tiles, MethodData& data, const JobContext& job);
  void compare_last_logits(const at::Tensor& logits, bool is_dense, record::MethodSummary& summary);
  void answer(model::PrefillResult& result, record::MethodSummary& summary, const JobContext& job);
  model::PrefillOptions options(const Method& method, const JobContext& job) const;
  std::int64_t new_tokens() const;

  const PreparedRun& run_;
  const model::Decoder& decoder_;
  StreamStore& store_;
  bool keep_maps_;
  ProgressPlan& progress_;
  CostModel::Notice notice_;
  std::unique_ptr<attention::Policy> dense_policy_;
  std::vector<DenseBaseline> baselines_;
  std::optional<CostModel> costs_;  ///< made when a plan is first wanted
  std::int64_t attended_pairs_ = 0;
  std::vector<double> recalls_95_;
  std::vector<float> dense_logits_;  ///< of the last position; empty until dense has run
};

}  // namespace headroom::experiment
