// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <limits>

#include "attention/backend.h"
#include "attention/block_scores.h"
#include "attention/registry.h"
#include "base/error.h"

namespace headroom::attention {
namespace {

constexpr std::int64_t antidiagonals_at_once = std::int64_t{1} << 24;  ///< over all heads

/// [heads, L, d] as [heads, ceil(L / stride), stride * d], zeros behind L; `reversed`: neighbours in opposite order.
at::Tensor strided_rows(const at::Tensor& rows, std::int64_t stride, bool reversed) {
  const std::int64_t tiles = (rows.size(1) + stride - 1) / stride;
  const at::Tensor tiled =
      at::constant_pad_nd(rows, {0, 0, 0, tiles * stride - rows.size(1)}).unflatten(1, {tiles, stride});
  return (reversed ? tiled.flip({2}) : tiled).flatten(2, 3);
}

/// Mass of each pair of blocks: the mean of q.k along the antidiagonal of each tile of stride x stride pairs, softmax
/// over the tiles that a row of tiles sees, summed over the blocks' tiles. fp32 [Hq, nb, nb].
at::Tensor antidiagonal_mass(const LayerQuery& query, std::int64_t block, std::int64_t stride, const JobContext& job) {
  const at::Tensor k = strided_rows(query.k.to(at::kFloat), stride, false);
  const std::int64_t heads = query.num_q_heads(), length = query.length(), tiles = k.size(1);
  const std::int64_t blocks = (length + block - 1) / block, of_block = block / stride;
  const at::Tensor mass = at::empty({heads, blocks, blocks}, k.options());
  const std::int64_t at_once = std::max<std::int64_t>(1, antidiagonals_at_once / heads / tiles / of_block);
  for (std::int64_t first = 0; first < blocks; first += at_once) {
    job.check();
    const std::int64_t last = std::min(first + at_once, blocks), row = first * of_block;
    const std::int64_t row_end = std::min(last * of_block, tiles);
    const at::Tensor q =
        strided_rows(scaled_rows(query, row * stride, std::min(row_end * stride, length)), stride, true);
    at::Tensor logits = head_products(q, k).div_(static_cast<double>(stride));
    logits = logits.add(
        at::full({row_end - row, tiles}, -std::numeric_limits<double>::infinity(), k.options()).triu_(row + 1));
    at::Tensor p = at::softmax(logits, 2);
    p = at::constant_pad_nd(p, {0, blocks * of_block - tiles, 0, (last - first) * of_block - (row_end - row)});
    mass.narrow(1, first, last - first)
        .copy_(p.unflatten(2, {blocks, of_block}).sum(3).unflatten(1, {last - first, of_block}).sum(2));
  }
  return mass;
}

class XAttention final : public Policy {
 public:
  XAttention(const PolicyTraits& traits, const PolicySettings& settings) : Policy(traits, settings) {
    if (settings.granularity % stride() != 0)
      throw usage_error("parameter stride of method xattention must divide its block of " +
                        std::to_string(settings.granularity) + " rows, not be " + std::to_string(stride()));
  }
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    const LayerQuery& query = layer.query();
    if (rule.keeps_all(query.length())) return all_keys(query);
    const StageScope scope(clock, Stage::score, query.layer);
    const at::Tensor mass = antidiagonal_mass(query, rule.granularity, stride(), job);
    return RankedKeys{make_block_scores(mass, rule.granularity, query.length()), rule};
  }

 private:
  std::int64_t stride() const { return static_cast<std::int64_t>(parameter("stride")); }
};

}  // namespace

PolicyEntry entry_xattention() {
  return {{.name = "xattention",
           .title = "Antidiagonal blocks",
           .definition =
               "For each query head and block of rows the blocks of keys whose antidiagonals, every stride-th one, "
               "have the largest attention: k keys a row (the last block in part), or as many as hold the share p "
               "of the estimate, which is the method's own budget.",
           .source = "XAttention (arXiv 2503.16428), section 2",
           .cost = "1 / stride of the scores of all heads; top-k of each row of each head",
           .role = MethodRole::deployable,
           .scope = SupportScope::q_head,
           .score = ScoreKind::other,
           .look = 14,
           .takes_mass_budget = true,
           .least_granularity = 64,
           .shares_scores = true,
           .parameters = {sinks_parameter(),
                          local_parameter(),
                          {"stride", 8, 1, 64, "pairs along an antidiagonal; divides the block", true}}},
          &make_policy_of<XAttention>};
}

}  // namespace headroom::attention
