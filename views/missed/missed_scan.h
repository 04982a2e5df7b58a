// SPDX-License-Identifier: GPL-3.0-or-later
// What the list of missed keys is made of: scans of a record's rows or of one key's column, for other threads than the
// window's. Memory grows with the prompt's length, however many rows are looked at.
#pragma once

#include <QString>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "record/missed.h"
#include "views/common/selection.h"

namespace headroom::views {

struct MissedRequest {
  RecordPtr record;
  QString method;
  int layer = 0;
  record::HeadSelector head;
  MissedQuestion question = MissedQuestion::missed;
  MissedScope scope = MissedScope::rows;
  std::int64_t query_begin = 0, query_end = 0;  ///< of scope rows
  std::int64_t key = -1;                        ///< of question readers
  bool operator==(const MissedRequest&) const = default;
};

/// What a row did with a key: `hit` and `missed` are of its target T, `other` keys it attends to without their being in
/// T, `wasted` those of them with almost no mass.
enum class ReaderSays { unknown, every, hit, missed, wasted, other, left_out };

struct ReaderLine {
  std::int64_t query = -1;
  float p = 0;
  ReaderSays says = ReaderSays::unknown;
};

struct MissedResult {
  MissedRequest request;
  std::vector<record::MissedKey> missed;              ///< most mass first
  std::vector<ReaderLine> readers;                    ///< most p first
  std::vector<std::pair<int, double>> missed_in;      ///< of scope answer: mass that the row missed, by layer
  std::int64_t rows = 0, known_rows = 0, pairs = 0;   ///< of the missed keys, as in MissedTally
  std::int64_t rows_wanted = 0;                       ///< rows that there are to look at
  double mass = 0;                                    ///< missed by known_rows; of readers: that the key was given
  std::int64_t key_missed = 0;                        ///< of readers: rows that missed it
  QString note;     ///< what of it is not known
  QString problem;  ///< why there is nothing; empty where there may be something
  bool stopped = false;
};

/// Tells how far it is, 0 … 1000.
using ScanProgress = std::function<void(int permille)>;
/// Never throws: what cannot be read is in `problem`. A stop request ends it with what was found by then.
MissedResult scan_missed(const MissedRequest& request, const std::stop_token& stop, const ScanProgress& progress = {});

/// Full layers whose supports and q and k the record holds for the method: those that scope answer goes through.
std::vector<int> layers_with_supports(const record::RunRecord& record, const std::string& method);

}  // namespace headroom::views
