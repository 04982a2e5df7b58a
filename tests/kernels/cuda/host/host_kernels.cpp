// SPDX-License-Identifier: Apache-2.0
#include "host_kernels.h"

#include "kernels/cuda/delta_net/chunk.cuh"
#include "kernels/cuda/delta_net/state.cuh"
#include "kernels/cuda/record/record.cuh"
#include "kernels/cuda/rows/rows.cuh"
#include "lanes.h"

namespace headroom::kernels::cuda::host {
namespace {

/// One block after the other.
template <typename Work>
void run_grid(unsigned columns, unsigned rows, int threads, const Work& work) {
  for (unsigned y = 0; y < rows; ++y)
    for (unsigned x = 0; x < columns; ++x) run_block(threads, {x, y, 0}, work);
}

const char* delta_net(const DeltaNetParams& p, void*) {
  const DeltaWork work = delta_work(p);
  const auto chunks = static_cast<unsigned>(work.chunks), heads = static_cast<unsigned>(p.value_heads);
  run_grid(static_cast<unsigned>(2 * p.key_heads) + heads, chunks, 128, [&] { delta_prepare_kernel(work); });
  run_grid(heads, chunks, 128, [&] { delta_chunk_kernel(work); });
  run_grid(heads, static_cast<unsigned>(delta_head_dim / DeltaStateConfig::columns), DeltaStateConfig::threads,
           [&] { delta_state_kernel(work); });
  return nullptr;
}

const char* delta_gate(const DeltaGateParams& p, void*) {
  run_grid(static_cast<unsigned>((p.rows * p.value_heads + 15) / 16), 1, 256, [&] { delta_gate_kernel(p); });
  return nullptr;
}

const char* norm_rows(const NormRowsParams& p, void*) {
  run_grid(static_cast<unsigned>(p.rows), 1, 256, [&] {
    if (p.width <= 2048)
      norm_rows_kernel<1>(p);
    else
      norm_rows_kernel<8>(p);
  });
  return nullptr;
}

const char* silu_mul(const SiluMulParams& p, void*) {
  run_grid(static_cast<unsigned>(p.rows * ((p.width + 2047) / 2048)), 1, 256, [&] { silu_mul_kernel(p); });
  return nullptr;
}

const char* split_heads(const SplitHeadsParams& p, void*) {
  const std::int64_t warps = p.rows * (p.num_q_heads + 2 * p.num_kv_heads);
  run_grid(static_cast<unsigned>((warps + 7) / 8), 1, 256, [&] {
    if (p.head_dim == 64)
      split_heads_kernel<64>(p);
    else if (p.head_dim == 128)
      split_heads_kernel<128>(p);
    else
      split_heads_kernel<256>(p);
  });
  return nullptr;
}

const char* gate_heads(const GateHeadsParams& p, void*) {
  run_grid(static_cast<unsigned>(p.rows * ((p.num_heads * p.head_dim + 2047) / 2048)), 1, 256,
           [&] { gate_heads_kernel(p); });
  return nullptr;
}

const char* row_figures(const RowFiguresParams& p, void*) {
  run_grid(static_cast<unsigned>(p.rows), static_cast<unsigned>(p.heads), 64,
           [&] { row_figures_kernel<64>(p); });
  return nullptr;
}

const char* curve_rows(const CurveRowsParams& p, void*) {
  run_grid(static_cast<unsigned>(p.rows), static_cast<unsigned>(p.heads), 32, [&] { curve_rows_kernel(p); });
  return nullptr;
}

const char* pack_flags(const PackFlagsParams& p, void*) {
  run_grid(static_cast<unsigned>((p.bytes + 255) / 256), static_cast<unsigned>(p.rows), 256,
           [&] { pack_flags_kernel(p); });
  return nullptr;
}

}  // namespace

const KernelTable& kernels_on_host() {
  static const KernelTable table = {
      table_version, nullptr,     nullptr,    nullptr,   nullptr,      nullptr,     nullptr,
      &delta_net,    &delta_gate, &norm_rows, &silu_mul, &split_heads, &gate_heads,
      &row_figures,  &curve_rows, &pack_flags,
  };
  return table;
}

}  // namespace headroom::kernels::cuda::host
