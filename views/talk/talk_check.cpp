// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/talk/talk_check.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <QObject>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/output_file.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "views/common/view_state_json.h"

namespace headroom::views {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t piece_bytes = 4 << 20;

QString talk_words(const std::string& text) {
  return QString::fromStdString(printable_text(text));
}

/// Adds up what several files have been read of.
struct ByteCount {
  const TalkProgress& progress;
  std::int64_t done = 0, total = 0;
  void add(std::size_t bytes) {
    done += static_cast<std::int64_t>(bytes);
    if (progress) progress(done, std::max(done, total));
  }
};

std::int64_t bytes_of_records(const Talk& talk) {
  std::int64_t total = 0;
  std::error_code failed;
  for (const TalkRecord& record : talk.records)
    if (const auto size = fs::file_size(record.path, failed); !failed) total += static_cast<std::int64_t>(size);
  return total;
}

/// The hash of a file, each piece of which `take` gets too.
template <typename Take>
std::string read_through(const fs::path& file, std::stop_token stop, ByteCount& count, Take&& take) {
  std::error_code failed;
  if (!fs::exists(file, failed)) throw input_error(file.native(), "is not there", "a record", "nothing");
  if (!fs::is_regular_file(file, failed)) throw input_error(file.native(), "is no file", "a record", "something else");
  std::ifstream in(file, std::ios::binary);
  if (!in) throw input_error(file.native(), "cannot be read", "a record", std::strerror(errno));
  Sha256 hash;
  std::vector<std::uint8_t> piece(piece_bytes);
  while (in) {
    if (stop.stop_requested()) throw cancelled_error();
    in.read(reinterpret_cast<char*>(piece.data()), static_cast<std::streamsize>(piece.size()));
    const auto got = static_cast<std::size_t>(in.gcount());
    if (in.bad()) throw input_error(file.native(), "cannot be read to its end");
    hash.add({piece.data(), got});
    take(std::span(piece.data(), got));
    count.add(got);
  }
  return hash.hex();
}

TalkFault fault_of(int step, const Error& error) {
  QString what = talk_words(error.message());
  if (!error.detail().place.empty()) what = talk_words(error.detail().place) + ": " + what;
  return {step, what, talk_words(error.detail().expected), talk_words(error.detail().found)};
}

/// What a step of the Attention or Compare page draws must lie in the record: no engine is asked in a talk.
void check_map(const record::RunRecord& record, const QString& method, int layer, int step,
               std::vector<TalkFault>& faults) {
  const std::string id = method.toStdString();
  if (!record.find_method(id) || !record.meta().has_layer(layer)) return;  // said already
  const record::LayerAvailability there = record.availability(id, layer);
  if (there.stream || there.thumbnails) return;
  faults.push_back({step, QObject::tr("the map of layer %1 is not in the record").arg(layer),
                    QObject::tr("a layer that %1 holds").arg(talk_words(record.path().filename().native())),
                    QObject::tr("no map of it; only an engine could make it")});
}

void check_step(const Talk& talk, std::size_t index, const std::vector<RecordPtr>& records,
                std::vector<TalkFault>& faults) {
  const TalkStep& step = talk.steps[index];
  const int number = static_cast<int>(index);
  if (step.title.trimmed().isEmpty())
    faults.push_back({number, QObject::tr("has no title"), QObject::tr("a title"), QObject::tr("nothing")});
  for (const std::size_t record : records_of_step(step))
    if (record < records.size() && !records[record]) return;  // its record is what is wrong
  try {
    const ViewState state = view_of_step(talk, index, records);
    const record::RunRecord& record = *state.runs[static_cast<std::size_t>(state.current)];
    if (step.page == "attention") check_map(record, state.method, state.layer, number, faults);
    if (step.page == "compare") {
      const SideChoice& a = state.display.baseline;
      const SideChoice& b = state.display.candidate;
      check_map(a.run ? *a.run : record, a.method.isEmpty() ? state.baseline : a.method, state.layer, number, faults);
      check_map(b.run ? *b.run : record, b.method.isEmpty() ? state.method : b.method, state.layer, number, faults);
    }
    if (step.first_token >= std::max<std::int64_t>(1, record.length()))
      faults.push_back({number, QObject::tr("the text begins behind its end"),
                        QObject::tr("a token below %1").arg(record.length()), QString::number(step.first_token)});
    if (step.page == "budget") {
      const QString stream = state.display.curve_stream.isEmpty() ? state.baseline : state.display.curve_stream;
      if (!record.mass_curves(stream.toStdString()))
        faults.push_back({number, QObject::tr("the record holds no mass curves of %1").arg(stream),
                          QObject::tr("curves"), QObject::tr("none")});
    }
  } catch (const Error& error) {
    faults.push_back(fault_of(number, error));
  }
}

/// A name of its own for each copy.
std::string free_name(const fs::path& file, std::set<std::string>& taken) {
  const std::string stem = file.stem().string(), suffix = file.extension().string();
  std::string name = stem + suffix;
  for (int i = 2; !taken.insert(name).second; ++i) name = stem + "-" + std::to_string(i) + suffix;
  return name;
}

/// Deletes what was begun, unless it was finished.
struct UnfinishedFolder {
  fs::path path;
  bool kept = false;
  ~UnfinishedFolder() {
    std::error_code failed;
    if (!kept) fs::remove_all(path, failed);
  }
};

}  // namespace

QString TalkFault::line() const {
  QStringList why;
  if (!expected.isEmpty()) why << QObject::tr("expected %1").arg(expected);
  if (!found.isEmpty()) why << QObject::tr("found %1").arg(found);
  return why.isEmpty() ? what : what + " (" + why.join(", ") + ")";
}

