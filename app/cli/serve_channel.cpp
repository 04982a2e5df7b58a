// SPDX-License-Identifier: Apache-2.0
#include "serve_channel.h"

#include <unistd.h>

#include <cerrno>
#include <new>

#include "protocol/framing.h"

namespace headroom::cli {

ServeChannel::~ServeChannel() {
  ::close(descriptor_);
}

void ServeChannel::send(const std::string& body) {
  const std::string framed = protocol::frame_message(body);
  const std::lock_guard lock(mutex_);
  for (std::size_t sent = 0; sent < framed.size() && !broken();) {
    const auto n = ::write(descriptor_, framed.data() + sent, framed.size() - sent);
    if (n > 0)
      sent += static_cast<std::size_t>(n);
    else if (n == 0 || errno != EINTR)
      problem_ = n == 0 ? ENOSPC : errno;
  }
}

void ServeChannel::notify(const char* method, nlohmann::json params) {
  send(protocol::write_envelope(protocol::Notification{method, std::move(params)}));
}

void ServeChannel::respond(const protocol::RequestId& id, nlohmann::json result) {
  send(protocol::write_envelope(protocol::Response{id, std::move(result), {}}));
}

void ServeChannel::respond_error(const std::optional<protocol::RequestId>& id, protocol::ErrorInfo error) {
  send(protocol::write_envelope(protocol::Response{id, {}, std::move(error)}));
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
