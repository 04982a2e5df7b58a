// SPDX-License-Identifier: Apache-2.0
// The engine's side of the connection: framed messages out, safe from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "protocol/rpc.h"

namespace headroom::cli {

class ServeChannel {
 public:
  /// Takes over `descriptor`.
  explicit ServeChannel(int descriptor) : descriptor_(descriptor) {}
  ~ServeChannel();
  ServeChannel(const ServeChannel&) = delete;
  ServeChannel& operator=(const ServeChannel&) = delete;

  void notify(const char* method, nlohmann::json params);
  /// Dropped where another window has come since client() said `client`: its numbers mean nothing to that one.
  void respond(int client, const protocol::RequestId& id, nlohmann::json result);
  void respond_error(int client, const std::optional<protocol::RequestId>& id, protocol::ErrorInfo error);
  /// Counts the windows that have been connected.
  int client() const { return client_; }
  /// Gives up the window that is connected, in mid-message where it does not read. From now on messages go to
  /// `descriptor`, which this takes over; to nobody where it is negative.
  void replace(int descriptor);
  /// Where nobody reads for this long the window counts as gone; 0 (the default): it is waited for.
  void set_patience(std::chrono::milliseconds patience) { patience_ms_ = patience.count(); }
  /// The peer no longer reads: nothing that is sent arrives any more.
  bool broken() const { return problem_ != 0; }
  /// Why, as errno; 0 where all is well.
  int problem() const { return problem_; }

 private:
  void send(const std::string& body, std::optional<int> client = {});
  std::mutex mutex_;
  int descriptor_;
  std::atomic<int> client_ = 0, problem_ = 0;
  std::atomic<std::int64_t> patience_ms_ = 0;
};

/// Any exception as the structured error that peers receive.
protocol::ErrorInfo describe_exception(const std::exception_ptr& exception);

}  // namespace headroom::cli
