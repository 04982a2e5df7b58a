// SPDX-License-Identifier: Apache-2.0
#include "attention/head_rows.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/rows/row_kernels.h"

namespace headroom::attention {
namespace cpu = kernels::cpu;

HeadRows::HeadRows(const LayerQuery& query)
    : length_(query.length()),
      num_q_heads_(query.num_q_heads()),
      num_kv_heads_(query.num_kv_heads()),
      head_dim_(query.head_dim()) {
  const at::Tensor q = query.q.to(at::kCPU).to(at::kFloat).contiguous();
  const at::Tensor k = query.k.to(at::kCPU).to(at::kFloat).contiguous();
  const float* q_values = q.const_data_ptr<float>();
  const float* k_values = k.const_data_ptr<float>();
  const auto scale = static_cast<float>(query.scale);
  q_.resize(static_cast<std::size_t>(q.numel()));
  at::parallel_for(0, q.numel(), 1 << 16, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) q_[static_cast<std::size_t>(i)] = q_values[i] * scale;
  });
  if (query.sinks.defined()) {
    const at::Tensor sinks = query.sinks.to(at::kCPU).contiguous();
    sinks_.assign(sinks.const_data_ptr<float>(), sinks.const_data_ptr<float>() + sinks.numel());
  }
  constexpr std::int64_t chunk = 16 * cpu::panel_keys;
  const std::int64_t chunks = (length_ + chunk - 1) / chunk;
  panels_.resize(static_cast<std::size_t>(num_kv_heads_ * cpu::padded_keys(length_) * head_dim_));
  at::parallel_for(0, num_kv_heads_ * chunks, 1, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) {
      const std::int64_t kv = i / chunks, begin = i % chunks * chunk;
      cpu::pack_keys(k_values + (kv * length_ + begin) * head_dim_, std::min(chunk, length_ - begin), head_dim_,
                     panels_.data() + (kv * cpu::padded_keys(length_) + begin) * head_dim_);
    }
  });
}

std::int64_t HeadRows::stride(std::int64_t row_end) {
  return cpu::padded_keys(row_end);
}

void HeadRows::probabilities(std::int64_t head, std::int64_t begin, std::int64_t end, float* p, std::int64_t row_stride,
                             float* lse) const {
  const cpu::RowKernels& kernels = cpu::row_kernels();
  const std::int64_t kv = head / (num_q_heads_ / num_kv_heads_);
  cpu::ScoreArguments arguments;
  arguments.q = q_.data() + (head * length_ + begin) * head_dim_;
  arguments.q_stride = head_dim_;
  arguments.rows = end - begin;
  arguments.first_row = begin;
  arguments.head_dim = head_dim_;
  arguments.panels = panels_.data() + kv * cpu::padded_keys(length_) * head_dim_;
  arguments.scores = p;
  arguments.score_stride = row_stride;
  kernels.scores(arguments);
  for (std::int64_t row = begin; row < end; ++row) {
    float row_lse = kernels.softmax(p + (row - begin) * row_stride, row + 1);
    if (!sinks_.empty()) {
      const float sink = sinks_[static_cast<std::size_t>(head)], own = row_lse;
      const float larger = std::max(own, sink);
      row_lse = larger + std::log(std::exp(own - larger) + std::exp(sink - larger));
      const float share = std::exp(own - row_lse);
      for (std::int64_t key = 0; key <= row; ++key) p[(row - begin) * row_stride + key] *= share;
    }
    if (lse) lse[row - begin] = row_lse;
  }
}

}  // namespace headroom::attention
