// SPDX-License-Identifier: Apache-2.0
// dense, oracle, sink_window and random: what each scores; the rest is sparse_prefill.
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <limits>

#include "attention/cpu_layer.h"
#include "attention/mass.h"
#include "attention/policy.h"
#include "attention/select.h"
#include "attention/sparse_prefill.h"
#include "attention/validate.h"
#include "kernels/cpu/top_k.h"

namespace headroom::attention {
namespace {

std::string cpu_backend() {
  return "Headroom CPU kernels, " + std::string(kernels::cpu::name(kernels::cpu::preferred_isa()));
}

class DensePolicy final : public Policy {
 public:
  explicit DensePolicy(const PolicyOptions& options)
      : kernels_(options.dense_backend != DenseBackend::libtorch && options.device == c10::DeviceType::CPU) {
    if (options.dense_backend == DenseBackend::kernels && !kernels_)
      throw usage_error("the dense attention kernels run on the CPU only");
  }

  PolicyInfo info() const override {
    PolicyInfo info;
    info.name = "dense";
    info.is_dense = true;
    info.backend = kernels_ ? cpu_backend() : "LibTorch SDPA";
    return info;
  }

  at::Tensor attend(const LayerQuery& query, StageClock& clock, const SupportSink&,
                    const JobContext& job) const override {
    check_query(query);
    const c10::InferenceMode guard;
    const StageScope scope(clock, Stage::attention, query.layer);
    if (kernels_ && has_cpu_kernels(query)) {
      const CpuLayer layer(query, job);
      const at::Tensor out = layer.make_output();
      layer.kernels().dense(query.length(), layer.output(out, {}), parallel_tasks(job));
      return out;
    }
    const at::Tensor out = at::empty(query.q.sizes(), query.q.options());
    dense_prefill(query, query.length(), out, job);
    return out;
  }

 private:
  bool kernels_;
};

class SparsePolicy : public Policy {
 public:
  explicit SparsePolicy(const PolicyOptions& options)
      : options_(options), rule_{*options.budget, options.granularity, options.forced} {}

  PolicyInfo info() const override { return sparse_policy_info(options_, options_.name == "oracle"); }

 protected:
  PolicyOptions options_;
  SelectionRule rule_;
};

using Nanoseconds = std::chrono::nanoseconds;

/// Attention mass of a tile of rows, then the best of it, while it is in the cache.
class MassSelector {
 public:
  MassSelector(const LayerQuery& query, const SelectionRule& rule, const CpuLayer& layer, const at::Tensor& lse)
      : layer_(layer), rule_(rule), lse_(lse.const_data_ptr<float>()), budget_(rule.budget) {
    by_mass_ = budget_.kind == BudgetKind::mass;
    tokens_ = by_mass_ ? 0 : std::min(budget_.tokens_for(query.length()), query.length());
  }

  SelectorTime operator()(std::int64_t begin, std::int64_t end, std::int32_t* indices, std::int64_t width,
                          std::int32_t* counts) const {
    constexpr std::int64_t step = kernels::cpu::mass_rows;
    thread_local std::vector<float> mass;
    thread_local kernels::cpu::SelectScratch scratch;
    // Rows that share a block are summed; others need not wait for each other.
    const std::int64_t rows_at_once = rule_.granularity > 1 ? end - begin : step;
    const kernels::cpu::ForcedRange forced{rule_.forced.sinks, rule_.forced.local};
    SelectorTime time;
    for (std::int64_t from = begin; from < end; from += rows_at_once) {
      const auto start = std::chrono::steady_clock::now();
      const std::int64_t to = std::min(from + rows_at_once, end), stride = (to + step - 1) / step * step;
      mass.resize(static_cast<std::size_t>((to - from) * stride));
      for (std::int64_t row = from; row < to; row += step)
        layer_.kernels().mass(row, std::min(row + step, to), lse_, mass.data() + (row - from) * stride, stride);
      const auto scored = std::chrono::steady_clock::now();
      if (rule_.granularity > 1) share_block_scores(mass.data(), from, to - from, stride, rule_.granularity);
      for (std::int64_t row = from; row < to; ++row) {
        const float* scores = mass.data() + (row - from) * stride;
        std::int32_t* out = indices + (row - begin) * width;
        const std::int64_t count =
            by_mass_ ? kernels::cpu::top_mass_row(scores, row + 1, budget_.value, forced, out, scratch)
                     : kernels::cpu::top_k_row(scores, row + 1, tokens_, forced, out, scratch);
        counts[row - begin] = static_cast<std::int32_t>(count);
      }
      time.score_ns += Nanoseconds(scored - start).count();
      time.select_ns += Nanoseconds(std::chrono::steady_clock::now() - scored).count();
    }
    return time;
  }

 private:
  const CpuLayer& layer_;
  const SelectionRule& rule_;
  const float* lse_;
  Budget budget_;
  bool by_mass_ = false;
  std::int64_t tokens_ = 0;
};

class OraclePolicy final : public SparsePolicy {
 public:
  using SparsePolicy::SparsePolicy;

  at::Tensor attend(const LayerQuery& query, StageClock& clock, const SupportSink& sink,
                    const JobContext& job) const override {
    check_query(query);
    const c10::InferenceMode guard;
    if (has_cpu_kernels(query)) return attend_with_kernels(query, clock, sink, job);
    std::optional<MassScorer> scorer;
    {
      const StageScope scope(clock, Stage::score, query.layer);
      scorer.emplace(query);
    }
    return sparse_prefill(
        query, rule_, [&](std::int64_t begin, std::int64_t end) { return scorer->mass(begin, end); }, clock, sink, job);
  }

