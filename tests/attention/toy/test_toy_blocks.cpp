// SPDX-License-Identifier: Apache-2.0
// A toy policy that answers in blocks: each block of queries attends to the first block, its own and every other one.
#include "toy_policy.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

constexpr std::int64_t block = 16;

bool attends_to(std::int64_t query_block, std::int64_t key_block) {
  return key_block == 0 || key_block == query_block || (query_block - key_block) % 2 == 0;
}

class Toy final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer&, StageClock&, const JobContext&) const override {
    BlockPattern pattern;
    pattern.block = block;
    pattern.key_blocks = [](std::int64_t, std::int64_t query_block) {
      std::vector<std::int32_t> blocks;
      for (std::int32_t i = 0; i <= query_block; ++i)
        if (attends_to(query_block, i)) blocks.push_back(i);
      return blocks;
    };
    return pattern;
  }
};
const PolicyEntry toy = {{.name = "chequered", .title = "Chequered blocks"}, &make_policy_of<Toy>};

}  // namespace

class TestToyBlocks : public QObject {
  Q_OBJECT
 private slots:
  void attends() {
    check_on_both_backends(*toy.make(toy.traits, {.budget = parse_budget("50%")}), make_query({213, 4, 1, 16}, 4),
                           [](std::int64_t, std::int64_t row) {
                             std::vector<std::int64_t> keys;
                             for (std::int64_t key = 0; key <= row; ++key)
                               if (attends_to(row / block, key / block)) keys.push_back(key);
                             return keys;
                           });
  }
};

QTEST_APPLESS_MAIN(TestToyBlocks)
#include "test_toy_blocks.moc"
