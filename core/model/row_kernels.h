// SPDX-License-Identifier: Apache-2.0
// The small row-wise steps between the large products: on the CPU the kernels of kernels/cpu/rows/decoder_rows.h on the
// calling thread, elsewhere (and for partial rotation and GELU) ATen's operators. Statistics and rotations are computed
// in fp32 whatever the dtype.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "model/model_config.h"

namespace headroom::model {

/// out[r] = in[r] / rms(in[r]) * weight. `in`, `out`: [rows, width], contiguous, bf16 or fp32; `weight`: [width].
void rms_norm(const at::Tensor& in, const at::Tensor& weight, double epsilon, const at::Tensor& out);

/// hidden += addend; then, where `out` is defined, out = rms_norm(hidden).
void add_rms_norm(const at::Tensor& hidden, const at::Tensor& addend, const at::Tensor& weight, double epsilon,
                  const at::Tensor& out);

/// gated[r, j] = silu(gate_up[r, j]) * gate_up[r, width + j]. `gate_up`: [rows, 2 width], `gated`: [rows, width].
void silu_mul(const at::Tensor& gate_up, at::Tensor gated);

/// The same with gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) in place of silu.
void gelu_tanh_mul(const at::Tensor& gate_up, at::Tensor gated);

/// cos and sin of the angles of some positions: [positions, dims/2] fp32.
struct RopeTable {
  at::Tensor cosine, sine;
};

/// The tables of `count` positions from `first` on `device`, each made once. Frequencies and angles are rounded to fp32
/// as transformers rounds them, so that long prompts agree with it.
class RopeTables {
 public:
  RopeTables(std::int64_t first, std::int64_t count, c10::Device device)
      : first_(first), count_(count), device_(device) {}
  RopeTable table(const RopeSpec& spec);

 private:
  std::int64_t first_, count_;
  c10::Device device_;
  std::vector<std::pair<RopeSpec, RopeTable>> made_;
};

/// Splits qkv [rows, (Hq + 2 Hkv) d] by head and rotates the first dims of each head of q and k by halves: rows go to
/// places first_row … of q [Hq, L, d], k and v [Hkv, L, d] (contiguous). The table's row 0 belongs to row 0 of qkv.
void rope_split(const at::Tensor& qkv, const RopeTable& table, std::int64_t first_row, const at::Tensor& q,
                const at::Tensor& k, const at::Tensor& v);

/// Logits in fp32 from hidden rows [rows, width] and the output matrix [vocabulary, width], whatever their dtype.
at::Tensor output_logits(const at::Tensor& hidden, const at::Tensor& output);

}  // namespace headroom::model
