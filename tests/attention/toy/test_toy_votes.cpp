// SPDX-License-Identifier: Apache-2.0
// A toy policy that looks at the whole prompt first: the mass of the last rows votes for keys that all rows then share.
#include <ATen/ops/topk.h>

#include "toy_policy.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

constexpr std::int64_t voters = 16, elected = 12;
class Toy final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock&, const JobContext& job) const override {
    const std::int64_t length = layer.query().length();
    const at::Tensor votes = layer.mass(SupportScope::layer, length - voters, job)->scores(length - voters, length);
    const at::Tensor best = std::get<0>(std::get<1>(at::topk(votes[0].sum(0), elected)).sort());
    WrittenKeys keys;
    keys.most = elected + 1;
    keys.write = WrittenKeys::by_row([best](std::int64_t, std::int64_t row, std::int32_t* out) {
      std::int64_t count = 0;
      for (std::int64_t i = 0; i < elected; ++i)
        if (const auto key = best[i].item<std::int64_t>(); key < row) out[count++] = static_cast<std::int32_t>(key);
      out[count++] = static_cast<std::int32_t>(row);
      return count;
    });
    return keys;
  }
};
const PolicyEntry toy = {{.name = "votes", .title = "Votes of the last rows", .whole_prompt = true}, &make_policy_of<Toy>};

}  // namespace

class TestToyVotes : public QObject {
  Q_OBJECT
 private slots:
  void attends() {
    const LayerQuery query = make_query({150, 6, 2, 16}, 5);
    std::vector<double> votes(150);
    for (std::int64_t row = 150 - voters; row < 150; ++row)
      for (std::size_t key = 0; const double mass : reference::mass(reference::inputs_of(query), row))
        votes[key++] += mass;
    const auto best = reference::top_k(votes, elected + 1);  // with the last key, which no row before it sees
    const auto policy = toy.make(toy.traits, {.budget = parse_budget("13")});
    QVERIFY(!policy->causal());
    check_on_both_backends(*policy, query, [&](std::int64_t, std::int64_t row) {
      std::vector<std::int64_t> keys = {row};
      std::copy_if(best.begin(), best.end(), std::back_inserter(keys), [&](auto key) { return key < row; });
      std::sort(keys.begin(), keys.end());
      return keys;
    });
  }
};

QTEST_APPLESS_MAIN(TestToyVotes)
#include "test_toy_votes.moc"
