// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cumsum.h>

#include "attention/backend.h"
#include "attention/block_scores.h"
#include "attention/registry.h"

namespace headroom::attention {
namespace {

/// The product of a row with a block's mean key; in its own block with the mean of what it sees.
class PooledKeys final : public BlockLogits {
 public:
  PooledKeys(const LayerQuery& query, std::int64_t block)
      : query_(query), block_(block), means_(block_means(query.k, block)) {}
  at::Tensor logits(std::int64_t begin, std::int64_t end) const override {
    const at::Tensor q = scaled_rows(query_, begin, end);
    const at::Tensor result = head_products(q, means_.narrow(1, 0, (end + block_ - 1) / block_));
    const at::Tensor sums = own_rows(at::cumsum(own_blocks(query_, begin, end, block_, 0), 2), begin, end);
    const at::Tensor seen = at::arange(begin, end, q.options().dtype(at::kLong)).remainder(block_).add(1);
    set_own_block(result, row_products(q, sums).div(seen.to(at::kFloat)), begin, block_);
    return result;
  }

 private:
  const LayerQuery& query_;
  std::int64_t block_;
  at::Tensor means_;  ///< [Hkv, nb, d]
};

class BlockTopK final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext&) const override {
    const SelectionRule rule = this->rule(layer.query());
    if (rule.keeps_all(layer.query().length())) return all_keys(layer.query());
    const StageScope scope(clock, Stage::score, layer.query().layer);
    const auto block = static_cast<std::int64_t>(parameter("block"));
    return RankedKeys{
        make_block_scores(std::make_shared<PooledKeys>(layer.query(), block), block, BlockForm::mean_probabilities),
        rule};
  }
};

}  // namespace

PolicyEntry entry_block_topk() {
  return {{.name = "block_topk",
           .title = "Block top-k",
           .definition =
               "The blocks of keys whose mean key has the largest attention probability, averaged over the layer's "
               "heads, k keys in all: the last block is taken in part.",
           .source = "MoBA's gate (arXiv 2502.13189, section 2) without training, shared by the heads",
           .cost = "1 / block of the scores of all heads; top-k of each row",
           .role = MethodRole::deployable,
           .score = ScoreKind::other,
           .look = 11,
           .shares_scores = true,
           .parameters = {sinks_parameter(), local_parameter(), {"block", 64, 1, 4096, "keys of a block", true}}},
          &make_policy_of<BlockTopK>};
}

}  // namespace headroom::attention
