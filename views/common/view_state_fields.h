// SPDX-License-Identifier: GPL-3.0-or-later
// The one table of what a ViewState and its DisplayState hold: name in files, range, and where it lies. Whoever adds a
// field to either struct adds one line here; without it this does not compile.
#pragma once

#include <array>
#include <limits>

#include "views/common/selection.h"

namespace headroom::views {

inline constexpr std::int64_t most_tokens = std::int64_t{1} << 24;
inline constexpr int most_layers = 4096, most_heads = 1 << 16;

inline constexpr std::array map_mode_names = {"probability", "lift", "rank"};
inline constexpr std::array budget_unit_names = {"tokens", "percent", "mass"};
inline constexpr std::array compare_mode_names = {"side_by_side", "difference", "diagonal_split", "flicker"};
inline constexpr std::array missed_question_names = {"missed", "readers", "why"};
inline constexpr std::array missed_scope_names = {"rows", "layer", "answer"};
inline constexpr std::array layer_order_names = {"layer", "highest", "lowest"};

/// `archive` has one function for each kind of field: flag, maybe_flag, whole, number, text, choice, record, head,
/// keys, pins, viewport, side, display, sweep_look, runs, sweeps, benches. `Display` is DisplayState, const or not.
template <typename Archive, typename Display>
void each_display_field(Archive& archive, Display& display) {
  // In the order of the struct. A name too few does not compile.
  auto& [mode, show_mean, hide_bands, hit, wasted, minimap, missed, missed_from, lift_min, lift_max, grid_statistic,
         layer_order, grid_table, all_budgets, unit, curve_stream, curve_scope, density_axis, target, timing_layers,
         compare_mode, baseline, candidate, compare_quantity, differences_only, missed_question, missed_scope,
         rank_to, answer_position, candidate_2, candidate_3, candidate_4, compare_chosen] = display;
  archive.choice("mode", mode, map_mode_names);
  archive.flag("show_mean", show_mean);
  archive.flag("hide_bands", hide_bands);
  archive.flag("hit", hit);
  archive.flag("wasted", wasted);
  archive.flag("minimap", minimap);
  archive.maybe_flag("missed", missed);
  archive.number("missed_from", missed_from, 0, 1);
  archive.number("lift_min", lift_min, 1e-12, 1e12);
  archive.number("lift_max", lift_max, 1e-12, 1e12);
  archive.text("grid_statistic", grid_statistic, 64);
  archive.choice("layer_order", layer_order, layer_order_names);
  archive.flag("grid_table", grid_table);
  archive.flag("all_budgets", all_budgets);
  archive.choice("unit", unit, budget_unit_names);
  archive.text("curve_stream", curve_stream, 256);
  archive.whole("curve_scope", curve_scope, -2, most_layers - 1);
  archive.flag("density_axis", density_axis);
  archive.number("target", target, 0, 100);
  archive.text("timing_layers", timing_layers, 256);
  archive.choice("compare_mode", compare_mode, compare_mode_names);
  archive.side("baseline", baseline);
  archive.side("candidate", candidate);
  archive.whole("compare_quantity", compare_quantity, 0, 1000);
  archive.flag("differences_only", differences_only);
  archive.choice("missed_question", missed_question, missed_question_names);
  archive.choice("missed_scope", missed_scope, missed_scope_names);
  archive.number("rank_to", rank_to, 1, static_cast<double>(most_tokens));
  archive.whole("answer_position", answer_position, -1, most_tokens);
  archive.side("candidate_2", candidate_2);
  archive.side("candidate_3", candidate_3);
  archive.side("candidate_4", candidate_4);
  archive.whole("compare_chosen", compare_chosen, 0, 4);
}

template <typename Archive, typename Look>
void each_sweep_look_field(Archive& archive, Look& look) {
  auto& [page, task, length, quantity, keys_axis, budget, method, ship_family, keep, worst, ship_from_runs, greedy] =
      look;
  archive.whole("page", page, 0, 2);
  archive.whole("task", task, -1, 1000);
  archive.whole("length", length, -1, most_tokens);
  archive.whole("quantity", quantity, 0, 2);
  archive.flag("keys_axis", keys_axis);
  archive.text("budget", budget, 64);
  archive.text("method", method, 256);
  archive.text("ship_family", ship_family, 1024);
  archive.number("keep", keep, 0, 100);
  archive.number("worst", worst, 0, 100);
  archive.flag("ship_from_runs", ship_from_runs);
  archive.flag("greedy", greedy);
}

template <typename Archive, typename State>
void each_view_field(Archive& archive, State& state) {
  auto& [runs, current, baseline, method, layer, head, query_begin, query_end, keys, pins, budget, viewport, colour_min,
         colour_max, display, sweeps, sweep, sweep_look, benches, bench] = state;
  archive.runs("runs", runs);
  archive.record("current", current);
  archive.text("baseline", baseline, 256);
  archive.text("method", method, 256);
  archive.whole("layer", layer, 0, most_layers - 1);
  archive.head("head", head);
  archive.whole("query_begin", query_begin, 0, most_tokens);
  archive.whole("query_end", query_end, 0, most_tokens);
  archive.keys("keys", keys);
  archive.pins("pins", pins);
  archive.number("budget", budget, 0, static_cast<double>(most_tokens));
  archive.viewport("viewport", viewport);
  archive.number("colour_min", colour_min, 1e-30, 1e6);
  archive.number("colour_max", colour_max, 1e-30, 1e6);
  archive.display("display", display);
  archive.sweeps("sweeps", sweeps);
  archive.shown_sweep("sweep", sweep);
  archive.sweep_look("sweep_look", sweep_look);
  archive.benches("benches", benches);
  archive.shown_bench("bench", bench);
}

}  // namespace headroom::views
