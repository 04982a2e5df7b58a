// SPDX-License-Identifier: Apache-2.0
#include "model/row_kernels.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cpu/rows/decoder_rows.h"
#include "model/cuda_rows.h"
#include "model/rope_config.h"

namespace headroom::model {
namespace cpu = kernels::cpu;
namespace {

struct Bf16 {
  std::uint16_t bits;
};

inline float load(float value) {
  return value;
}
inline float load(Bf16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}
// Calls f(T*) with the element type that stands for the tensor's dtype.
template <typename F>
void with_type(const at::Tensor& tensor, F&& f) {
  if (tensor.scalar_type() == at::kFloat) {
    f(static_cast<float*>(tensor.data_ptr()));
  } else {
    TORCH_CHECK(tensor.scalar_type() == at::kBFloat16, "bf16 or fp32 expected");
    f(static_cast<Bf16*>(tensor.data_ptr()));
  }
}

constexpr std::int64_t lanes = 16;

// Sixteen running sums: keeps the loop free of one long chain of additions, and more accurate.
template <typename T, typename U>
float dot(const T* a, const U* b, std::int64_t count) {
  float sums[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (std::int64_t j = 0; j < lanes; ++j) sums[j] += load(a[i + j]) * load(b[i + j]);
  }
  float rest = 0;
  for (; i < count; ++i) rest += load(a[i]) * load(b[i]);
  for (std::int64_t width = lanes / 2; width > 0; width /= 2) {
    for (std::int64_t j = 0; j < width; ++j) sums[j] += sums[j + width];
  }
  return sums[0] + rest;
}

cpu::Element element_of(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kFloat) return cpu::Element::f32;
  TORCH_CHECK(tensor.scalar_type() == at::kBFloat16, "bf16 or fp32 expected");
  return cpu::Element::bf16;
}

const cpu::DecoderRows& kernels() {
  static const cpu::DecoderRows& best = cpu::decoder_rows();
  return best;
}

void norm_cpu(const at::Tensor& hidden, const at::Tensor* addend, const at::Tensor& weight, double epsilon,
              const at::Tensor& out) {
  kernels().norm(element_of(hidden), {.hidden = hidden.data_ptr(),
                                      .addend = addend ? addend->data_ptr() : nullptr,
                                      .weight = weight.defined() ? weight.data_ptr<float>() : nullptr,
                                      .epsilon = static_cast<float>(epsilon),
                                      .out = out.defined() ? out.data_ptr() : nullptr,
                                      .rows = hidden.size(0),
                                      .width = hidden.size(1)});
}

// The first dims of each head rotated, the others as they are; [H, rows, d].
void rotate_into(const at::Tensor& heads, const RopeTable& table, const at::Tensor& out) {
  const std::int64_t half = table.cosine.size(1), rest = heads.size(2) - 2 * half;
  const at::Tensor a = heads.narrow(2, 0, half).to(at::kFloat), b = heads.narrow(2, half, half).to(at::kFloat);
  out.narrow(2, 0, half).copy_(a.mul(table.cosine).sub_(b.mul(table.sine)));
  out.narrow(2, half, half).copy_(b.mul(table.cosine).add_(a.mul(table.sine)));
  if (rest > 0) out.narrow(2, 2 * half, rest).copy_(heads.narrow(2, 2 * half, rest));
}

}  // namespace

void rms_norm(const at::Tensor& in, const at::Tensor& weight, double epsilon, const at::Tensor& out) {
  if (in.is_cpu()) {
    norm_cpu(in, nullptr, weight, epsilon, out);
    return;
  }
  if (cuda_rows::norm(in, {}, weight, epsilon, out)) return;
  at::Tensor target = out;
  target.copy_(at::rms_norm(in, {in.size(1)}, weight, epsilon));
}

void add_rms_norm(const at::Tensor& hidden, const at::Tensor& addend, const at::Tensor& weight, double epsilon,
                  const at::Tensor& out) {
  if (hidden.is_cpu()) {
    norm_cpu(hidden, &addend, weight, epsilon, out);
    return;
  }
  if (cuda_rows::norm(hidden, addend, weight, epsilon, out)) return;
  hidden.add_(addend);
  if (out.defined()) rms_norm(hidden, weight, epsilon, out);
}

void silu_mul(const at::Tensor& gate_up, at::Tensor gated) {
  const std::int64_t rows = gated.size(0), width = gated.size(1);
  if (gated.is_cpu()) {
    kernels().gate(element_of(gated),
                   {.gate_up = gate_up.data_ptr(), .out = gated.data_ptr(), .rows = rows, .width = width});
    return;
  }
  if (cuda_rows::silu_mul(gate_up, gated)) return;
  at::silu_out(gated, gate_up.narrow(1, 0, width));
  gated.mul_(gate_up.narrow(1, width, width));
}

