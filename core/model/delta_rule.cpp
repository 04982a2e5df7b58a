// SPDX-License-Identifier: Apache-2.0
#include "model/delta_rule.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/triu.h>

#include <limits>

#include "model/triangular_inverse.h"

namespace headroom::model {
namespace {

// One row: [Hk, group, 1, d].
at::Tensor one_step(const DeltaRows& rows, at::Tensor& state) {
  const at::Tensor q = rows.q.unsqueeze(1), k = rows.k.unsqueeze(1);
  state.mul_(rows.log_decay.exp().unsqueeze(3));
  const at::Tensor change = rows.v.sub(at::matmul(k, state)).mul_(rows.rate.unsqueeze(3));
  state.add_(k.transpose(2, 3).mul(change));
  return at::matmul(q, state);
}

}  // namespace

at::Tensor gated_delta_rule(const DeltaRows& rows, at::Tensor& state, const JobContext& job) {
  const std::int64_t heads = rows.k.size(0), length = rows.k.size(1), dk = rows.k.size(2);
  const std::int64_t group = rows.v.size(1), dv = rows.v.size(3);
  if (length == 1) return one_step(rows, state);
  const std::int64_t chunk = std::min(delta_chunk, length), chunks = (length + chunk - 1) / chunk;
  const std::int64_t missing = chunks * chunk - length;
  // Rows that are not there change nothing: no decay, no key.
  const auto by_chunks = [&](const at::Tensor& tensor) {  // [Hk, (group,) R, d] -> [Hk, (group,) chunks, chunk, d]
    const at::Tensor padded = missing > 0 ? at::constant_pad_nd(tensor, {0, 0, 0, missing}) : tensor;
    std::vector<std::int64_t> shape = padded.sizes().vec();
    shape.insert(shape.end() - 2, chunks);
    shape[shape.size() - 2] = chunk;
    return padded.reshape(shape);
  };
  const at::Tensor q = by_chunks(rows.q).unsqueeze(1), k = by_chunks(rows.k).unsqueeze(1), v = by_chunks(rows.v);
  const at::Tensor rate = by_chunks(rows.rate.unsqueeze(3));                                // [.., chunk, 1]
  const at::Tensor sums = by_chunks(rows.log_decay.unsqueeze(3)).cumsum(3);                 // [.., chunk, 1]
  const at::Tensor later = at::ones({chunk, chunk}, k.options().dtype(at::kBool)).triu(1);  // key after the row
  // e^(sum_i - sum_j): what is left at row i of what row j wrote. Masked before the exponential, which would overflow.
  const at::Tensor left = sums.sub(sums.transpose(3, 4))
                              .masked_fill_(later, -std::numeric_limits<double>::infinity())
                              .exp_();  // [Hk, group, chunks, chunk, chunk]
  // What rows of a chunk write given the state before it: values less what the keys before them, decayed, hold.
  const at::Tensor keys = k.transpose(3, 4);
  const at::Tensor inverse = unit_triangular_inverse(at::matmul(k, keys).mul(left).mul_(rate));
  const at::Tensor written = at::matmul(inverse, v.mul(rate));                    // [.., chunk, dv]
  const at::Tensor read_keys = at::matmul(inverse, k.mul(rate.mul(sums.exp())));  // [.., chunk, dk]
  const at::Tensor within = at::matmul(q, keys).mul(left);                        // [.., chunk, chunk]
  const at::Tensor queries = q.mul(sums.exp());                                   // [.., chunk, dk]
  const at::Tensor last = sums.narrow(3, chunk - 1, 1);                           // [.., 1, 1]
  const at::Tensor keys_at_end = k.mul(last.sub(sums).exp()).transpose(3, 4);     // [.., dk, chunk]
  const at::Tensor decay = last.exp();
  at::Tensor out = at::empty({heads, group, chunks, chunk, dv}, v.options());
  for (std::int64_t i = 0; i < chunks; ++i) {
    job.check();
    const at::Tensor fresh = written.select(2, i).sub(at::matmul(read_keys.select(2, i), state));
    out.select(2, i).copy_(at::matmul(queries.select(2, i), state).add_(at::matmul(within.select(2, i), fresh)));
    state.mul_(decay.select(2, i)).add_(at::matmul(keys_at_end.select(2, i), fresh));
  }
  TORCH_CHECK(state.size(2) == dk, "the state of the delta rule has another size");
  return out.view({heads, group, chunks * chunk, dv}).narrow(2, 0, length);
}

}  // namespace headroom::model
