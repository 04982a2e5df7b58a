// SPDX-License-Identifier: Apache-2.0
// Launches of the gated DeltaNet's kernels, one after the other on the stream.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/delta_net/chunk.cuh"
#include "kernels/cuda/delta_net/config.h"
#include "kernels/cuda/delta_net/prepare.cuh"
#include "kernels/cuda/delta_net/state.cuh"

namespace headroom::kernels::cuda {

template <typename Kernel>
const char* delta_allow_shared(Kernel kernel, int bytes) {
  const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

inline const char* delta_net(const DeltaNetParams& p, void* on_stream) {
  if (p.rows <= 0) return nullptr;
  if (p.key_heads <= 0 || p.value_heads <= 0 || p.value_heads % p.key_heads != 0)
    return "value heads are no multiple of key heads";
  if (delta_chunks(p.rows) > 65535) return "more rows at once than a launch has blocks for";
  if (p.qkv_row % 8 != 0 || p.out_row % 8 != 0) return "rows do not begin at multiples of 16 bytes";
  if (const char* failed = delta_allow_shared(delta_chunk_kernel, DeltaChunkConfig::shared_bytes)) return failed;
  if (const char* failed = delta_allow_shared(delta_state_kernel, DeltaStateConfig::shared_bytes)) return failed;
  const DeltaWork work = delta_work(p);
  const auto stream = static_cast<cudaStream_t>(on_stream);
  const auto chunks = static_cast<unsigned>(work.chunks), heads = static_cast<unsigned>(p.value_heads);
  const auto all_heads = static_cast<unsigned>(2 * p.key_heads + p.value_heads);
  if (p.parts & 1) delta_prepare_kernel<<<dim3(all_heads, chunks), 128, 0, stream>>>(work);
  if (p.parts & 2)
    delta_chunk_kernel<<<dim3(heads, chunks), DeltaChunkConfig::threads, DeltaChunkConfig::shared_bytes, stream>>>(
        work);
  if (p.parts & 4)
    delta_state_kernel<<<dim3(heads, static_cast<unsigned>(delta_head_dim / DeltaStateConfig::columns)),
                         DeltaStateConfig::threads, DeltaStateConfig::shared_bytes, stream>>>(work);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

inline const char* delta_gate(const DeltaGateParams& p, void* stream) {
  if (p.rows <= 0 || p.value_heads <= 0) return nullptr;
  if (p.heads_row % 8 != 0 || p.gate_row % 8 != 0 || p.out_row % 8 != 0)
    return "rows do not begin at multiples of 16 bytes";
  const auto blocks = static_cast<unsigned>((p.rows * p.value_heads + 15) / 16);
  delta_gate_kernel<<<blocks, 256, 0, static_cast<cudaStream_t>(stream)>>>(p);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace headroom::kernels::cuda