 private:
  /// Two passes: log-sum-exp of every head, then mass and selection tile by tile.
  at::Tensor attend_with_kernels(const LayerQuery& query, StageClock& clock, const SupportSink& sink,
                                 const JobContext& job) const {
    std::optional<CpuLayer> layer;
    at::Tensor lse;
    {
      const StageScope scope(clock, Stage::score, query.layer);
      layer.emplace(query, job);
      lse = at::empty({query.num_q_heads(), query.length()}, at::TensorOptions().dtype(at::kFloat));
      layer->kernels().log_sum_exp(rows_within_budget(query, rule_), query.length(), lse.mutable_data_ptr<float>(),
                                   parallel_tasks(job));
    }
    const MassSelector selector(query, rule_, *layer, lse);
    return sparse_prefill(query, rule_, RowSelector(std::cref(selector)), clock, sink, job, &*layer);
  }
};

/// The last k keys and the first few: a score that grows with the position does it.
class SinkWindowPolicy final : public SparsePolicy {
 public:
  explicit SinkWindowPolicy(const PolicyOptions& options) : SparsePolicy(options) {
    if (rule_.forced.sinks == 0) rule_.forced.sinks = default_sinks;
  }

  at::Tensor attend(const LayerQuery& query, StageClock& clock, const SupportSink& sink,
                    const JobContext& job) const override {
    SelectionRule rule = rule_;
    rule.granularity = 1;  // a block's summed positions rank keys as the positions do
    const auto options = query.q.options().dtype(at::kFloat);
    const RowScorer scorer = [&](std::int64_t begin, std::int64_t end) {
      return at::arange(end, options).unsqueeze(0).expand({end - begin, end}).contiguous();
    };
    return sparse_prefill(query, rule, scorer, clock, sink, job);
  }

 private:
  static constexpr std::int64_t default_sinks = 4;
};

/// SplitMix64's finaliser.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// Uniform scores from a hash of seed, layer, block and key: computed on the CPU, hence the same on every device.
class RandomPolicy final : public SparsePolicy {
 public:
  using SparsePolicy::SparsePolicy;

  at::Tensor attend(const LayerQuery& query, StageClock& clock, const SupportSink& sink,
                    const JobContext& job) const override {
    SelectionRule rule = rule_;
    rule.granularity = 1;  // the block shares its hash, not a sum
    const std::uint64_t stream = mix(mix(options_.seed + 1) + static_cast<std::uint64_t>(query.layer) + 1);
    const RowScorer scorer = [&](std::int64_t begin, std::int64_t end) {
      const at::Tensor scores = at::empty({end - begin, end}, at::TensorOptions().dtype(at::kFloat));
      auto* values = scores.mutable_data_ptr<float>();
      for (std::int64_t row = begin; row < end; ++row) {
        const std::uint64_t base = mix(stream + static_cast<std::uint64_t>(row / options_.granularity));
        for (std::int64_t key = 0; key < end; ++key)
          *values++ = static_cast<float>(mix(base + static_cast<std::uint64_t>(key) * 0x9e3779b97f4a7c15ull) >> 40);
      }
      return query.q.is_cpu() ? scores : scores.to(query.q.device());
    };
    return sparse_prefill(query, rule, scorer, clock, sink, job);
  }
};

}  // namespace

PolicyInfo sparse_policy_info(const PolicyOptions& options, bool shares_scores) {
  PolicyInfo info;
  info.name = options.name;
  info.budget = options.budget;
  info.granularity = options.granularity;
  info.causal = !(shares_scores && options.granularity > 1);
  if (options.device == c10::DeviceType::CPU) {
    info.backend = cpu_backend();
  } else {
    info.backend = "LibTorch SDPA with a mask, row tiles";
    info.label = "reference path, not optimised";
  }
  return info;
}

void validate_options(const PolicyOptions& options, bool allow_mass_budget) {
  const std::string& name = options.name;
  if (!options.budget) throw usage_error("method " + name + " needs a budget, e.g. 512, 10% or p0.95");
  if (options.budget->kind == BudgetKind::mass && !allow_mass_budget)
    throw usage_error("method " + name + " takes a budget in tokens or percent, not " + to_string(*options.budget) +
                      ": it has no mass to reach");
  const double value = options.budget->value;
  const bool in_range =
      options.budget->kind == BudgetKind::tokens ? value >= 1 && value <= 1e9 : value > 0 && value <= 1;
  if (!in_range) throw usage_error("budget of method " + name + " is out of range");
  constexpr std::array<std::int64_t, 7> allowed = {1, 4, 8, 16, 32, 64, 128};
  if (std::find(allowed.begin(), allowed.end(), options.granularity) == allowed.end())
    throw usage_error("granularity must be 1, 4, 8, 16, 32, 64 or 128, not " + std::to_string(options.granularity));
  if (options.forced.sinks < 0 || options.forced.local < 1)
    throw usage_error("forced keys: sinks must be 0 or more and local 1 or more (a query's own position)");
}

std::unique_ptr<Policy> make_policy(const PolicyOptions& options) {
  if (options.name == "dense") return std::make_unique<DensePolicy>(options);
  if (options.name == "oracle") {
    validate_options(options, true);
    return std::make_unique<OraclePolicy>(options);
  }
  if (options.name == "sink_window") {
    validate_options(options, false);
    return std::make_unique<SinkWindowPolicy>(options);
  }
  if (options.name == "random") {
    validate_options(options, false);
    return std::make_unique<RandomPolicy>(options);
  }
  throw usage_error("unknown method \"" + options.name + "\": expected dense, oracle, indexer, sink_window or random");
}

}  // namespace headroom::attention
