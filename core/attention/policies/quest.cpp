// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cummax.h>
#include <ATen/ops/cummin.h>

#include <limits>

#include "attention/backend.h"
#include "attention/block_scores.h"
#include "attention/registry.h"

namespace headroom::attention {
namespace {

constexpr double quest_infinity = std::numeric_limits<double>::infinity();

/// The largest product that a row could have with a key between the least and the largest of its page, dimension by
/// dimension; in its own page of the keys that it sees.
class PageBounds final : public BlockLogits {
 public:
  PageBounds(const LayerQuery& query, std::int64_t page) : query_(query), page_(page) {
    const std::int64_t length = query.length(), whole = length / page * page;
    std::vector<at::Tensor> largest, least;
    const auto add = [&](std::int64_t from, std::int64_t pages, std::int64_t keys) {
      const at::Tensor k = query.k.narrow(1, from, pages * keys).unflatten(1, {pages, keys});
      largest.push_back(k.amax(2).to(at::kFloat));
      least.push_back(k.amin(2).to(at::kFloat));
    };
    if (whole > 0) add(0, whole / page, page);
    if (whole < length) add(whole, 1, length - whole);
    largest_ = at::cat(largest, 1);
    least_ = at::cat(least, 1);
  }

  at::Tensor logits(std::int64_t begin, std::int64_t end) const override {
    const std::int64_t pages = (end + page_ - 1) / page_;
    const at::Tensor q = scaled_rows(query_, begin, end), up = q.clamp_min(0), down = q.clamp_max(0);
    const at::Tensor result =
        head_products(up, largest_.narrow(1, 0, pages)).add_(head_products(down, least_.narrow(1, 0, pages)));
    const at::Tensor highest = std::get<0>(at::cummax(own_blocks(query_, begin, end, page_, -quest_infinity), 2));
    const at::Tensor lowest = std::get<0>(at::cummin(own_blocks(query_, begin, end, page_, quest_infinity), 2));
    const at::Tensor own =
        row_products(up, own_rows(highest, begin, end)).add_(row_products(down, own_rows(lowest, begin, end)));
    set_own_block(result, own, begin, page_);
    return result;
  }

 private:
  const LayerQuery& query_;
  std::int64_t page_;
  at::Tensor largest_, least_;  ///< [Hkv, pages, d]
};

class Quest final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext&) const override {
    const SelectionRule rule = this->rule(layer.query());
    if (rule.keeps_all(layer.query().length())) return all_keys(layer.query());
    const StageScope scope(clock, Stage::score, layer.query().layer);
    const auto page = static_cast<std::int64_t>(parameter("page"));
    return RankedKeys{make_block_scores(std::make_shared<PageBounds>(layer.query(), page), page,
                                        rule.adds_scores() ? BlockForm::probabilities : BlockForm::raw),
                      rule};
  }
};

}  // namespace

PolicyEntry entry_quest() {
  return {{.name = "quest",
           .title = "Quest pages",
           .definition =
               "For each query head the pages of keys with the largest upper bound of q.k, from the least and the "
               "largest key of a page in each dimension; k keys in all. Made for decoding, adapted: every row of "
               "the prompt is a query, and of its own page it knows the keys up to itself.",
           .source = "Quest (arXiv 2406.10774), section 3",
           .cost = "2 / page of the scores of all heads; top-k of each row of each head",
           .role = MethodRole::deployable,
           .scope = SupportScope::q_head,
           .score = ScoreKind::other,
           .look = 12,
           .shares_scores = true,
           .parameters = {sinks_parameter(), local_parameter(), {"page", 16, 1, 4096, "keys of a page", true}}},
          &make_policy_of<Quest>};
}

}  // namespace headroom::attention
