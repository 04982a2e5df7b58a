// SPDX-License-Identifier: Apache-2.0
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "attention/backend.h"
#include "attention/registry.h"
#include "attention/window_votes.h"
#include "base/error.h"

namespace headroom::attention {
namespace {

/// The same for every row.
class KeyVotes final : public RowScores {
 public:
  KeyVotes(const WindowVotes& votes, std::int64_t pool, c10::Device device) {
    const auto heads = std::ssize(votes.of_key), length = std::ssize(votes.of_key.front());
    const at::Tensor pooled = at::empty({heads, 1, length}, at::kFloat);
    float* to = pooled.mutable_data_ptr<float>();
    for (const std::vector<double>& of_head : votes.of_key)
      for (std::int64_t key = 0; key < length; ++key) {
        const auto from = of_head.begin() + std::max<std::int64_t>(0, key - pool / 2);
        const auto end = of_head.begin() + std::min(length, key + pool / 2 + 1);
        *to++ = static_cast<float>(*std::max_element(from, end));
      }
    votes_ = pooled.to(device);
  }
  std::int64_t groups() const override { return votes_.size(0); }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    return votes_.narrow(2, 0, end).repeat({1, end - begin, 1});
  }

 private:
  at::Tensor votes_;  ///< [Hq, 1, L]
};

class SnapKv final : public Policy {
 public:
  SnapKv(const PolicyTraits& traits, const PolicySettings& settings) : Policy(traits, settings) {
    if (static_cast<std::int64_t>(parameter("pool")) % 2 == 0)
      throw usage_error("parameter pool of method snapkv must be odd: a key and as many neighbours on either side");
  }
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    if (rule.keeps_all(layer.query().length())) return all_keys(layer.query());
    const StageScope scope(clock, Stage::score, layer.query().layer);
    const WindowVotes votes = count_votes(layer, static_cast<std::int64_t>(parameter("window")), false, job);
    return RankedKeys{
        std::make_shared<KeyVotes>(votes, static_cast<std::int64_t>(parameter("pool")), layer.query().q.device()),
        rule};
  }
};

}  // namespace

PolicyEntry entry_snapkv() {
  return {{.name = "snapkv",
           .title = "Last-window votes",
           .definition =
               "For each query head the keys that the prompt's last rows attend to most (the largest vote among "
               "neighbours counts) and the newest ones, k in all. Made for the cache that decoding reads, adapted: "
               "every row of the prompt has the best of the keys that it sees.",
           .source = "SnapKV (arXiv 2404.14469), section 4",
           .cost = "the scores of `window` rows of all heads; top-k of each row of each head",
           .role = MethodRole::deployable,
           .scope = SupportScope::q_head,
           .score = ScoreKind::other,
           .look = 16,
           .takes_granularity = false,
           .whole_prompt = true,
           .parameters = {sinks_parameter(),
                          local_parameter(16),
                          {"window", 32, 1, 4096, "last rows that vote", true},
                          {"pool", 7, 1, 255, "neighbouring keys that share the largest vote (odd)", true}}},
          &make_policy_of<SnapKv>};
}

}  // namespace headroom::attention
