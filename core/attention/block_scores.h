// SPDX-License-Identifier: Apache-2.0
// Scores of keys that come from blocks of keys: a method gives each block a logit for each row, or each pair of blocks
// a mass, and every key of a block has the block's score. Selection then works as for any other scores, so that rows
// keep exactly as many keys as their budget says: the last block that is taken may be taken in part.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "attention/layer_query.h"
#include "attention/policy.h"

namespace headroom::attention {

/// What a method makes of each block of keys. Immutable; threads may share it.
class BlockLogits {
 public:
  virtual ~BlockLogits() = default;
  /// fp32 [Hq, end - begin, blocks that begin before `end`] on the layer's device: the logit of each of a block's keys
  /// for a row. Of a row's own block, which it sees in part, nothing but the keys up to the row may go into it; what
  /// stands behind that block is not read.
  virtual at::Tensor logits(std::int64_t begin, std::int64_t end) const = 0;
};

/// Scores from logits: as they are (one set for each query head; ranks alone count), or softmax over all keys that a
/// row sees, for each query head or averaged over them.
enum class BlockForm { raw, probabilities, mean_probabilities };
std::shared_ptr<const RowScores> make_block_scores(std::shared_ptr<const BlockLogits> logits, std::int64_t block,
                                                   BlockForm form);

/// Scores from mass [Hq, nb, nb] fp32 of `block` queries and as many keys, on the layer's device, for each query head.
/// A block's mass is spread evenly over its causal pairs; the prompt has `length` positions.
std::shared_ptr<const RowScores> make_block_scores(const at::Tensor& mass, std::int64_t block, std::int64_t length);

/// q.k for query heads [Hq, R, d] and the keys of their KV heads [Hkv, n, d]: [Hq, R, n].
at::Tensor head_products(const at::Tensor& q, const at::Tensor& k);
/// Rows [begin, end) of q as fp32, scaled.
at::Tensor scaled_rows(const LayerQuery& query, std::int64_t begin, std::int64_t end);
/// Mean of each block of rows of [heads, L, d]: fp32 [heads, ceil(L / block), d]; the last block's over what there is.
at::Tensor block_means(const at::Tensor& rows, std::int64_t block);
/// Keys of the blocks that rows [begin, end) lie in, as fp32 [Hkv, blocks, block, d], with `padding` behind `end`.
at::Tensor own_blocks(const LayerQuery& query, std::int64_t begin, std::int64_t end, std::int64_t block,
                      double padding);
/// Of own_blocks()' shape (any running figure over a block): the place of each row [begin, end) itself, [Hkv, R, d].
at::Tensor own_rows(const at::Tensor& running, std::int64_t begin, std::int64_t end);
/// Writes `own` [Hq, R] to each row's own block in `logits`.
void set_own_block(const at::Tensor& logits, const at::Tensor& own, std::int64_t begin, std::int64_t block);
/// q [Hq, R, d] times a vector for each KV head and row [Hkv, R, d], summed over d: [Hq, R].
at::Tensor row_products(const at::Tensor& q, const at::Tensor& vectors);

}  // namespace headroom::attention
