// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/prompt_text.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/utf8.h"

namespace headroom::experiment {
namespace {

constexpr std::size_t max_prompt_bytes = 16u << 20;
constexpr int poll_ms = 50;  // between two looks at a stop

Error too_large(const std::string& file, const std::string& found) {
  return input_error(file, "is too large for a prompt", std::to_string(max_prompt_bytes) + " bytes at most", found);
}

/// A descriptor that closes itself.
class PromptFile {
 public:
  explicit PromptFile(const std::string& name) : name_(name) {
    // Without O_NONBLOCK a FIFO would wait for its writer here, deaf to a stop.
    descriptor_ = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor_ < 0)
      throw input_error(name_, "cannot be read", "a text file",
                        errno == ENOENT ? "no such file" : std::strerror(errno));
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) fail();
    if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode)) {
      ::close(descriptor_);
      throw input_error(name_, "cannot be read", "a text file", S_ISDIR(status.st_mode) ? "a folder" : "a device");
    }
    regular_ = S_ISREG(status.st_mode);
    size_ = static_cast<std::size_t>(status.st_size);
    struct statfs found {};
    // A FIFO has a name, so its writer may come later; a pipe's writer was there before this program.
    may_wait_ = S_ISFIFO(status.st_mode) && ::fstatfs(descriptor_, &found) == 0 && found.f_type != PIPEFS_MAGIC;
  }
  ~PromptFile() { ::close(descriptor_); }
  PromptFile(const PromptFile&) = delete;
  PromptFile& operator=(const PromptFile&) = delete;

  std::string read(const JobContext& job) {
    if (regular_ && size_ > max_prompt_bytes) throw too_large(name_, std::to_string(size_) + " bytes");
    std::string text;
    char buffer[1 << 16];
    while (true) {
      job.check();
      const ssize_t count = ::read(descriptor_, buffer, sizeof buffer);
      if (count > 0) {
        text.append(buffer, static_cast<std::size_t>(count));
        if (text.size() > max_prompt_bytes) throw too_large(name_, "more");
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
  [[noreturn]] void fail() const { throw input_error(name_, "cannot be read", "a text file", std::strerror(errno)); }

  std::string name_;
  int descriptor_ = -1;
  bool regular_ = false, may_wait_ = false;
  std::size_t size_ = 0;
};

std::string shown_name(const std::string& file) {
  if (file.starts_with("/dev/") || file.starts_with("/proc/")) return "the text from " + file;  // a name says nothing
  return escape_controls(replace_invalid_utf8(std::filesystem::path(file).filename().string()));
}

std::size_t count_of(std::string_view text, std::string_view wanted) {
  std::size_t count = 0;
  for (auto at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + wanted.size())) ++count;
  return count;
}

}  // namespace

std::string read_prompt_file(const std::string& file, const JobContext& job) {
  return PromptFile(file).read(job);
}

void check_prompt_text(std::string_view text, const std::string& place) {
  if (text.empty()) throw input_error(place, "is empty", "at least one character", "0 bytes");
  if (text.size() > max_prompt_bytes) throw too_large(place, std::to_string(text.size()) + " bytes");
  if (const std::string encoding = foreign_encoding(text); !encoding.empty()) {
    throw input_error(place,
                      "is in another encoding: convert it, e.g. with iconv -f " +
                          encoding.substr(0, encoding.find(' ')) + " -t UTF-8",
                      "UTF-8 text", encoding);
  }
  const std::string kind = file_kind(text);
  const std::string is = kind.starts_with("a") ? ": " + kind : "";  // the others say no more than that it is text
  if (const auto nul = text.find('\0'); nul != std::string_view::npos)
    throw input_error(place, "is binary, not text", "UTF-8 text", "a zero byte at offset " + std::to_string(nul) + is);
  if (const auto bad = first_invalid_utf8(text))
    throw input_error(place, "is not valid UTF-8", "UTF-8 text",
                      "an invalid byte at offset " + std::to_string(*bad) + is);
}

std::vector<std::string> prompt_text_notes(std::string_view text, const std::string& file) {
  std::vector<std::string> notes;
  const std::string name = shown_name(file);
  if (text.starts_with("\xef\xbb\xbf"))
    notes.push_back(
        name + " begins with a byte order mark (ef bb bf), which is part of the prompt: remove it if it should not be");
  if (const std::size_t lines = count_of(text, "\r\n"); lines > 0) {
    notes.push_back(name + " has " + std::to_string(lines) + (lines == 1 ? " line that ends" : " lines that end") +
                    " in CR LF: the carriage returns are part of the prompt");
  }
  return notes;
}

void require_regular_prompt_files(const protocol::RunSpec& spec) {
  for (const auto& file : {spec.prompt_file, spec.system_file}) {
    struct stat status {};
    if (file && ::stat(file->c_str(), &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)))
      throw input_error(*file, "cannot be read twice, as an engine does", "a regular file", "a pipe or a device");
  }
}

}  // namespace headroom::experiment
