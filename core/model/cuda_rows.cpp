// SPDX-License-Identifier: Apache-2.0
#include "model/cuda_rows.h"

#include <algorithm>

#include "attention/backends/cuda_module.h"

namespace headroom::model::cuda_rows {
namespace {

namespace cuda = kernels::cuda;
using attention::check_kernel;
using attention::stream_of;

const cuda::KernelTable* kernels_for(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return nullptr;
  return attention::open_cuda_module(tensor.device(), tensor.scalar_type()).kernels;
}

/// bf16, elements next to each other, every row at a multiple of 16 bytes.
bool in_pieces(const at::Tensor& tensor) {
  if (tensor.scalar_type() != at::kBFloat16 || tensor.stride(-1) != 1 || tensor.size(-1) % 8 != 0 ||
      tensor.storage_offset() % 8 != 0)
    return false;
  for (std::int64_t i = 0; i + 1 < tensor.dim(); ++i)
    if (tensor.stride(i) % 8 != 0) return false;
  return true;
}

}  // namespace

bool norm(const at::Tensor& hidden, const at::Tensor& addend, const at::Tensor& weight, double epsilon,
          const at::Tensor& out) {
  const cuda::KernelTable* const kernels = kernels_for(hidden);
  if (!kernels || hidden.size(1) > cuda::norm_most_width || !in_pieces(hidden)) return false;
  if (addend.defined() && !in_pieces(addend)) return false;
  if (out.defined() && (!in_pieces(out) || !in_pieces(weight))) return false;
  cuda::NormRowsParams params;
  params.hidden = hidden.mutable_data_ptr();
  params.hidden_row = hidden.stride(0);
  if (addend.defined()) {
    params.addend = addend.const_data_ptr();
    params.addend_row = addend.stride(0);
  }
  if (out.defined()) {
    params.weight = weight.const_data_ptr();
    params.out = out.mutable_data_ptr();
    params.out_row = out.stride(0);
  }
  params.rows = hidden.size(0);
  params.width = hidden.size(1);
  params.epsilon = static_cast<float>(epsilon);
  check_kernel(kernels->norm_rows(params, stream_of(hidden.device())), "norms of rows");
  return true;
}

bool silu_mul(const at::Tensor& gate_up, const at::Tensor& gated) {
  const cuda::KernelTable* const kernels = kernels_for(gated);
  if (!kernels || !in_pieces(gate_up) || !in_pieces(gated)) return false;
  cuda::SiluMulParams params;
  params.gate_up = gate_up.const_data_ptr();
  params.out = gated.mutable_data_ptr();
  params.gate_up_row = gate_up.stride(0);
  params.out_row = gated.stride(0);
  params.rows = gated.size(0);
  params.width = gated.size(1);
  check_kernel(kernels->silu_mul(params, stream_of(gated.device())), "gates of MLPs");
  return true;
}

bool split_heads(const HeadRows& heads) {
  const cuda::KernelTable* const kernels = kernels_for(heads.qkv);
  const std::int64_t d = heads.q.size(2), half = heads.table.cosine.size(1);
  if (!kernels || (d != 64 && d != 128 && d != 256) || half % (d / 32) != 0 || 2 * half > d) return false;
  for (const at::Tensor* tensor : {&heads.qkv, &heads.q, &heads.k, &heads.v, &heads.gate, &heads.q_norm, &heads.k_norm})
    if (tensor->defined() && !in_pieces(*tensor)) return false;
  for (const at::Tensor* tensor : {&heads.q, &heads.k, &heads.v})
    if (tensor->stride(1) != d) return false;
  if (!heads.table.cosine.is_contiguous() || !heads.table.sine.is_contiguous()) return false;
  cuda::SplitHeadsParams params;
  const auto input = [](const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr() : nullptr; };
  params.qkv = input(heads.qkv);
  params.qkv_row = heads.qkv.stride(0);
  params.cosine = heads.table.cosine.const_data_ptr<float>();
  params.sine = heads.table.sine.const_data_ptr<float>();
  params.q_norm = input(heads.q_norm);
  params.k_norm = input(heads.k_norm);
  const auto first = [&](const at::Tensor& tensor) { return tensor.select(1, heads.first_row).mutable_data_ptr(); };
  params.q = first(heads.q), params.q_head = heads.q.stride(0);
  params.k = first(heads.k), params.k_head = heads.k.stride(0);
  params.v = first(heads.v), params.v_head = heads.v.stride(0);
  if (heads.gate.defined()) {
    params.gate = heads.gate.mutable_data_ptr();
    params.gate_row = heads.gate.stride(0);
  }
  params.rows = heads.qkv.size(0);
  params.num_q_heads = static_cast<std::int32_t>(heads.q.size(0));
  params.num_kv_heads = static_cast<std::int32_t>(heads.k.size(0));
  params.head_dim = static_cast<std::int32_t>(d);
  params.half = static_cast<std::int32_t>(half);
  params.epsilon = static_cast<float>(heads.epsilon);
  check_kernel(kernels->split_heads(params, stream_of(heads.qkv.device())), "rows of heads");
  return true;
}

bool gate_heads(const at::Tensor& heads, const at::Tensor& gate, const at::Tensor& out) {
  const cuda::KernelTable* const kernels = kernels_for(out);
  if (!kernels || !in_pieces(heads) || !in_pieces(gate) || !in_pieces(out)) return false;
  cuda::GateHeadsParams params;
  params.heads = heads.const_data_ptr();
  params.gate = gate.const_data_ptr();
  params.out = out.mutable_data_ptr();
  params.heads_row = heads.stride(0);
  params.heads_head = heads.stride(1);
  params.gate_row = gate.stride(0);
  params.out_row = out.stride(0);
  params.rows = out.size(0);
  params.num_heads = static_cast<std::int32_t>(heads.size(1));
  params.head_dim = static_cast<std::int32_t>(heads.size(2));
  check_kernel(kernels->gate_heads(params, stream_of(out.device())), "gates of heads");
  return true;
}

}  // namespace headroom::model::cuda_rows
