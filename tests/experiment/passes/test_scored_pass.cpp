// SPDX-License-Identifier: Apache-2.0
// A scored pass by itself: answers and distances from dense, without analysis and without a working file.
#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>

#include <QtTest>
#include <cmath>

#include "attention/registry.h"
#include "experiment/passes/scored_pass.h"
#include "experiment/run/run.h"
#include "experiment/run/session.h"
#include "support/tiny_model.h"

using namespace headroom;
using namespace headroom::experiment;

class TestScoredPass : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::shared_ptr<Session> session_;
  std::vector<std::int32_t> ids_;
  std::vector<std::shared_ptr<const attention::Backend>> backends_;

  const model::Decoder& decoder() const { return session_->decoder(model::on_one_device(at::kCPU), at::kFloat, {}); }
  ScoredAnswer score(const attention::Policy& policy, const ScoredAnswer* dense, std::int64_t tokens = 6) const {
    model::PrefillOptions pass;
    pass.policy = &policy;
    pass.backend = pass.dense_backend = backends_.front().get();
    ScoreOptions options;
    options.max_new_tokens = tokens;
    return scored_pass(decoder(), ids_, pass, options, dense);
  }
  static std::unique_ptr<attention::Policy> oracle(const char* budget) {
    return attention::make_policy("oracle", {.budget = parse_budget(budget)});
  }

 private slots:
  void initTestCase() {
    test::TinyModelOptions options;
    options.layers = 4;
    const auto file = folder_.filePath("tiny.gguf").toStdString();
    test::write_tiny_model(file, options);
    session_ = std::make_shared<Session>(file);
    std::string text;
    for (int i = 0; i < 30; ++i) text += "item " + std::to_string(i * 7919 % 1000) + "\n";
    for (const auto& token : session_->tokenizer().encode(text)) ids_.push_back(token.id);
    backends_ =
        attention::make_backends(c10::Device(c10::DeviceType::CPU), at::kFloat, full_head_dims(session_->config()));
  }

  void dense_is_what_others_are_compared_with() {
    const auto dense = score(*attention::make_dense_policy(), nullptr);
    QCOMPARE(dense.ids.size(), std::size_t{6});
    QVERIFY(dense.cut);
    QVERIFY(!dense.forced && !dense.kl_to_dense);
    QCOMPARE(dense.logits.size(0), std::int64_t{6});
    // Every token is the likeliest one of the row of logits before it.
    for (std::int64_t i = 0; i < 6; ++i)
      QCOMPARE(dense.logits[i].argmax().item<std::int64_t>(),
               static_cast<std::int64_t>(dense.ids[static_cast<std::size_t>(i)]));
  }

  void a_budget_of_everything_is_dense() {
    const auto dense = score(*attention::make_dense_policy(), nullptr);
    const auto same = score(*oracle("100%"), &dense);
    QCOMPARE(same.ids, dense.ids);
    QCOMPARE(same.forced->positions, std::int64_t{6});
    QVERIFY(same.forced->kl_p95 < 1e-6 && *same.kl_to_dense < 1e-6);
    QCOMPARE(same.forced->top1_flips, std::int64_t{0});
    QVERIFY(!same.forced->first_divergence && *same.top1_agrees);
  }

  void forced_predictions_are_those_of_feeding_denses_tokens() {
    const auto dense = score(*attention::make_dense_policy(), nullptr);
    const auto policy = oracle("4");
    const auto found = score(*policy, &dense);
    model::PrefillOptions pass;
    pass.policy = policy.get();
    pass.backend = pass.dense_backend = backends_.front().get();
    pass.extra_capacity = 6;
    auto result = decoder().prefill(ids_, pass);
    at::Tensor logits = result.last_logits;
    double mean = 0;
    std::int64_t flips = 0;
    for (std::int64_t i = 0; i < 6; ++i) {
      const at::Tensor p = at::log_softmax(dense.logits[i].to(at::kDouble), 0),
                       q = at::log_softmax(logits.to(at::kDouble), 0);
      mean += (p - q).mul(p.exp()).sum().item<double>() / 6;
      flips += p.argmax().item<std::int64_t>() != q.argmax().item<std::int64_t>();
      if (i < 5) logits = decoder().decode(result.state, dense.ids[static_cast<std::size_t>(i)]);
    }
    QVERIFY(mean > 1e-6);
    QVERIFY2(std::abs(found.forced->kl_mean - mean) < 1e-5 * (1 + mean), std::to_string(found.forced->kl_mean).c_str());
    QCOMPARE(found.forced->top1_flips, flips);
    QCOMPARE(found.forced->first_divergence.has_value(), flips > 0);
  }

  void a_run_says_the_same() {
    protocol::RunSpec spec;
    spec.model = session_->model();
    spec.prompt = session_->tokenizer().decode(ids_);
    spec.methods = {"dense", "oracle"};
    spec.budgets = {parse_budget("4")};
    spec.repeats = 1;
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.max_new_tokens = 6;
    const auto outcome = run(spec, {});
    const auto dense = score(*attention::make_dense_policy(), nullptr);
    const auto sparse = score(*oracle("4"), &dense);
    QCOMPARE(outcome.methods[0].answer_ids, dense.ids);
    QCOMPARE(outcome.methods[1].answer_ids, sparse.ids);
    QVERIFY(std::abs(*outcome.methods[1].kl_to_dense - *sparse.kl_to_dense) < 1e-9);
    QVERIFY(outcome.methods[1].forced && outcome.methods[1].forced->positions == sparse.forced->positions);
  }

  void nothing_to_answer_is_no_fault() {
    const auto dense = score(*attention::make_dense_policy(), nullptr, 0);
    QVERIFY(dense.ids.empty() && !dense.cut);
    const auto sparse = score(*oracle("4"), &dense, 0);
    QCOMPARE(sparse.forced->positions, std::int64_t{1});
  }
};

QTEST_GUILESS_MAIN(TestScoredPass)
#include "test_scored_pass.moc"
