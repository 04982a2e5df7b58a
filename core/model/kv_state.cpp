// SPDX-License-Identifier: Apache-2.0
#include "model/kv_state.h"

#include <ATen/ops/empty.h>

namespace headroom::model {

std::unique_ptr<LayerState> KvState::clone() const {
  auto copy = std::make_unique<KvState>(capacity_);
  if (k_.defined()) {
    copy->k_ = k_.clone();
    copy->v_ = v_.clone();
  }
  return copy;
}

void KvState::append(std::int64_t past, const at::Tensor& new_k, const at::Tensor& new_v) {
  const std::int64_t rows = new_k.size(1);
  if (past == 0 && rows == capacity_) {
    k_ = new_k;
    v_ = new_v;
    return;
  }
  if (!k_.defined()) {
    k_ = at::empty({new_k.size(0), capacity_, new_k.size(2)}, new_k.options());
    v_ = at::empty(k_.sizes(), k_.options());
  }
  k_.narrow(1, past, rows).copy_(new_k);
  v_.narrow(1, past, rows).copy_(new_v);
}

}  // namespace headroom::model
