// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/sample_records.h"

#include <QDir>
#include <QFile>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"
#include "base/paths.h"

namespace headroom::gui {
namespace {

constexpr qint64 most_list_bytes = 1 << 16;
constexpr std::size_t most_samples = 32;

/// The first file of `folder` by name that `pattern`, a name with '*', fits; empty where there is none.
QString first_fit(const QDir& folder, const QString& pattern) {
  const QStringList files = folder.entryList({pattern}, QDir::Files, QDir::Name);
  return files.isEmpty() ? QString() : folder.absoluteFilePath(files.first());
}

/// `name` of the list: a file of the list's own folder.
QString record_pattern(Fields& fields, const char* name) {
  const std::string text = fields.string(name, 128);
  const QString pattern = QString::fromStdString(text);
  if (pattern.contains('/') || pattern.startsWith('.') || !pattern.endsWith(".h5"))
    fields.fail(name, "the name of an .h5 file beside the list", text);
  return pattern;
}

void read_list(const QString& file, const QDir& folder, SampleRecords& found) {
  QFile list(file);
  const std::string place = file.toStdString();
  if (!list.open(QIODevice::ReadOnly))
    throw input_error(place, "the list of samples cannot be read", "a file", list.errorString().toStdString());
  if (list.size() > most_list_bytes)
    throw input_error(place, "the list of samples is too large", std::to_string(most_list_bytes) + " bytes at most",
                      std::to_string(list.size()));
  const nlohmann::json json = parse_json(list.readAll().toStdString(), place, 8);
  Fields fields(json, place);
  fields.integer("format", 1, 1);
  found.first = first_fit(folder, record_pattern(fields, "first"));
  const nlohmann::json& samples = fields.array("samples", most_samples);
  fields.refuse_unknown();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    Fields entry(samples[i], place + ": samples[" + std::to_string(i) + "]");
    SampleRecord sample;
    sample.path = first_fit(folder, record_pattern(entry, "record"));
    sample.title = QString::fromStdString(entry.string("title", 80)).simplified();
    sample.about = QString::fromStdString(entry.string("about", 500)).simplified();
    sample.model = QString::fromStdString(entry.string_or("model", {}, 64));
    entry.refuse_unknown();
    if (!sample.path.isEmpty()) found.samples << sample;
  }
}

}  // namespace

SampleRecords find_sample_records() {
  SampleRecords found;
  const auto place = find_data("sample_data/records");
  if (!place) return found;
  const QDir folder(QString::fromStdString(place->string()));
  if (!folder.exists("samples.json")) {
    found.first = first_fit(folder, "*.h5");
    return found;
  }
  try {
    read_list(folder.absoluteFilePath("samples.json"), folder, found);
  } catch (const Error& error) {
    found = {};
    found.first = first_fit(folder, "*.h5");
    found.problem = QString::fromStdString(error.what());
  }
  return found;
}

}  // namespace headroom::gui
