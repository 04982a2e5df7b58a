// SPDX-License-Identifier: Apache-2.0
// The CPU attention kernels themselves, one instruction set after the other: a run takes the widest alone.
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "experiment/verify/verify_parts.h"
#include "kernels/cpu/attention/attention.h"

namespace headroom::experiment {
namespace {

namespace cpu = kernels::cpu;
namespace reference = attention::reference;

// What fast exponentials cost: relative to a probability, and absolute for a log-sum-exp.
constexpr double mass_tolerance = 5e-6, lse_tolerance = 2e-4;
constexpr double support_keys = 24;

void in_order(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  for (std::int64_t i = 0; i < count; ++i) task(i);
}

class KernelChecks {
 public:
  KernelChecks(const attention::LayerQuery& query, const RunCheck& check)
      : query_(query),
        check_(check),
        in_(reference::inputs_of(query)),
        q_(query.q.contiguous()),
        k_(query.k.contiguous()),
        v_(query.v.contiguous()),
        every_key_(all_keys(in_.length)),
        supports_(reference::oracle_supports(in_, {BudgetKind::tokens, support_keys}, 1)),
        dense_(reference::dense(in_)),
        sparse_(reference::sparse(in_, supports_)) {}

  void run() {
    std::optional<cpu::Isa> last;
    for (const cpu::Isa isa : {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512, cpu::Isa::avx512_bf16}) {
      if (!cpu::supported(isa)) continue;
      const auto layer = cpu::make_attention_layer(input(), in_order, isa);
      if (last == layer->isa()) continue;  // fp32 has nothing of its own there
      last = layer->isa();
      const std::string name = "kernels, " + std::string(cpu::name(layer->isa())) + ", ";
      check_(name + "dense", [&](VerifyRow& row) { dense(*layer, row); });
      check_(name + "mass", [&](VerifyRow& row) { mass(*layer, row); });
      check_(name + "gather", [&](VerifyRow& row) { sparse(*layer, cpu::SparseKernel::gather, row); });
      check_(name + "union tile", [&](VerifyRow& row) { sparse(*layer, cpu::SparseKernel::union_tile, row); });
    }
  }

 private:
  cpu::LayerInput input() const {
    cpu::LayerInput input;
    input.element = q_.scalar_type() == at::kBFloat16 ? cpu::Element::bf16 : cpu::Element::f32;
    input.num_q_heads = in_.num_q_heads;
    input.num_kv_heads = in_.num_kv_heads;
    input.length = in_.length;
    input.head_dim = in_.head_dim;
    input.scale = static_cast<float>(query_.scale);
    input.q = q_.const_data_ptr();
    input.k = k_.const_data_ptr();
    input.v = v_.const_data_ptr();
    return input;
  }

  struct Result {
    at::Tensor out, lse;
    cpu::LayerOutput output;
  };
  Result make_result() const {
    Result result;
    result.out = at::empty(q_.sizes(), q_.options());
    result.lse = at::empty({in_.num_q_heads, in_.length}, at::TensorOptions().dtype(at::kFloat));
    result.output = {result.out.mutable_data_ptr(), in_.length * in_.head_dim, in_.head_dim,
                     result.lse.mutable_data_ptr<float>()};
    return result;
  }

  void judge(const Result& result, const reference::Outputs& expected, const reference::Supports& supports,
             VerifyRow& row) const {
    row.error = largest_difference(result.out, expected.out);
    row.allowed = 2 * largest_difference(textbook(query_, {supports}), expected.out) + rounding_slack(expected.out);
    if (!(largest_difference(result.lse, expected.lse) <= lse_tolerance)) row.note = "another log-sum-exp";
  }

  void dense(const cpu::AttentionLayer& layer, VerifyRow& row) const {
    const Result result = make_result();
    layer.dense(in_.length, result.output, in_order);
    judge(result, dense_, every_key_, row);
  }

  void sparse(const cpu::AttentionLayer& layer, cpu::SparseKernel kernel, VerifyRow& row) const {
    std::int64_t width = 1;
    for (const auto& keys : supports_) width = std::max(width, std::ssize(keys));
    std::vector<std::int32_t> indices(static_cast<std::size_t>(in_.length * width), -1), counts;
    for (std::size_t t = 0; t < supports_.size(); ++t) {
      std::copy(supports_[t].begin(), supports_[t].end(), indices.begin() + static_cast<std::ptrdiff_t>(t) * width);
      counts.push_back(static_cast<std::int32_t>(supports_[t].size()));
    }
    const Result result = make_result();
    layer.sparse({0, in_.length, indices.data(), width, counts.data()}, kernel, result.output, in_order);
    judge(result, sparse_, supports_, row);
  }

  void mass(const cpu::AttentionLayer& layer, VerifyRow& row) const {
    const std::int64_t stride = (in_.length + 15) / 16 * 16;
    std::vector<float> lse(dense_.lse.begin(), dense_.lse.end()), mass(static_cast<std::size_t>(16 * stride));
    row.allowed = mass_tolerance;
    for (std::int64_t begin = 0; begin < in_.length; begin += cpu::mass_rows) {
      const std::int64_t end = std::min(begin + cpu::mass_rows, in_.length);
      layer.mass(begin, end, lse.data(), mass.data(), stride);
      for (std::int64_t t = begin; t < end; ++t) {
        const auto expected = reference::mass(in_, t);
        const float* found = mass.data() + (t - begin) * stride;
        for (std::int64_t s = 0; s < stride; ++s) {
          const double wanted = s <= t ? expected[static_cast<std::size_t>(s)] : 0;
          if (s > t && s >= (end + 15) / 16 * 16) break;
          const double difference = std::abs(found[s] - wanted);
          row.error = difference <= row.error  ? row.error
                      : std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                               : difference;
        }
      }
    }
  }

  const attention::LayerQuery& query_;
  const RunCheck& check_;
  reference::Inputs in_;
  at::Tensor q_, k_, v_;
  reference::Supports every_key_, supports_;
  reference::Outputs dense_, sparse_;
};

}  // namespace

void verify_kernels(const attention::LayerQuery& query, const RunCheck& check) {
  KernelChecks(query, check).run();
}

}  // namespace headroom::experiment
