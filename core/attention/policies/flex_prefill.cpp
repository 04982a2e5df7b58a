// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/backend.h"
#include "attention/block_scores.h"
#include "attention/registry.h"
#include "attention/window_votes.h"

namespace headroom::attention {
namespace {

constexpr double flex_infinity = std::numeric_limits<double>::infinity();

/// What one head attends to: lines, or blocks in the order in which each block of rows takes them.
struct FlexHead {
  bool by_blocks = false;
  KeyLines lines;
  std::int64_t block = 0, blocks = 0;
  std::vector<std::int32_t> order;  ///< [nb, nb]
  std::vector<std::int32_t> taken;  ///< [nb] blocks of the share; empty for budgets in tokens
};

/// The own key, then the keys of the row's blocks up to the row, the best blocks first, `most` at the most.
std::int64_t write_blocks(const FlexHead& head, std::int64_t row, std::int64_t most, std::int32_t* to) {
  const std::int64_t own = row / head.block;
  const auto* order = head.order.data() + own * head.blocks;
  const std::int64_t blocks = head.taken.empty() ? own + 1 : head.taken[static_cast<std::size_t>(own)];
  struct Part {
    std::int32_t first, end;
  };
  thread_local std::vector<Part> parts;
  parts.clear();
  std::int64_t left = most - 1;
  for (std::int64_t i = 0; i < blocks && left > 0; ++i) {
    const std::int64_t first = order[i] * head.block, end = std::min({first + head.block, row, first + left});
    parts.push_back({static_cast<std::int32_t>(first), static_cast<std::int32_t>(end)});
    left -= end - first;
  }
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.first < b.first; });
  std::int32_t* out = to;
  for (const Part& part : parts)
    for (std::int32_t key = part.first; key < part.end; ++key) *out++ = key;
  *out++ = static_cast<std::int32_t>(row);
  return out - to;
}

/// Square root of the Jensen-Shannon divergence (natural logarithm) of two distributions.
double shannon_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double mean = (a[i] + b[i]) / 2;
    if (a[i] > 0) sum += a[i] * std::log(a[i] / mean) / 2;
    if (b[i] > 0) sum += b[i] * std::log(b[i] / mean) / 2;
  }
  return std::sqrt(std::max(0.0, sum));
}

/// One layer's pooled figures, on the host.
struct Pooled {
  at::Tensor of_window;  ///< [Hq, nb]: what the mean of the last rows would attend to, by mean keys
  at::Tensor of_blocks;  ///< [Hq, nb, nb]: the same of each block of rows; 0 behind it
};
Pooled pooled_attention(const LayerQuery& query, std::int64_t block) {
  const std::int64_t length = query.length(), window = std::min(block, length);
  const at::Tensor keys = block_means(query.k, block);
  const at::Tensor last = block_means(scaled_rows(query, length - window, length), window);
  const at::Tensor rows = block_means(query.q, block).mul(query.scale);
  const at::Tensor future = at::full({keys.size(1), keys.size(1)}, -flex_infinity, keys.options()).triu_(1);
  return {at::softmax(head_products(last, keys), 2).select(1, 0).to(at::kCPU).contiguous(),
          at::softmax(head_products(rows, keys).add(future), 2).to(at::kCPU).contiguous()};
}

