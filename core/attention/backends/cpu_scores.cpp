// SPDX-License-Identifier: Apache-2.0
// Scores with selection in the tile: attention mass and the indexer's, by our CPU kernels.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "attention/backends/cpu_backend.h"
#include "attention/backends/element.h"
#include "attention/backends/index_projection.h"
#include "attention/parallel.h"
#include "base/error.h"
#include "kernels/cpu/index/index_score.h"
#include "kernels/cpu/select/top_k.h"

namespace headroom::attention {
namespace {

namespace cpu = kernels::cpu;
using Clock = std::chrono::steady_clock;

std::int64_t nanoseconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

class MassScores final : public FusedScores {
 public:
  MassScores(const LayerQuery& query, const cpu::AttentionLayer& layer, const at::Tensor& lse)
      : layer_(layer), lse_(lse), length_(query.length()) {}

  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    const at::Tensor out = at::empty({1, end - begin, end}, at::kFloat);
    auto* to = out.mutable_data_ptr<float>();
    thread_local std::vector<float> tile;
    const std::int64_t stride = padded(end);
    tile.resize(static_cast<std::size_t>(cpu::mass_rows * stride));
    for (std::int64_t from = begin / cpu::mass_rows * cpu::mass_rows; from < end; from += cpu::mass_rows) {
      layer_.mass(from, std::min(from + cpu::mass_rows, end), lse(), tile.data(), stride);
      for (std::int64_t row = std::max(from, begin); row < std::min(from + cpu::mass_rows, end); ++row) {
        // Behind a row's history the tile holds what was there before.
        float* const copied = std::copy_n(tile.data() + (row - from) * stride, row + 1, to + (row - begin) * end);
        std::fill(copied, to + (row - begin + 1) * end, 0.0f);
      }
    }
    return out;
  }

  SelectorTime select(const SelectionRule& rule, std::int64_t begin, std::int64_t end, std::int32_t* indices,
                      std::int64_t width, std::int32_t* counts) const override {
    thread_local std::vector<float> mass;
    thread_local cpu::SelectScratch scratch;
    // Rows that share a block are summed; others need not wait for each other.
    const std::int64_t rows_at_once = rule.granularity > 1 ? end - begin : cpu::mass_rows;
    const cpu::ForcedRange forced{rule.forced.sinks, rule.forced.local};
    const bool by_mass = rule.budget.kind == BudgetKind::mass;
    const std::int64_t tokens = rule.tokens(length_);
    SelectorTime time;
    for (std::int64_t from = begin; from < end; from += rows_at_once) {
      const auto start = Clock::now();
      const std::int64_t to = std::min(from + rows_at_once, end), stride = padded(to);
      mass.resize(static_cast<std::size_t>((to - from) * stride));
      for (std::int64_t row = from; row < to; row += cpu::mass_rows)
        layer_.mass(row, std::min(row + cpu::mass_rows, to), lse(), mass.data() + (row - from) * stride, stride);
      const auto scored = Clock::now();
      if (rule.granularity > 1) share_block_scores(mass.data(), from, to - from, stride, rule.granularity);
      for (std::int64_t row = from; row < to; ++row) {
        const float* scores = mass.data() + (row - from) * stride;
        std::int32_t* out = indices + (row - begin) * width;
        const std::int64_t count = by_mass
                                       ? cpu::top_mass_row(scores, row + 1, rule.budget.value, forced, out, scratch)
                                       : cpu::top_k_row(scores, row + 1, tokens, forced, out, scratch);
        counts[row - begin] = static_cast<std::int32_t>(count);
      }
      time.score_ns += nanoseconds(scored - start);
      time.select_ns += nanoseconds(Clock::now() - scored);
    }
    return time;
  }

 private:
  static std::int64_t padded(std::int64_t keys) { return (keys + cpu::mass_rows - 1) / cpu::mass_rows * cpu::mass_rows; }
  const float* lse() const { return lse_.const_data_ptr<float>(); }

  const cpu::AttentionLayer& layer_;
  at::Tensor lse_;  ///< [Hq, L]
  std::int64_t length_;
};

class RawIndexScores final : public FusedScores {
 public:
  RawIndexScores(const IndexProjections& projections, const JobContext& job)
      : projections_(projections),
        scorer_(cpu::make_index_scorer({element_of(projections.q), projections.q.size(0), projections.q.size(1),
                                        projections.q.const_data_ptr(), projections.k.const_data_ptr()},
                                       parallel_tasks(job))) {}

  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    const at::Tensor out = at::empty({1, end - begin, cpu::score_stride(end)}, at::kFloat);
    scorer_->scores(begin, end, out.mutable_data_ptr<float>(), cpu::score_stride(end));
    return out.narrow(2, 0, end).contiguous();
  }

  SelectorTime select(const SelectionRule& rule, std::int64_t begin, std::int64_t end, std::int32_t* indices,
                      std::int64_t width, std::int32_t* counts) const override {
    if (rule.adds_scores()) throw Error(ErrorKind::internal, "raw index scores have no common level to be added");
    const cpu::IndexTime time =
        scorer_->select(begin, end, width, {rule.forced.sinks, rule.forced.local}, indices, width, counts);
    return {time.score_ns, time.select_ns};
  }

 private:
  IndexProjections projections_;  ///< the scorer reads q
  std::unique_ptr<cpu::IndexScorer> scorer_;
};

}  // namespace

std::shared_ptr<const FusedScores> make_mass_scores(const LayerQuery& query, const cpu::AttentionLayer& layer,
                                                    const at::Tensor& lse) {
  return std::make_shared<MassScores>(query, layer, lse);
}

std::shared_ptr<const FusedScores> make_raw_index_scores(const IndexProjections& projections, const JobContext& job) {
  return std::make_shared<RawIndexScores>(projections, job);
}

}  // namespace headroom::attention
