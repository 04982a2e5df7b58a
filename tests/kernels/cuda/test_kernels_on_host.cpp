// SPDX-License-Identifier: Apache-2.0
// The text of the CUDA kernels of linear layers and rows, compiled for the host and run thread by thread
// (host/lanes.h): results against fp64, and no bank conflicts, early reads, unaligned copies or waits without end.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>

#include "experiment/verify/delta_reference.h"
#include "experiment/verify/verify_parts.h"

#include <QtTest>
#include <cmath>
#include <limits>

#include "host/host_kernels.h"
#include "host/lanes.h"

using namespace headroom;
using namespace headroom::experiment;
using at::Tensor;
using kernels::cuda::host::kernels_on_host;
namespace cuda = kernels::cuda;

Q_DECLARE_METATYPE(headroom::experiment::DeltaCase)

namespace {

const c10::Device host_device(c10::DeviceType::CPU);

double farthest(const Tensor& a, const Tensor& b) {
  return a.to(at::kDouble).sub(b.to(at::kDouble)).abs().max().item<double>();
}
Tensor numbers(at::IntArrayRef shape) {
  return at::randn(shape, at::TensorOptions().dtype(at::kFloat)).to(at::kBFloat16);
}
Tensor nothing(at::IntArrayRef shape) {
  return at::full(shape, std::numeric_limits<double>::quiet_NaN(), at::TensorOptions().dtype(at::kBFloat16));
}
Tensor normed(const Tensor& x, const Tensor& weight) {
  return x.mul(at::rsqrt(x.square().mean(-1, true).add(1e-6))).mul(weight.to(x.scalar_type()));
}
/// [rows, heads, d], the first dims of each head turned by halves.
Tensor turned(const Tensor& heads, const Tensor& cosine, const Tensor& sine) {
  const std::int64_t half = cosine.size(1);
  const Tensor a = heads.narrow(2, 0, half), b = heads.narrow(2, half, half);
  const Tensor c = cosine.to(heads.scalar_type()).unsqueeze(1), s = sine.to(heads.scalar_type()).unsqueeze(1);
  return at::cat({a.mul(c).sub(b.mul(s)), b.mul(c).add(a.mul(s)), heads.narrow(2, 2 * half, heads.size(2) - 2 * half)},
                 2);
}

}  // namespace

class TestKernelsOnHost : public QObject {
  Q_OBJECT

  at::NoGradGuard no_grad_;

  static std::string complaint() {
    std::string all;
    for (const std::string& one : cuda::host::complaints()) all += one + "; ";
    return all;
  }

 private slots:
  void cleanup() { QVERIFY2(complaint().empty(), complaint().c_str()); }

  void linear_layers_equal_the_recurrence_data() {
    QTest::addColumn<DeltaCase>("test");
    for (const DeltaCase& test : {DeltaCase{1, 1, 1, false, false, false}, DeltaCase{65, 2, 4, true, true, true},
                                  DeltaCase{200, 1, 2, false, true, false}, DeltaCase{65, 2, 2, false, false, true}})
      QTest::addRow("%s", test.text().c_str()) << test;
  }
  void linear_layers_equal_the_recurrence() {
    QFETCH(DeltaCase, test);
    VerifyRow row;
    judge_delta(test, kernels_on_host(), host_device, row);
    QVERIFY2(row.note.empty() && row.error <= row.allowed,
             (row.note + " " + std::to_string(row.error) + ", allowed " + std::to_string(row.allowed)).c_str());
  }

  void a_value_that_is_no_number_stays_in_its_column() {
    DeltaProblem problem = random_delta_problem({130, 1, 2, false, true, false});
    const auto& kernels = kernels_on_host();
    const Tensor clean = delta_of_kernels(kernels, problem).heads;
    problem.rows.qkvz[100][256 + 128 + 7].fill_(std::numeric_limits<double>::quiet_NaN());  // of the second head's v
    const DeltaTensors found = delta_of_kernels(kernels, problem);
    const Tensor ill = found.heads.isnan();
    QVERIFY(ill.narrow(0, 100, 30).select(1, 128 + 7).all().item<bool>());
    QCOMPARE(ill.narrow(0, 0, 64).sum().item<std::int64_t>(), std::int64_t{0});
    QCOMPARE(ill.sum().item<std::int64_t>(), ill.select(1, 128 + 7).sum().item<std::int64_t>());
    QVERIFY(found.heads.narrow(1, 0, 128).equal(clean.narrow(1, 0, 128)));
    QCOMPARE(found.memory.isnan().sum().item<std::int64_t>(), std::int64_t{128});
  }

