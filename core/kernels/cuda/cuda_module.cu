// SPDX-License-Identifier: Apache-2.0
// The run-time module: launches, and the table that the engine asks for. Compiled for sm_90a; it links the CUDA runtime
// dynamically, the one that LibTorch's CUDA half has loaded.
#include <cuda_runtime.h>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/sparse_attention/attention_sm90.cuh"
#include "kernels/cuda/sparse_attention/unions.cuh"
#include "kernels/cuda/top_k/top_k.cuh"

namespace headroom::kernels::cuda {
namespace {

const char* text_of(cudaError_t error) { return error == cudaSuccess ? nullptr : cudaGetErrorString(error); }

template <typename Kernel>
const char* allow_shared(Kernel kernel, std::int64_t bytes) {
  if (bytes > shared_limit) return "needs more shared memory than a block has";
  return text_of(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

const char* build_unions(const UnionParams& p, void* stream) {
  if (p.rows <= 0) return nullptr;
  const std::int64_t bytes = union_shared_bytes(p.capacity, p.row_begin + p.rows);
  if (const char* failed = allow_shared(union_kernel, bytes)) return failed;
  const auto tiles = static_cast<unsigned>((p.rows + union_rows - 1) / union_rows);
  union_kernel<<<tiles, union_threads, static_cast<std::size_t>(bytes), static_cast<cudaStream_t>(stream)>>>(p);
  return text_of(cudaGetLastError());
}

template <int HeadDim>
const char* attend(const SparseAttentionParams& p, cudaStream_t stream) {
  using Config = AttentionConfig<HeadDim>;
  const int group = p.num_q_heads / p.num_kv_heads, splits = (group + 3) / 4;
  if (const char* failed = allow_shared(sparse_attention_kernel<HeadDim>, Config::shared_bytes)) return failed;
  const dim3 grid(static_cast<unsigned>((p.unions.rows + union_rows - 1) / union_rows),
                  static_cast<unsigned>(p.num_kv_heads * splits));
  sparse_attention_kernel<HeadDim><<<grid, Config::threads, Config::shared_bytes, stream>>>(p);
  return text_of(cudaGetLastError());
}

const char* sparse_attention(const SparseAttentionParams& p, void* stream) {
  if (p.unions.rows <= 0) return nullptr;
  if (p.num_kv_heads <= 0 || p.num_q_heads % p.num_kv_heads != 0) return "query heads are no multiple of KV heads";
  const auto to = static_cast<cudaStream_t>(stream);
  switch (p.head_dim) {
    case 64: return attend<64>(p, to);
    case 128: return attend<128>(p, to);
    case 256: return attend<256>(p, to);
    default: return "head_dim is not 64, 128 or 256";
  }
}

const char* top_k(const TopKParams& p, void* stream) {
  if (p.rows <= 0) return nullptr;
  if (p.k < 1 || p.local < 1 || p.sinks < 0 || p.sinks + p.local > p.k) return "forced keys exceed k";
  const std::int64_t bytes = TopKConfig::shared_bytes(p.row_begin + p.rows);
  if (const char* failed = allow_shared(top_k_kernel, bytes)) return failed;
  top_k_kernel<<<static_cast<unsigned>(p.rows), TopKConfig::threads, static_cast<std::size_t>(bytes),
                 static_cast<cudaStream_t>(stream)>>>(p);
  return text_of(cudaGetLastError());
}

}  // namespace
}  // namespace headroom::kernels::cuda

extern "C" __attribute__((visibility("default"))) const headroom::kernels::cuda::KernelTable* headroom_cuda_kernels() {
  using namespace headroom::kernels::cuda;
  static constexpr KernelTable table = {table_version, &build_unions, &sparse_attention, &top_k};
  return &table;
}
