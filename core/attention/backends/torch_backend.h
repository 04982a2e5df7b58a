// SPDX-License-Identifier: Apache-2.0
// LibTorch's attention on any device: row runs of scores, selection by tensor operators, attention with a mask. What
// every other backend is held against.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "attention/backend.h"

namespace headroom::attention {

/// Which of LibTorch's operators attends densely. automatic: scaled_dot_product_attention's own choice, on the CPU in
/// calls that are short enough for a stop. flash_attention (FlashAttention-2) and cudnn: GPUs, bf16.
enum class DenseOperator { automatic, flash_attention, cudnn };
/// `why`: why sparse attention runs here and not on kernels of our own, said beside its times; may be empty.
std::shared_ptr<const Backend> make_torch_backend(DenseOperator dense, std::string why = {});

/// LibTorch's causal attention over the first `rows` positions into out[:, :rows]. On the CPU in one call, then one head
/// a thread, then query chunks as prompts grow, so that a stop is noticed; grouped heads are never copied.
void dense_prefill(const LayerQuery& query, std::int64_t rows, const at::Tensor& out, const JobContext& job);

/// Attention mass of the query rows `rows` ([R] int64, on the query's device): fp32 [G, R, columns], 0 where key > row;
/// every row < columns. One KV head at a time: its query heads x R x columns floats beside the result.
at::Tensor mass_of_rows(const LayerQuery& query, const at::Tensor& rows, std::int64_t columns, SupportScope scope);

/// Support of rows [begin, end) from scores [G, rows, end]: bool of the same shape, true where the row attends.
/// Any device.
at::Tensor select_mask(const at::Tensor& scores, std::int64_t begin, const SelectionRule& rule, std::int64_t tokens);

}  // namespace headroom::attention
