// SPDX-License-Identifier: Apache-2.0
#include "attention/layer_query.h"

#include <ATen/core/Tensor.h>

#include <string>

#include "base/error.h"

namespace headroom::attention {

void check_query(const LayerQuery& query) {
  const auto fail = [&](const char* what) {
    throw Error(ErrorKind::internal, std::string("attention input of layer ") + std::to_string(query.layer) +
                                         " does not fit together: " + what);
  };
  for (const at::Tensor* tensor : {&query.q, &query.k, &query.v}) {
    if (!tensor->defined() || tensor->dim() != 3 || tensor->numel() == 0) fail("q, k, v must be [heads, L, d]");
    if (tensor->scalar_type() != query.q.scalar_type() || tensor->device() != query.q.device())
      fail("dtype or device of q, k, v differ");
  }
  if (query.q.scalar_type() != at::kBFloat16 && query.q.scalar_type() != at::kFloat) fail("dtype is not bf16 or fp32");
  if (query.k.sizes() != query.v.sizes() || query.k.size(1) != query.length() || query.k.size(2) != query.head_dim() ||
      query.num_q_heads() % query.num_kv_heads() != 0)
    fail("shapes of q, k, v differ");
  if (query.sinks.defined() && (query.sinks.dim() != 1 || query.sinks.size(0) != query.num_q_heads() ||
                                query.sinks.scalar_type() != at::kFloat || query.sinks.device() != query.q.device()))
    fail("sinks must be one fp32 number a query head");
}

}  // namespace headroom::attention
