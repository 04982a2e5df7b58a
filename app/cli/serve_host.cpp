// SPDX-License-Identifier: Apache-2.0
#include "serve_host.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "protocol/framing.h"

namespace headroom::cli {
namespace {

constexpr int poll_ms = 100;
// A link that is cut without a word keeps its pipe full; jobs that may go on must not wait for it.
constexpr std::chrono::seconds silent_reader{20};
constexpr std::chrono::milliseconds farewell{500};

}  // namespace

ServeHost::ServeHost(ServeChannel& channel, ServeEngine& engine, std::stop_token stop)
    : channel_(channel), engine_(engine), stop_(std::move(stop)), input_(STDIN_FILENO) {
  engine_.set_keeper([this](bool on) { keep(on); });
}

ServeHost::~ServeHost() {
  if (input_ > STDIN_FILENO) ::close(input_);
  if (came_ >= 0) ::close(came_);
}

void ServeHost::keep(bool on) {
  if (!on) {
    door_.reset();
    return channel_.set_patience({});
  }
  if (door_) return;
  door_.emplace();
  channel_.set_patience(silent_reader);
  ::setsid();  // the end of the window's terminal is not ours; refused where we lead a session already
}

void ServeHost::let_in(int socket) {
  channel_.set_patience(farewell);  // also for a message that is under way
  channel_.notify(protocol::method::session_taken, nlohmann::json::object());
  if (input_ > STDIN_FILENO) ::close(input_);
  input_ = socket;
  const int output = ::fcntl(socket, F_DUPFD_CLOEXEC, 3);
  channel_.replace(output);
  channel_.set_patience(silent_reader);
  engine_.new_client();
}

ServeHost::End ServeHost::talk() {
  protocol::MessageReader reader;
  std::vector<char> buffer(1 << 16);
  while (!engine_.finished() && !channel_.broken() && !stop_.stop_requested()) {
    pollfd ends[2] = {{input_, POLLIN, 0}, {door_ ? door_->descriptor() : -1, POLLIN, 0}};
    if (::poll(ends, 2, poll_ms) <= 0) continue;  // nothing there, or a signal came
    if (ends[1].revents != 0 && door_) {
      came_ = door_->accept();
      if (came_ >= 0) return End::replaced;
    }
    if (ends[0].revents == 0) continue;
    const auto got = ::read(input_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && !door_)
      throw input_error("standard input", "cannot be read", "messages",
                        errno == EBADF ? "it is closed" : std::strerror(errno));
    if (got <= 0) return End::input;
    reader.feed({buffer.data(), static_cast<std::size_t>(got)});
    while (const auto body = reader.next()) engine_.handle(*body);
  }
  return engine_.finished() ? End::finished : stop_.stop_requested() ? End::stopped : End::input;
}

bool ServeHost::wait_for_window() {
  channel_.replace(-1);
  engine_.new_client();
  while (engine_.busy() && !stop_.stop_requested()) {
    pollfd door = {door_->descriptor(), POLLIN, 0};
    if (::poll(&door, 1, poll_ms) <= 0) continue;
    came_ = door_->accept();
    if (came_ >= 0) return true;
  }
  if (stop_.stop_requested()) return false;
  // Nobody finds the door any more; who came to it just now is let in all the same.
  door_->hide();
  if ((came_ = door_->accept()) >= 0) {
    door_.reset();
    door_.emplace();
    return true;
  }
  // A window that comes later is told by the engine that it starts.
  try {
    engine_.log().save(saved_jobs_file());
  } catch (const Error& error) {
    std::fprintf(stderr, "headroom: %s\n", error.what());
  }
  return false;
}

void ServeHost::run() {
  for (;;) {
    End end = End::input;
    try {
      end = talk();
    } catch (const Error& error) {
      if (!door_) throw;
      auto info = protocol::error_info(error);
      info.code = static_cast<int>(protocol::RpcCode::parse_error);
      channel_.respond_error(channel_.client(), std::nullopt, info);
    }
    if (end == End::finished || end == End::stopped) return;
    if (end == End::input && (!door_ || !wait_for_window())) return;
    let_in(std::exchange(came_, -1));
  }
}

}  // namespace headroom::cli
