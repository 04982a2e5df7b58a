// SPDX-License-Identifier: Apache-2.0
// The engine's side of the connection: framed messages out, safe from any thread.
#pragma once

#include <atomic>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
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
  void respond(const protocol::RequestId& id, nlohmann::json result);
  void respond_error(const std::optional<protocol::RequestId>& id, protocol::ErrorInfo error);
  /// The peer no longer reads: nothing that is sent arrives any more.
  bool broken() const { return problem_ != 0; }
  /// Why, as errno; 0 where all is well.
  int problem() const { return problem_; }

 private:
  void send(const std::string& body);
  std::mutex mutex_;
  int descriptor_;
  std::atomic<int> problem_ = 0;
};

/// Any exception as the structured error that peers receive.
protocol::ErrorInfo describe_exception(const std::exception_ptr& exception);

}  // namespace headroom::cli
