// SPDX-License-Identifier: Apache-2.0
#include "base/output_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <utility>

namespace headroom {
namespace fs = std::filesystem;
namespace {

constexpr int most_links = 40, most_names = 1000;
constexpr std::chrono::milliseconds reader_poll{20};
constexpr std::chrono::seconds reader_patience{10};

/// Names that a signal's handler can read: written once, then announced.
struct Unfinished {
  std::atomic<bool> taken = false, listed = false;
  char path[PATH_MAX];
};
std::array<Unfinished, 16> unfinished;

int list_unfinished(const fs::path& file) {
  const std::string& name = file.native();
  if (name.size() >= PATH_MAX) return -1;
  for (std::size_t i = 0; i < unfinished.size(); ++i) {
    if (unfinished[i].taken.exchange(true)) continue;
    std::memcpy(unfinished[i].path, name.c_str(), name.size() + 1);
    unfinished[i].listed = true;
    return static_cast<int>(i);
  }
  return -1;  // it would stay behind a program that is killed, no more
}

void strike_off(int slot) {
  if (slot < 0) return;
  unfinished[static_cast<std::size_t>(slot)].listed = false;
  unfinished[static_cast<std::size_t>(slot)].taken = false;
}

fs::path folder_of(const fs::path& file) {
  const fs::path folder = file.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

/// Every link of the last component; folders on the way are the system's business.
fs::path follow_links(fs::path file) {
  for (int links = 0; links < most_links; ++links) {
    std::error_code failed;
    const fs::path next = fs::read_symlink(file, failed);
    if (failed) return file;
    file = next.is_absolute() ? next : folder_of(file) / next;
  }
  throw input_error(file.string(), "cannot be written", "a file", "links that lead in a circle");
}

std::string random_letters() {
  constexpr char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  static thread_local std::random_device source;
  std::string text;
  for (int i = 0; i < 6; ++i) text += letters[source() % (sizeof letters - 1)];
  return text;
}

/// No file of that name may exist. False where one does (EEXIST); other failures: errno.
bool rename_to_free_name(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  // File systems that cannot: a link is as exclusive; without links, a look must do.
  if (::link(from.c_str(), to.c_str()) == 0) return ::unlink(from.c_str()) == 0;
  if (errno == EEXIST) return false;
  struct stat status;
  if (::lstat(to.c_str(), &status) == 0) {
    errno = EEXIST;
    return false;
  }
  return ::rename(from.c_str(), to.c_str()) == 0;
}

std::string bytes_text(std::int64_t bytes) {
  return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
}

}  // namespace

Error write_error(const std::string& place, int problem, std::int64_t needed, std::int64_t written,
                  const fs::path& folder) {
  std::string found;
  struct statvfs disk;
  struct rlimit limit;
  if (problem == EFBIG && ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    found = bytes_text(static_cast<std::int64_t>(limit.rlim_cur)) + " allowed";
  else if (!folder.empty() && ::statvfs(folder.c_str(), &disk) == 0)
    found = bytes_text(static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize) + written) +
            " free";
  else if (problem == ENOSPC)
    found = "0 bytes free";
  const std::string why = problem == ENOSPC   ? "the disk is full"
                          : problem == EDQUOT ? "the disk quota is used up"
                          : problem == EFBIG  ? "it is larger than a file may be (ulimit -f)"
                          : problem == EBADF  ? "it is closed"
                          : problem != 0      ? std::strerror(problem)
                                              : "is the disk full?";
  return Error(ErrorKind::device, "cannot be written whole: " + why, {place, bytes_text(needed), found});
}

OutputPlace::OutputPlace(fs::path asked, OutputKind kind) : asked_(std::move(asked)) {
  if (asked_.empty()) throw usage_error("the output has no name: expected a file, found an empty text");
  const std::string place = asked_.string();
  struct stat status;
  if (::stat(asked_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    if (S_ISDIR(status.st_mode)) throw input_error(place, "cannot be written", "a file name", "a folder");
    const char* const found = S_ISFIFO(status.st_mode)   ? "a pipe"
                              : S_ISCHR(status.st_mode)  ? "a device"
                              : S_ISBLK(status.st_mode)  ? "a disk"
                              : S_ISSOCK(status.st_mode) ? "a socket"
                                                         : "something else";
    if (kind == OutputKind::file)
      throw input_error(place, "cannot be written", "a file: this output is not written from beginning to end", found);
    if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
      throw input_error(place, "cannot be written", "a file, a pipe or a device that takes text", found);
    if (::access(asked_.c_str(), W_OK) != 0)
      throw input_error(place, "cannot be written", "a device or pipe that may be written", std::strerror(errno));
    target_ = asked_;
    stream_ = true;
    return;
  }
  target_ = follow_links(asked_);
  const fs::path in = folder();
  std::error_code ignored;
  if (!target_.has_filename() || !fs::is_directory(in, ignored))
    throw input_error(place, "cannot be written", "an existing folder", in.string());
  if (::access(in.c_str(), W_OK | X_OK) != 0)
    throw input_error(place, "cannot be written", "a folder that may be written", std::strerror(errno));
  const auto seen = state_of(asked_);
  found_ = state_of(target_);
  if (seen != found_) throw input_error(place, "cannot be written", "a file that has a name", "one without");
  if (found_ && ::access(target_.c_str(), W_OK) != 0)
    throw input_error(place, "cannot be written", "a file that may be replaced", std::strerror(errno));
}

std::optional<OutputPlace::State> OutputPlace::state_of(const fs::path& file) {
  struct stat status;
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return State{status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

void OutputPlace::must_not_be(std::span<const fs::path> inputs) const {
  if (!found_) return;
  for (const fs::path& input : inputs) {
    const auto other = state_of(input);
    if (other && other->device == found_->device && other->number == found_->number)
      throw input_error(asked_.string(), "would destroy an input of this command",
                        "another file than " + input.string(), "the same file");
  }
}

fs::path OutputPlace::folder() const {
  return folder_of(target_);
}

OutputFile::OutputFile(OutputPlace& place, std::int64_t total) : place_(place), total_(total) {
  if (place_.stream_)
    open_stream();
  else
    create_part();
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!part_.empty()) ::unlink(part_.c_str());
  strike_off(slot_);
}

void OutputFile::open_stream() {
  // Without O_NONBLOCK a pipe that nobody reads would be waited for, for ever.
  const auto end = std::chrono::steady_clock::now() + reader_patience;
  while ((descriptor_ = ::open(place_.target_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) < 0) {
    if (errno != EINTR && (errno != ENXIO || std::chrono::steady_clock::now() > end)) {
      const int problem = errno;
      throw Error(ErrorKind::device, "cannot be written",
                  {place_.asked_.string(), problem == ENXIO ? "somebody who reads the pipe" : "",
                   problem == ENXIO ? "nobody in ten seconds" : std::strerror(problem)});
    }
    std::this_thread::sleep_for(reader_poll);
  }
  ::fcntl(descriptor_, F_SETFL, ::fcntl(descriptor_, F_GETFL) & ~O_NONBLOCK);
}

void OutputFile::create_part() {
  // The whole name of a long one may be too long with more behind it.
  const std::string name = place_.target_.filename().string().substr(0, NAME_MAX - 12);
  for (int tries = 0; tries < most_names; ++tries) {
    const fs::path part = place_.folder() / (name + "." + random_letters() + ".part");
    descriptor_ = ::open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && (errno == EEXIST || errno == EINTR)) continue;
    if (descriptor_ < 0) fail(errno);
    part_ = part;
    slot_ = list_unfinished(part_);
    struct stat there;  // what is replaced keeps its permissions, where the file system has any
    if (::stat(place_.target_.c_str(), &there) == 0)
      [[maybe_unused]] const int kept = ::fchmod(descriptor_, there.st_mode & 0777);
    return;
  }
  fail(EEXIST);
}

void OutputFile::fail(int problem) const {
  throw write_error(place_.asked_.string(), problem, std::max(total_, bytes_), part_.empty() ? 0 : bytes_,
                    place_.stream_ ? fs::path() : place_.folder());
}

void OutputFile::write(std::span<const std::uint8_t> bytes) {
  total_ = std::max(total_, bytes_ + static_cast<std::int64_t>(bytes.size()));
  while (!bytes.empty()) {
    const auto written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    bytes_ += written;
  }
}

void OutputFile::write(std::string_view text) {
  write(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

fs::path OutputFile::commit() {
  // Some file systems say only here that the disk is full.
  if (!place_.stream_ && ::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail(errno);
  if (::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR) fail(errno);
  if (place_.stream_) return place_.asked_;
  const fs::path lies = rename_part();
  part_.clear();
  strike_off(std::exchange(slot_, -1));
  if (lies != place_.target_) place_.asked_ = place_.target_ = lies;  // what is saved again goes to the same file
  place_.found_ = OutputPlace::state_of(lies);
  return place_.asked_;
}

fs::path OutputFile::rename_part() {
  const fs::path& target = place_.target_;
  const auto now = OutputPlace::state_of(target);
  if (now && now == place_.found_ && ::rename(part_.c_str(), target.c_str()) == 0) return target;
  // Absent, as it was; or something else than there was, which stays.
  if (!now && rename_to_free_name(part_, target)) return target;
  int problem = errno;
  if (now != place_.found_ || problem == EEXIST) {
    const fs::path stem = target.parent_path() / target.stem();
    for (int i = 2; i < most_names; ++i) {
      fs::path beside = stem;
      beside += "-" + std::to_string(i);
      beside += target.extension();
      if (rename_to_free_name(part_, beside)) return beside;
      problem = errno;
      if (problem != EEXIST) break;
    }
  }
  const std::string kept = std::exchange(part_, fs::path()).string();
  strike_off(std::exchange(slot_, -1));
  throw Error(ErrorKind::device, "the finished file cannot get its name and is kept as " + kept,
              {place_.asked_.string(), "a folder whose files may be renamed", std::strerror(problem)});
}

std::string describe_output(const fs::path& asked, const fs::path& written) {
  if (written == asked) return written.string();
  return written.string() + " (" + asked.string() + " was written by another program meanwhile)";
}

fs::path write_output(OutputPlace& place, std::string_view text) {
  OutputFile file(place, static_cast<std::int64_t>(text.size()));
  file.write(text);
  return file.commit();
}

void remove_unfinished_outputs() noexcept {
  for (const Unfinished& file : unfinished)
    if (file.listed) ::unlink(file.path);
}

}  // namespace headroom