  void heads_are_normed_and_gated() {
    for (const std::int64_t rows : {1, 37}) {
      const model::DeltaSpec spec = DeltaCase{rows, 1, 3}.spec();
      const Tensor heads = numbers({rows, 384}), z = numbers({rows, 448}).narrow(1, 64, 384),
                   out = nothing({rows, 384});
      const Tensor norm = at::rand({128}, at::TensorOptions().dtype(at::kFloat));
      model::delta_gate_by_kernels(kernels_on_host(), spec, heads, z, norm, 1e-6, out);
      const auto expected = [&](c10::ScalarType type) {
        return normed(heads.to(type).view({rows, 3, 128}), norm).view({rows, 384}).mul(at::silu(z.to(type)));
      };
      const Tensor exact = expected(at::kDouble);
      QVERIFY(farthest(out, exact) <= 2 * farthest(expected(at::kFloat).to(at::kBFloat16), exact));
    }
  }

  void rows_are_summed_and_normed() {
    for (const auto& [rows, width] : {std::pair{1L, 8L}, {3L, 576L}, {2L, 4096L}, {1L, 16384L}}) {
      const Tensor hidden = numbers({rows, width}), addend = numbers({rows, width}), weight = numbers({width});
      const Tensor own = hidden.clone(), out = nothing({rows, width});
      cuda::NormRowsParams params;
      params.hidden = own.mutable_data_ptr();
      params.addend = addend.const_data_ptr();
      params.weight = weight.const_data_ptr();
      params.out = out.mutable_data_ptr();
      params.hidden_row = params.addend_row = params.out_row = width;
      params.rows = rows;
      params.width = width;
      params.epsilon = 1e-6f;
      kernels_on_host().norm_rows(params, nullptr);
      const Tensor sum = hidden.add(addend);
      QVERIFY(own.equal(sum));
      const Tensor exact = normed(sum.to(at::kDouble), weight);
      QVERIFY(farthest(out, exact) <= 2 * farthest(normed(sum.to(at::kFloat), weight).to(at::kBFloat16), exact));
      params.addend = nullptr;
      out.fill_(std::numeric_limits<double>::quiet_NaN());
      kernels_on_host().norm_rows(params, nullptr);
      QVERIFY(own.equal(sum) && farthest(out, exact) < 0.1);
    }
  }

  void gates_of_mlps() {
    for (const auto& [rows, width] : {std::pair{1L, 8L}, {3L, 2056L}}) {
      const Tensor both = numbers({rows, 2 * width}).mul(3), out = nothing({rows, width});
      cuda::SiluMulParams params;
      params.gate_up = both.const_data_ptr();
      params.out = out.mutable_data_ptr();
      params.gate_up_row = 2 * width;
      params.out_row = params.width = width;
      params.rows = rows;
      kernels_on_host().silu_mul(params, nullptr);
      const Tensor gate = both.narrow(1, 0, width), up = both.narrow(1, width, width);
      const Tensor exact = at::silu(gate.to(at::kDouble)).mul(up.to(at::kDouble));
      const Tensor textbook = at::silu(gate.to(at::kFloat)).to(at::kBFloat16).mul(up);
      QVERIFY(farthest(out, exact) <= 2 * farthest(textbook, exact));
    }
  }

