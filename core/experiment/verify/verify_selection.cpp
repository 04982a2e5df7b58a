// SPDX-License-Identifier: Apache-2.0
// Selection at its edges on every backend: rows of many thousand keys, equal scores, -0 beside 0, NaN and infinities,
// forced keys. The exact positions of the plain row kernel are expected.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <limits>
#include <vector>

#include "experiment/verify/verify_parts.h"
#include "kernels/cpu/select/top_k.h"

namespace headroom::experiment {
namespace {

/// Row t's scores are the first t + 1 of one list.
class ListedScores final : public attention::RowScores {
 public:
  explicit ListedScores(at::Tensor list) : list_(std::move(list)) {}
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    return list_.narrow(0, 0, end).expand({1, end - begin, end}).contiguous();
  }

 private:
  at::Tensor list_;
};

std::vector<float> listed(const SelectionCase& test) {
  std::vector<float> scores(static_cast<std::size_t>(test.length));
  std::uint64_t state = 0x9e3779b97f4a7c15ull;
  for (float& score : scores) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const double uniform = static_cast<double>(state >> 11) * 0x1p-53 * 2 - 1;
    score = static_cast<float>(test.kind == ScoreList::distinct ? std::pow(uniform, 5) * 40
                               : test.kind == ScoreList::few    ? std::round(uniform * 4) / 4
                                                                : 1.5);
    if (test.kind == ScoreList::odd && (state >> 60) < 12) {
      constexpr float infinity = std::numeric_limits<float>::infinity();
      constexpr float values[] = {std::numeric_limits<float>::quiet_NaN(), -infinity, 0.0f, -0.0f};
      score = values[state >> 58 & 3];
    }
  }
  return scores;
}

}  // namespace

std::string SelectionCase::text() const {
  constexpr const char* kinds[] = {"distinct", "few distinct", "equal", "odd"};
  return std::to_string(k) + " of " + std::to_string(length) + " " + kinds[static_cast<int>(kind)] + " scores" +
         (sinks + local > 1 ? ", " + std::to_string(sinks) + " + " + std::to_string(local) + " forced" : "");
}

std::string judge_selection(const attention::PreparedLayer& layer, const SelectionCase& test) {
  const std::vector<float> scores = listed(test);
  const at::Tensor list = at::empty({test.length}, at::kFloat);
  std::copy(scores.begin(), scores.end(), list.mutable_data_ptr<float>());
  attention::RankedKeys ranked;
  ranked.scores = std::make_shared<ListedScores>(list.to(layer.query().q.device()));
  ranked.rule = {{BudgetKind::tokens, static_cast<double>(test.k)}, 1, {test.sinks, test.local}};
  StageClock clock;
  const std::int64_t begin = std::max<std::int64_t>(0, test.length - 5);
  const auto supports = supports_of({layer.select(ranked, begin, test.length, clock, {})});
  kernels::cpu::SelectScratch scratch;
  std::vector<std::int32_t> expected(static_cast<std::size_t>(test.k));
  for (std::int64_t row = begin; row < test.length; ++row) {
    const std::int64_t count = kernels::cpu::top_k_row(scores.data(), row + 1, test.k, {test.sinks, test.local},
                                                       expected.data(), scratch);
    const auto& found = supports[static_cast<std::size_t>(row - begin)];
    if (!std::equal(found.begin(), found.end(), expected.begin(), expected.begin() + count))
      return "row " + std::to_string(row) + " has other keys";
  }
  return {};
}

std::vector<SelectionCase> selection_cases() {
  std::vector<SelectionCase> cases;
  for (const ScoreList kind : {ScoreList::distinct, ScoreList::few, ScoreList::equal, ScoreList::odd})
    for (const auto& [length, k] :
         {std::pair<std::int64_t, std::int64_t>{40, 64}, {3000, 128}, {20001, 512}, {40002, 2048}})
      for (const bool forced : {false, true})
        cases.push_back({kind, length, k, forced ? 7 : 0, forced ? 20 : 1});
  return cases;
}

}  // namespace headroom::experiment
