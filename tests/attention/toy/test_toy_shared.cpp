// SPDX-License-Identifier: Apache-2.0
// A toy policy whose support is shared by the layer: every third key and the row's own.
#include "toy_policy.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

std::vector<std::int64_t> every_third(std::int64_t row) {
  std::vector<std::int64_t> keys;
  for (std::int64_t key = 0; key <= row; ++key)
    if (key % 3 == 0 || key == row) keys.push_back(key);
  return keys;
}

class Toy final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock&, const JobContext&) const override {
    WrittenKeys keys;
    keys.most = layer.query().length() / 3 + 2;
    keys.write = WrittenKeys::by_row([](std::int64_t, std::int64_t row, std::int32_t* out) {
      const auto chosen = every_third(row);
      std::copy(chosen.begin(), chosen.end(), out);
      return std::ssize(chosen);
    });
    return keys;
  }
};
const PolicyEntry toy = {{.name = "every_third", .title = "Every third key"}, &make_policy_of<Toy>};

}  // namespace

class TestToyShared : public QObject {
  Q_OBJECT
 private slots:
  void attends() {
    const auto policy = toy.make(toy.traits, {.budget = parse_budget("10")});
    QCOMPARE(policy->id(), std::string("every_third-k10-g1"));
    check_on_both_backends(*policy, make_query({201, 6, 2, 16}, 1),
                           [](std::int64_t, std::int64_t row) { return every_third(row); });
  }
};

QTEST_APPLESS_MAIN(TestToyShared)
#include "test_toy_shared.moc"
