// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/talk/talk_file.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/input_file.h"
#include "base/json_fields.h"
#include "base/output_file.h"
#include "base/utf8.h"
#include "base/version.h"
#include "views/common/view_state_json.h"

namespace headroom::views {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* talk_format = "headroom-talk";
constexpr std::size_t most_caption = 1 << 16, most_notes = 1 << 20;

/// Calls `visit` with every record number in a view, to be read or changed. Wrong types are the reader's business.
template <typename View, typename Visit>
void each_record_number(View& view, Visit&& visit) {
  if (!view.is_object()) return;
  const auto number = [&](auto& holder, const char* key) {
    if (const auto at = holder.find(key); at != holder.end() && at->is_number_integer()) visit(*at);
  };
  number(view, "current");
  const auto display = view.find("display");
  if (display == view.end() || !display->is_object()) return;
  for (auto& side : *display)  // whatever names a record there
    if (side.is_object()) number(side, "record");
}

bool is_hex(const std::string& text, std::size_t size) {
  return text.size() == size &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// File names are bytes; JSON is UTF-8. Names that are not have no place in a talk.
std::string path_text(const fs::path& path, const fs::path& folder) {
  std::error_code failed;
  const fs::path from = fs::absolute(folder.empty() ? fs::path(".") : folder, failed).lexically_normal();
  const fs::path to = fs::absolute(path, failed).lexically_normal();
  const fs::path relative = to.lexically_relative(from);
  const std::string text = (relative.empty() ? to : relative).generic_string();
  if (first_invalid_utf8(text)) throw input_error(text, "cannot be named in a talk", "a name in UTF-8", "other bytes");
  return text;
}

TalkStep step_from_json(const json& object, std::size_t records, std::size_t sweeps, const std::string& place) {
  Fields fields(object, place);
  TalkStep step;
  step.title = QString::fromStdString(fields.string_or("title", {}));
  step.caption = QString::fromStdString(fields.string_or("caption", {}, most_caption));
  step.notes = QString::fromStdString(fields.string_or("notes", {}, most_notes));
  step.page = QString::fromStdString(fields.string("page", 64));
  if (std::find(talk_pages().begin(), talk_pages().end(), step.page) == talk_pages().end()) {
    std::string known;
    for (const QString& page : talk_pages()) known += (known.empty() ? "one of " : ", ") + page.toStdString();
    fields.fail("page", known, '"' + step.page.toStdString() + '"');
  }
  step.first_token = fields.integer_or("first_token", 0, 0, std::int64_t{1} << 24);
  step.view = fields.object("view");
  check_view_state_json(step.view, records, place + ", \"view\"");
  step.sweep = static_cast<int>(fields.integer_or("sweep", -1, -1, static_cast<std::int64_t>(sweeps) - 1));
  if (fields.has("live")) {
    // Names the field of the run that is wrong.
    try {
      protocol::validate(protocol::run_spec_from_json(fields.object("live")));
    } catch (const Error& error) {
      throw input_error(place + ", \"live\"", error.message(), error.detail().expected, error.detail().found);
    }
    step.live = fields.object("live");
  }
  fields.refuse_unknown();
  return step;
}

fs::path path_from(Fields& fields, const fs::path& folder, const std::string& expected) {
  const std::string file = fields.string("file");
  if (file.empty() || file.find('\0') != std::string::npos) fields.fail("file", expected, describe(file));
  return (fs::path(file).is_absolute() ? fs::path(file) : folder / file).lexically_normal();
}

std::string hash_from(Fields& fields) {
  const std::string hash = fields.string("sha256", 64);
  if (!is_hex(hash, 64)) fields.fail("sha256", "64 hexadecimal digits", describe(hash));
  return hash;
}

}  // namespace

const std::vector<QString>& talk_pages() {
  static const std::vector<QString> pages = {"overview", "attention", "budget", "timing", "compare"};
  return pages;
}

std::vector<std::size_t> records_of_step(const TalkStep& step) {
  std::set<std::size_t> numbers;
  each_record_number(step.view, [&](const json& number) {
    if (number >= 0) numbers.insert(number.get<std::size_t>());
  });
  return {numbers.begin(), numbers.end()};
}

std::vector<fs::path> files_of_talk(const Talk& talk) {
  std::vector<fs::path> files;
  for (const TalkRecord& record : talk.records) files.push_back(record.path);
  for (const TalkSweep& sweep : talk.sweeps) files.push_back(sweep.path);
  return files;
}

Talk without_spare_records(Talk talk) {
  std::map<std::size_t, std::size_t> renumbered;
  std::vector<TalkRecord> kept;
  for (TalkStep& step : talk.steps) {
    for (const std::size_t number : records_of_step(step)) {
      if (number >= talk.records.size())
        throw Error(ErrorKind::internal, "a step names a record that the talk does not hold");
      if (renumbered.try_emplace(number, kept.size()).second) kept.push_back(talk.records[number]);
    }
    each_record_number(step.view, [&](json& number) {
      if (number >= 0) number = renumbered.at(number.get<std::size_t>());
    });
  }
  talk.records = std::move(kept);
  std::map<int, int> sweeps;
  std::vector<TalkSweep> kept_sweeps;
  for (TalkStep& step : talk.steps) {
    if (step.sweep < 0) continue;
    if (step.sweep >= static_cast<int>(talk.sweeps.size()))
      throw Error(ErrorKind::internal, "a step names a sweep that the talk does not hold");
    const auto [at, added] = sweeps.try_emplace(step.sweep, static_cast<int>(kept_sweeps.size()));
    if (added) kept_sweeps.push_back(talk.sweeps[static_cast<std::size_t>(step.sweep)]);
    step.sweep = at->second;
  }
  talk.sweeps = std::move(kept_sweeps);
  return talk;
}

std::string talk_text(const Talk& whole, const fs::path& folder) {
  const Talk talk = without_spare_records(whole);
  json object = {{"format", talk_format},
                 {"version", talk.sweeps.empty() ? 1 : talk_version},
                 {"program", "Headroom " + std::string(program_version())}};
  object["title"] = talk.title.toStdString();
  auto& records = object["records"] = json::array();
  for (const TalkRecord& record : talk.records)
    records.push_back({{"file", path_text(record.path, folder)}, {"run_id", record.run_id}, {"sha256", record.sha256}});
  for (const TalkSweep& sweep : talk.sweeps)
    object["sweeps"].push_back({{"file", path_text(sweep.path, folder)}, {"sha256", sweep.sha256}});
  auto& steps = object["steps"] = json::array();
  for (const TalkStep& step : talk.steps) {
    json one = {{"title", step.title.toStdString()}, {"caption", step.caption.toStdString()},
                {"notes", step.notes.toStdString()}, {"page", step.page.toStdString()},
                {"first_token", step.first_token},   {"view", step.view}};
    if (step.sweep >= 0) one["sweep"] = step.sweep;
    if (step.live) one["live"] = *step.live;
    steps.push_back(std::move(one));
  }
  return object.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

Talk read_talk_text(std::string_view text, const fs::path& folder, const std::string& place) {
  const json object = parse_json(text, place);
  Fields fields(object, place);
  const std::string format = fields.string("format", 64);
  if (format != talk_format) fields.fail("format", std::string("\"") + talk_format + '"', '"' + format + '"');
  const auto written = fields.integer("version", 1, 1 << 30);
  if (written > talk_version)
    throw input_error(place, "was written by a later version of Headroom",
                      "version " + std::to_string(talk_version) + " or earlier", std::to_string(written));
  fields.string_or("program", {});
  Talk talk;
  talk.title = QString::fromStdString(fields.string_or("title", {}));
  std::size_t number = 0;
  for (const json& entry : fields.array("records", most_talk_records)) {
    Fields record(entry, place + ", record " + std::to_string(++number));
    TalkRecord one;
    one.path = path_from(record, folder, "the path of a record");
    one.run_id = record.string("run_id", 64);
    if (!is_hex(one.run_id, 16)) record.fail("run_id", "16 hexadecimal digits", describe(one.run_id));
    one.sha256 = hash_from(record);
    record.refuse_unknown();
    talk.records.push_back(std::move(one));
  }
  number = 0;
  if (fields.has("sweeps"))
    for (const json& entry : fields.array("sweeps", most_talk_sweeps)) {
      Fields sweep(entry, place + ", sweep " + std::to_string(++number));
      TalkSweep one{path_from(sweep, folder, "the path of a sweep"), hash_from(sweep)};
      sweep.refuse_unknown();
      talk.sweeps.push_back(std::move(one));
    }
  number = 0;
  for (const json& entry : fields.array("steps", most_steps))
    talk.steps.push_back(
        step_from_json(entry, talk.records.size(), talk.sweeps.size(), place + ", step " + std::to_string(++number)));
  fields.refuse_unknown();
  return talk;
}

Talk read_talk(const fs::path& file) {
  std::error_code failed;
  // A pipe would hold up the window for ever.
  if (fs::exists(file, failed) && !fs::is_regular_file(file, failed))
    throw input_error(file.native(), "is no file", "a talk", "a folder, a pipe or a device");
  const std::string text = read_input_file(file, {"a talk", "is too large for a talk", most_talk_bytes});
  return read_talk_text(text, file.parent_path(), file.native());
}

void write_talk(const Talk& talk, const fs::path& file) {
  OutputPlace place(file);
  place.must_not_be(files_of_talk(talk));
  write_output(place, talk_text(talk, place.folder()));
}

}  // namespace headroom::views
