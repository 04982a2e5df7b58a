// SPDX-License-Identifier: Apache-2.0
#include "attention/sinks.h"

#include <ATen/ops/logaddexp.h>

#include <algorithm>

namespace headroom::attention {

void join_sinks(const at::Tensor& sinks, std::int64_t begin, std::int64_t rows, const at::Tensor& lse,
                const at::Tensor& out) {
  constexpr std::int64_t rows_at_once = 1024;  // whose output is held in fp32
  for (std::int64_t first = begin; first < begin + rows; first += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, begin + rows - first);
    const at::Tensor own = lse.narrow(1, first, count);
    const at::Tensor joint = at::logaddexp(own, sinks.unsqueeze(1));
    if (out.defined()) {
      const at::Tensor part = out.narrow(1, first, count);
      part.copy_(part.to(at::kFloat).mul_(own.sub(joint).exp_().unsqueeze(2)));
    }
    own.copy_(joint);
  }
}

}  // namespace headroom::attention
