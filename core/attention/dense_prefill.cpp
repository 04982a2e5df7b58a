// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>

#include "attention/sparse_prefill.h"

namespace headroom::attention {
namespace {

// One call's work is kept near 100 ms on two modest cores, so that a stop is noticed in time.
constexpr double flops_per_call = 8e9;

/// [n, d] as [1, 1, n, d].
at::Tensor as_batch(const at::Tensor& matrix) {
  return matrix.unsqueeze(0).unsqueeze(0);
}

void dense_head_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale, const at::Tensor& out,
                    const JobContext& job) {
  const std::int64_t rows = q.size(0);
  const double flops = 2.0 * static_cast<double>(rows * rows * q.size(1));
  if (flops <= 2 * flops_per_call) {
    job.check();
    out.copy_(at::scaled_dot_product_attention(as_batch(q), as_batch(k), as_batch(v), {}, 0.0, true, scale)[0][0]);
    return;
  }
  // Query chunks: the keys before the chunk and the chunk's own triangle, merged by their log-sum-exp.
  const std::int64_t chunk = std::clamp<std::int64_t>(
      static_cast<std::int64_t>(flops_per_call / (4.0 * static_cast<double>(rows * q.size(1)))), 512, rows);
  for (std::int64_t begin = 0; begin < rows; begin += chunk) {
    job.check();
    const std::int64_t count = std::min(chunk, rows - begin);
    const at::Tensor q_rows = as_batch(q.narrow(0, begin, count));
    const auto [own, own_lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        q_rows, as_batch(k.narrow(0, begin, count)), as_batch(v.narrow(0, begin, count)), 0.0, true, {}, scale);
    const at::Tensor target = out.narrow(0, begin, count);
    if (begin == 0) {
      target.copy_(own[0][0]);
      continue;
    }
    const auto [past, past_lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        q_rows, as_batch(k.narrow(0, 0, begin)), as_batch(v.narrow(0, 0, begin)), 0.0, false, {}, scale);
    const at::Tensor lse = at::logaddexp(own_lse, past_lse);
    const at::Tensor own_share = at::exp(own_lse - lse).reshape({count, 1});
    const at::Tensor past_share = at::exp(past_lse - lse).reshape({count, 1});
    target.copy_(own[0][0].to(at::kFloat) * own_share + past[0][0].to(at::kFloat) * past_share);
  }
}

}  // namespace

void dense_prefill(const LayerQuery& query, std::int64_t rows, const at::Tensor& out, const JobContext& job) {
  const std::int64_t group = query.num_q_heads() / query.num_kv_heads();
  const at::Tensor q = query.q.narrow(1, 0, rows);
  const at::Tensor k = query.k.narrow(1, 0, rows);
  const at::Tensor v = query.v.narrow(1, 0, rows);
  const at::Tensor target = out.narrow(1, 0, rows);
  if (query.q.is_cpu()) {
    for (std::int64_t head = 0; head < query.num_q_heads(); ++head)
      dense_head_cpu(q[head], k[head / group], v[head / group], query.scale, target[head], job);
    return;
  }
  job.check();
  target.copy_(at::scaled_dot_product_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), {}, 0.0, true,
                                                query.scale, group > 1)[0]);
}

}  // namespace headroom::attention
