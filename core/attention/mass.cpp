// SPDX-License-Identifier: Apache-2.0
#include "attention/mass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <vector>

namespace headroom::attention {

MassScorer::MassScorer(const LayerQuery& query)
    : num_q_heads_(query.num_q_heads()), group_(query.num_q_heads() / query.num_kv_heads()) {
  if (query.q.is_cpu()) {
    cpu_.emplace(query);
    return;
  }
  q_ = query.q.to(at::kFloat) * query.scale;
  k_ = query.k.to(at::kFloat);
}

at::Tensor MassScorer::mass(std::int64_t begin, std::int64_t end) const {
  const std::int64_t rows = end - begin;
  if (cpu_) {
    thread_local std::vector<float> scratch;
    const at::Tensor result = at::zeros({rows, end}, at::TensorOptions().dtype(at::kFloat));
    cpu_->add_mass(begin, end, result.mutable_data_ptr<float>(), end, scratch);
    return result;
  }
  const at::Tensor unseen = at::ones({rows, rows}, q_.options().dtype(at::kBool)).triu_(1);
  at::Tensor sum;
  for (std::int64_t kv = 0; kv < k_.size(0); ++kv) {
    const at::Tensor q = q_.narrow(0, kv * group_, group_).narrow(1, begin, rows).reshape({group_ * rows, -1});
    at::Tensor p = at::matmul(q, k_[kv].narrow(0, 0, end).t()).reshape({group_, rows, end});
    p.narrow(2, begin, rows).masked_fill_(unseen, -std::numeric_limits<double>::infinity());
    p = at::softmax(p, -1).sum(0);
    sum = sum.defined() ? sum.add_(p) : p;
  }
  return sum.mul_(1.0 / static_cast<double>(num_q_heads_)).contiguous();
}

}  // namespace headroom::attention
