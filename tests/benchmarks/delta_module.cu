// SPDX-License-Identifier: Apache-2.0
// A module of the kernels of linear layers and rows alone, for trying variants of them (docs/kernels-cuda.md): compiled
// in seconds where the whole takes minutes.
#include <cuda_runtime.h>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/delta_net/launch.cuh"
#include "kernels/cuda/rows/launch.cuh"

extern "C" __attribute__((visibility("default"))) const headroom::kernels::cuda::KernelTable* headroom_cuda_kernels() {
  using namespace headroom::kernels::cuda;
  static constexpr KernelTable table = {table_version, nullptr,      nullptr,    nullptr,     nullptr,
                                        nullptr,       nullptr,      &delta_net, &delta_gate, &norm_rows,
                                        &silu_mul,     &split_heads, &gate_heads};
  return &table;
}
