// SPDX-License-Identifier: Apache-2.0
// The run-time module: launches, and the tables that the engine asks for. Compiled for sm_90a, and for sm_80 and PTX of
// it what needs no wgmma (HEADROOM_NO_WGMMA); it links the CUDA runtime
// dynamically, the one that LibTorch's CUDA half has loaded.
#include <cuda_runtime.h>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/delta_net/launch.cuh"
#include "kernels/cuda/index/gate_sm90.cuh"
#include "kernels/cuda/index/select.cuh"
#include "kernels/cuda/mass/mass_sm90.cuh"
#include "kernels/cuda/record/launch.cuh"
#include "kernels/cuda/rows/launch.cuh"
#include "kernels/cuda/sparse_attention/attention_sm90.cuh"
#include "kernels/cuda/sparse_attention/attention_wide_sm90.cuh"
#include "kernels/cuda/sparse_attention/unions.cuh"
#include "kernels/cuda/top_k/top_k.cuh"

namespace headroom::kernels::cuda {
namespace {

const char* text_of(cudaError_t error) {
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

template <typename Kernel>
const char* allow_shared(Kernel kernel, std::int64_t bytes) {
  if (bytes > shared_limit) return "needs more shared memory than a block has";
  return text_of(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

const char* build_unions(const UnionParams& p, void* stream) {
  if (p.rows <= 0) return nullptr;
  if (const char* failed = allow_shared(union_kernel, UnionConfig::shared_bytes)) return failed;
  const auto tiles = static_cast<unsigned>((p.rows + union_rows - 1) / union_rows);
  union_kernel<<<tiles, UnionConfig::threads, UnionConfig::shared_bytes, static_cast<cudaStream_t>(stream)>>>(p);
  return text_of(cudaGetLastError());
}

/// Each kernel leaves the tiles to the other that it was not made for.
template <int HeadDim>
const char* attend(const SparseAttentionParams& p, cudaStream_t stream) {
  using Half = AttentionConfig<HeadDim>;
  using Wide = WideAttentionConfig<HeadDim>;
  const int group = p.num_q_heads / p.num_kv_heads, splits = (group + 3) / 4;
  const auto tiles = static_cast<unsigned>((p.unions.rows + union_rows - 1) / union_rows);
  const auto heads = static_cast<unsigned>(p.num_kv_heads * splits);
  if (const char* failed = allow_shared(wide_attention_kernel<HeadDim>, Wide::shared_bytes)) return failed;
  if (const char* failed = allow_shared(sparse_attention_kernel<HeadDim>, Half::shared_bytes)) return failed;
  wide_attention_kernel<HeadDim><<<dim3(tiles, heads), Wide::threads, Wide::shared_bytes, stream>>>(p);
  if (const char* failed = text_of(cudaGetLastError())) return failed;
  sparse_attention_kernel<HeadDim><<<dim3(2 * tiles, heads), Half::threads, Half::shared_bytes, stream>>>(p);
  return text_of(cudaGetLastError());
}

const char* sparse_attention(const SparseAttentionParams& p, void* stream) {
  if (p.unions.rows <= 0) return nullptr;
  if (p.num_kv_heads <= 0 || p.num_q_heads % p.num_kv_heads != 0) return "query heads are no multiple of KV heads";
  const auto to = static_cast<cudaStream_t>(stream);
  switch (p.head_dim) {
    case 64:
      return attend<64>(p, to);
    case 128:
      return attend<128>(p, to);
    case 256:
      return attend<256>(p, to);
    default:
      return "head_dim is not 64, 128 or 256";
  }
}

const char* top_k(const TopKParams& p, void* stream) {
  if (p.rows <= 0) return nullptr;
  if (p.k < 1 || p.local < 1 || p.sinks < 0 || p.sinks + p.local > p.k) return "forced keys exceed k";
  if (p.shared_rows < 1 || p.row_stride % 4 != 0) return "rows of scores do not begin at multiples of 16 bytes";
  const std::int64_t bytes = top_k_shared_bytes(p.row_begin + p.rows);
  if (const char* failed = allow_shared(top_k_kernel, bytes)) return failed;
  top_k_kernel<<<static_cast<unsigned>(p.rows), TopKConfig::threads, static_cast<std::size_t>(bytes),
                 static_cast<cudaStream_t>(stream)>>>(p);
  return text_of(cudaGetLastError());
}

IndexWork index_work(const IndexTopKParams& p) {
  IndexWork work;
  work.p = p;
  work.capacity = index_capacity(p.top);
  const std::int64_t row_end = p.row_begin + p.rows;
  work.sample_stride = index_sample_stride(row_end);
  work.fallback_stride = (row_end + 3) / 4 * 4;
  auto* at = static_cast<char*>(p.workspace);
  const auto take = [&](std::int64_t bytes) {
    char* const begin = at;
    at += (bytes + 255) / 256 * 256;
    return begin;
  };
  work.candidates = reinterpret_cast<uint2*>(take(p.rows * work.capacity * 8));
  work.found = reinterpret_cast<std::int32_t*>(take(p.rows * 4));
  work.thresholds = reinterpret_cast<float*>(take(p.rows * 4));
  work.sampled_keys = take(work.sample_stride * p.dim * 2);
  work.fallback = reinterpret_cast<float*>(take(index_fallback_rows * work.fallback_stride * 4));
  work.samples = reinterpret_cast<float*>(at);
  return work;
}

template <int Dim>
const char* index_rows(const IndexTopKParams& p, cudaStream_t stream) {
  const IndexWork work = index_work(p);
  const std::int64_t row_end = p.row_begin + p.rows, samples = row_end / index_sample;
  constexpr int shared = GateConfig<Dim>::shared_bytes;
  if (const char* failed = allow_shared(gate_kernel<Dim, true>, shared)) return failed;
  if (const char* failed = allow_shared(gate_kernel<Dim, false>, shared)) return failed;
  const std::int64_t fallback_shared = top_k_shared_bytes(row_end);
  if (const char* failed = allow_shared(fallback_kernel<Dim>, fallback_shared)) return failed;
  if (row_end > work.capacity) {
    sampled_keys_kernel<<<static_cast<unsigned>((samples * (Dim / 8) + 255) / 256), 256, 0, stream>>>(work, samples);
    const std::int64_t at_once = index_sampled_rows(row_end);
    for (std::int64_t first = 0; first < p.rows; first += at_once) {
      const std::int64_t rows = p.rows - first < at_once ? p.rows - first : at_once;
      const auto tiles = static_cast<unsigned>((rows + index_row_tile - 1) / index_row_tile);
      const auto splits = static_cast<unsigned>((samples + 1023) / 1024);
      gate_kernel<Dim, true><<<dim3(tiles, splits), GateConfig<Dim>::threads, shared, stream>>>(work, first, rows);
      threshold_kernel<<<static_cast<unsigned>(rows), ThresholdConfig::threads, 0, stream>>>(
          work, first, static_cast<int>(index_sample_rank(p.top)));
    }
  } else {
    threshold_kernel<<<static_cast<unsigned>(p.rows), ThresholdConfig::threads, 0, stream>>>(work, 0, 1);
  }
  const auto tiles = static_cast<unsigned>((p.rows + index_row_tile - 1) / index_row_tile);
  gate_kernel<Dim, false><<<tiles, GateConfig<Dim>::threads, shared, stream>>>(work, 0, 0);
  const auto rows = static_cast<unsigned>(p.rows);
  if (work.capacity <= 128 * 16)
    choose_kernel<128><<<rows, 128, 0, stream>>>(work);
  else if (work.capacity <= 256 * 16)
    choose_kernel<256><<<rows, 256, 0, stream>>>(work);
  else if (work.capacity <= 512 * 16)
    choose_kernel<512><<<rows, 512, 0, stream>>>(work);
  else
    choose_kernel<1024><<<rows, 1024, 0, stream>>>(work);
  fallback_kernel<Dim><<<static_cast<unsigned>(index_fallback_rows), TopKConfig::threads,
                         static_cast<std::size_t>(fallback_shared), stream>>>(work);
  return text_of(cudaGetLastError());
}

const char* index_top_k(const IndexTopKParams& p, void* stream) {
  static_assert(index_capacity(index_most_top) <= 1024 * 16);
  if (p.rows <= 0) return nullptr;
  if (p.top < 1 || p.top > index_most_top || p.local < 1 || p.sinks < 0 || p.sinks + p.local > p.top)
    return "forced keys exceed k, or k is beyond what the index keeps";
  if (p.q_row % 8 != 0 || p.k_row % 8 != 0) return "index rows do not begin at multiples of 16 bytes";
  switch (p.dim) {
    case 64:
      return index_rows<64>(p, static_cast<cudaStream_t>(stream));
    case 128:
      return index_rows<128>(p, static_cast<cudaStream_t>(stream));
    default:
      return "the index is not 64 or 128 wide";
  }
}

template <int HeadDim>
const char* mass_rows(const MassParams& p, cudaStream_t stream) {
  int device = 0, multiprocessors = 0;
  if (const char* failed = text_of(cudaGetDevice(&device))) return failed;
  if (const char* failed = text_of(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device)))
    return failed;
  if (const char* failed = allow_shared(mass_kernel<HeadDim>, MassConfig::shared_bytes)) return failed;
  mass_kernel<HeadDim>
      <<<static_cast<unsigned>(multiprocessors), MassConfig::threads, MassConfig::shared_bytes, stream>>>(p);
  return text_of(cudaGetLastError());
}

const char* mass(const MassParams& p, void* stream) {
  if (p.rows <= 0) return nullptr;
  if (p.num_kv_heads <= 0 || p.num_q_heads % p.num_kv_heads != 0) return "query heads are no multiple of KV heads";
  const auto to = static_cast<cudaStream_t>(stream);
  switch (p.head_dim) {
    case 64:
      return mass_rows<64>(p, to);
    case 128:
      return mass_rows<128>(p, to);
    case 256:
      return mass_rows<256>(p, to);
    default:
      return "head_dim is not 64, 128 or 256";
  }
}

const char* block_sums(const BlockSumParams& p, void* stream) {
  if (p.rows <= 0) return nullptr;
  const dim3 grid(static_cast<unsigned>((p.row_begin + p.rows + 255) / 256),
                  static_cast<unsigned>((p.rows + p.shared_rows - 1) / p.shared_rows));
  block_sums_kernel<<<grid, 256, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return text_of(cudaGetLastError());
}

}  // namespace
}  // namespace headroom::kernels::cuda

extern "C" __attribute__((visibility("default"))) const headroom::kernels::cuda::KernelTable* headroom_cuda_kernels() {
  using namespace headroom::kernels::cuda;
  static constexpr KernelTable table = {table_version, &build_unions, &sparse_attention, &top_k,     &index_top_k,
                                        &mass,         &block_sums,   &delta_net,        &delta_gate,
                                        &norm_rows,    &silu_mul,     &split_heads,      &gate_heads,
                                        &row_figures,  &curve_rows,   &pack_flags};
  return &table;
}

extern "C" __attribute__((visibility("default"))) const headroom::kernels::cuda::KernelTable*
headroom_portable_kernels() {
  using namespace headroom::kernels::cuda;
  static constexpr KernelTable table = [] {
    KernelTable portable;
    portable.version = table_version;
    portable.top_k = &top_k;
    portable.block_sums = &block_sums;
    portable.norm_rows = &norm_rows;
    portable.silu_mul = &silu_mul;
    portable.split_heads = &split_heads;
    portable.gate_heads = &gate_heads;
    portable.row_figures = &row_figures;
    portable.curve_rows = &curve_rows;
    portable.pack_flags = &pack_flags;
    return portable;
  }();
  return &table;
}
