// SPDX-License-Identifier: Apache-2.0
// Puts a run into its record: what is small at once, then maps under the record's limit, the layers with the worst
// captured mass first.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "experiment/passes/recorded_pass.h"
#include "experiment/passes/stream_store.h"
#include "experiment/run/progress_plan.h"
#include "record/record_writer.h"
#include "record/types.h"

namespace headroom::experiment {

/// Shares of the record's limit that marginals by key, thumbnails, then stored tiles, then supports may fill the file
/// to, so that something of each kind is kept.
inline constexpr double marginal_share = 0.25;
inline constexpr double thumbnail_share = 0.4;
inline constexpr double pyramid_share = 0.55;
inline constexpr double support_share = 0.7;

/// The layers whose mass by key of every head is kept, ascending: those of `kept`, which are asked for, and of the
/// others as many as fit with them into their share of `limit` bytes for `methods` methods, evenly spread.
std::vector<int> layers_with_marginals(const model::ModelConfig& config, const std::vector<int>& kept,
                                       std::int64_t methods, std::int64_t length, std::int64_t limit);

/// What is put into a record, and how much of it. References outlive the builder.
struct RecordPlan {
  const model::ModelConfig& config;
  const record::TokenTable& tokens;
  c10::ScalarType dtype = c10::ScalarType::Float;  ///< of q and k
  std::vector<int> keep_layers;                    ///< whole, first; empty: all, the worst first
  std::int64_t keep_queries = 0;                   ///< of exact maps: so many last rows; 0: all
  std::int64_t limit = 0;                          ///< bytes of the file
  std::int64_t methods = 0;                        ///< that are going to be added
  bool threads = false;                            ///< RecordWriter::compress_in_threads()
};

class RecordBuilder {
 public:
  RecordBuilder(const RecordPlan& plan, const OutputPlace& out, const record::RunMeta& meta, const StreamStore& store);

  /// Summary, statistics, curves and marginals of one method.
  void add(const MethodData& method);
  /// In place of the summaries of those methods that were added: their times come last.
  void set_summaries(const std::vector<record::MethodSummary>& summaries);
  /// Thumbnails, stored tiles, supports and whole layers, until the limit or the deadline is reached or a stop is asked
  /// for; then gives the file its name. Sets meta.kept_note. Returns where the record is (OutputFile::commit).
  std::filesystem::path finish(record::RunMeta& meta, ProgressPlan& progress, const JobContext& job,
                               std::optional<std::chrono::milliseconds> deadline = {});

 private:
  using Clock = std::chrono::steady_clock;
  const model::AttentionSpec& attention(int layer) const;
  std::vector<int> layer_order() const;
  void write_maps(ProgressPlan& progress);
  // Layers in order until the record is as large as `share` of its limit.
  void write_thumbnails(const std::vector<int>& order, double share);
  void write_supports(const std::vector<int>& order, double share);
  void write_pyramids(const std::vector<int>& order, double share);
  record::PyramidLevels pyramid_levels(int layer) const;
  bool planes_of(const record::MethodSummary& method, int layer, const record::PyramidLevels& levels);
  void write_streams(const std::vector<int>& wanted);
  /// Whether `raw` more bytes probably fit below `share` of the limit, going by how well this kind compressed so far.
  bool fits(double share, std::int64_t raw, double ratio);
  double measured_ratio(std::int64_t raw, std::int64_t before);
  bool out_of_time() const;
  std::string note() const;

  std::int64_t length() const { return static_cast<std::int64_t>(plan_.tokens.ids.size()); }

  RecordPlan plan_;
  const StreamStore& store_;
  record::RecordWriter writer_;
  std::vector<record::MethodSummary> methods_;
  JobContext job_;
  std::optional<Clock::time_point> deadline_;
  std::vector<int> marginal_layers_;
  int thumbnail_layers_ = 0, pyramid_layers_ = 0;
  std::vector<int> support_layers_, stream_layers_;
  bool cut_short_ = false;
};

}  // namespace headroom::experiment
