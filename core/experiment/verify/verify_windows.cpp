// SPDX-License-Identifier: Apache-2.0
// Sliding windows and attention over a past, against fp64.
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <limits>
#include <random>

#include "experiment/verify/verify_parts.h"
#include "model/window_attention.h"

namespace headroom::experiment {
namespace {

struct WindowCase {
  std::int64_t rows = 0, past = 0, window = 0;  ///< window 0: all keys
  std::int64_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  bool sinks = false;
  std::string text() const {
    return "L " + std::to_string(rows) + (past > 0 ? " behind " + std::to_string(past) : "") + ", window " +
           std::to_string(window) + ", heads " + std::to_string(num_q_heads) + ":" + std::to_string(num_kv_heads) +
           " of " + std::to_string(head_dim) + (sinks ? ", sinks" : "");
  }
};

/// Softmax written out over a mask, in the tensors' own dtype and on their device.
at::Tensor written_out(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& sinks,
                       const WindowCase& test, double scale) {
  const std::int64_t group = test.num_q_heads / test.num_kv_heads, keys = test.past + test.rows;
  const auto options = at::TensorOptions().dtype(at::kLong).device(q.device());
  const at::Tensor distance =
      at::arange(test.past, keys, options).unsqueeze(1).sub(at::arange(keys, options).unsqueeze(0));
  at::Tensor hidden = distance.lt(0);
  if (test.window > 0) hidden = hidden.logical_or(distance.ge(test.window));
  at::Tensor scores = at::matmul(q, k.repeat_interleave(group, 0).transpose(1, 2)).mul(scale);
  scores.masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  if (test.sinks)
    scores = at::cat({scores, sinks.to(q.scalar_type()).view({-1, 1, 1}).expand({-1, test.rows, 1})}, 2);
  return at::matmul(at::softmax(scores, -1).narrow(2, 0, keys), v.repeat_interleave(group, 0));
}

}  // namespace

void verify_windows(c10::Device device, c10::ScalarType dtype, const RunCheck& check) {
  for (const WindowCase& test : {WindowCase{1, 0, 1, 4, 2, 64, false}, WindowCase{33, 0, 8, 9, 3, 64, false},
                                 WindowCase{130, 0, 128, 4, 1, 256, false}, WindowCase{300, 0, 512, 8, 8, 128, false},
                                 WindowCase{600, 0, 64, 9, 3, 64, false}, WindowCase{70, 300, 128, 8, 2, 128, false},
                                 WindowCase{70, 300, 0, 8, 2, 128, false}, WindowCase{1, 300, 128, 8, 2, 64, false},
                                 WindowCase{70, 60, 64, 4, 2, 60, false}, WindowCase{200, 0, 128, 8, 1, 64, true},
                                 WindowCase{70, 90, 0, 8, 1, 64, true}})
    check("dense attention over a past or window", [&](VerifyRow& row) {
      row.shape = test.text();
      const std::int64_t keys = test.past + test.rows;
      std::mt19937 random(static_cast<unsigned>(keys * 31 + test.head_dim));
      const auto make = [&](std::int64_t heads, std::int64_t length, std::int64_t dim, c10::ScalarType type) {
        return normal_values(random, {heads, length, dim}, 1.4f).to(type);
      };
      const at::Tensor q = make(test.num_q_heads, test.rows, test.head_dim, dtype),
                       k = make(test.num_kv_heads, keys, test.head_dim, dtype),
                       v = make(test.num_kv_heads, keys, test.head_dim, dtype);
      const at::Tensor sinks = test.sinks ? make(test.num_q_heads, 1, 1, at::kFloat).view({-1}) : at::Tensor();
      model::AttentionSpec spec;
      spec.num_q_heads = test.num_q_heads;
      spec.num_kv_heads = test.num_kv_heads;
      spec.head_dim = test.head_dim;
      spec.scale = 1 / std::sqrt(static_cast<double>(test.head_dim));
      spec.window = test.window;
      spec.sinks = test.sinks;
      const at::Tensor here[] = {q.to(device), k.to(device), v.to(device),
                                 test.sinks ? sinks.to(device) : at::Tensor()};
      const auto run = [&] { return model::attend_over_past(here[0], here[1], here[2], test.past, spec, here[3], {}); };
      const at::Tensor found = run();
      const at::Tensor exact = written_out(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), sinks, test,
                                           spec.scale).contiguous();
      const double* first = exact.const_data_ptr<double>();
      const std::vector<double> expected(first, first + exact.numel());
      row.error = largest_difference(found, expected);
      const at::Tensor plain = written_out(here[0], here[1], here[2], here[3], test, spec.scale);
      row.allowed = 2 * largest_difference(plain, expected) + rounding_slack(expected);
      if (!at::equal(run(), found)) row.note = "a second call gives other bits";
    });
}

}  // namespace headroom::experiment