void gelu_tanh_mul(const at::Tensor& gate_up, at::Tensor gated) {
  const std::int64_t width = gated.size(1);
  at::gelu_out(gated, gate_up.narrow(1, 0, width), "tanh");
  gated.mul_(gate_up.narrow(1, width, width));
}

namespace {

RopeTable rope_table(std::int64_t first, std::int64_t count, const RopeSpec& spec, c10::Device device) {
  const std::int64_t half = spec.dims / 2;
  std::vector<float> frequencies(static_cast<std::size_t>(half));
  for (std::int64_t j = 0; j < half; ++j) {
    float& frequency = frequencies[static_cast<std::size_t>(j)];
    frequency = rope_frequency(spec.base, spec.dims, j);
    // Divided in fp64 and rounded once: the factors were made so that this gives the frequency that is meant.
    if (!spec.factors.empty())
      frequency = static_cast<float>(static_cast<double>(frequency) / spec.factors[static_cast<std::size_t>(j)]);
  }
  const auto options = at::TensorOptions().dtype(at::kFloat);
  at::Tensor cosine = at::empty({count, half}, options), sine = at::empty({count, half}, options);
  float* to_cosine = cosine.data_ptr<float>();
  float* to_sine = sine.data_ptr<float>();
  const auto magnitude = static_cast<float>(spec.magnitude);
  at::parallel_for(0, count, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      for (std::int64_t j = 0; j < half; ++j) {
        const float angle = static_cast<float>(first + r) * frequencies[static_cast<std::size_t>(j)];
        to_cosine[r * half + j] = magnitude * static_cast<float>(std::cos(static_cast<double>(angle)));
        to_sine[r * half + j] = magnitude * static_cast<float>(std::sin(static_cast<double>(angle)));
      }
    }
  });
  return {cosine.to(device), sine.to(device)};
}

}  // namespace

RopeTable RopeTables::table(const RopeSpec& spec) {
  for (const auto& [known, table] : made_) {
    if (known == spec) return table;
  }
  return made_.emplace_back(spec, rope_table(first_, count_, spec, device_)).second;
}

void rope_split(const at::Tensor& qkv, const RopeTable& table, std::int64_t first_row, const at::Tensor& q,
                const at::Tensor& k, const at::Tensor& v) {
  const std::int64_t rows = qkv.size(0), dim = q.size(2);
  const std::int64_t num_q = q.size(0), num_kv = k.size(0);
  if (!qkv.is_cpu() || 2 * table.cosine.size(1) != dim) {
    const at::Tensor heads = qkv.view({rows, num_q + 2 * num_kv, dim}).transpose(0, 1);
    rotate_into(heads.narrow(0, 0, num_q), table, q.narrow(1, first_row, rows));
    rotate_into(heads.narrow(0, num_q, num_kv), table, k.narrow(1, first_row, rows));
    v.narrow(1, first_row, rows).copy_(heads.narrow(0, num_q + num_kv, num_kv));
    return;
  }
  kernels().rope(element_of(qkv), {.qkv = qkv.data_ptr(),
                                   .cosine = table.cosine.data_ptr<float>(),
                                   .sine = table.sine.data_ptr<float>(),
                                   .num_q_heads = num_q,
                                   .num_kv_heads = num_kv,
                                   .head_dim = dim,
                                   .rows = rows,
                                   .first = first_row,
                                   .places = q.size(1),
                                   .q = q.data_ptr(),
                                   .k = k.data_ptr(),
                                   .v = v.data_ptr()});
}

at::Tensor output_logits(const at::Tensor& hidden, const at::Tensor& output) {
  const std::int64_t rows = hidden.size(0), width = hidden.size(1), vocabulary = output.size(0);
  if (hidden.scalar_type() == at::kFloat) return at::mm(hidden, output.t());
  if (!hidden.is_cpu()) return at::mm(hidden, output.t(), at::kFloat);
  // bf16 logits would tie thousands of tokens; the products are summed in fp32, for many rows by LibTorch's own product
  // (a widened copy of the matrix pays off), for few straight from the bf16 weights.
  if (rows > 16) return at::mm(hidden.to(at::kFloat), output.to(at::kFloat).t());
  at::Tensor logits = at::empty({rows, vocabulary}, at::TensorOptions().dtype(at::kFloat));
  float* to = logits.data_ptr<float>();
  const at::Tensor wide = hidden.to(at::kFloat);
  const float* from = wide.data_ptr<float>();
  with_type(output, [&]<typename T>(T* weights) {
    at::parallel_for(0, vocabulary, 256, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t token = begin; token < end; ++token)
          to[r * vocabulary + token] = dot(weights + token * width, from + r * width, width);
      }
    });
  });
  return logits;
}

}  // namespace headroom::model
