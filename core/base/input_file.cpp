// SPDX-License-Identifier: Apache-2.0
#include "base/input_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace headroom {
namespace {

constexpr int poll_ms = 50;  // between two looks at a stop

/// A descriptor that closes itself.
class InputFile {
 public:
  InputFile(const std::filesystem::path& file, const InputKind& kind) : name_(file.string()), kind_(kind) {
    // Without O_NONBLOCK a FIFO would wait for its writer here, deaf to a stop.
    descriptor_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor_ < 0)
      throw input_error(name_, "cannot be read", kind_.what, errno == ENOENT ? "no such file" : std::strerror(errno));
    struct stat status {};
    const bool known = ::fstat(descriptor_, &status) == 0;
    if (!known || (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))) {
      ::close(descriptor_);
      throw input_error(name_, "cannot be read", kind_.what, S_ISDIR(status.st_mode) ? "a folder" : "a device");
    }
    regular_ = S_ISREG(status.st_mode);
    size_ = static_cast<std::size_t>(status.st_size);
    struct statfs found {};
    // A FIFO has a name, so its writer may come later; a pipe's writer was there before this program.
    may_wait_ = S_ISFIFO(status.st_mode) && ::fstatfs(descriptor_, &found) == 0 && found.f_type != PIPEFS_MAGIC;
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::string read(const JobContext& job) {
    if (regular_ && size_ > kind_.max_bytes) too_large(std::to_string(size_) + " bytes");
    std::string text;
    char buffer[1 << 16];
    while (true) {
      job.check();
      const ssize_t count = ::read(descriptor_, buffer, sizeof buffer);
      if (count > 0) {
        text.append(buffer, static_cast<std::size_t>(count));
        if (text.size() > kind_.max_bytes) too_large("more");
      } else if (count == 0 && (!may_wait_ || !text.empty() || writer_came_and_went())) {
        return text;
      } else if (count == 0 || errno == EAGAIN) {
        wait();
      } else if (errno != EINTR) {
        fail();
      }
    }
  }

 private:
  /// Linux reports a hang-up only once there has been a writer since the FIFO was opened here.
  bool writer_came_and_went() const {
    pollfd state{descriptor_, POLLIN, 0};
    return ::poll(&state, 1, 0) > 0 && (state.revents & POLLHUP) != 0 && (state.revents & POLLIN) == 0;
  }
  void wait() const {
    pollfd state{descriptor_, POLLIN, 0};
    ::poll(&state, 1, poll_ms);
  }
  [[noreturn]] void fail() const { throw input_error(name_, "cannot be read", kind_.what, std::strerror(errno)); }

  [[noreturn]] void too_large(const std::string& found) const {
    throw input_error(name_, kind_.too_large, std::to_string(kind_.max_bytes) + " bytes at most", found);
  }

  std::string name_;
  const InputKind& kind_;
  int descriptor_ = -1;
  bool regular_ = false, may_wait_ = false;
  std::size_t size_ = 0;
};

}  // namespace

std::string read_input_file(const std::filesystem::path& file, const InputKind& kind, const JobContext& job) {
  return InputFile(file, kind).read(job);
}

bool reads_once(const std::filesystem::path& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
}

}  // namespace headroom
