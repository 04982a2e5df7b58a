// SPDX-License-Identifier: Apache-2.0
#include "model/expert_groups.h"

#include <ATen/ops/_grouped_mm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/searchsorted.h>

#include <optional>
#include <tuple>

namespace headroom::model {

ExpertGroups::ExpertGroups(const at::Tensor& chosen, const at::Tensor& weights, std::int64_t experts)
    : used_(chosen.size(1)), weights_(weights) {
  std::tie(experts_, order_) = chosen.reshape({-1}).sort(std::optional<bool>(true), 0);  // stable
  ends_ = at::searchsorted(experts_, at::arange(experts, experts_.options()), /*out_int32=*/true, /*right=*/true);
}

at::Tensor ExpertGroups::gather(const at::Tensor& rows) const {
  return rows.index_select(0, order_.floor_divide(used_));
}

at::Tensor ExpertGroups::product(const at::Tensor& in, const at::Tensor& matrices) const {
  if (!in.is_cpu()) return at::_grouped_mm(in, matrices.transpose(1, 2), ends_);
  at::Tensor out = at::empty({in.size(0), matrices.size(1)}, in.options());
  const auto* const ends = ends_.const_data_ptr<std::int32_t>();
  std::int64_t begin = 0;
  for (std::int64_t expert = 0; expert < matrices.size(0); ++expert) {
    const std::int64_t rows = ends[expert] - begin;
    if (rows == 0) continue;
    at::Tensor part = out.narrow(0, begin, rows);
    at::mm_out(part, in.narrow(0, begin, rows), matrices[expert].t());
    begin = ends[expert];
  }
  return out;
}

at::Tensor ExpertGroups::of_experts(const at::Tensor& values) const {
  return values.index_select(0, experts_);
}

void ExpertGroups::combine(const at::Tensor& values, at::Tensor out) const {
  at::Tensor ordered = at::empty(values.sizes(), values.options());
  ordered.index_copy_(0, order_, values);
  const at::Tensor of_rows = ordered.view({out.size(0), used_, out.size(1)});
  out.copy_(of_rows.mul_(weights_.to(values.scalar_type()).unsqueeze(2)).sum(1));
}

}  // namespace headroom::model
