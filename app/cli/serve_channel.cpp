// SPDX-License-Identifier: Apache-2.0
#include "serve_channel.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>

#include "protocol/framing.h"

namespace headroom::cli {
namespace {

constexpr int poll_ms = 100;

}  // namespace

ServeChannel::~ServeChannel() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ServeChannel::replace(int descriptor) {
  ++client_;  // whoever is in the middle of a message to the old one stops there
  const std::lock_guard lock(mutex_);
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = descriptor;
  problem_ = 0;
}

void ServeChannel::send(const std::string& body, std::optional<int> client) {
  const std::string framed = protocol::frame_message(body);
  const std::lock_guard lock(mutex_);
  const int now = client_;
  if (descriptor_ < 0 || client.value_or(now) != now) return;
  std::int64_t waited_ms = 0;
  for (std::size_t sent = 0; sent < framed.size() && !broken() && client_ == now;) {
    // A pipe that is ready takes this much without blocking: a window that does not read must not hold up for ever
    // what may go on without it.
    pollfd output = {descriptor_, POLLOUT, 0};
    const int ready = ::poll(&output, 1, poll_ms);
    if (ready == 0) {
      waited_ms += poll_ms;
      if (const std::int64_t patience = patience_ms_; patience > 0 && waited_ms >= patience) problem_ = ETIMEDOUT;
      continue;
    }
    if (ready < 0) {
      if (errno != EINTR) problem_ = errno;
      continue;
    }
    const auto n = ::write(descriptor_, framed.data() + sent, std::min<std::size_t>(framed.size() - sent, PIPE_BUF));
    if (n > 0) {
      sent += static_cast<std::size_t>(n);
      waited_ms = 0;
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
      problem_ = n == 0 ? ENOSPC : errno;
    }
  }
}

void ServeChannel::notify(const char* method, nlohmann::json params) {
  send(protocol::write_envelope(protocol::Notification{method, std::move(params)}));
}

void ServeChannel::respond(int client, const protocol::RequestId& id, nlohmann::json result) {
  send(protocol::write_envelope(protocol::Response{id, std::move(result), {}}), client);
}

void ServeChannel::respond_error(int client, const std::optional<protocol::RequestId>& id, protocol::ErrorInfo error) {
  send(protocol::write_envelope(protocol::Response{id, {}, std::move(error)}), client);
}

protocol::ErrorInfo describe_exception(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return protocol::error_info(error);
  } catch (const std::bad_alloc&) {
    return protocol::error_info(device_error("out of memory"));
  } catch (const std::exception& error) {
    return {static_cast<int>(ErrorKind::internal), error.what(), {}, {}, {}};
  } catch (...) {
    return {static_cast<int>(ErrorKind::internal), "unknown fault", {}, {}, {}};
  }
}

}  // namespace headroom::cli
