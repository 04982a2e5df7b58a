// SPDX-License-Identifier: Apache-2.0
#include "attention/block_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/log.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/softmax.h>

#include <algorithm>

namespace headroom::attention {
namespace {

/// Each key with its block's score: [G, R, blocks] to [G, R, end].
at::Tensor spread_over_keys(const at::Tensor& blocks, std::int64_t block, std::int64_t end) {
  return blocks.repeat_interleave(block, 2).narrow(2, 0, end).contiguous();
}

/// How many keys of each block a row sees: fp32 [R, blocks].
at::Tensor seen_keys(std::int64_t begin, std::int64_t end, std::int64_t block, const at::TensorOptions& options) {
  const at::Tensor row = at::arange(begin, end, options.dtype(at::kLong)).unsqueeze(1);
  const at::Tensor first = at::arange(0, end, block, options.dtype(at::kLong)).unsqueeze(0);
  return (row + 1 - first).clamp(0, block).to(at::kFloat);
}

class LogitScores final : public RowScores {
 public:
  LogitScores(std::shared_ptr<const BlockLogits> logits, std::int64_t heads, std::int64_t block, BlockForm form)
      : logits_(std::move(logits)), heads_(heads), block_(block), form_(form) {}

  std::int64_t groups() const override { return form_ == BlockForm::mean_probabilities ? 1 : heads_; }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    at::Tensor blocks = logits_->logits(begin, end);
    if (form_ != BlockForm::raw) {
      // A block counts as often as a row sees keys of it.
      const at::Tensor seen = seen_keys(begin, end, block_, blocks.options());
      blocks = at::softmax(blocks.add(at::log(seen)), 2).div_(seen.clamp_min(1));
      if (form_ == BlockForm::mean_probabilities) blocks = blocks.mean(0, true);
    }
    return spread_over_keys(blocks, block_, end);
  }

 private:
  std::shared_ptr<const BlockLogits> logits_;
  std::int64_t heads_, block_;
  BlockForm form_;
};

class TableScores final : public RowScores {
 public:
  TableScores(const at::Tensor& mass, std::int64_t block, std::int64_t length) : block_(block) {
    const std::int64_t blocks = mass.size(1);
    const auto options = mass.options().dtype(at::kLong);
    const at::Tensor first = at::arange(0, blocks * block, block, options);
    const at::Tensor rows = (first + block).clamp_max(length) - first;
    at::Tensor pairs = rows.unsqueeze(1) * rows.unsqueeze(0);
    pairs.diagonal().copy_((rows * (rows + 1)).floor_divide(2));
    table_ = mass / pairs.to(at::kFloat);
  }

  std::int64_t groups() const override { return table_.size(0); }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    const at::Tensor row = at::arange(begin, end, table_.options().dtype(at::kLong)).floor_divide(block_);
    const at::Tensor blocks = table_.narrow(2, 0, (end + block_ - 1) / block_).index_select(1, row);
    return spread_over_keys(blocks, block_, end);
  }

 private:
  at::Tensor table_;  ///< [Hq, nb, nb] mass of one pair
  std::int64_t block_;
};

}  // namespace

std::shared_ptr<const RowScores> make_block_scores(std::shared_ptr<const BlockLogits> logits, std::int64_t block,
                                                   BlockForm form) {
  const std::int64_t heads = logits->logits(0, 1).size(0);
  return std::make_shared<LogitScores>(std::move(logits), heads, block, form);
}

std::shared_ptr<const RowScores> make_block_scores(const at::Tensor& mass, std::int64_t block, std::int64_t length) {
  return std::make_shared<TableScores>(mass, block, length);
}

at::Tensor head_products(const at::Tensor& q, const at::Tensor& k) {
  const std::int64_t kv_heads = k.size(0), rows = q.size(0) / kv_heads * q.size(1);
  return at::matmul(q.reshape({kv_heads, rows, q.size(2)}), k.transpose(1, 2))
      .reshape({q.size(0), q.size(1), k.size(1)});
}

at::Tensor scaled_rows(const LayerQuery& query, std::int64_t begin, std::int64_t end) {
  return query.q.narrow(1, begin, end - begin).to(at::kFloat).mul(query.scale);
}

at::Tensor block_means(const at::Tensor& rows, std::int64_t block) {
  const std::int64_t length = rows.size(1), whole = length / block * block;
  std::vector<at::Tensor> means;
  if (whole > 0)
    means.push_back(at::mean(rows.narrow(1, 0, whole).unflatten(1, {whole / block, block}), 2, false, at::kFloat));
  if (whole < length) means.push_back(at::mean(rows.narrow(1, whole, length - whole), 1, true, at::kFloat));
  return at::cat(means, 1);
}

at::Tensor own_blocks(const LayerQuery& query, std::int64_t begin, std::int64_t end, std::int64_t block,
                      double padding) {
  const std::int64_t first = begin / block * block, blocks = (end - first + block - 1) / block;
  const at::Tensor keys = query.k.narrow(1, first, end - first).to(at::kFloat);
  return at::constant_pad_nd(keys, {0, 0, 0, first + blocks * block - end}, padding).unflatten(1, {blocks, block});
}

at::Tensor own_rows(const at::Tensor& running, std::int64_t begin, std::int64_t end) {
  return running.flatten(1, 2).narrow(1, begin % running.size(2), end - begin);
}

void set_own_block(const at::Tensor& logits, const at::Tensor& own, std::int64_t begin, std::int64_t block) {
  const at::Tensor place =
      at::arange(begin, begin + own.size(1), logits.options().dtype(at::kLong)).floor_divide(block);
  logits.scatter_(2, place.reshape({1, -1, 1}).expand({own.size(0), own.size(1), 1}), own.unsqueeze(2));
}

at::Tensor row_products(const at::Tensor& q, const at::Tensor& vectors) {
  const std::int64_t kv_heads = vectors.size(0);
  return q.unflatten(0, {kv_heads, q.size(0) / kv_heads}).mul(vectors.unsqueeze(1)).sum(3).flatten(0, 1);
}

}  // namespace headroom::attention
