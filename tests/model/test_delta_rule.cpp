// SPDX-License-Identifier: Apache-2.0
// The chunked delta rule against the recurrence written out token by token in fp64, and the triangular inverses it
// needs.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tril.h>
#include <ATen/ops/zeros.h>

#include <QtTest>

#include "model/delta_rule.h"
#include "model/triangular_inverse.h"

using namespace headroom;
using at::Tensor;
using model::DeltaRows;

namespace {

constexpr std::int64_t heads = 2, group = 3, dk = 8, dv = 6;

double largest(const Tensor& a, const Tensor& b) {
  return a.to(at::kDouble).sub(b.to(at::kDouble)).abs().max().item<double>();
}

Tensor recurrence(const DeltaRows& rows, Tensor state) {
  Tensor out = at::empty(rows.v.sizes(), at::kDouble);
  state = state.to(at::kDouble);
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t g = 0; g < group; ++g) {
      Tensor s = state[h][g];  // [dk, dv]
      for (std::int64_t t = 0; t < rows.k.size(1); ++t) {
        const Tensor k = rows.k[h][t].to(at::kDouble), q = rows.q[h][t].to(at::kDouble);
        s.mul_(rows.log_decay[h][g][t].to(at::kDouble).exp());
        const Tensor change = rows.v[h][g][t].to(at::kDouble).sub(at::matmul(k, s)).mul(rows.rate[h][g][t]);
        s.add_(at::outer(k, change));
        out[h][g][t].copy_(at::matmul(q, s));
      }
    }
  }
  return out;
}

}  // namespace

class TestDeltaRule : public QObject {
  Q_OBJECT

  at::NoGradGuard no_grad_;
  at::Generator generator_ = at::detail::createCPUGenerator(11);

  DeltaRows rows(std::int64_t length) const {
    const auto normed = [&] {
      const Tensor x = at::randn({heads, length, dk}, generator_, at::kFloat);
      return x.div(x.norm(2, {2}, true));
    };
    return {normed(), normed(), at::randn({heads, group, length, dv}, generator_, at::kFloat),
            at::rand({heads, group, length}, generator_, at::kFloat).mul(-0.5),
            at::rand({heads, group, length}, generator_, at::kFloat)};
  }
  static DeltaRows part(const DeltaRows& rows, std::int64_t first, std::int64_t count) {
    return {rows.q.narrow(1, first, count), rows.k.narrow(1, first, count), rows.v.narrow(2, first, count),
            rows.log_decay.narrow(2, first, count), rows.rate.narrow(2, first, count)};
  }

 private slots:
  void chunks_equal_the_recurrence_data() {
    QTest::addColumn<int>("length");
    for (const int length : {1, 2, 17, 63, 64, 65, 128, 1000}) QTest::addRow("%d", length) << length;
  }
  void chunks_equal_the_recurrence() {
    QFETCH(int, length);
    const DeltaRows input = rows(length);
    const Tensor before = at::randn({heads, group, dk, dv}, generator_, at::kFloat);
    Tensor expected_state = before.to(at::kDouble, false, true), state = before.clone();
    const Tensor expected = recurrence(input, expected_state);
    const Tensor found = model::gated_delta_rule(input, state, {});
    QVERIFY2(largest(found, expected) < 2e-5, std::to_string(largest(found, expected)).c_str());
    QVERIFY(largest(state, expected_state) < 2e-5);
    QVERIFY(largest(state, before) > 1e-2);
  }

  void pieces_continue_each_other() {
    const DeltaRows input = rows(200);
    Tensor whole = at::zeros({heads, group, dk, dv}), state = whole.clone();
    const Tensor expected = model::gated_delta_rule(input, whole, {});
    std::vector<Tensor> pieces;
    std::int64_t first = 0;
    for (const std::int64_t count : {1, 70, 1, 64, 1, 63}) {
      pieces.push_back(model::gated_delta_rule(part(input, first, count), state, {}));
      first += count;
    }
    QCOMPARE(first, std::int64_t{200});
    QVERIFY(largest(at::cat(pieces, 2), expected) < 1e-5);
    QVERIFY(largest(state, whole) < 1e-5);
  }

  // One key again and again, never forgotten: powers of the triangular matrix would overflow, substitution does not.
  void equal_keys_and_strong_decays_stay_accurate() {
    DeltaRows input = rows(130);
    input.k.copy_(input.k.narrow(1, 0, 1).expand_as(input.k));
    input.rate.fill_(1);
    input.log_decay.zero_();
    input.log_decay.narrow(2, 70, 3).fill_(-200);
    Tensor expected_state = at::zeros({heads, group, dk, dv}, at::kDouble), state = expected_state.to(at::kFloat);
    const Tensor expected = recurrence(input, expected_state);
    QVERIFY(largest(model::gated_delta_rule(input, state, {}), expected) < 1e-5);
  }

  void inverses_by_rows_and_by_blocks() {
    for (const std::int64_t n : {1, 5, 16, 32, 64}) {
      const Tensor lower = at::randn({2, 3, n, n}, generator_, at::kFloat).mul(0.3);
      const Tensor matrix = at::tril(lower, -1).add(at::eye(n));
      for (const Tensor& inverse :
           {model::unit_triangular_inverse(lower), model::unit_triangular_inverse_by_blocks(lower)}) {
        const Tensor unit = at::matmul(matrix.to(at::kDouble), inverse.to(at::kDouble));
        const double scale = inverse.abs().max().item<double>();
        QVERIFY2(largest(unit, at::eye(n).expand_as(unit)) < 1e-5 * scale, std::to_string(n).c_str());
      }
    }
  }
};

QTEST_GUILESS_MAIN(TestDeltaRule)
#include "test_delta_rule.moc"
