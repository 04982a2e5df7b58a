// SPDX-License-Identifier: Apache-2.0
#include "experiment/verify/delta_reference.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <random>

#include "experiment/verify/verify_parts.h"
#include "model/triangular_inverse.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t delta_dim = 128, delta_rows_of_chunk = 64;
constexpr double delta_l2_epsilon = 1e-6;

std::vector<double> doubles(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

/// Head of the kernels' state that value head `head` has, and the key head it reads.
std::int64_t key_head_of(const model::DeltaSpec& spec, std::int64_t head) {
  return spec.tiled_heads ? head % spec.key_heads : head / spec.group();
}
std::int64_t memory_of(const model::DeltaSpec& spec, std::int64_t head) {
  return spec.tiled_heads ? head % spec.key_heads * spec.group() + head / spec.key_heads : head;
}

/// One row of the convolution's outputs after SiLU and, of q and k, their norms: [channels].
std::vector<double> mixed_row(const DeltaProblem& problem, const std::vector<double>& reach,
                              const std::vector<double>& conv, std::int64_t row) {
  const model::DeltaSpec& spec = problem.spec;
  const std::int64_t channels = spec.channels();
  std::vector<double> mixed(static_cast<std::size_t>(channels));
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    double sum = 0;
    for (std::int64_t place = 0; place < spec.kernel; ++place)
      sum += reach[static_cast<std::size_t>((row + place) * channels + channel)] *
             conv[static_cast<std::size_t>(place * channels + channel)];
    mixed[static_cast<std::size_t>(channel)] = sum / (1 + std::exp(-sum));
  }
  for (std::int64_t head = 0; head < 2 * spec.key_heads; ++head) {
    double squares = 0;
    double* const values = mixed.data() + head * delta_dim;
    for (std::int64_t i = 0; i < delta_dim; ++i) squares += values[i] * values[i];
    const double scale =
        (head < spec.key_heads ? 1 / std::sqrt(double{delta_dim}) : 1) / std::sqrt(squares + delta_l2_epsilon);
    for (std::int64_t i = 0; i < delta_dim; ++i) values[i] *= scale;
  }
  return mixed;
}

at::Tensor reach_of(const DeltaProblem& problem) {
  const at::Tensor own = problem.rows.qkvz.narrow(1, 0, problem.spec.channels());
  return at::cat({problem.rows.before, own});
}

at::Tensor bf16_rounded(const at::Tensor& tensor) {
  return tensor.to(at::kBFloat16).to(at::kFloat);
}

}  // namespace

std::string DeltaCase::text() const {
  return "L " + std::to_string(rows) + ", heads " + std::to_string(key_heads) + ":" + std::to_string(value_heads) +
         " of 128" + (tiled_heads ? ", tiled" : "") + (alike ? ", keys alike" : "") + (continued ? ", continued" : "");
}

model::DeltaSpec DeltaCase::spec() const {
  model::DeltaSpec spec;
  spec.key_heads = key_heads;
  spec.value_heads = value_heads;
  spec.key_dim = spec.value_dim = delta_dim;
  spec.kernel = 4;
  spec.tiled_heads = tiled_heads;
  return spec;
}

DeltaProblem DeltaProblem::on(c10::Device device) const {
  DeltaProblem moved = *this;
  for (at::Tensor* tensor : {&moved.rows.qkvz, &moved.rows.rates, &moved.rows.before, &moved.rows.conv,
                             &moved.rows.decay, &moved.rows.time, &moved.memory})
    *tensor = tensor->to(device);
  return moved;
}

DeltaProblem random_delta_problem(const DeltaCase& test) {
  DeltaProblem problem;
  problem.spec = test.spec();
  const std::int64_t channels = problem.spec.channels(), key_width = problem.spec.key_heads * delta_dim;
  std::mt19937 random(static_cast<unsigned>(test.rows * 7 + test.value_heads + test.tiled_heads));
  const auto make = [&](std::vector<std::int64_t> sizes, float sigma) { return normal_values(random, sizes, sigma); };
  at::Tensor qkvz = make({test.rows, channels + problem.spec.value_width()}, 1);
  if (test.alike) qkvz.narrow(1, 0, 2 * key_width).mul_(0.3).add_(make({2 * key_width}, 1));
  problem.rows.qkvz = qkvz.to(at::kBFloat16);
  problem.rows.rates = make({test.rows, 2 * test.value_heads}, 2).to(at::kBFloat16);
  problem.rows.before = make({3, channels}, test.continued ? 1.f : 0.f).to(at::kBFloat16);
  problem.rows.conv = make({4, channels}, 0.5f);
  std::uniform_real_distribution<float> power(-7, 2.8f);
  problem.rows.decay = at::empty({test.value_heads}, at::TensorOptions().dtype(at::kFloat));
  for (std::int64_t head = 0; head < test.value_heads; ++head)
    problem.rows.decay.mutable_data_ptr<float>()[head] = -std::exp(power(random));
  problem.rows.time = make({test.value_heads}, 1);
  problem.memory =
      make({problem.spec.key_heads, problem.spec.group(), delta_dim, delta_dim}, test.continued ? 0.3f : 0.f);
  return problem;
}

