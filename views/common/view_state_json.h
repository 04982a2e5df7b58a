// SPDX-License-Identifier: GPL-3.0-or-later
// ViewState to and from JSON, for talks and the session: one table of fields (view_state_fields.h) writes, reads and
// describes them all.
#pragma once

#include <QString>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "views/common/selection.h"

namespace headroom::views {

/// The records that a state cannot do without: the shown one first, then those of the Compare page's sides, each once.
std::vector<RecordPtr> records_named(const ViewState& state);

/// Records are written as numbers into `records`, -1 for none; what these stand for the caller writes beside it. Runs
/// that are open and not named are left out. Throws an internal error for a named one that is not in the list.
nlohmann::json view_state_to_json(const ViewState& state, const std::vector<RecordPtr>& records);

/// The state with `records` as its runs. A field that is missing keeps its default, so that earlier files can be read.
/// Throws input errors at `place` that name the field, what was expected and what was found: unknown fields, wrong
/// types, values out of range, numbers of records that are not there or null. Whether the state fits its record is
/// another question: misfits().
ViewState view_state_from_json(const nlohmann::json& json, const std::vector<RecordPtr>& records,
                               const std::string& place);
/// The same checks where the records are not at hand, only their number.
void check_view_state_json(const nlohmann::json& json, std::size_t records, const std::string& place);

/// Something that a state names and its record does not have.
struct Misfit {
  std::string key;  ///< of the JSON, "layer", "display.curve_stream"
  std::string expected, found;
};
/// Layer, head, methods, rows, keys and pins against the record that is shown, and the sides' methods against theirs.
std::vector<Misfit> misfits(const ViewState& state);

/// One line of the table: where a field lies in the struct that holds it. For the test that none is left out.
struct FieldPlace {
  std::string key;
  std::size_t offset, size, alignment;
};
std::vector<FieldPlace> view_state_layout();     ///< of ViewState
std::vector<FieldPlace> display_state_layout();  ///< of DisplayState

}  // namespace headroom::views
