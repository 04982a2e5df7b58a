// SPDX-License-Identifier: Apache-2.0
// A toy policy with a support for each query head, from scores of its own: head h likes keys that are h modulo 5.
#include <ATen/ops/empty.h>

#include "toy_policy.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

float liking(std::int64_t head, std::int64_t key) {
  return key % 5 == head % 5 ? 2.0f : 1.0f / static_cast<float>(key + 1);
}

class Likings final : public RowScores {
 public:
  explicit Likings(std::int64_t heads) : heads_(heads) {}
  std::int64_t groups() const override { return heads_; }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    const at::Tensor out = at::empty({heads_, end - begin, end}, at::kFloat);
    float* to = out.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < out.numel(); ++i) to[i] = liking(i / ((end - begin) * end), i % end);
    return out;
  }

 private:
  std::int64_t heads_;
};

class Toy final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock&, const JobContext&) const override {
    return RankedKeys{std::make_shared<Likings>(layer.query().num_q_heads()), rule(layer.query())};
  }
};
const PolicyEntry toy = {{.name = "likings", .scope = SupportScope::q_head}, &make_policy_of<Toy>};

}  // namespace

class TestToyQHead : public QObject {
  Q_OBJECT
 private slots:
  void attends() {
    check_on_both_backends(*toy.make(toy.traits, {.budget = parse_budget("15")}), make_query({140, 6, 2, 16}, 3),
                           [](std::int64_t head, std::int64_t row) {
                             std::vector<double> scores;
                             for (std::int64_t key = 0; key <= row; ++key) scores.push_back(liking(head, key));
                             auto keys = reference::top_k(scores, 15);
                             std::sort(keys.begin(), keys.end());
                             return keys;
                           });
  }
};

QTEST_APPLESS_MAIN(TestToyQHead)
#include "test_toy_q_head.moc"
