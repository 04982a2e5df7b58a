// SPDX-License-Identifier: Apache-2.0
#include "record/sweep/sweep_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json_fields.h"
#include "base/output_file.h"
#include "record/crc32c.h"

namespace headroom::record {
namespace {

using nlohmann::json;

constexpr std::string_view line_head = "{\"crc32c\":\"", line_middle = "\",\"line\":", line_tail = "}";
constexpr std::size_t digits = 8, most_line_bytes = 16u << 20;
constexpr std::int64_t most_store_bytes = 8LL << 30;

std::uint32_t checksum_of(std::string_view text) {
  return crc32c(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

std::string sealed_line(const std::string& text) {
  char number[digits + 1];
  std::snprintf(number, sizeof number, "%08x", checksum_of(text));
  return std::string(line_head) + number + std::string(line_middle) + text + std::string(line_tail) + "\n";
}

/// The text inside; empty where the line is not whole.
std::string_view opened_line(std::string_view line) {
  constexpr std::size_t front = line_head.size() + digits + line_middle.size();
  if (line.size() <= front + line_tail.size() || !line.starts_with(line_head) || !line.ends_with(line_tail) ||
      line.substr(line_head.size() + digits, line_middle.size()) != line_middle)
    return {};
  std::uint32_t expected = 0;
  const char* const number = line.data() + line_head.size();
  const auto [end, failed] = std::from_chars(number, number + digits, expected, 16);
  if (failed != std::errc() || end != number + digits) return {};
  const std::string_view text = line.substr(front, line.size() - front - line_tail.size());
  return checksum_of(text) == expected ? text : std::string_view();
}

using SweepKey = std::pair<SweepSample, std::size_t>;

/// Takes the lines of a store one after the other.
class StoreReader {
 public:
  explicit StoreReader(const std::filesystem::path& file) : file_(file.string()) {}

  void take(std::string_view text, std::int64_t number) {
    const std::string place = file_ + ":" + std::to_string(number);
    const json object = parse_json(text, place, 16);
    if (!object.is_object() || object.size() != 1) throw input_error(place, "is no line of a sweep's store");
    const std::string kind = object.begin().key();
    const json& value = object.begin().value();
    if ((number == 1) != (kind == "meta"))
      throw input_error(place, "the settings of the sweep stand in the first line, and there alone", "meta", kind);
    if (kind == "meta") {
      record_.meta = sweep_meta_from_json(value, place);
      record_.meta.devices.clear();
      for (const SweepSample& sample : own_samples(record_.meta)) samples_.insert(sample);
    } else if (kind == "device") {
      if (!value.is_string() || value.get_ref<const std::string&>().size() > 512)
        throw input_error(place, "device", "a short text", headroom::describe(value));
      devices_.insert(value.get<std::string>());
    } else if (kind == "row") {
      SweepRow row = sweep_row_from_json(record_.meta, value, place);
      check_sample(row.sample, place);
      if (!rows_.insert({row.sample, row.method}).second)
        throw input_error(place, "this row is there already", "each sample and method once",
                          describe(record_.meta, row.sample) + ", " + record_.meta.methods[row.method].id);
      record_.rows.push_back(std::move(row));
    } else if (kind == "curves") {
      SweepCurves curves = sweep_curves_from_json(record_.meta, value, place);
      check_sample(curves.sample, place);
      if (!curves_.insert(curves.sample).second)
        throw input_error(place, "these curves are there already", "each sample once",
                          describe(record_.meta, curves.sample));
      record_.curves.push_back(std::move(curves));
    } else {
      throw input_error(place, "is not known", "row, curves or device", kind);
    }
  }

  SweepRecord finish() {
    record_.meta.devices.assign(devices_.begin(), devices_.end());
    sort_rows(record_);
    record_.meta.complete = has_all_rows(record_);
    return std::move(record_);
  }

 private:
  void check_sample(const SweepSample& sample, const std::string& place) const {
    if (!samples_.contains(sample))
      throw input_error(
          place, "this sample is none of the sweep's",
          "samples of shard " + std::to_string(record_.meta.shard) + "/" + std::to_string(record_.meta.shards),
          describe(record_.meta, sample));
  }

  std::string file_;
  SweepRecord record_;
  std::set<SweepSample> samples_, curves_;
  std::set<SweepKey> rows_;
  std::set<std::string> devices_;
};

Error store_error(const std::filesystem::path& file, int problem, std::int64_t bytes) {
  return write_error(file.string(), problem, bytes, bytes, file.has_parent_path() ? file.parent_path() : ".");
}

}  // namespace

std::filesystem::path sweep_store_path(const std::filesystem::path& record) {
  std::filesystem::path store = record;
  store += ".rows.jsonl";
  return store;
}

SweepStoreContent read_sweep_store(const std::filesystem::path& file) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed))
    throw input_error(file.string(), "there is no store to go on with", "the store of a sweep", "no such file");
  if (const auto bytes = std::filesystem::file_size(file, failed);
      !failed && bytes > static_cast<std::uintmax_t>(most_store_bytes))
    throw input_error(file.string(), "is too large for a sweep's store",
                      std::to_string(most_store_bytes) + " bytes at most", std::to_string(bytes) + " bytes");
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw input_error(file.string(), "cannot be read");
  SweepStoreContent content;
  StoreReader reader(file);
  std::vector<char> buffer(most_line_bytes);
  std::int64_t number = 0, broken = 0;
  std::string first;
  while (stream.getline(buffer.data(), static_cast<std::streamsize>(buffer.size())) || stream.gcount() > 0) {
    ++number;
    const bool ended = stream.good();  // a newline stands behind
    const std::string_view line(buffer.data(), static_cast<std::size_t>(stream.gcount()) - (ended ? 1 : 0));
    if (broken > 0)
      throw input_error(file.string() + ":" + std::to_string(broken),
                        "is damaged: its checksum does not fit, and more follows", "a store as it was written",
                        "another line");
    if (number == 1) first = line.substr(0, line_head.size());
    const std::string_view text = ended ? opened_line(line) : std::string_view();
    if (text.empty()) {
      broken = number;
      if (stream.fail() && !stream.eof()) stream.clear();  // too long for any line of ours
      continue;
    }
    reader.take(text, number);
    content.whole_bytes = static_cast<std::int64_t>(stream.tellg());
  }
  content.torn = broken > 0;
  if (content.whole_bytes == 0) {
    // The process ended in the middle of its first line, or before it.
    if (line_head.starts_with(first)) return content;
    throw input_error(file.string(), "holds no sweep", "a store that a sweep began", "something else");
  }
  content.record = reader.finish();
  return content;
}

