// SPDX-License-Identifier: Apache-2.0
// The closed-form gradient against finite differences, and that training lowers the loss and raises recall.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <QtTest>
#include <random>

#include "attention/backends/torch_backend.h"
#include "base/error.h"
#include "base/method.h"
#include "indexer/training.h"

using namespace headroom;

namespace {

at::Tensor random_tensor(std::vector<std::int64_t> sizes, std::uint64_t seed, float scale = 1) {
  at::Tensor values = at::empty(sizes, at::kFloat);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  for (std::int64_t i = 0; i < values.numel(); ++i) values.data_ptr<float>()[i] = normal(random);
  return values;
}

attention::LayerQuery random_layer(std::int64_t length, std::int64_t width, std::uint64_t seed) {
  attention::LayerQuery query;
  query.x = random_tensor({length, width}, seed);
  // q and k depend on x, so that an indexer that reads x can learn their products.
  const at::Tensor to_q = random_tensor({width, 4 * 8}, 7, 0.4f), to_k = random_tensor({width, 2 * 8}, 8, 0.4f);
  query.q = query.x.matmul(to_q).view({length, 4, 8}).transpose(0, 1).contiguous();
  query.k = query.x.matmul(to_k).view({length, 2, 8}).transpose(0, 1).contiguous();
  query.v = query.k;
  query.scale = 1 / std::sqrt(8.0);
  query.rope_base = 10000;
  return query;
}

}  // namespace

class TestTraining : public QObject {
  Q_OBJECT
 private slots:
  void mass_rows_sum_to_one_and_are_causal() {
    const auto query = random_layer(40, 16, 1);
    const at::Tensor rows = at::arange(10, 40, at::kLong);
    const at::Tensor mass = attention::mass_of_rows(query, rows, query.length(), SupportScope::layer).squeeze(0);
    QVERIFY((mass.sum(1) - 1).abs().max().item<float>() < 1e-5f);
    for (std::int64_t r = 0; r < rows.size(0); ++r)
      for (std::int64_t s = r + 11; s < 40; ++s) QCOMPARE(mass[r][s].item<float>(), 0.0f);
  }

  void gradient_equals_finite_differences() {
    const auto query = random_layer(24, 12, 2);
    const at::Tensor rows = at::arange(6, 24, at::kLong);
    const indexer::LayerTrainer trainer(12, 8, 1e-6, 3, c10::Device(c10::DeviceType::CPU));
    const auto g = trainer.gradients(query, rows);
    const auto weights = trainer.weights();
    const std::pair<at::Tensor, at::Tensor> pairs[] = {
        {weights.q_proj, g.q_proj}, {weights.k_proj, g.k_proj}, {weights.k_norm, g.k_norm}};
    for (const auto& [weight, gradient] : pairs) {
      QCOMPARE(weight.sizes(), gradient.sizes());
      const float largest = gradient.abs().max().item<float>();
      QVERIFY(largest > 1e-5f);
      for (std::int64_t i = 0; i < weight.numel(); i += 5) {
        float& value = weight.data_ptr<float>()[i];
        const float kept = value;
        constexpr float step = 1e-2f;
        value = kept + step;
        const double above = trainer.gradients(query, rows).kl.item<double>();
        value = kept - step;
        const double below = trainer.gradients(query, rows).kl.item<double>();
        value = kept;
        const double numeric = (above - below) / (2 * static_cast<double>(step));
        QVERIFY2(std::abs(numeric - static_cast<double>(gradient.data_ptr<float>()[i])) <
                     0.03 * static_cast<double>(largest) + 2e-5,
                 qPrintable(QString("%1 against %2").arg(numeric).arg(gradient.data_ptr<float>()[i])));
      }
    }
  }

  void training_learns_the_selection() {
    indexer::LayerTrainer trainer(16, 16, 1e-6, 4, c10::Device(c10::DeviceType::CPU));
    const at::Tensor rows = at::arange(16, 96, at::kLong);
    const auto held_out = random_layer(96, 16, 999);
    const std::vector<std::int64_t> budgets = {16, 4};
    const auto before = trainer.evaluate(held_out, rows, budgets);
    for (std::uint64_t step = 0; step < 150; ++step) trainer.step(random_layer(96, 16, 100 + step), rows, 5e-3, {});
    const auto after = trainer.evaluate(held_out, rows, budgets);
    QVERIFY2(after.kl < 0.6 * before.kl, qPrintable(QString("%1 -> %2").arg(before.kl).arg(after.kl)));
    for (std::size_t i = 0; i < budgets.size(); ++i) {
      const auto &old = before.budgets[i], &now = after.budgets[i];
      QCOMPARE(now.budget, budgets[i]);
      QVERIFY2(now.recall > old.recall + 0.1, qPrintable(QString("%1 -> %2").arg(old.recall).arg(now.recall)));
      QVERIFY(now.captured_mass <= now.oracle_mass + 1e-6);
    }
    QVERIFY(after.budgets[1].oracle_mass < after.budgets[0].oracle_mass);
  }

  void state_round_trips() {
    indexer::LayerTrainer one(16, 8, 1e-6, 5, c10::Device(c10::DeviceType::CPU)),
        other(16, 8, 1e-6, 6, c10::Device(c10::DeviceType::CPU));
    const at::Tensor rows = at::arange(8, 48, at::kLong);
    for (std::uint64_t step = 0; step < 3; ++step) one.step(random_layer(48, 16, step), rows, 1e-3, {});
    other.load_state(one.state(), 3);
    const auto next = random_layer(48, 16, 77);
    one.step(next, rows, 1e-3, {});
    other.step(next, rows, 1e-3, {});
    QVERIFY(one.weights().q_proj.equal(other.weights().q_proj));
    auto broken = one.state();
    broken.erase("k_proj.m");
    QVERIFY_THROWS_EXCEPTION(Error, other.load_state(broken, 4));
  }
};

QTEST_GUILESS_MAIN(TestTraining)
#include "test_training.moc"
