// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/session_store.h"

#include <QByteArray>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QSaveFile>
#include <QtConcurrent>
#include <algorithm>

#include "base/error.h"
#include "base/json_fields.h"
#include "base/utf8.h"
#include "gui/file_names.h"
#include "views/common/view_state_json.h"

namespace headroom::gui {
namespace {

constexpr std::size_t most_records = 256;
constexpr qint64 most_bytes = qint64{8} << 20;

/// Names may hold bytes that are no UTF-8, which JSON cannot: those are written in hexadecimal.
void put_file(nlohmann::json& object, const std::filesystem::path& file) {
  const std::string& name = file.native();
  if (first_invalid_utf8(name))
    object["file_bytes"] = QByteArray::fromStdString(name).toHex().toStdString();
  else
    object["file"] = name;
}

std::filesystem::path file_from(Fields& fields) {
  const auto bytes = fields.optional_string("file_bytes");
  const std::string name =
      bytes ? QByteArray::fromHex(QByteArray::fromStdString(*bytes)).toStdString() : fields.string("file");
  if (!name.starts_with('/') || name.find('\0') != std::string::npos)
    fields.fail(bytes ? "file_bytes" : "file", "an absolute path", name.empty() ? "nothing" : "another name");
  return name;
}

nlohmann::json files_json(const std::vector<std::filesystem::path>& files) {
  nlohmann::json list = nlohmann::json::array();
  for (const std::filesystem::path& file : files) put_file(list.emplace_back(nlohmann::json::object()), file);
  return list;
}

/// None where the field is not there: earlier versions knew no such files.
std::vector<std::filesystem::path> files_from(Fields& fields, const char* key, const std::string& place) {
  std::vector<std::filesystem::path> files;
  if (!fields.has(key)) return files;
  for (const nlohmann::json& one : fields.array(key, most_records)) {
    Fields inner(one, place + std::to_string(files.size()));
    files.push_back(file_from(inner));
    inner.refuse_unknown();
  }
  return files;
}

}  // namespace

Session session_of(const views::ViewState& state, const QString& page) {
  Session session;
  for (const views::RecordPtr& run : state.runs) session.records.push_back({run->path(), run->meta().run_id});
  for (const views::SweepPtr& sweep : state.sweeps) session.sweeps.push_back(sweep->path);
  for (const views::BenchPtr& bench : state.benches) session.benches.push_back(bench->path);
  session.bench = state.bench;
  session.shown = state.current;
  session.page = page.toStdString();
  session.state = views::view_state_to_json(state, state.runs);
  return session;
}

nlohmann::json session_to_json(const Session& session) {
  nlohmann::json records = nlohmann::json::array();
  for (const SessionRecord& record : session.records) {
    nlohmann::json one = {{"run_id", record.run_id}};
    put_file(one, record.file);
    records.push_back(std::move(one));
  }
  return {{"version", SessionStore::version},
          {"records", std::move(records)},
          {"sweeps", files_json(session.sweeps)},
          {"benches", files_json(session.benches)},
          {"bench", session.bench},
          {"shown", session.shown},
          {"page", session.page},
          {"state", session.state}};
}

Session session_from_json(const nlohmann::json& json, const std::string& place) {
  Fields fields(json, place);
  fields.integer("version", 1, SessionStore::version);
  Session session;
  int number = 0;
  for (const nlohmann::json& one : fields.array("records", most_records)) {
    Fields inner(one, place + ", record " + std::to_string(number++));
    session.records.push_back({file_from(inner), inner.string("run_id", 256)});
    inner.refuse_unknown();
  }
  session.sweeps = files_from(fields, "sweeps", place + ", sweep ");
  session.benches = files_from(fields, "benches", place + ", bench result ");
  session.bench = static_cast<int>(
      fields.integer_or("bench", -1, -1, static_cast<std::int64_t>(session.benches.size()) - 1));
  session.shown =
      static_cast<int>(fields.integer("shown", -1, static_cast<std::int64_t>(session.records.size()) - 1));
  session.page = fields.string("page", 64);
  session.state = fields.object("state");
  fields.refuse_unknown();
  views::check_view_state_json(session.state, session.records.size(), place + ", \"state\"");
  return session;
}

SessionStore::SessionStore(const QString& settings_file) {
  const QFileInfo beside(settings_file);
  file_ = beside.absolutePath() + "/" + beside.completeBaseName() + ".session.json";
  writer_.setMaxThreadCount(1);
}

SessionStore::~SessionStore() {
  finish();
}

std::optional<Session> SessionStore::read() const {
  QFile file(file_);
  if (!file.exists()) return std::nullopt;
  const std::string place = shown_path(file_).toStdString();
  if (!file.open(QIODevice::ReadOnly))
    throw input_error(place, "the last session cannot be read", "a file", file.errorString().toStdString());
  if (file.size() > most_bytes)
    throw input_error(place, "the last session cannot be read", "at most " + std::to_string(most_bytes) + " bytes",
                      std::to_string(file.size()));
  const nlohmann::json json = parse_json(file.readAll().toStdString(), place);
  Fields fields(json, place);
  const std::int64_t found = fields.integer("version", 1, 1000000);
  if (found > version) {
    const QString aside = QStringLiteral("%1.v%2").arg(file_).arg(found);
    QFile::remove(aside);
    QFile::rename(file_, aside);
    throw input_error(place, "the last session is of a newer program; it was set aside",
                      "version " + std::to_string(version) + " at most", std::to_string(found));
  }
  return session_from_json(json, place);
}

void SessionStore::write(const Session& session) {
  writer_.clear();  // what waits is older than this
  (void)QtConcurrent::run(&writer_, [file = file_, bytes = dump_json(session_to_json(session))] {
    QDir().mkpath(QFileInfo(file).absolutePath());
    QSaveFile out(file);
    if (!out.open(QIODevice::WriteOnly)) return;
    out.write(bytes.data(), static_cast<qint64>(bytes.size()));
    out.commit();
  });
}

void SessionStore::finish() {
  writer_.waitForDone();
}

}  // namespace headroom::gui
