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

std::int64_t bytes_of_talk(const Talk& talk) {
  std::int64_t total = 0;
  std::error_code failed;
  for (const fs::path& file : files_of_talk(talk))
    if (const auto size = fs::file_size(file, failed); !failed) total += static_cast<std::int64_t>(size);
  return total;
}

/// The hash of a file, each piece of which `take` gets too.
template <typename Take>
std::string read_through(const fs::path& file, const char* kind, std::stop_token stop, ByteCount& count, Take&& take) {
  std::error_code failed;
  if (!fs::exists(file, failed)) throw input_error(file.native(), "is not there", kind, "nothing");
  if (!fs::is_regular_file(file, failed)) throw input_error(file.native(), "is no file", kind, "something else");
  std::ifstream in(file, std::ios::binary);
  if (!in) throw input_error(file.native(), "cannot be read", kind, std::strerror(errno));
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

/// What a step chooses of its sweep. What names nothing takes the first that there is.
void check_sweep_look(const SweepLook& look, const OpenSweep& sweep, int step, std::vector<TalkFault>& faults) {
  const record::SweepMeta& meta = sweep.record.meta;
  const auto wrong = [&](const QString& what, const QString& expected, const QString& found) {
    faults.push_back({step, QObject::tr("its sweep has no such %1").arg(what), expected, found});
  };
  const auto has_method = [&](const QString& id) {
    return std::any_of(meta.methods.begin(), meta.methods.end(),
                       [&](const record::SweepMethod& method) { return method.id == id.toStdString(); });
  };
  if (!look.method.isEmpty() && !has_method(look.method))
    wrong(QObject::tr("method"), QObject::tr("one of %1 methods").arg(meta.methods.size()), look.method);
  if (look.task >= static_cast<int>(meta.tasks.size()))
    wrong(QObject::tr("task"), QObject::tr("below %1").arg(meta.tasks.size()), QString::number(look.task));
  if (look.length >= 0 && std::find(meta.lengths.begin(), meta.lengths.end(), look.length) == meta.lengths.end())
    wrong(QObject::tr("length"), QObject::tr("one of %1 lengths").arg(meta.lengths.size()),
          QString::number(look.length));
}

void check_step(const Talk& talk, std::size_t index, const std::vector<RecordPtr>& records,
                const std::vector<SweepPtr>& sweeps, std::vector<TalkFault>& faults) {
  const TalkStep& step = talk.steps[index];
  const int number = static_cast<int>(index);
  if (step.title.trimmed().isEmpty())
    faults.push_back({number, QObject::tr("has no title"), QObject::tr("a title"), QObject::tr("nothing")});
  for (const std::size_t record : records_of_step(step))
    if (record < records.size() && !records[record]) return;  // its record is what is wrong
  if (step.sweep >= 0 && !sweeps[static_cast<std::size_t>(step.sweep)]) return;
  try {
    const ViewState state = view_of_step(talk, index, records, sweeps);
    if (state.sweep >= 0) check_sweep_look(state.sweep_look, *state.sweeps.front(), number, faults);
    if (state.current < 0) return;  // a sweep alone
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
    if (step.page == "budget" && !shows_sweep(state)) {
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

ViewState view_of_step(const Talk& talk, std::size_t index, const std::vector<RecordPtr>& records,
                       const std::vector<SweepPtr>& sweeps) {
  const TalkStep& step = talk.steps[index];
  const std::string place = "step " + std::to_string(index + 1);
  ViewState state = view_state_from_json(step.view, records, place);
  if (step.sweep >= 0) {
    const auto number = static_cast<std::size_t>(step.sweep);
    if (number >= sweeps.size() || !sweeps[number])
      throw input_error(place, "its sweep cannot be shown", "a sweep that is open", "sweep " + std::to_string(number));
    state.sweeps = {sweeps[number]};
    state.sweep = 0;
    if (state.current < 0) {  // nothing but the sweep was open
      state.runs.clear();
      return state;
    }
  }
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

bool shows_sweep(const ViewState& state) {
  return state.sweep >= 0 &&
         (state.sweep_look.page == 1 || (state.sweep_look.page == 2 && !state.sweep_look.ship_from_runs));
}

std::vector<TalkFault> check_talk(const Talk& talk, std::stop_token stop, const TalkProgress& progress) {
  std::vector<TalkFault> faults;
  if (talk.steps.empty())
    faults.push_back({-1, QObject::tr("the talk has no steps"), QObject::tr("a step"), QObject::tr("none")});
  ByteCount count{progress, 0, bytes_of_talk(talk)};
  const auto changed = [](int step, const QString& name, const std::string& wanted, const std::string& found) {
    return TalkFault{step, QObject::tr("%1: has changed since it was put into the talk").arg(name),
                     QObject::tr("hash %1…").arg(talk_words(wanted.substr(0, 12))),
                     QObject::tr("hash %1…").arg(talk_words(found.substr(0, 12)))};
  };
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
      const std::string hash = read_through(wanted.path, "a record", stop, count, [](auto) {});
      const RecordPtr record = record::RunRecord::open(wanted.path);
      if (record->meta().run_id != wanted.run_id) {
        faults.push_back({first, QObject::tr("%1: is the record of another run").arg(name),
                          QObject::tr("run %1").arg(talk_words(wanted.run_id)),
                          QObject::tr("run %1").arg(talk_words(record->meta().run_id))});
        continue;
      }
      if (!wanted.sha256.empty() && hash != wanted.sha256) {
        faults.push_back(changed(first, name, wanted.sha256, hash));
        continue;
      }
      records[i] = record;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled) throw;
      faults.push_back(fault_of(first, error));
    }
  }
  std::vector<SweepPtr> sweeps(talk.sweeps.size());
  for (std::size_t i = 0; i < talk.sweeps.size(); ++i) {
    const TalkSweep& wanted = talk.sweeps[i];
    const auto shows = std::find_if(talk.steps.begin(), talk.steps.end(),
                                    [&](const TalkStep& step) { return step.sweep == static_cast<int>(i); });
    const int first = shows == talk.steps.end() ? -1 : static_cast<int>(shows - talk.steps.begin());
    try {
      const std::string hash = read_through(wanted.path, "a sweep", stop, count, [](auto) {});
      if (!wanted.sha256.empty() && hash != wanted.sha256)
        faults.push_back(changed(first, talk_words(wanted.path.native()), wanted.sha256, hash));
      else
        sweeps[i] = read_open_sweep(wanted.path);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled) throw;
      faults.push_back(fault_of(first, error));
    }
  }
  for (std::size_t step = 0; step < talk.steps.size(); ++step) {
    if (stop.stop_requested()) throw cancelled_error();
    check_step(talk, step, records, sweeps, faults);
  }
  std::stable_sort(faults.begin(), faults.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return faults;
}

void take_hashes(Talk& talk, std::stop_token stop, const TalkProgress& progress) {
  ByteCount count{progress, 0, bytes_of_talk(talk)};
  for (TalkRecord& record : talk.records)
    if (record.sha256.empty()) record.sha256 = read_through(record.path, "a record", stop, count, [](auto) {});
  for (TalkSweep& sweep : talk.sweeps)
    if (sweep.sha256.empty()) sweep.sha256 = read_through(sweep.path, "a sweep", stop, count, [](auto) {});
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
  if (!talk.sweeps.empty() && !fs::create_directory(part.path / "sweeps", failed))
    throw refuse("cannot be made", "a folder that can be written to", failed.message());
  ByteCount count{progress, 0, bytes_of_talk(talk)};
  std::set<std::string> taken;
  const auto put_copy = [&](fs::path& file, std::string& sha256, const char* kind, const fs::path& to) {
    const fs::path copy = to / free_name(file, taken);
    OutputPlace place(copy, OutputKind::file);
    OutputFile out(place);
    const std::string hash =
        read_through(file, kind, stop, count, [&](std::span<const std::uint8_t> bytes) { out.write(bytes); });
    if (!sha256.empty() && hash != sha256)
      throw input_error(file.native(), "has changed since it was put into the talk",
                        "hash " + sha256.substr(0, 12) + "…", "hash " + hash.substr(0, 12) + "…");
    out.commit();
    sha256 = hash;
    file = copy;
  };
  for (TalkRecord& record : talk.records) put_copy(record.path, record.sha256, "a record", part.path / "records");
  taken.clear();
  for (TalkSweep& sweep : talk.sweeps) put_copy(sweep.path, sweep.sha256, "a sweep", part.path / "sweeps");
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
