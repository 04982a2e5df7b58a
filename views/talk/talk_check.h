// SPDX-License-Identifier: GPL-3.0-or-later
// Check talk and Pack talk: whether everything that a talk shows is there, offline, and a folder that holds it all.
#pragma once

#include <QString>
#include <filesystem>
#include <functional>
#include <map>
#include <stop_token>
#include <vector>

#include "views/common/selection.h"
#include "views/talk/talk_file.h"

namespace headroom::views {

/// Something that would go wrong on the stage.
struct TalkFault {
  int step = -1;  ///< from 0; -1: of the talk as a whole
  QString what, expected, found;
  /// "what (expected …, found …)".
  QString line() const;
};

/// How far a check has come, for a bar: `done` of `total` bytes read.
using TalkProgress = std::function<void(std::int64_t done, std::int64_t total)>;

/// Reads every record and sweep whole (its hash), opens it, and holds each step against it: page, layer, head, methods,
/// rows, keys, pins, what is chosen of the sweep, and whether the record itself holds the map that the step shows.
/// Nothing but the disk is needed. Never throws for what is wrong with talk or records; cancelled_error() on a stop
/// request.
std::vector<TalkFault> check_talk(const Talk& talk, std::stop_token stop = {}, const TalkProgress& progress = {});

/// The step's view of records and sweeps that are open; `records` and `sweeps` are those of the talk, null where one is
/// not to be had. Throws input errors of a view that does not fit.
ViewState view_of_step(const Talk& talk, std::size_t step, const std::vector<RecordPtr>& records,
                       const std::vector<SweepPtr>& sweeps = {});

/// Whether the Budget page would show the sweep, not the run alone.
bool shows_sweep(const ViewState& state);

/// The hash of each file of the talk into it. Throws input errors of files that cannot be read.
void take_hashes(Talk& talk, std::stop_token stop = {}, const TalkProgress& progress = {});

/// Makes `folder` with the talk and copies of its records and sweeps, named relative to it. The folder must not exist;
/// it appears when it is whole, or not at all. The files must be those that the talk means. Throws errors. Returns the
/// talk's file.
std::filesystem::path pack_talk(const Talk& talk, const std::string& name, const std::filesystem::path& folder,
                                std::stop_token stop = {}, const TalkProgress& progress = {});

}  // namespace headroom::views
