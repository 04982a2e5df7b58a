// SPDX-License-Identifier: Apache-2.0
#include "serve_door.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/paths.h"

namespace headroom::cli {
namespace fs = std::filesystem;
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "host";
  std::string text = name.data();
  // The home folder may be shared between machines, a socket is not.
  for (char& c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-') c = '_';
  return text.substr(0, 40);
}

/// Ours alone: a folder that another user made or may write into would let that one take the window's place.
bool is_private(const fs::path& folder) {
  struct stat state {};
  return ::lstat(folder.c_str(), &state) == 0 && S_ISDIR(state.st_mode) && state.st_uid == ::geteuid() &&
         (state.st_mode & 077) == 0;
}

bool make_private(const fs::path& folder) {
  std::error_code ignored;
  fs::create_directories(folder.parent_path(), ignored);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno == EEXIST) ::chmod(folder.c_str(), 0700);
  return is_private(folder);
}

bool fill_address(const fs::path& file, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  const std::string& name = file.native();
  if (name.size() >= sizeof address.sun_path) return false;
  std::copy(name.begin(), name.end(), address.sun_path);
  return true;
}

bool is_ours(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::geteuid();
}

bool write_whole(int descriptor, const char* bytes, std::size_t count) {
  while (count > 0) {
    const auto n = ::write(descriptor, bytes, count);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes += n;
    count -= static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

fs::path serve_folder() {
  sockaddr_un ignored;
  const auto wanted = cache_folder() / "engines";
  // The name of a socket may have a hundred bytes, a home folder more.
  if (fill_address(wanted / (host_name() + "-4194304.sock"), ignored) && make_private(wanted)) return wanted;
  const fs::path other = "/tmp/headroom-" + std::to_string(::geteuid());
  if (make_private(other)) return other;
  throw device_error("no folder for the engine's socket",
                     wanted.string() + " or " + other.string() + " of this user alone", "neither can be made");
}

fs::path saved_jobs_file() {
  return serve_folder() / (host_name() + "-ended.json");
}

ServeDoor::ServeDoor() {
  file_ = serve_folder() / (host_name() + '-' + std::to_string(::getpid()) + ".sock");
  sockaddr_un address;
  ::unlink(file_.c_str());  // of a process that had this number before
  descriptor_ = fill_address(file_, address) ? ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
  if (descriptor_ < 0 || ::bind(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(descriptor_, 4) != 0) {
    const int problem = errno;
    if (descriptor_ >= 0) ::close(descriptor_);
    throw Error(ErrorKind::device, "the engine's socket cannot be made", {file_.string(), {}, std::strerror(problem)});
  }
}

ServeDoor::~ServeDoor() {
  hide();
  ::close(descriptor_);
}

void ServeDoor::hide() {
  if (!file_.empty()) ::unlink(file_.c_str());
  file_.clear();
}

int ServeDoor::accept() const {
  const int socket = ::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC);
  if (socket < 0 || is_ours(socket)) return socket;
  ::close(socket);
  return -1;
}

int find_kept_engine() {
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  const std::string prefix = host_name() + '-';
  for (fs::directory_iterator entry(serve_folder(), error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->path().filename().native().starts_with(prefix) && entry->path().extension() == ".sock")
      found.emplace_back(fs::last_write_time(entry->path(), ignored), entry->path());
  }
  std::sort(found.rbegin(), found.rend());
  for (const auto& [time, file] : found) {
    sockaddr_un address;
    const int socket = fill_address(file, address) ? ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (socket < 0) continue;
    if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && is_ours(socket)) return socket;
    if (errno == ECONNREFUSED) ::unlink(file.c_str());  // its engine was killed
    ::close(socket);
  }
  return -1;
}

void forward_streams(int socket, int output) {
  std::vector<char> buffer(1 << 16);
  pollfd ends[2] = {{STDIN_FILENO, POLLIN, 0}, {socket, POLLIN, 0}};
  for (;;) {
    if (::poll(ends, 2, -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (ends[0].revents != 0) {
      const auto n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (n == 0 || (n < 0 && errno != EINTR)) break;
      if (n > 0 && !write_whole(socket, buffer.data(), static_cast<std::size_t>(n))) break;
    }
    if (ends[1].revents != 0) {
      const auto n = ::read(socket, buffer.data(), buffer.size());
      if (n == 0 || (n < 0 && errno != EINTR)) break;
      if (n > 0 && !write_whole(output, buffer.data(), static_cast<std::size_t>(n))) break;
    }
  }
  ::close(socket);
}

}  // namespace headroom::cli
