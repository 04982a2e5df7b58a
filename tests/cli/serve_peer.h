// SPDX-License-Identifier: Apache-2.0
// The window's side of a conversation with `headroom serve`, for tests.
#pragma once

#include <QElapsedTimer>
#include <QProcess>
#include <deque>
#include <functional>

#include "protocol/framing.h"
#include "protocol/json_fields.h"
#include "protocol/messages.h"

namespace headroom::test {

using nlohmann::json;

/// The window's side. Everything the engine writes to standard output must be framed messages.
class Peer {
 public:
  explicit Peer(const QString& folder, const QString& device = "cpu", const QStringList& environment = {},
                const QStringList& more = {}) {
    process.setProcessChannelMode(QProcess::SeparateChannels);
    process.setEnvironment(QProcess::systemEnvironment() + environment);
    process.start(QStringLiteral(HEADROOM_BINARY_DIR "/headroom"),
                  QStringList{"serve", "--device", device, "--folder", folder} + more);
  }
  ~Peer() {
    if (left_) return;
    process.closeWriteChannel();
    if (!process.waitForFinished(20000)) process.kill(), process.waitForFinished();
    delete &process;
  }
  Peer(const Peer&) = delete;
  /// The connection ends, the engine is left to itself (QProcess would kill it).
  void leave() {
    left_ = true;
    process.closeWriteChannel();
    process.closeReadChannel(QProcess::StandardOutput);
    for (int i = 0; i < 20 && process.bytesToWrite() > 0; ++i) process.waitForBytesWritten(50);
  }

  void send_bytes(const std::string& bytes) {
    process.write(bytes.data(), static_cast<qint64>(bytes.size()));
    process.waitForBytesWritten(1000);
  }
  std::int64_t send(const char* method, const json& params) {
    send_bytes(protocol::frame_message(protocol::write_envelope(protocol::Request{++last_id, method, params})));
    return last_id;
  }
  /// The next message that `wanted` accepts; others wait their turn. Null where none comes in time.
  json wait(const std::function<bool(const json&)>& wanted, int timeout_ms = 60000) {
    QElapsedTimer clock;
    clock.start();
    for (std::size_t seen = 0;;) {
      for (; seen < messages.size(); ++seen) {
        if (!wanted(messages[seen])) continue;
        json found = std::move(messages[seen]);
        messages.erase(messages.begin() + static_cast<std::ptrdiff_t>(seen));
        return found;
      }
      if (clock.elapsed() > timeout_ms) return nullptr;
      const bool ended = process.state() == QProcess::NotRunning;
      process.waitForReadyRead(50);
      const auto bytes = process.readAllStandardOutput();
      reader.feed({bytes.constData(), static_cast<std::size_t>(bytes.size())});
      bool any = false;
      while (const auto body = reader.next()) messages.push_back(protocol::parse_json(*body, "engine")), any = true;
      if (ended && !any) return nullptr;
    }
  }
  json response(std::int64_t id) {
    return wait([&](const json& m) { return m.contains("id") && m["id"] == id; });
  }
  json ask(const char* method, const json& params) { return response(send(method, params)); }
  json notification(const char* method, std::int64_t job, int timeout_ms = 60000) {
    return wait([&](const json& m) { return m.value("method", "") == method && m["params"]["job"] == job; },
                timeout_ms);
  }
  protocol::InitializeResult initialize() {
    const auto answer =
        ask(protocol::method::initialize,
            protocol::to_json(protocol::InitializeParams{protocol::protocol_version, record::schema_version, "test"}));
    return protocol::initialize_result_from_json(answer["result"]);
  }

  QProcess& process = *new QProcess;  ///< of this object, unless it was left
  protocol::MessageReader reader;
  std::deque<json> messages;
  std::int64_t last_id = 0;

 private:
  bool left_ = false;
};

}  // namespace headroom::test
