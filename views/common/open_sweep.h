// SPDX-License-Identifier: GPL-3.0-or-later
// A sweep that is open in the window: its rows with the summary that everything shown comes from. Read on a worker.
#pragma once

#include <QString>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "record/sweep/sweep_plan.h"
#include "record/sweep/sweep_summary.h"
#include "record/sweep/sweep_types.h"

namespace headroom::views {

struct OpenSweep {
  std::filesystem::path path;  ///< S.h5, also while its rows are still in the store alone
  record::SweepRecord record;
  record::SweepSummary summary;
  record::MassRecall recall;  ///< by length; empty where the sweep holds no curves
  bool growing = false;       ///< read from the store of a sweep that is at work
  std::int64_t bytes = 0;     ///< of the file
};
using SweepPtr = std::shared_ptr<const OpenSweep>;

/// Reads S.h5, or its store where `growing`. Takes a second or so where there are many rows: for workers. Throws input
/// errors.
SweepPtr read_open_sweep(const std::filesystem::path& path, bool growing = false);

/// How the Budget page shows sweeps: part of the ViewState.
struct SweepLook {
  int page = 0;         ///< of the Budget page: the run, the sweep, a number to ship
  int task = -1;        ///< -1: the macro mean, where there is one
  std::int64_t length = -1;  ///< as asked for in the sweep; -1: its first
  int quantity = 0;     ///< difference from dense, task score, KL
  bool keys_axis = false;  ///< against keys a query; else against density
  QString budget;       ///< of the waterfall; empty: the first
  QString method;       ///< id, whose samples are listed; empty: the first that is not dense
  // A number to ship
  QString ship_family;  ///< method_family(); empty: the first
  double keep = 95;     ///< %, of the mass or of dense's score
  double worst = 90;    ///< %, of the mass, in the worst layer
  bool ship_from_runs = false;  ///< the open runs, though a sweep is open
  bool greedy = false;          ///< budgets by layer: the total shared out greedily
  bool operator==(const SweepLook&) const = default;
};

/// "niah_single_1" or "macro"; the length in words: "2,048 tokens", "own prompts".
QString sweep_length_text(std::int64_t length);
/// "Oracle, 512 keys", "Indexer, 10 %, shared by 64 queries", and what else tells methods of `meta` apart.
QString sweep_method_label(const record::SweepMeta& meta, const record::SweepMethod& method);
/// The same without the budget: budgets of one family are compared.
QString sweep_method_name(const record::SweepMeta& meta, const record::SweepMethod& method);
/// Equal for methods that differ in their budget alone.
QString method_family(const std::string& name, std::int64_t granularity,
                      const std::map<std::string, std::string>& parameters);
/// Keys a row that a method's budget stands for at a prompt of `tokens`; NaN for dense and mass budgets.
double sweep_keys(const record::SweepMethod& method, std::int64_t tokens);
/// "+0.4 [−1.2, +2.0]"; "−1.5, no interval below 30 pairs"; "–" where there are no pairs.
QString difference_text(const statistics::Difference& difference);
/// "enough to within 1 point", "not shown", …; empty where there is none.
QString verdict_text(record::Verdict verdict, double margin);

}  // namespace headroom::views