class FlexPrefill final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    const LayerQuery& query = layer.query();
    const std::int64_t length = query.length(), k = rule.tokens(length), block = rule.granularity;
    const bool by_share = rule.budget.kind == BudgetKind::mass;
    if (rule.keeps_all(length)) return all_keys(query);
    WindowVotes votes;
    Pooled pooled;
    {
      const StageScope scope(clock, Stage::score, query.layer);
      votes = count_votes(layer, block, true, job);
      pooled = pooled_attention(query, block);
    }
    const StageScope scope(clock, Stage::select, query.layer);
    const auto heads = std::make_shared<std::vector<FlexHead>>();
    WrittenKeys keys;
    for (std::int64_t head = 0; head < query.num_q_heads(); ++head) {
      job.check();
      heads->push_back(choose(votes, pooled, head, rule, k));
    }
    keys.most = by_share ? length : k;
    keys.whole_rows = k;
    keys.groups = query.num_q_heads();
    keys.shared_rows = block;
    keys.write =
        WrittenKeys::by_row([heads, k, by_share, length](std::int64_t group, std::int64_t row, std::int32_t* to) {
          const FlexHead& head = (*heads)[static_cast<std::size_t>(group)];
          if (row >= k)
            return head.by_blocks ? write_blocks(head, row, by_share ? length : k, to) : head.lines.write(row, to);
          for (std::int64_t key = 0; key <= row; ++key) to[key] = static_cast<std::int32_t>(key);
          return row + 1;
        });
    return keys;
  }

 private:
  FlexHead choose(const WindowVotes& votes, const Pooled& pooled, std::int64_t number, const SelectionRule& rule,
                  std::int64_t k) const {
    const auto h = static_cast<std::size_t>(number);
    FlexHead head;
    head.block = rule.granularity;
    head.blocks = pooled.of_blocks.size(1);
    std::vector<double> seen(static_cast<std::size_t>(head.blocks)), estimated(seen.size());
    for (std::size_t key = 0; key < votes.of_key[h].size(); ++key)
      seen[key / static_cast<std::size_t>(head.block)] += votes.of_key[h][key] / static_cast<double>(votes.rows);
    const float* of_window = pooled.of_window.const_data_ptr<float>() + number * head.blocks;
    std::copy_n(of_window, head.blocks, estimated.begin());
    head.by_blocks = shannon_distance(seen, estimated) < parameter("tau");
    const bool by_share = rule.budget.kind == BudgetKind::mass;
    if (!head.by_blocks) {
      const std::int64_t columns = k / 2;
      head.lines = by_share ? KeyLines{places_of_share(votes.of_key[h], rule.budget.value, 0),
                                       places_of_share(votes.of_distance[h], rule.budget.value, 1)}
                            : KeyLines{best_places(votes.of_key[h], columns, 0),
                                       best_places(votes.of_distance[h], k - columns, 1)};
      return head;
    }
    const at::Tensor mass = pooled.of_blocks[number];
    // What lies behind a block of rows is 0 and has the higher numbers: it comes last.
    const auto [sorted, order] = at::sort(mass, /*stable=*/true, 1, /*descending=*/true);
    const at::Tensor places = order.to(at::kInt).contiguous(), shares = sorted.contiguous();
    const auto* place = places.const_data_ptr<std::int32_t>();
    head.order.assign(place, place + places.numel());
    for (std::int64_t row = 0; by_share && row < head.blocks; ++row) {
      const float* share = shares.const_data_ptr<float>() + row * head.blocks;
      double sum = 0;
      std::int32_t taken = 0;
      for (; taken <= row && (taken == 0 || sum < rule.budget.value); ++taken) sum += static_cast<double>(share[taken]);
      head.taken.push_back(taken);
    }
    return head;
  }
};

}  // namespace

PolicyEntry entry_flex_prefill() {
  return {
      {.name = "flex_prefill",
       .title = "FlexPrefill",
       .definition =
           "For each query head one of two patterns, as the prompt's last block of rows tells: blocks of keys by "
           "the mean query and mean keys where these predict that block's attention, else verticals and "
           "slashes. p is the method's own budget, the share gamma that the chosen blocks, verticals and "
           "slashes hold; k gives a row k keys, of lines at most k.",
       .source = "FlexPrefill (arXiv 2502.20766), section 3; blocks are chosen for each block of rows",
       .cost = "the scores of one block of rows of all heads, 1 / block^2 of the others, and a sort of L columns and "
               "diagonals or of L / block blocks for each head",
       .role = MethodRole::deployable,
       .scope = SupportScope::q_head,
       .score = ScoreKind::other,
       .look = 15,
       .takes_mass_budget = true,
       .least_granularity = 64,
       .whole_prompt = true,
       .parameters = {{"tau", 0.1, 0, 1, "largest distance of estimate and attention at which blocks are used"}}},
      &make_policy_of<FlexPrefill>};
}

}  // namespace headroom::attention