SweepStore::SweepStore(const std::filesystem::path& file, const SweepMeta& meta, const std::string& device,
                       const SweepStoreContent* found)
    : path_(file), meta_(meta) {
  descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (found ? 0 : O_EXCL), 0666);
  if (descriptor_ < 0) throw store_error(file, errno, 0);
  const auto give_up = [&](const Error& error) {
    ::close(descriptor_);
    descriptor_ = -1;
    throw error;
  };
  // Where there are no locks, there is no check: the store's own keys still refuse a row that comes twice.
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    give_up(input_error(file.string(), "another process is writing it", "one sweep at a time", "a lock"));
  if (found) {
    struct stat now {};
    if (::fstat(descriptor_, &now) != 0 || now.st_size < found->whole_bytes)
      give_up(input_error(file.string(), "has changed since it was read"));
    if (::ftruncate(descriptor_, found->whole_bytes) != 0 || ::lseek(descriptor_, 0, SEEK_END) < 0)
      give_up(store_error(file, errno, found->whole_bytes));
    bytes_ = found->whole_bytes;
  }
  try {
    if (bytes_ == 0) {
      append("meta", to_json(meta));
      // The new name in its folder, too.
      const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
      if (const int at = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); at >= 0) {
        ::fsync(at);
        ::close(at);
      }
    }
    if (!found || std::find(found->record.meta.devices.begin(), found->record.meta.devices.end(), device) ==
                      found->record.meta.devices.end())
      append("device", device);
  } catch (const Error& error) {
    give_up(error);
  }
}

SweepStore::~SweepStore() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void SweepStore::add(const SweepRow& row) {
  append("row", to_json(meta_, row));
}

void SweepStore::add(const SweepCurves& curves) {
  append("curves", to_json(meta_, curves));
}

void SweepStore::append(const char* kind, const json& value) {
  const std::string line = sealed_line(dump_json(json{{kind, value}}));
  std::size_t done = 0;
  int problem = 0;
  while (done < line.size() && problem == 0) {
    const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written > 0)
      done += static_cast<std::size_t>(written);
    else if (errno != EINTR)
      problem = errno;
  }
  if (problem == 0 && ::fsync(descriptor_) != 0 && errno != EINVAL) problem = errno;
  if (problem != 0) {
    if (::ftruncate(descriptor_, bytes_) == 0) ::lseek(descriptor_, 0, SEEK_END);
    throw store_error(path_, problem, bytes_ + static_cast<std::int64_t>(line.size()));
  }
  bytes_ += static_cast<std::int64_t>(line.size());
}

}  // namespace headroom::record
