// SPDX-License-Identifier: Apache-2.0
// Linear layers (gated DeltaNet) written out: row by row in fp64, and in chunks with LibTorch where products take
// operands rounded to bf16, as the CUDA kernels' do. On the CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "experiment/verify/verify.h"
#include "model/delta_kernels.h"
#include "model/model_config.h"

namespace headroom::experiment {

struct DeltaCase {
  std::int64_t rows = 0, key_heads = 1, value_heads = 1;
  bool tiled_heads = false;
  bool alike = false;      ///< neighbouring keys resemble each other, as real ones do
  bool continued = false;  ///< rows and a state came before
  std::string text() const;
  model::DeltaSpec spec() const;  ///< heads of 128, a convolution over 4 rows
};

/// Inputs of one layer: random, the same for the same case; heads forget at once, or little in a thousand rows.
struct DeltaProblem {
  model::DeltaSpec spec;
  model::DeltaLayerRows rows;
  at::Tensor memory;  ///< before, [Hk, Hv / Hk, 128, 128] fp32
  DeltaProblem on(c10::Device device) const;
};
DeltaProblem random_delta_problem(const DeltaCase& test);

struct DeltaResult {
  std::vector<double> heads;   ///< [rows, value heads, 128]
  std::vector<double> memory;  ///< after
};
DeltaResult exact_delta(const DeltaProblem& problem);

struct DeltaTensors {
  at::Tensor heads, memory;  ///< bf16 [rows, Hv 128]; fp32 as DeltaProblem::memory
};
DeltaTensors textbook_delta(const DeltaProblem& problem);
/// The kernels', of a problem on their device; `pieces`: rows of each call, none: all in one.
DeltaTensors delta_of_kernels(const kernels::cuda::KernelTable& kernels, const DeltaProblem& problem,
                              std::vector<std::int64_t> pieces = {});

/// Lengths around whole chunks and beyond, with and without what came before.
std::vector<DeltaCase> delta_cases();
/// Output and state of the kernels on `device` against fp64, bound by twice the textbook's error; that they repeat bit
/// for bit, and that pieces of the rows continue each other. Fills error, allowed and, where something else is wrong,
/// the note.
void judge_delta(const DeltaCase& test, const kernels::cuda::KernelTable& kernels, c10::Device device, VerifyRow& row);

}  // namespace headroom::experiment
