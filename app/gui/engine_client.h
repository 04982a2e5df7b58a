// SPDX-License-Identifier: GPL-3.0-or-later
// The engine as a child process: `headroom serve`, here or through ssh, spoken to in framed JSON-RPC. Nothing in here
// waits: writes are buffered by the event loop, reads are worked off in slices, hostile output ends the engine.
#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QProcess>
#include <QTimer>
#include <functional>
#include <map>
#include <memory>

#include "gui/record_opener.h"
#include "gui/settings_store.h"
#include "protocol/framing.h"
#include "protocol/messages.h"

namespace headroom::gui {

/// A program and its arguments; never goes through a shell on this machine.
struct EngineCommand {
  QString program;
  QStringList arguments;
  bool remote = false;
  QString host = {};  ///< where it is remote
  QString askpass = {};  ///< remote: the program through which ssh asks for a pass phrase or about a host key
  bool attach = false;   ///< it may be an engine that was left with jobs, and its jobs outlive this connection
  bool operator==(const EngineCommand&) const = default;
};

/// What `settings` (and `program_override`, from --engine) mean. The local default is `headroom` beside this program.
/// `come_back`: a local engine was left with jobs; remote ones always are come back to where there is one.
EngineCommand engine_command(const EngineSettings& settings, const QString& program_override = {},
                             bool come_back = false);

class EngineClient : public QObject {
  Q_OBJECT
 public:
  enum class State { stopped, starting, ready };
  /// Called once on the GUI thread: with a result, or with an error where the engine refused, died or did not answer.
  using Answer = std::function<void(const nlohmann::json& result, const protocol::ErrorInfo* error)>;

  explicit EngineClient(QObject* parent = nullptr);
  ~EngineClient() override;

  void start(const EngineCommand& command);
  /// Ends it: end of input first, a kill where that is not heard in two seconds. Does not count as dying.
  void stop();
  /// As stop(), and its jobs end with it even where they would have gone on.
  void end();
  /// Ends it at once; reported through died() with `reason`.
  void kill(const QString& reason);

  State state() const { return state_; }
  bool remote() const { return command_.remote; }
  const EngineCommand& command() const { return command_; }
  qint64 process_id() const { return process_ ? process_->processId() : 0; }
  /// The answer to `initialize`; meaningful while ready.
  const protocol::InitializeResult& hello() const { return hello_; }
  /// What runs there goes on when this connection ends; stays as it was until the next start().
  bool keeps_jobs() const { return keeps_jobs_; }
  /// Asks for that; `answer` is told with an error where it cannot be had.
  void keep_jobs(Answer answer);
  /// "CPU, 2 cores", "NVIDIA H100, 79 GB free", "engine not running".
  QString summary() const;

  /// `timeout_ms` 0: waits as long as the engine lives. Returns a number for cancel(), 0 where it was refused.
  std::int64_t request(const char* method, nlohmann::json params, Answer answer, int timeout_ms = 30000);
  /// The answer is no longer wanted and is not called any more; the engine is told, so that it need not work for it.
  void cancel(std::int64_t request);

 signals:
  void state_changed();
  /// In words, what is being done to reach the engine.
  void step(const QString& text);
  void notified(const QString& method, const nlohmann::json& params);
  /// The engine that there was is no longer ours, whoever wanted that: numbers of its jobs mean nothing from now on.
  /// Comes before died() and before what was asked is answered with an error.
  void gone(const headroom::gui::Problem& why);
  /// It stopped without being asked to, or could not be started, or does not fit this window.
  void died(const headroom::gui::Problem& problem);

 private:
  struct Waiting {
    Answer answer;
    qint64 deadline = 0;  ///< of clock_, 0 = none
  };

  void set_state(State state);
  void read_output();
  void work_off();
  void handle(const std::string& body);
  void say_hello();
  void greeted(const nlohmann::json& result, const protocol::ErrorInfo* error);
  /// The steps of a connection that stands: version, devices, memory.
  void tell_what_there_is();
  void expire();
  void give_up(const Problem& problem);
  void drop_process(const Problem& why);
  void fail_waiting(const QString& message);
  void ended(int code, QProcess::ExitStatus status);
  /// What it said on standard error, and on standard output where its first message never came.
  QString last_words() const;
  /// What stood on its standard output before the first message: a login shell's greeting.
  QString preamble() const;

  EngineCommand command_;
  std::unique_ptr<QProcess, void (*)(QProcess*)> process_;
  std::unique_ptr<protocol::MessageReader> reader_;
  State state_ = State::stopped;
  protocol::InitializeResult hello_;
  std::map<std::int64_t, Waiting> waiting_;
  std::int64_t next_id_ = 1;
  QByteArray error_output_;  ///< the last of its standard error
  QElapsedTimer clock_;
  QTimer expiry_;
  bool working_off_ = false, keeps_jobs_ = false;
};

}  // namespace headroom::gui
