// SPDX-License-Identifier: Apache-2.0
#include "standard_streams.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/output_file.h"

namespace headroom::cli {
namespace {

constexpr std::size_t gathered_bytes = 1 << 16;

std::int64_t answered = 0;  ///< bytes on standard output
std::string gathered;

/// Where a shell has sent it; empty where that is not known.
std::filesystem::path output_path() {
  std::error_code failed;
  return std::filesystem::read_symlink("/proc/self/fd/1", failed);
}

Error output_error(int problem, std::int64_t needed) {
  const auto path = output_path();
  struct stat status;
  const bool file = ::fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode);
  std::string place = "standard output";
  if (!path.empty() && problem != EBADF) place += " (" + path.string() + ")";
  return write_error(place, problem, needed, answered, file ? path.parent_path() : std::filesystem::path());
}

/// As any program does whose reader has gone.
[[noreturn]] void end_silently() {
  remove_unfinished_outputs();
  std::signal(SIGPIPE, SIG_DFL);
  std::raise(SIGPIPE);
  std::_Exit(static_cast<int>(ErrorKind::device));
}

}  // namespace

void hold_standard_streams() {
  // Opened the wrong way round, so that using them fails; messages alone may vanish.
  constexpr std::array ways = {O_WRONLY, O_RDONLY, O_WRONLY};
  for (int stream = 0; stream < static_cast<int>(ways.size()); ++stream)
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF) [[maybe_unused]]
      const int held = ::open("/dev/null", ways[static_cast<std::size_t>(stream)]);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void release_signals() {
  std::signal(SIGPIPE, SIG_DFL);
}

void write_answer(std::string_view text) {
  gathered += text;
  if (gathered.size() >= gathered_bytes) flush_answer();
}

void print_answer(const char* format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  std::string text(static_cast<std::size_t>(std::max(0, std::vsnprintf(nullptr, 0, format, arguments))) + 1, '\0');
  std::vsnprintf(text.data(), text.size(), format, again);
  va_end(again);
  va_end(arguments);
  write_answer(std::string_view(text).substr(0, text.size() - 1));
}

void flush_answer() {
  const std::string whole = std::exchange(gathered, {});
  std::string_view text = whole;
  const std::int64_t needed = answered + static_cast<std::int64_t>(text.size());
  while (!text.empty()) {
    const auto written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) end_silently();
    if (written <= 0) throw output_error(written < 0 ? errno : ENOSPC, needed);
    text.remove_prefix(static_cast<std::size_t>(written));
    answered += written;
  }
}

bool InputText::read_more() {
  std::array<char, 1 << 16> block;
  while (!ended_) {
    const auto got = ::read(STDIN_FILENO, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw input_error("standard input", "cannot be read", "text",
                        errno == EBADF ? "it is closed" : std::strerror(errno));
    ended_ = got == 0;
    waiting_.append(block.data(), static_cast<std::size_t>(got));
    return !ended_;
  }
  return false;
}

std::string InputText::rest() {
  while (read_more()) {
  }
  return std::exchange(waiting_, {});
}

bool InputText::line(std::string& text) {
  std::size_t end, searched = 0;
  while ((end = waiting_.find('\n', searched)) == std::string::npos) {
    searched = waiting_.size();
    if (!read_more()) break;
  }
  if (end == std::string::npos && waiting_.empty()) return false;
  text = waiting_.substr(0, end);
  waiting_.erase(0, end == std::string::npos ? end : end + 1);
  return true;
}

}  // namespace headroom::cli
