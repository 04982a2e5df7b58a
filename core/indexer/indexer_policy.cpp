// SPDX-License-Identifier: Apache-2.0
// The indexer's forward pass and its policy.
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

#include "attention/cpu_layer.h"
#include "attention/sparse_prefill.h"
#include "attention/validate.h"
#include "base/error.h"
#include "indexer/indexer.h"
#include "indexer/rotary.h"
#include "kernels/cpu/index_score.h"

namespace headroom::indexer {
namespace {

namespace cpu = kernels::cpu;

/// A layer's weights where they are used.
struct Placed {
  at::Tensor projections;                                ///< [2 d_I, width] fp32: q, then k; not on the CPU
  at::Tensor k_norm;                                     ///< [d_I] fp32
  std::shared_ptr<const cpu::IndexProjector> projector;  ///< on the CPU
  c10::ScalarType dtype = at::kFloat;                    ///< of x

  bool fits(const at::Tensor& x) const {
    return k_norm.defined() && k_norm.device() == x.device() && dtype == x.scalar_type();
  }
};

/// bf16, else fp32: a model's x has one of the two.
cpu::Element element_of(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? cpu::Element::bf16 : cpu::Element::f32;
}

Placed place(const LayerWeights& weights, double epsilon, const at::Tensor& x) {
  Placed placed;
  placed.dtype = x.scalar_type();
  placed.k_norm = weights.k_norm.to(x.device()).to(at::kFloat).contiguous();
  if (!x.is_cpu()) {
    placed.projections = at::cat({weights.q_proj, weights.k_proj}, 0).to(x.device()).to(at::kFloat);
    return placed;
  }
  const at::Tensor q = weights.q_proj.to(at::kFloat).contiguous(), k = weights.k_proj.to(at::kFloat).contiguous();
  placed.projector =
      cpu::make_index_projector({q.size(1), q.size(0), q.const_data_ptr<float>(), k.const_data_ptr<float>(),
                                 placed.k_norm.const_data_ptr<float>(), static_cast<float>(epsilon)},
                                element_of(x));
  return placed;
}

/// q and k in x's dtype.
Projections project_cpu(const cpu::IndexProjector& projector, const RotaryTable& table, const at::Tensor& x,
                        const cpu::RunTasks& run_tasks) {
  const at::Tensor rows = x.contiguous();
  const std::int64_t length = x.size(0), half = table.cosine.size(1), width = x.size(1);
  const Projections out{at::empty({length, 2 * half}, x.options()), at::empty({length, 2 * half}, x.options())};
  const auto at_row = [bytes = x.element_size()](const void* data, std::int64_t row, std::int64_t columns) {
    return static_cast<const char*>(data) + static_cast<std::size_t>(row * columns) * bytes;
  };
  const auto out_row = [&](const at::Tensor& tensor, std::int64_t row) {
    return const_cast<char*>(at_row(tensor.mutable_data_ptr(), row, 2 * half));
  };
  constexpr std::int64_t chunk = 64;
  run_tasks((length + chunk - 1) / chunk, [&](std::int64_t i) {
    const std::int64_t begin = i * chunk;
    projector.project({std::min(chunk, length - begin), at_row(rows.const_data_ptr(), begin, width),
                       table.cosine.const_data_ptr<float>() + begin * half,
                       table.sine.const_data_ptr<float>() + begin * half, out_row(out.q, begin),
                       out_row(out.k, begin)});
  });
  return out;
}

/// LibTorch operators, any device. fp32, rounded to bf16 where x is.
Projections project_device(const Placed& placed, const RotaryTable& table, double epsilon, const at::Tensor& x) {
  const std::int64_t dim = placed.k_norm.size(0);
  const at::Tensor both = at::matmul(x.to(at::kFloat), placed.projections.t());
  const at::Tensor k = both.narrow(1, dim, dim);
  const at::Tensor normed = k * at::rsqrt(k.square().mean(1, true).add_(epsilon)) * placed.k_norm;
  return {rotate(both.narrow(1, 0, dim), table).to(x.scalar_type()).to(at::kFloat),
          rotate(normed, table).to(x.scalar_type()).to(at::kFloat)};
}

/// Both as fp32.
Projections project_placed(const Placed& placed, const RotaryTable& table, double epsilon, const at::Tensor& x,
                           const JobContext& job) {
  if (!placed.projector) return project_device(placed, table, epsilon, x);
  const Projections out = project_cpu(*placed.projector, table, x, attention::parallel_tasks(job));
  return {out.q.to(at::kFloat), out.k.to(at::kFloat)};
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
    const bool additive = attention::needs_additive_scores(rule_);
    if (query.q.is_cpu() && !additive) return attend_cpu(query, clock, sink, job);
    Projections projected;
    {
      const StageScope scope(clock, Stage::score, query.layer);
      const auto [placed, table] = prepare(query);
      projected = project_placed(placed, table, indexer_->metadata.norm_epsilon, query.x, job);
      projected.q.mul_(1 / std::sqrt(static_cast<double>(projected.q.size(1))));
    }
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
  /// Scores and selection by one kernel.
  at::Tensor attend_cpu(const attention::LayerQuery& query, StageClock& clock, const attention::SupportSink& sink,
                        const JobContext& job) const {
    std::unique_ptr<cpu::IndexScorer> scorer;
    Projections projected;
    {
      const StageScope scope(clock, Stage::score, query.layer);
      const auto [placed, table] = prepare(query);
      if (attention::rows_within_budget(query, rule_) < query.length()) {  // else no row is selected for
        const cpu::RunTasks run_tasks = attention::parallel_tasks(job);
        projected = project_cpu(*placed.projector, table, query.x, run_tasks);
        scorer = cpu::make_index_scorer({element_of(projected.q), query.length(), projected.q.size(1),
                                         projected.q.const_data_ptr(), projected.k.const_data_ptr()},
                                        run_tasks);
      }
    }
    const cpu::ForcedRange forced{rule_.forced.sinks, rule_.forced.local};
    const attention::RowSelector selector = [&](std::int64_t begin, std::int64_t end, std::int32_t* indices,
                                                std::int64_t width, std::int32_t* counts) {
      const cpu::IndexTime time = scorer->select(begin, end, width, forced, indices, width, counts);
      return attention::SelectorTime{time.score_ns, time.select_ns};
    };
    return attention::sparse_prefill(query, rule_, selector, clock, sink, job);
  }

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
    if (!placed.fits(query.x)) placed = place(weights, indexer_->metadata.norm_epsilon, query.x);
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
  const c10::InferenceMode guard;
  const JobContext job;
  return project_placed(place(weights, metadata.norm_epsilon, query.x), table_for(query, weights.k_norm.size(0)),
                        metadata.norm_epsilon, query.x, job);
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
