// SPDX-License-Identifier: Apache-2.0
#include "model/window_attention.h"

#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <limits>

#include "attention/backends/cuda_module.h"

namespace headroom::model {
namespace {

constexpr std::int64_t window_rows = 256;                   // of a chunk, whose keys are then window + 255
constexpr std::int64_t most_pairs = std::int64_t{1} << 22;  // of a chunk over the whole history: bounds the mask

// [rows, keys]: whether row r sees key s, where row 0 stands at key `ahead`.
at::Tensor seen(std::int64_t rows, std::int64_t keys, std::int64_t ahead, std::int64_t window, c10::Device device) {
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const at::Tensor distance = at::arange(ahead, ahead + rows, options).unsqueeze(1).sub(at::arange(keys, options));
  const at::Tensor causal = distance.ge(0);
  return window > 0 ? causal.logical_and(distance.lt(window)) : causal;
}

// Soft caps and sinks, which LibTorch's attention does not know: written out, in fp32. q [Hkv, group * R, d].
at::Tensor capped_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask,
                            const AttentionSpec& spec, const at::Tensor& sinks, std::int64_t rows) {
  at::Tensor logits = at::matmul(q.to(at::kFloat), k.to(at::kFloat).transpose(1, 2)).mul_(spec.scale);
  if (spec.soft_cap > 0) logits = logits.div_(spec.soft_cap).tanh_().mul_(spec.soft_cap);
  if (mask.defined()) logits.masked_fill_(mask.logical_not(), -std::numeric_limits<double>::infinity());
  const std::int64_t keys = k.size(1);
  if (sinks.defined()) {
    const at::Tensor column = sinks.unsqueeze(1).expand({sinks.size(0), rows}).reshape({q.size(0), q.size(1), 1});
    logits = at::cat({logits, column}, 2);
  }
  const at::Tensor weights = at::softmax(logits, 2).narrow(2, 0, keys);
  return at::matmul(weights, v.to(at::kFloat)).to(q.scalar_type());
}

bool flash_attention_takes(const at::Tensor& q, const AttentionSpec& spec) {
  const bool half = q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf;
  return q.is_cuda() && half && spec.soft_cap == 0 && spec.head_dim <= 256 && spec.head_dim % 8 == 0 &&
         attention::compute_capability(q.device()) >= 80;
}

// FlashAttention-2: rows stand at the end of the keys, a window is its left bound, and no mask is written. A sink takes
// its share of the softmax afterwards: out * e^lse / (e^lse + e^sink).
at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t past,
                           const AttentionSpec& spec, const at::Tensor& sinks) {
  const std::int64_t rows = q.size(1), keys = past + rows;
  const auto rows_first = [](const at::Tensor& heads) { return heads.transpose(0, 1).unsqueeze(0); };
  const auto result = at::_flash_attention_forward(
      rows_first(q), rows_first(k.narrow(1, 0, keys)), rows_first(v.narrow(1, 0, keys)), {}, {}, rows, keys, 0.0, false,
      false, spec.scale, spec.window > 0 ? std::optional<std::int64_t>(spec.window - 1) : std::nullopt, 0);
  at::Tensor out = std::get<0>(result).squeeze(0).transpose(0, 1);
  if (!sinks.defined()) return out;
  const at::Tensor lse = std::get<1>(result).squeeze(0).narrow(1, 0, rows);  // [heads, rows] fp32
  return out.mul(at::sigmoid(lse.sub(sinks.unsqueeze(1))).unsqueeze(2)).to(q.scalar_type());
}

}  // namespace

at::Tensor attend_over_past(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t past,
                            const AttentionSpec& spec, const at::Tensor& sinks, const JobContext& job) {
  const std::int64_t heads = q.size(0), rows = q.size(1), d = q.size(2), kv_heads = k.size(0), group = heads / kv_heads;
  if (flash_attention_takes(q, spec)) {
    job.check();
    return flash_attention(q, k, v, past, spec, sinks);
  }
  const std::int64_t chunk =
      spec.window > 0 ? window_rows : std::max<std::int64_t>(1, most_pairs / (group * (past + rows)));
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < rows; first += chunk) {
    job.check();
    const std::int64_t count = std::min(chunk, rows - first), last = past + first + count;
    const std::int64_t first_key = spec.window > 0 ? std::max<std::int64_t>(0, past + first - spec.window + 1) : 0;
    // The query heads of one KV head become the rows of one small attention problem: no copies of k and v.
    const at::Tensor grouped = q.narrow(1, first, count).reshape({kv_heads, group * count, d});
    const at::Tensor keys = k.narrow(1, first_key, last - first_key), values = v.narrow(1, first_key, last - first_key);
    at::Tensor mask;  // one row sees all of its keys
    if (count > 1)
      mask = seen(count, last - first_key, past + first - first_key, spec.window, q.device()).repeat({group, 1});
    const at::Tensor out =
        spec.soft_cap > 0 || sinks.defined()
            ? capped_attention(grouped, keys, values, mask, spec, sinks, count)
            : at::scaled_dot_product_attention(grouped.unsqueeze(0), keys.unsqueeze(0), values.unsqueeze(0),
                                               mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt, 0.0,
                                               false, spec.scale)
                  .squeeze(0);
    parts.push_back(out.reshape({heads, count, d}));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

}  // namespace headroom::model
