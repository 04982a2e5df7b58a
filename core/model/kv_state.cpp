// SPDX-License-Identifier: Apache-2.0
#include "model/kv_state.h"

#include <ATen/ops/empty.h>

namespace headroom::model {

std::unique_ptr<LayerState> KvState::clone() const {
  auto copy = std::make_unique<KvState>(capacity_, heads_, head_dim_, options_);
  if (k_.defined()) {
    copy->k_ = k_.clone();
    copy->v_ = v_.clone();
  }
  return copy;
}

void KvState::reserve() {
  if (k_.defined()) return;
  k_ = at::empty({heads_, capacity_, head_dim_}, options_);
  v_ = at::empty(k_.sizes(), options_);
}

void KvState::append(std::int64_t past, const at::Tensor& new_k, const at::Tensor& new_v) {
  const std::int64_t rows = new_k.size(1);
  if (past == 0 && rows == capacity_ && !k_.defined()) {
    k_ = new_k;
    v_ = new_v;
    return;
  }
  reserve();
  k_.narrow(1, past, rows).copy_(new_k);
  v_.narrow(1, past, rows).copy_(new_v);
}

}  // namespace headroom::model