  void heads_are_split_normed_turned_and_gated_data() {
    QTest::addColumn<int>("d");
    QTest::addColumn<int>("half");
    QTest::addColumn<bool>("gated");
    QTest::addColumn<bool>("norms");
    QTest::addRow("64") << 64 << 32 << false << false;
    QTest::addRow("128, norms") << 128 << 64 << false << true;
    QTest::addRow("256, partial, gates, norms") << 256 << 32 << true << true;
    QTest::addRow("128, partial, gates") << 128 << 32 << true << false;
  }
  void heads_are_split_normed_turned_and_gated() {
    QFETCH(int, d);
    QFETCH(int, half);
    QFETCH(bool, gated);
    QFETCH(bool, norms);
    const std::int64_t rows = 5, num_q = 4, num_kv = 2, length = 12, first = 3, of_q = num_q * (gated ? 2 : 1) * d;
    const Tensor qkv = numbers({rows, of_q + 2 * num_kv * d}), gate = nothing({rows, num_q * d});
    const Tensor angles = at::rand({rows, half}, at::TensorOptions().dtype(at::kFloat)).mul(50);
    const Tensor cosine = angles.cos(), sine = angles.sin(), q_norm = numbers({d}), k_norm = numbers({d});
    const Tensor q = nothing({num_q, length, d}), k = nothing({num_kv, length, d}), v = nothing({num_kv, length, d});
    cuda::SplitHeadsParams params;
    params.qkv = qkv.const_data_ptr();
    params.qkv_row = qkv.stride(0);
    params.cosine = cosine.const_data_ptr<float>();
    params.sine = sine.const_data_ptr<float>();
    if (norms) params.q_norm = q_norm.const_data_ptr(), params.k_norm = k_norm.const_data_ptr();
    params.q = q.select(1, first).mutable_data_ptr();
    params.k = k.select(1, first).mutable_data_ptr();
    params.v = v.select(1, first).mutable_data_ptr();
    params.q_head = params.k_head = params.v_head = length * d;
    if (gated) params.gate = gate.mutable_data_ptr(), params.gate_row = num_q * d;
    params.rows = rows;
    params.num_q_heads = num_q;
    params.num_kv_heads = num_kv;
    params.head_dim = d;
    params.half = half;
    params.epsilon = 1e-6f;
    kernels_on_host().split_heads(params, nullptr);
    const Tensor pairs = qkv.narrow(1, 0, of_q).view({rows, num_q, -1, d});
    const Tensor from_k = qkv.narrow(1, of_q, num_kv * d).view({rows, num_kv, d});
    const Tensor from_v = qkv.narrow(1, of_q + num_kv * d, num_kv * d).view({rows, num_kv, d});
    const auto judge = [&](const Tensor& found, const Tensor& from, const Tensor& norm) {
      Tensor exact = from.to(at::kDouble), rounded = from.to(at::kFloat);
      if (norms) exact = normed(exact, norm), rounded = normed(rounded, norm).to(at::kBFloat16).to(at::kFloat);
      exact = turned(exact, cosine, sine).transpose(0, 1);
      rounded = turned(rounded, cosine, sine).to(at::kBFloat16).transpose(0, 1);
      QVERIFY(farthest(found.narrow(1, first, rows), exact) <= 2 * farthest(rounded, exact));
      QCOMPARE(found.isnan().sum().item<std::int64_t>(), found.numel() / length * (length - rows));
    };
    judge(q, pairs.select(2, 0), q_norm);
    judge(k, from_k, k_norm);
    QVERIFY(v.narrow(1, first, rows).equal(from_v.transpose(0, 1)));
    if (!gated) return;
    QVERIFY(gate.view({rows, num_q, d}).equal(pairs.select(2, 1)));
    const Tensor attended = q.narrow(1, first, rows).transpose(0, 1), out = nothing({rows, num_q * d});
    cuda::GateHeadsParams last;
    last.heads = attended.const_data_ptr();
    last.heads_row = attended.stride(0);
    last.heads_head = attended.stride(1);
    last.gate = gate.const_data_ptr();
    last.out = out.mutable_data_ptr();
    last.gate_row = last.out_row = num_q * d;
    last.rows = rows;
    last.num_heads = num_q;
    last.head_dim = d;
    kernels_on_host().gate_heads(last, nullptr);
    const Tensor flat = attended.reshape({rows, num_q * d});
    const Tensor exact = flat.to(at::kDouble).mul(at::sigmoid(gate.to(at::kDouble)));
    const Tensor textbook = flat.mul(at::sigmoid(gate.to(at::kFloat)).to(at::kBFloat16));
    QVERIFY(farthest(out, exact) <= 2 * farthest(textbook, exact));
  }
};

QTEST_GUILESS_MAIN(TestKernelsOnHost)
#include "test_kernels_on_host.moc"
