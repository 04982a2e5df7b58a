// SPDX-License-Identifier: Apache-2.0
#include "model/triangular_inverse.h"

#include <ATen/Parallel.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/zeros.h>

namespace headroom::model {
namespace {

// Row by row: row i is that of I less its products with the rows above.
void invert_on_cpu(const float* lower, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    float* const row = out + i * n;
    for (std::int64_t j = 0; j < i; ++j) {
      const float factor = lower[i * n + j];
      const float* const above = out + j * n;
      for (std::int64_t k = 0; k <= j; ++k) row[k] -= factor * above[k];
    }
    row[i] = 1;
  }
}

// [batch, n, n], n small.
at::Tensor substitute(const at::Tensor& lower) {
  const std::int64_t n = lower.size(1);
  at::Tensor inverse = at::zeros(lower.sizes(), lower.options());
  inverse.diagonal(0, 1, 2).fill_(1);
  for (std::int64_t i = 1; i < n; ++i) {
    const at::Tensor above = inverse.narrow(1, 0, i).narrow(2, 0, i);
    inverse.select(1, i).narrow(1, 0, i).copy_(at::bmm(lower.narrow(1, i, 1).narrow(2, 0, i), above).squeeze(1).neg());
  }
  return inverse;
}

}  // namespace

at::Tensor unit_triangular_inverse(const at::Tensor& lower) {
  if (!lower.is_cpu()) return unit_triangular_inverse_by_blocks(lower);
  const at::Tensor from = lower.contiguous();
  at::Tensor inverse = at::zeros(from.sizes(), from.options());
  const std::int64_t n = from.size(-1), count = n == 0 ? 0 : from.numel() / (n * n);
  const float* in = from.const_data_ptr<float>();
  float* out = inverse.mutable_data_ptr<float>();
  at::parallel_for(0, count, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) invert_on_cpu(in + i * n * n, out + i * n * n, n);
  });
  return inverse;
}

at::Tensor unit_triangular_inverse_by_blocks(const at::Tensor& lower) {
  constexpr std::int64_t smallest = 16;
  const std::int64_t n = lower.size(-1);
  const at::Tensor all = lower.reshape({-1, n, n});
  std::int64_t size = n;
  while (size % 2 == 0 && size > smallest) size /= 2;
  if (size == n) return substitute(all).view(lower.sizes());
  // Blocks on the diagonal first: [batch, size, size, blocks] is a view of them. Then [[A, 0], [C, B]] from A and B:
  // its lower left is -B^-1 C A^-1.
  const std::int64_t batch = all.size(0);
  const auto diagonal_blocks = [&](const at::Tensor& matrix, std::int64_t side) {
    return matrix.view({batch, n / side, side, n / side, side}).diagonal(0, 1, 3).permute({0, 3, 1, 2});
  };
  const at::Tensor source = all.contiguous();
  at::Tensor inverse = at::zeros(source.sizes(), source.options());
  diagonal_blocks(inverse, size)
      .copy_(substitute(diagonal_blocks(source, size).reshape({-1, size, size})).view({batch, n / size, size, size}));
  for (; size < n; size *= 2) {
    const at::Tensor pairs = diagonal_blocks(inverse, 2 * size);
    const auto part = [&](const at::Tensor& blocks, std::int64_t row, std::int64_t column) {
      return blocks.narrow(2, row, size).narrow(3, column, size);
    };
    const auto flat = [&](const at::Tensor& blocks) { return blocks.reshape({-1, size, size}); };
    const at::Tensor corner = flat(part(diagonal_blocks(source, 2 * size), size, 0));
    const at::Tensor product = at::bmm(flat(part(pairs, size, size)), at::bmm(corner, flat(part(pairs, 0, 0)))).neg();
    part(pairs, size, 0).copy_(product.view({batch, n / (2 * size), size, size}));
  }
  return inverse.view(lower.sizes());
}

}  // namespace headroom::model
