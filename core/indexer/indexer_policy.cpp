// SPDX-License-Identifier: Apache-2.0
// The indexer's forward pass and its policy.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/softmax.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "attention/sparse_prefill.h"
#include "attention/validate.h"
#include "base/error.h"
#include "indexer/indexer.h"
#include "indexer/rotary.h"

namespace headroom::indexer {
namespace {

/// A layer's weights where they are used.
struct Placed {
  at::Tensor projections;  ///< [2 d_I, width] fp32: q, then k
  at::Tensor k_norm;       ///< [d_I] fp32
};

Placed place(const LayerWeights& weights, c10::Device device) {
  return {at::cat({weights.q_proj, weights.k_proj}, 0).to(device).to(at::kFloat),
          weights.k_norm.to(device).to(at::kFloat)};
}

/// Rows [begin, end) of both projections into `out`.
void project_rows(const Placed& placed, const RotaryTable& table, double epsilon, const at::Tensor& x,
                  std::int64_t begin, std::int64_t end, const Projections& out) {
  const std::int64_t rows = end - begin, dim = placed.k_norm.size(0);
  const at::Tensor both = at::matmul(x.narrow(0, begin, rows).to(at::kFloat), placed.projections.t());
  const at::Tensor k = both.narrow(1, dim, dim);
  const at::Tensor normed = k * at::rsqrt(k.square().mean(1, true).add_(epsilon)) * placed.k_norm;
  const RotaryTable rows_table{table.cosine.narrow(0, begin, rows), table.sine.narrow(0, begin, rows)};
  out.q.narrow(0, begin, rows).copy_(rotate(both.narrow(1, 0, dim), rows_table));
  out.k.narrow(0, begin, rows).copy_(rotate(normed, rows_table));
}

Projections project_placed(const Placed& placed, const RotaryTable& table, double epsilon, const at::Tensor& x) {
  const std::int64_t length = x.size(0), dim = placed.k_norm.size(0);
  const auto options = x.options().dtype(at::kFloat);
  const Projections out{at::empty({length, dim}, options), at::empty({length, dim}, options)};
  if (!x.is_cpu()) {
    project_rows(placed, table, epsilon, x, 0, length, out);
    return out;
  }
  // Fixed chunks, one thread each: the same bits for any number of threads.
  constexpr std::int64_t chunk = 128;
  at::parallel_for(0, (length + chunk - 1) / chunk, 1, [&](std::int64_t from, std::int64_t to) {
    const c10::InferenceMode guard;
    for (std::int64_t i = from; i < to; ++i)
      project_rows(placed, table, epsilon, x, i * chunk, std::min((i + 1) * chunk, length), out);
  });
  return out;
}

RotaryTable table_for(const attention::LayerQuery& query, std::int64_t dim) {
  return rotary_table(at::arange(query.length(), query.x.options().dtype(at::kLong)), dim, query.rope_base);
}

class IndexerPolicy final : public attention::Policy {
 public:
  IndexerPolicy(std::shared_ptr<const Indexer> indexer, const attention::PolicyOptions& options)
      : indexer_(std::move(indexer)), options_(options), rule_{*options.budget, options.granularity, options.forced} {}

  attention::PolicyInfo info() const override { return attention::sparse_policy_info(options_, true); }

  at::Tensor attend(const attention::LayerQuery& query, StageClock& clock, const attention::SupportSink& sink,
                    const JobContext& job) const override {
    attention::check_query(query);
    const c10::InferenceMode guard;
    Projections projected;
    {
      const StageScope scope(clock, Stage::score, query.layer);
      const auto [placed, table] = prepare(query);
      projected = project_placed(placed, table, indexer_->metadata.norm_epsilon, query.x);
      projected.q.mul_(1 / std::sqrt(static_cast<double>(projected.q.size(1))));
    }
    const bool additive = attention::needs_additive_scores(rule_);
    const attention::RowScorer scorer = [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t rows = end - begin;
      at::Tensor scores = at::matmul(projected.q.narrow(0, begin, rows), projected.k.narrow(0, 0, end).t());
      if (!additive) return scores;
      const at::Tensor unseen = at::ones({rows, rows}, scores.options().dtype(at::kBool)).triu_(1);
      scores.narrow(1, begin, rows).masked_fill_(unseen, -std::numeric_limits<double>::infinity());
      return at::softmax(scores, 1);
    };
    return attention::sparse_prefill(query, rule_, scorer, clock, sink, job);
  }

 private:
  /// The layer's weights and the prompt's rotary table on the query's device, kept for the next call.
  std::pair<Placed, RotaryTable> prepare(const attention::LayerQuery& query) const {
    const auto found = indexer_->layers.find(query.layer);
    const std::string where = "indexer";
    if (found == indexer_->layers.end())
      throw input_error(where, "the indexer has no weights for a full layer of this model",
                        "layer " + std::to_string(query.layer),
                        std::to_string(indexer_->layers.size()) + " layers, the last is " +
                            std::to_string(indexer_->layers.empty() ? -1 : indexer_->layers.rbegin()->first));
    const LayerWeights& weights = found->second;
    if (!query.x.defined() || query.x.dim() != 2 || query.x.size(0) != query.length())
      throw Error(ErrorKind::internal, "the indexer needs the layer's input x, [L, width]");
    if (weights.q_proj.size(1) != query.x.size(1))
      throw input_error(where, "the indexer was made for a model of another width",
                        "width " + std::to_string(query.x.size(1)), "width " + std::to_string(weights.q_proj.size(1)));
    const std::lock_guard lock(mutex_);
    Placed& placed = placed_[query.layer];
    if (!placed.k_norm.defined() || placed.k_norm.device() != query.x.device())
      placed = place(weights, query.x.device());
    if (table_length_ != query.length() || table_base_ != query.rope_base ||
        table_.cosine.device() != query.x.device()) {
      table_ = table_for(query, weights.k_norm.size(0));
      table_length_ = query.length();
      table_base_ = query.rope_base;
    }
    return {placed, table_};
  }

  std::shared_ptr<const Indexer> indexer_;
  attention::PolicyOptions options_;
  attention::SelectionRule rule_;
  mutable std::mutex mutex_;
  mutable std::map<int, Placed> placed_;
  mutable RotaryTable table_;
  mutable std::int64_t table_length_ = 0;
  mutable double table_base_ = 0;
};

}  // namespace

Projections project(const LayerWeights& weights, const Metadata& metadata, const attention::LayerQuery& query) {
  return project_placed(place(weights, query.x.device()), table_for(query, weights.k_norm.size(0)),
                        metadata.norm_epsilon, query.x);
}

std::unique_ptr<attention::Policy> make_indexer_policy(std::shared_ptr<const Indexer> indexer,
                                                       const attention::PolicyOptions& options) {
  attention::PolicyOptions named = options;
  named.name = "indexer";
  attention::validate_options(named, true);
  if (!indexer) throw usage_error("method indexer needs an indexer: distil one or name its file");
  return std::make_unique<IndexerPolicy>(std::move(indexer), named);
}

}  // namespace headroom::indexer
