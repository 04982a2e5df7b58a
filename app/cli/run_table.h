// SPDX-License-Identifier: Apache-2.0
// What `headroom run` prints for people: one aligned row a method, then the answers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/machine_load.h"
#include "experiment/run/run.h"

namespace headroom::cli {

/// What a cell without a value shows.
inline constexpr const char* nothing = "–";
/// As printf writes it, up to 511 bytes.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

/// A sentence about the times that were taken while the machine was busy.
class LoadNote {
 public:
  void add(const std::string& name, const std::optional<MachineLoad>& load);
  /// Empty where nothing was disturbed.
  std::string text() const;

 private:
  std::string names_;
  MachineLoad worst_;
};

std::string run_table(const experiment::RunOutcome& outcome);
/// Of imported streams, which have no times and no answers.
std::string import_table(const experiment::RunOutcome& outcome);

/// Aligned columns, two spaces apart; widths count characters, not bytes. The first row is the head.
std::string align_columns(const std::vector<std::vector<std::string>>& rows);

}  // namespace headroom::cli
