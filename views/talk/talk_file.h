// SPDX-License-Identifier: GPL-3.0-or-later
// A talk as a file of its own (docs/talks.md): steps with captions and notes, each a page and a view of records that
// lie elsewhere and are named by relative path, run id and hash; a step of the Budget page may name a sweep, too.
#pragma once

#include <QString>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "protocol/run_spec.h"

namespace headroom::views {

/// Written is the earliest version that suffices: 1 without sweeps.
inline constexpr int talk_version = 2;
inline constexpr const char* talk_suffix = "headroom-talk";
inline constexpr std::size_t most_steps = 1000, most_talk_records = 1000, most_talk_sweeps = 1000;
inline constexpr std::size_t most_talk_bytes = 32u << 20;

/// A record that steps show. In memory the path is absolute or relative to the working folder; in the file it is
/// relative to the talk's folder.
struct TalkRecord {
  std::filesystem::path path;
  std::string run_id;  ///< RunMeta::run_id
  std::string sha256;  ///< of the whole file, lower-case hexadecimal; empty: not taken yet
  bool operator==(const TalkRecord&) const = default;
};

/// A sweep that steps of the Budget page show.
struct TalkSweep {
  std::filesystem::path path;
  std::string sha256;  ///< as of a record
  bool operator==(const TalkSweep&) const = default;
};

struct TalkStep {
  QString title, caption, notes;
  QString page;                                    ///< "attention"
  std::int64_t first_token = 0;                    ///< where the prompt text is scrolled to
  nlohmann::json view = nlohmann::json::object();  ///< view_state_json; record numbers are those of Talk::records
  int sweep = -1;                                  ///< number in Talk::sweeps; -1: none
  std::optional<nlohmann::json> live;  ///< a RunSpec to be run while presenting; the step's own record is its twin
  bool operator==(const TalkStep&) const = default;
};

struct Talk {
  QString title;
  std::vector<TalkRecord> records;
  std::vector<TalkSweep> sweeps;
  std::vector<TalkStep> steps;
  bool operator==(const Talk&) const = default;
};

/// The page ids that a step may show.
const std::vector<QString>& talk_pages();

/// The text of a talk that lies in `folder`. Records and sweeps that no step names are left out. Throws an internal
/// error where the talk names one that it does not hold.
std::string talk_text(const Talk& talk, const std::filesystem::path& folder);
/// Throws input errors that name `file`, the step, the field, what was expected and what was found; records are not
/// opened.
Talk read_talk(const std::filesystem::path& file);
/// The same of a text; relative paths are of `folder`.
Talk read_talk_text(std::string_view text, const std::filesystem::path& folder, const std::string& place);
/// Writes FILE whole or not at all (OutputFile), never over one of its records or sweeps. Throws errors.
void write_talk(const Talk& talk, const std::filesystem::path& file);

/// Numbers of the records that a step's view names, ascending.
std::vector<std::size_t> records_of_step(const TalkStep& step);
/// Every file that the talk names.
std::vector<std::filesystem::path> files_of_talk(const Talk& talk);
/// Without the records and sweeps that no step names; the steps' numbers follow.
Talk without_spare_records(Talk talk);

}  // namespace headroom::views