ViewState view_of_step(const Talk& talk, std::size_t index, const std::vector<RecordPtr>& records) {
  const TalkStep& step = talk.steps[index];
  const std::string place = "step " + std::to_string(index + 1);
  ViewState state = view_state_from_json(step.view, records, place);
  if (const std::vector<Misfit> wrong = misfits(state); !wrong.empty())
    throw input_error(place, "its record has no such " + wrong.front().key, wrong.front().expected,
                      wrong.front().found);
  // Only what the step shows: a record of another step may be missing.
  std::vector<RecordPtr> needed = records_named(state);
  const RecordPtr shown = state.runs[static_cast<std::size_t>(state.current)];
  state.current = static_cast<int>(std::find(needed.begin(), needed.end(), shown) - needed.begin());
  state.runs = std::move(needed);
  return state;
}

std::vector<TalkFault> check_talk(const Talk& talk, std::stop_token stop, const TalkProgress& progress) {
  std::vector<TalkFault> faults;
  if (talk.steps.empty())
    faults.push_back({-1, QObject::tr("the talk has no steps"), QObject::tr("a step"), QObject::tr("none")});
  ByteCount count{progress, 0, bytes_of_records(talk)};
  std::vector<RecordPtr> records(talk.records.size());
  for (std::size_t i = 0; i < talk.records.size(); ++i) {
    const TalkRecord& wanted = talk.records[i];
    // Said of the first step that shows it; the others fail with it.
    int first = -1;
    for (std::size_t step = 0; step < talk.steps.size() && first < 0; ++step) {
      const auto numbers = records_of_step(talk.steps[step]);
      if (std::find(numbers.begin(), numbers.end(), i) != numbers.end()) first = static_cast<int>(step);
    }
    const QString name = talk_words(wanted.path.native());
    try {
      const std::string hash = read_through(wanted.path, stop, count, [](auto) {});
      const RecordPtr record = record::RunRecord::open(wanted.path);
      if (record->meta().run_id != wanted.run_id) {
        faults.push_back({first, QObject::tr("%1: is the record of another run").arg(name),
                          QObject::tr("run %1").arg(talk_words(wanted.run_id)),
                          QObject::tr("run %1").arg(talk_words(record->meta().run_id))});
        continue;
      }
      if (!wanted.sha256.empty() && hash != wanted.sha256) {
        faults.push_back({first, QObject::tr("%1: has changed since it was put into the talk").arg(name),
                          QObject::tr("hash %1…").arg(talk_words(wanted.sha256.substr(0, 12))),
                          QObject::tr("hash %1…").arg(talk_words(hash.substr(0, 12)))});
        continue;
      }
      records[i] = record;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled) throw;
      faults.push_back(fault_of(first, error));
    }
  }
  for (std::size_t step = 0; step < talk.steps.size(); ++step) {
    if (stop.stop_requested()) throw cancelled_error();
    check_step(talk, step, records, faults);
  }
  std::stable_sort(faults.begin(), faults.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return faults;
}

void take_hashes(Talk& talk, std::stop_token stop, const TalkProgress& progress) {
  ByteCount count{progress, 0, bytes_of_records(talk)};
  for (TalkRecord& record : talk.records)
    if (record.sha256.empty()) record.sha256 = read_through(record.path, stop, count, [](auto) {});
}

fs::path pack_talk(const Talk& whole, const std::string& name, const fs::path& folder, std::stop_token stop,
                   const TalkProgress& progress) {
  Talk talk = without_spare_records(whole);
  std::error_code failed;
  const fs::path target = fs::absolute(folder, failed).lexically_normal();
  const auto refuse = [&](const std::string& message, const std::string& expected, const std::string& found) {
    return input_error(target.native(), message, expected, found);
  };
  if (fs::exists(fs::symlink_status(target, failed)))
    throw refuse("is there already", "a folder that does not exist", "one that does");
  const fs::path parent = target.parent_path();
  if (!fs::is_directory(parent, failed))
    throw refuse("the folder above it is not there", "a folder that can be written to", parent.native());
  UnfinishedFolder part{parent / ("." + target.filename().string() + ".part-" + std::to_string(::getpid()))};
  if (!fs::create_directory(part.path, failed) || !fs::create_directory(part.path / "records", failed))
    throw refuse("cannot be made", "a folder that can be written to", failed.message());
  ByteCount count{progress, 0, bytes_of_records(talk)};
  std::set<std::string> taken;
  for (TalkRecord& record : talk.records) {
    const fs::path copy = part.path / "records" / free_name(record.path, taken);
    OutputPlace place(copy, OutputKind::file);
    OutputFile out(place);
    const std::string hash =
        read_through(record.path, stop, count, [&](std::span<const std::uint8_t> bytes) { out.write(bytes); });
    if (!record.sha256.empty() && hash != record.sha256)
      throw input_error(record.path.native(), "has changed since it was put into the talk",
                        "hash " + record.sha256.substr(0, 12) + "…", "hash " + hash.substr(0, 12) + "…");
    out.commit();
    record.sha256 = hash;
    record.path = copy;
  }
  const std::string file = name + "." + talk_suffix;
  write_talk(talk, part.path / file);
  // Nothing that came there meanwhile is replaced.
  if (::renameat2(AT_FDCWD, part.path.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) throw refuse("is there already", "a folder that does not exist", "one that does");
    if (errno != EINVAL || fs::exists(fs::symlink_status(target, failed)))
      throw refuse("cannot be made", "a folder that can be written to", std::strerror(errno));
    fs::rename(part.path, target, failed);  // a file system that knows no such flag
    if (failed) throw refuse("cannot be made", "a folder that can be written to", failed.message());
  }
  part.kept = true;
  return target / file;
}

}  // namespace headroom::views