DeltaResult exact_delta(const DeltaProblem& problem) {
  const model::DeltaSpec& spec = problem.spec;
  const std::vector<double> reach = doubles(reach_of(problem)), rates = doubles(problem.rows.rates),
                            conv = doubles(problem.rows.conv), decay = doubles(problem.rows.decay),
                            time = doubles(problem.rows.time);
  DeltaResult result;
  result.memory = doubles(problem.memory);
  const std::int64_t rows = problem.rows.qkvz.size(0), value_heads = spec.value_heads;
  result.heads.resize(static_cast<std::size_t>(rows * spec.value_width()));
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::vector<double> mixed = mixed_row(problem, reach, conv, row);
    for (std::int64_t head = 0; head < value_heads; ++head) {
      const double* const q = mixed.data() + key_head_of(spec, head) * delta_dim;
      const double* const k = q + spec.key_heads * delta_dim;
      const double* const v = mixed.data() + (2 * spec.key_heads + head) * delta_dim;
      const double* const gates = rates.data() + row * 2 * value_heads + head;
      const auto of_head = static_cast<std::size_t>(head);
      const double rate = 1 / (1 + std::exp(-gates[0])), open = gates[value_heads] + time[of_head];
      const double left = std::exp(decay[of_head] * (open > 20 ? open : std::log1p(std::exp(open))));
      double* const memory = result.memory.data() + memory_of(spec, head) * delta_dim * delta_dim;
      double* const out = result.heads.data() + (row * value_heads + head) * delta_dim;
      std::vector<double> held(delta_dim, 0.0);
      for (std::int64_t i = 0; i < delta_dim; ++i)
        for (std::int64_t j = 0; j < delta_dim; ++j) {
          memory[i * delta_dim + j] *= left;
          held[static_cast<std::size_t>(j)] += k[i] * memory[i * delta_dim + j];
        }
      for (std::int64_t i = 0; i < delta_dim; ++i)
        for (std::int64_t j = 0; j < delta_dim; ++j) {
          memory[i * delta_dim + j] += k[i] * rate * (v[j] - held[static_cast<std::size_t>(j)]);
          out[j] += q[i] * memory[i * delta_dim + j];
        }
    }
  }
  return result;
}

DeltaTensors textbook_delta(const DeltaProblem& problem) {
  const model::DeltaSpec& spec = problem.spec;
  const std::int64_t rows = problem.rows.qkvz.size(0),
                     missing = (delta_rows_of_chunk - rows % delta_rows_of_chunk) % delta_rows_of_chunk;
  const std::int64_t chunks = (rows + missing) / delta_rows_of_chunk, heads = spec.value_heads;
  const at::Tensor reach = reach_of(problem).to(at::kFloat);
  at::Tensor mixed = reach.narrow(0, 0, rows).mul(problem.rows.conv[0]);
  for (std::int64_t place = 1; place < spec.kernel; ++place)
    mixed.addcmul_(reach.narrow(0, place, rows), problem.rows.conv[place]);
  mixed = at::silu(mixed).view({rows, -1, delta_dim}).transpose(0, 1);  // [heads of q, k, v, rows, 128]
  const auto chunked = [&](const at::Tensor& tensor) {                  // [heads, rows, d] -> [heads, chunks, 64, d]
    return at::constant_pad_nd(tensor, {0, 0, 0, missing}).reshape({heads, chunks, delta_rows_of_chunk, -1});
  };
  const auto keys = [&](std::int64_t first, double scale) {
    const at::Tensor all = mixed.narrow(0, first, spec.key_heads);
    const at::Tensor normed = all.mul(at::rsqrt(all.square().sum(2, true).add_(delta_l2_epsilon))).mul_(scale);
    std::vector<at::Tensor> ordered;
    for (std::int64_t head = 0; head < heads; ++head) ordered.push_back(normed[key_head_of(spec, head)]);
    return bf16_rounded(chunked(at::stack(ordered)));
  };
  const at::Tensor q = keys(0, 1 / std::sqrt(double{delta_dim})), k = keys(spec.key_heads, 1);
  const at::Tensor v = bf16_rounded(chunked(mixed.narrow(0, 2 * spec.key_heads, heads)));
  const at::Tensor gates = problem.rows.rates.to(at::kFloat).t();
  const at::Tensor rate = chunked(at::sigmoid(gates.narrow(0, 0, heads)).unsqueeze(2));
  const at::Tensor open = gates.narrow(0, heads, heads).add(problem.rows.time.unsqueeze(1));
  const at::Tensor sums = chunked(at::softplus(open).mul(problem.rows.decay.unsqueeze(1)).unsqueeze(2)).cumsum(2);
  const at::Tensor last = sums.narrow(2, delta_rows_of_chunk - 1, 1);
  const at::Tensor later = at::ones({delta_rows_of_chunk, delta_rows_of_chunk}, at::kBool).triu(1);
  const at::Tensor left =
      sums.sub(sums.transpose(2, 3)).masked_fill_(later, -std::numeric_limits<double>::infinity()).exp_();
  const at::Tensor inverse =
      bf16_rounded(model::unit_triangular_inverse(at::matmul(k, k.transpose(2, 3)).mul(left).mul_(rate)));
  const at::Tensor written = at::matmul(inverse, bf16_rounded(v.mul(rate)));
  const at::Tensor read_keys = bf16_rounded(at::matmul(inverse, bf16_rounded(k.mul(rate.mul(sums.exp())))));
  const at::Tensor within = bf16_rounded(at::matmul(q, k.transpose(2, 3)).mul(left));
  const at::Tensor queries = bf16_rounded(q.mul(sums.exp()));
  const at::Tensor keys_at_end = bf16_rounded(k.mul(last.sub(sums).exp())).transpose(2, 3), decay = last.exp();
  std::vector<at::Tensor> states, out;
  const at::Tensor before = problem.memory.reshape({-1, delta_dim, delta_dim});
  for (std::int64_t head = 0; head < heads; ++head) states.push_back(before[memory_of(spec, head)]);
  at::Tensor state = at::stack(states);
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const at::Tensor read = bf16_rounded(state);
    const at::Tensor fresh = bf16_rounded(written.select(1, chunk).sub(at::matmul(read_keys.select(1, chunk), read)));
    out.push_back(at::matmul(queries.select(1, chunk), read).add_(at::matmul(within.select(1, chunk), fresh)));
    state = state.mul(decay.select(1, chunk)).add_(at::matmul(keys_at_end.select(1, chunk), fresh));
  }
  DeltaTensors result;
  result.heads = at::cat(out, 1).narrow(1, 0, rows).transpose(0, 1).to(at::kBFloat16).contiguous().view({rows, -1});
  result.memory = at::empty(before.sizes(), before.options());
  for (std::int64_t head = 0; head < heads; ++head) result.memory[memory_of(spec, head)].copy_(state[head]);
  result.memory = result.memory.view(problem.memory.sizes());
  return result;
}

