// SPDX-License-Identifier: Apache-2.0
#include "model/delta_kernels.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace headroom::model {
namespace {

namespace cuda = kernels::cuda;

// Rows whose q, k and v lie in memory at a time, whole chunks: 0.4 GB in the 9B shape, less than LibTorch's way takes.
constexpr std::int64_t rows_at_once = 256 * cuda::delta_chunk_rows;

}  // namespace

attention::CudaModule open_delta_kernels(const DeltaSpec& spec, c10::Device device, c10::ScalarType dtype) {
  if (!device.is_cuda()) return {nullptr, "the CUDA kernels are for GPUs"};
  if (spec.key_dim != cuda::delta_head_dim || spec.value_dim != cuda::delta_head_dim ||
      spec.kernel != cuda::delta_kernel_rows)
    return {nullptr, "the CUDA kernels are for heads of 128 and convolutions over 4 rows, not " +
                         std::to_string(spec.key_dim) + ", " + std::to_string(spec.value_dim) + " and " +
                         std::to_string(spec.kernel)};
  attention::CudaModule module = attention::open_cuda_module(device, dtype);
  if (module.kernels && !module.kernels->delta_net) return {nullptr, module.why_not};
  return module;
}

std::string linear_layers_text(const ModelConfig& config, c10::Device device, c10::ScalarType dtype) {
  const auto linear = std::find_if(config.layers.begin(), config.layers.end(),
                                   [](const LayerSpec& layer) { return layer.kind == LayerKind::linear; });
  if (!device.is_cuda() || linear == config.layers.end()) return {};
  const attention::CudaModule module = open_delta_kernels(linear->delta, device, dtype);
  return module.kernels ? "linear layers by Headroom CUDA kernels, sm_90a"
                        : "linear layers by LibTorch: " + module.why_not;
}

void delta_by_kernels(const cuda::KernelTable& kernels, const DeltaSpec& spec, const DeltaLayerRows& rows,
                      const at::Tensor& memory, const at::Tensor& heads, const JobContext& job) {
  const std::int64_t length = rows.qkvz.size(0), most = std::min(length, rows_at_once);
  const at::Tensor workspace = at::empty({cuda::delta_workspace_bytes(most, spec.key_heads, spec.value_heads)},
                                         rows.qkvz.options().dtype(at::kByte));
  cuda::DeltaNetParams params;
  params.conv = rows.conv.const_data_ptr<float>();
  params.decay = rows.decay.const_data_ptr<float>();
  params.time = rows.time.const_data_ptr<float>();
  params.state = memory.mutable_data_ptr<float>();
  params.workspace = workspace.mutable_data_ptr();
  params.qkv_row = rows.qkvz.stride(0);
  params.rates_row = rows.rates.stride(0);
  params.out_row = heads.stride(0);
  params.key_heads = static_cast<std::int32_t>(spec.key_heads);
  params.value_heads = static_cast<std::int32_t>(spec.value_heads);
  params.tiled_heads = spec.tiled_heads;
  at::Tensor before = rows.before;
  for (std::int64_t first = 0; first < length; first += most) {
    job.check();
    params.rows = std::min(most, length - first);
    params.qkv = rows.qkvz.select(0, first).const_data_ptr();
    params.rates = rows.rates.select(0, first).const_data_ptr();
    params.before = before.defined() ? before.const_data_ptr() : nullptr;
    params.out = heads.select(0, first).mutable_data_ptr();
    attention::check_kernel(kernels.delta_net(params, attention::stream_of(heads.device())), "linear layers");
    if (first + most < length)
      before = rows.qkvz.narrow(0, first + most - (spec.kernel - 1), spec.kernel - 1)
                   .narrow(1, 0, spec.channels())
                   .contiguous();
  }
}

void delta_gate_by_kernels(const cuda::KernelTable& kernels, const DeltaSpec& spec, const at::Tensor& heads,
                           const at::Tensor& z, const at::Tensor& norm, double epsilon, const at::Tensor& out) {
  cuda::DeltaGateParams params;
  params.heads = heads.const_data_ptr();
  params.gate = z.const_data_ptr();
  params.norm = norm.const_data_ptr<float>();
  params.out = out.mutable_data_ptr();
  params.heads_row = heads.stride(0);
  params.gate_row = z.stride(0);
  params.out_row = out.stride(0);
  params.rows = heads.size(0);
  params.value_heads = static_cast<std::int32_t>(spec.value_heads);
  params.epsilon = static_cast<float>(epsilon);
  attention::check_kernel(kernels.delta_gate(params, attention::stream_of(out.device())), "gates of linear layers");
}

}  // namespace headroom::model
