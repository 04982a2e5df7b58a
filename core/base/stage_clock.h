// SPDX-License-Identifier: Apache-2.0
// Where TTFT goes: the stages of METHOD.md ("Time") and the hidden states' way from one device to the next, measured by
// a clock that the experiment supplies.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace headroom {

enum class Stage { embedding, projections, score, select, attention, linear_attention, mlp, other, transfer };
inline constexpr std::size_t num_stages = 9;
inline constexpr std::array<std::string_view, num_stages> stage_names = {
    "embedding", "projections", "score", "select", "attention", "linear_attention", "mlp", "other", "transfer"};

/// Told when work of a stage begins and ends; never nested. The default does nothing, which is what recorded
/// passes use. Implementations: host clock on the CPU, device events on a GPU (core/experiment).
class StageClock {
 public:
  virtual ~StageClock() = default;
  virtual void begin(Stage, int /*layer, -1 outside layers*/) {}
  virtual void end() {}
  /// Between begin() and end(), at most once: `share` (0 … 1) of this span belongs to `stage` and not to the one begun.
  /// For fused work, whose threads count what each part took them.
  virtual void split(Stage /*stage*/, double /*share*/) {}
};

/// begin() now, end() when the scope closes.
class StageScope {
 public:
  StageScope(StageClock& clock, Stage stage, int layer) : clock_(clock) { clock_.begin(stage, layer); }
  ~StageScope() { clock_.end(); }
  StageScope(const StageScope&) = delete;
  StageScope& operator=(const StageScope&) = delete;

 private:
  StageClock& clock_;
};

}  // namespace headroom