DeltaTensors delta_of_kernels(const kernels::cuda::KernelTable& kernels, const DeltaProblem& problem,
                              std::vector<std::int64_t> pieces) {
  const model::DeltaSpec& spec = problem.spec;
  const std::int64_t rows = problem.rows.qkvz.size(0), before = spec.kernel - 1;
  if (pieces.empty()) pieces = {rows};
  DeltaTensors result;
  result.heads =
      at::full({rows, spec.value_width()}, std::numeric_limits<double>::quiet_NaN(), problem.rows.qkvz.options());
  result.memory = problem.memory.clone();
  const at::Tensor reach = reach_of(problem);
  std::int64_t first = 0;
  for (const std::int64_t count : pieces) {
    model::DeltaLayerRows part = problem.rows;
    part.qkvz = problem.rows.qkvz.narrow(0, first, count);
    part.rates = problem.rows.rates.narrow(0, first, count);
    part.before = reach.narrow(0, first, before).contiguous();
    model::delta_by_kernels(kernels, spec, part, result.memory, result.heads.narrow(0, first, count), {});
    first += count;
  }
  return result;
}

std::vector<DeltaCase> delta_cases() {
  return {{1, 2, 4, false, false, false}, {63, 2, 4, true, true, true},     {64, 2, 2, false, false, false},
          {65, 1, 3, false, true, true},  {1000, 2, 4, false, true, false}, {2049, 1, 2, true, false, true}};
}

void judge_delta(const DeltaCase& test, const kernels::cuda::KernelTable& kernels, c10::Device device, VerifyRow& row) {
  const DeltaProblem problem = random_delta_problem(test), moved = problem.on(device);
  const DeltaResult expected = exact_delta(problem);
  const DeltaTensors textbook = textbook_delta(problem), found = delta_of_kernels(kernels, moved);
  row.error = largest_difference(found.heads, expected.heads);
  row.allowed = 2 * largest_difference(textbook.heads, expected.heads) + rounding_slack(expected.heads);
  const double of_state = 2 * largest_difference(textbook.memory, expected.memory) + rounding_slack(expected.memory);
  if (!(largest_difference(found.memory, expected.memory) <= of_state)) row.note = "another state";
  const DeltaTensors again = delta_of_kernels(kernels, moved);
  if (!found.heads.equal(again.heads) || !found.memory.equal(again.memory)) row.note = "another result on repeat";
  if (test.rows <= 67) return;
  const DeltaTensors pieces = delta_of_kernels(kernels, moved, {1, 66, test.rows - 67});
  if (!(largest_difference(pieces.heads, expected.heads) <= row.allowed) ||
      !(largest_difference(pieces.memory, expected.memory) <= of_state))
    row.note = "pieces do not continue each other";
}

}  // namespace headroom::experiment
