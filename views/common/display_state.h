// SPDX-License-Identifier: GPL-3.0-or-later
// How things are shown, apart from what is looked at: part of the ViewState, so that undo, figures and talks have it.
#pragma once

#include <QString>
#include <memory>
#include <optional>

#include "record/run_record.h"

namespace headroom::views {

enum class MapMode {
  probability,  ///< p, logarithmic
  lift,         ///< p times the number of visible keys: 1 = as if spread evenly
  rank          ///< place of the key in its row by p: 1 = the most; zoomed out, the best place in the cell
};

struct OverlayFlags {
  bool hit = false, missed = false, wasted = false;
  bool any() const { return hit || missed || wasted; }
  bool operator==(const OverlayFlags&) const = default;
};

enum class BudgetUnit { tokens, percent, mass };
enum class CompareMode { side_by_side, difference, diagonal_split, flicker };

/// What the list of missed keys answers, and for which rows.
enum class MissedQuestion { missed, readers, why };
enum class MissedScope { rows, layer, answer };

/// One side of the Compare page. Without a run it follows the shown record and the Selection's method or baseline.
struct SideChoice {
  std::shared_ptr<const record::RunRecord> run;
  QString method;
  bool operator==(const SideChoice&) const = default;
};

/// Missed mass of a cell from which it is orange, in what one query reads. On real maps a few cells of a hundred.
inline constexpr double usual_missed_from = 0.003;

/// DisplayState::timing_layers where the open runs' speedups stand against their lengths.
inline constexpr const char* timing_by_context = "#context";

struct DisplayState {
  // Attention
  MapMode mode = MapMode::probability;
  bool show_mean = false;   ///< zoomed out: the mean of a cell instead of its largest value
  bool hide_bands = false;  ///< sinks and local band
  bool hit = false, wasted = false, minimap = true;
  std::optional<bool> missed;  ///< none: on where it says something
  double missed_from = usual_missed_from;
  double lift_min = 0.1, lift_max = 1000;
  // Overview
  QString grid_statistic = QStringLiteral("captured_mass");
  int layer_order = 0;  ///< LayerOrder
  bool grid_table = false, all_budgets = false;
  // Budget
  BudgetUnit unit = BudgetUnit::tokens;
  QString curve_stream;   ///< method id; empty: dense
  int curve_scope = -1;   ///< a layer, -1 all full layers, -2 the selected layer
  bool density_axis = false;
  double target = 95;     ///< mass recall of every layer, %
  // Timing
  QString timing_layers;  ///< method whose layers are shown; empty: totals of all; or timing_by_context
  // Compare
  CompareMode compare_mode = CompareMode::side_by_side;
  SideChoice baseline, candidate;
  int compare_quantity = 0;
  bool differences_only = false;
  // Missed keys and readers
  MissedQuestion missed_question = MissedQuestion::missed;  ///< what the list beside the Inspector answers
  MissedScope missed_scope = MissedScope::rows;             ///< whose missed keys it adds up
  double rank_to = 1000;                                    ///< ranks from here on have the darkest colour
  int answer_position = -1;  ///< token of the answer under "why"; -1: the first that differs
  // Compare, further candidates: one without a method is not there, one without a run is of the shown record
  SideChoice candidate_2, candidate_3, candidate_4;
  int compare_chosen = 0;  ///< 0: all candidates are shown, else this one alone

  bool operator==(const DisplayState&) const = default;
};

}  // namespace headroom::views
