// SPDX-License-Identifier: Apache-2.0
// What a record holds of a layer, made where the layer is, against the analysis on the CPU.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "attention/analysis_device.h"
#include "attention/attend.h"
#include "attention/registry.h"
#include "experiment/verify/verify_parts.h"

namespace headroom::experiment {
namespace {

using attention::HeadStatistic;

/// The largest difference as a multiple of what is tolerated, and all that lies beyond it.
class Tolerated {
 public:
  void add(std::string_view name, double found, double expected, double tolerance) {
    if (std::isnan(found) && std::isnan(expected)) return;
    const double share = std::abs(found - expected) / tolerance;
    if (share <= 1)
      most_ = std::max(most_, share);
    else
      differ(name, std::to_string(found) + " in place of " + std::to_string(expected),
             std::isnan(share) ? INFINITY : share);
  }
  void add(std::string_view name, const std::vector<float>& found, const std::vector<float>& expected,
           double tolerance) {
    if (found.size() != expected.size())
      differ(name, std::to_string(found.size()) + " values in place of " + std::to_string(expected.size()));
    for (std::size_t i = 0; i < std::min(found.size(), expected.size()); ++i)
      add(name, static_cast<double>(found[i]), static_cast<double>(expected[i]), tolerance);
  }
  /// `share` is infinite where it is not to be measured: there or not, the same bytes or others.
  void differ(std::string_view name, const std::string& how, double share = INFINITY) {
    most_ = std::max(most_, share);
    if (text_.find(name) == std::string::npos) text_ += (text_.empty() ? "" : "; ") + std::string(name) + ": " + how;
  }
  double most() const { return most_; }
  /// "curves: 0.5 in place of 0.4; supports: other keys", the first difference of each kind.
  const std::string& text() const { return text_; }

 private:
  double most_ = 0;
  std::string text_;
};

Tolerated record_difference(const attention::LayerAnalysis& found, const attention::LayerAnalysis& expected,
                            std::int64_t length) {
  Tolerated all;
  if (found.statistics.size() != expected.statistics.size()) all.differ("statistics", "another number");
  if (found.curves.size() != expected.curves.size()) all.differ("curves", "another number");
  if (std::isinf(all.most())) return all;
  for (std::size_t i = 0; i < found.statistics.size(); ++i) {
    const auto which = static_cast<HeadStatistic>(i % attention::num_head_statistics);
    const auto a = static_cast<double>(found.statistics[i]), b = static_cast<double>(expected.statistics[i]);
    const bool keys = which >= HeadStatistic::keys_for_90 && which <= HeadStatistic::keys_for_99;
    all.add(attention::head_statistic_names[i % attention::num_head_statistics], a, b,
            keys ? 0.02 + 0.01 * std::abs(b) : 1e-3);
  }
  const std::size_t places = attention::curve_budgets(length).size();
  for (std::size_t i = 0; i < found.curves.size(); ++i)
    all.add("curves", static_cast<double>(found.curves[i]), static_cast<double>(expected.curves[i]),
            i / places % 3 == 0 ? 4e-3 : 4e-2);  // means; single rows
  all.add("log-sum-exp", found.lse, expected.lse, 1e-4);
  all.add("mass received", found.mass_received, expected.mass_received, 1e-4);
  all.add("selection frequency", found.selection_frequency, expected.selection_frequency, 1e-5);
  all.add("thumbnails, largest", found.thumbnail_max, expected.thumbnail_max, 1e-4);
  all.add("thumbnails, mean", found.thumbnail_mean, expected.thumbnail_mean, 1e-4);
  all.add("attended pairs", found.attended_pairs, expected.attended_pairs, 0.5);
  all.add("captured mass", found.captured_mass_mean, expected.captured_mass_mean, 1e-4);
  all.add("least captured mass", found.captured_mass_min, expected.captured_mass_min, 1e-3);
  if (found.oracle_recall.has_value() != expected.oracle_recall.has_value())
    all.differ("oracle recall", "there or not");
  if (found.oracle_recall && expected.oracle_recall)
    all.add("oracle recall", *found.oracle_recall, *expected.oracle_recall, 2e-3);
  if (found.oracle_recall_95 && expected.oracle_recall_95)
    all.add("recall of 95 % of the mass", *found.oracle_recall_95, *expected.oracle_recall_95, 5e-3);
  if (found.support.size() != expected.support.size()) all.differ("supports", "another number");
  for (std::size_t i = 0; i < std::min(found.support.size(), expected.support.size()); ++i)
    if (!std::ranges::equal(found.support[i].bytes(), expected.support[i].bytes()))
      all.differ("supports", "other keys");
  return all;
}

}  // namespace

void verify_record(const attention::LayerQuery& here, const attention::LayerQuery& on_host,
                   const attention::Backend& backend, const RunCheck& check) {
  for (const char* name : {"", "random"}) {
    attention::PolicySettings settings;
    settings.budget = parse_budget("24");
    const auto policy = *name ? attention::make_policy(name, settings) : attention::make_dense_policy();
    check("record of " + std::string(*name ? name : "dense") + ", " + backend.id(), [&](VerifyRow& row) {
      std::vector<attention::SupportTile> tiles;
      StageClock clock;
      const auto layer = backend.prepare(here, {});
      attention::attend(*policy, *layer, clock, [&](const attention::SupportTile& tile) { tiles.push_back(tile); }, {});
      attention::AnalysisOptions options;
      options.budget_tokens = *name ? policy->most_tokens(here.length()) : 0;
      options.forced = policy->target_forced_keys();
      row.ran = here.length() >= attention::device_analysis_least_length;
      if (!row.ran) row.note = "a short prompt's is made on the host";
      if (row.ran && !attention::device_analyses(here, tiles, options)) row.note = "not made on the device";
      if (!row.note.empty()) return;
      const auto found = layer->analyse(tiles, options, {});
      const auto expected = attention::analyse_layer(on_host, attention::to_bitmaps(tiles, here.length()), options, {});
      const Tolerated difference = record_difference(found, expected, here.length());
      row.error = difference.most();
      if (row.error > 1 && row.note.empty()) row.note = "too far off: " + difference.text();
      row.allowed = 1;  // of what docs/kernels-cuda.md says is tolerated
      const auto again = layer->analyse(tiles, options, {});
      const auto same = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
      if (row.note.empty() && !std::ranges::equal(again.statistics, found.statistics, same))
        row.note = "a second call gives other figures";
    });
  }
}

}  // namespace headroom::experiment
