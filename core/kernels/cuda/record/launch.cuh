// SPDX-License-Identifier: Apache-2.0
// Launches of the kernels that make a record's figures.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/record/config.h"
#include "kernels/cuda/record/record.cuh"
#include "kernels/cuda/rows/launch.cuh"

namespace headroom::kernels::cuda {

inline const char* row_figures(const RowFiguresParams& p, void* stream) {
  if (p.rows <= 0 || p.heads <= 0) return nullptr;
  if (p.cell < 1 || p.row_begin + p.rows > p.stride) return "rows have no room for their probabilities";
  if (p.cell_max && p.cell * p.cells < p.row_begin + p.rows) return "cells do not cover the rows";
  if (p.segments && (p.heads != 1 || p.num_budgets < 0 || p.num_budgets > record_most_budgets))
    return "curves are cut by one row of mass, at 64 places at most";
  const dim3 grid(static_cast<unsigned>(p.rows), static_cast<unsigned>(p.heads));
  row_figures_kernel<record_threads>
      <<<grid, record_threads, row_figures_shared_bytes, static_cast<cudaStream_t>(stream)>>>(p);
  return launched();
}

inline const char* curve_rows(const CurveRowsParams& p, void* stream) {
  if (p.rows <= 0 || p.heads <= 0) return nullptr;
  if (p.stride % record_stride != 0 || p.row_begin + p.rows > p.stride) return "rows do not begin at whole pieces";
  if (p.num_budgets < 0 || p.num_budgets > record_most_budgets || p.cell_level < record_least_cell)
    return "curves have 64 places at most, cells 16 keys at least";
  curve_rows_kernel<<<dim3(static_cast<unsigned>(p.rows), static_cast<unsigned>(p.heads)), 32, curve_rows_shared_bytes,
                      static_cast<cudaStream_t>(stream)>>>(p);
  return launched();
}

inline const char* pack_flags(const PackFlagsParams& p, void* stream) {
  if (p.rows <= 0 || p.bytes <= 0) return nullptr;
  if (p.stride % 8 != 0 || 8 * p.bytes > p.stride || p.rows > 65535) return "flags do not begin at whole bytes of bits";
  pack_flags_kernel<<<dim3(static_cast<unsigned>((p.bytes + 255) / 256), static_cast<unsigned>(p.rows)), 256, 0,
                      static_cast<cudaStream_t>(stream)>>>(p);
  return launched();
}

}  // namespace headroom::kernels::cuda
