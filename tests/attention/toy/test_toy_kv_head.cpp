// SPDX-License-Identifier: Apache-2.0
// A toy policy with a support for each KV head: the best keys of the mass of that KV head's own query heads.
#include "toy_policy.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

class Toy final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock&, const JobContext& job) const override {
    const auto rule = this->rule(layer.query());
    return RankedKeys{layer.mass(SupportScope::kv_head, layer.rows_within_budget(rule), job), rule};
  }
};
const PolicyEntry toy = {{.name = "kv_oracle",
                          .title = "Oracle of each KV head",
                          .role = MethodRole::reference,
                          .scope = SupportScope::kv_head,
                          .score = ScoreKind::mass,
                          .takes_mass_budget = true},
                         &make_policy_of<Toy>};

}  // namespace

class TestToyKvHead : public QObject {
  Q_OBJECT
 private slots:
  void attends() {
    const LayerQuery query = make_query({170, 6, 2, 16}, 2);
    const reference::Inputs in = reference::inputs_of(query);
    check_on_both_backends(*toy.make(toy.traits, {.budget = parse_budget("20")}), query,
                           [&](std::int64_t group, std::int64_t row) {
                             std::vector<double> mass(static_cast<std::size_t>(row + 1));
                             for (std::int64_t head = 3 * group; head < 3 * group + 3; ++head) {
                               const auto p = reference::probabilities(in, head, row);
                               for (std::size_t key = 0; key < p.size(); ++key) mass[key] += p[key];
                             }
                             auto keys = reference::top_k(mass, 20);
                             std::sort(keys.begin(), keys.end());
                             return keys;
                           });
  }
};

QTEST_APPLESS_MAIN(TestToyKvHead)
#include "test_toy_kv_head.moc"
