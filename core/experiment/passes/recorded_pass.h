// SPDX-License-Identifier: Apache-2.0
// A recorded pass: the method as defined, with everything that a record holds of it. Its time is never reported. The
// layers come from a decoder, or from anything else that shows them in order.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "attention/backend.h"
#include "experiment/passes/stream_store.h"
#include "model/decoder.h"
#include "record/types.h"

namespace headroom::experiment {

/// What a record says about one method beside its maps.
struct MethodData {
  record::MethodSummary summary;
  record::HeadStatistics statistics;
  record::MassCurves curves;
  std::vector<record::AnswerPosition> choices;          ///< beside dense along its answer; empty for dense
  std::vector<std::vector<float>> mass_received;        ///< [layers] of [Hq + 1, L]; empty for layers that are not full
  std::vector<std::vector<float>> selection_frequency;  ///< [layers] of [head groups, L]; empty for dense
};

class RecordedPass {
 public:
  static constexpr std::int64_t thumbnail_size = 128;

  /// Goes through the layers under `options` and shows each to the options' observers, as Decoder::prefill() does.
  using Prefill = std::function<model::PrefillResult(const model::PrefillOptions& options)>;

  /// Of a prompt of `length` tokens. `keep_maps`: whether q, k, thumbnails and supports go to `store` (a record is
  /// wanted). Dense hidden states go there in any case: drift is measured against them. All references must outlive
  /// this object.
  RecordedPass(const model::ModelConfig& config, std::int64_t length, StreamStore& store, bool keep_maps);

  /// Only these layers' streams, supports and stored tiles go to the store; empty: those of all.
  void keep_maps_of(std::span<const int> layers) { map_layers_.assign(layers.begin(), layers.end()); }
  /// Before passes that need no dense hidden states: those that a device holds are gone.
  void drop_hidden() { store_.drop_hidden(); }
  /// What a device holds of this run's maps.
  std::int64_t held_on(c10::Device device) const { return store_.held_on(device); }

  /// Runs the method that `options` and data.summary (methods.h, describe()) speak of and fills `data`. A dense
  /// method's hidden states are what later calls are compared with.
  model::PrefillResult run(model::PrefillOptions options, const Prefill& prefill, MethodData& data);

 private:
  void prepare(MethodData& data) const;
  void add_layer(const attention::PreparedLayer& layer, const std::vector<attention::SupportTile>& tiles,
                 MethodData& data, const JobContext& job);
  /// k of a layer: its own where each has one; 0 for mass budgets.
  std::int64_t budget_of(int layer, const record::MethodSummary& summary) const;
  void compare_hidden(int layer, const at::Tensor& hidden, record::MethodSummary& summary) const;
  void finish(record::MethodSummary& summary) const;
  bool keeps_maps_of(int layer) const;
  std::int64_t length() const { return length_; }

  const model::ModelConfig& config_;
  std::int64_t length_;
  StreamStore& store_;
  bool keep_maps_;
  std::vector<int> map_layers_;
  std::shared_ptr<const LayerBudgets> layer_budgets_;  ///< of the method that runs; null: one for all layers
  attention::ForcedKeys forced_;  ///< of the method that runs: what the best choice holds, too
  bool has_reference_ = false;  ///< a dense pass has run
  double attended_pairs_ = 0;
  std::vector<double> recalls_95_;
};

}  // namespace headroom::experiment
