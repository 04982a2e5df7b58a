// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <vector>

#include "attention/backends/torch_backend.h"

namespace headroom::attention {
namespace {

// One call's work is kept near 150 ms, so that a stop is noticed in time: two threads reach about 140 GFLOP/s.
constexpr double flops_per_call = 20e9;
constexpr double flops_per_thread = 8e9;

double causal_flops(std::int64_t heads, std::int64_t rows, std::int64_t head_dim) {
  return 2.0 * static_cast<double>(heads) * static_cast<double>(rows) * static_cast<double>(rows * head_dim);
}

/// [n, d] as [1, 1, n, d].
at::Tensor as_batch(const at::Tensor& matrix) {
  return matrix.unsqueeze(0).unsqueeze(0);
}

void dense_head_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale, const at::Tensor& out,
                    const JobContext& job) {
  const std::int64_t rows = q.size(0);
  job.check();
  if (causal_flops(1, rows, q.size(1)) <= 2 * flops_per_thread) {
    out.copy_(at::scaled_dot_product_attention(as_batch(q), as_batch(k), as_batch(v), {}, 0.0, true, scale)[0][0]);
    return;
  }
  // Query chunks: the keys before the chunk and the chunk's own triangle, merged by their log-sum-exp.
  const std::int64_t chunk = std::clamp<std::int64_t>(
      static_cast<std::int64_t>(flops_per_thread / (4.0 * static_cast<double>(rows * q.size(1)))), 512, rows);
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
  const std::int64_t heads = query.num_q_heads(), kv_heads = query.num_kv_heads(), dim = query.head_dim();
  const std::int64_t group = heads / kv_heads;
  const at::Tensor q = query.q.narrow(1, 0, rows);
  const at::Tensor k = query.k.narrow(1, 0, rows);
  const at::Tensor v = query.v.narrow(1, 0, rows);
  const at::Tensor target = out.narrow(1, 0, rows);
  job.check();
  if (!query.q.is_cpu()) {
    target.copy_(at::scaled_dot_product_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), {}, 0.0, true,
                                                  query.scale, group > 1)[0]);
    return;
  }
  if (causal_flops(heads, rows, dim) <= flops_per_call) {
    // KV heads as the batch: grouped heads are strides, not copies.
    const std::vector<std::int64_t> shape = {kv_heads, group, rows, dim};
    const at::Tensor result =
        at::scaled_dot_product_attention(q.unflatten(0, {kv_heads, group}), k.unsqueeze(1).expand(shape),
                                         v.unsqueeze(1).expand(shape), {}, 0.0, true, query.scale);
    target.copy_(result.flatten(0, 1));
    return;
  }
  // LibTorch deals a causal head's query blocks out to threads in runs of equal length, so the last thread gets most of
  // the work; one whole head a thread is balanced. Heads that are left over share the threads.
  const auto attend_head = [&](std::int64_t head) {
    dense_head_cpu(q[head], k[head / group], v[head / group], query.scale, target[head], job);
  };
  const std::int64_t threads = at::get_num_threads();
  std::int64_t head = 0;
  for (; head + threads <= heads; head += threads) {
    at::parallel_for(head, head + threads, 1, [&](std::int64_t from, std::int64_t to) {
      const c10::InferenceMode guard;
      for (std::int64_t i = from; i < to; ++i) attend_head(i);
    });
  }
  for (; head < heads; ++head) attend_head(head);
}

}  // namespace headroom::attention
