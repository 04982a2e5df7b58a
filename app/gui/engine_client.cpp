// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/engine_client.h"

#include <QCoreApplication>
#include <QDir>
#include <QFileInfo>
#include <QLocale>
#include <QPointer>
#include <algorithm>

#include "base/error.h"
#include "base/paths.h"
#include "base/utf8.h"
#include "gui/askpass.h"

namespace headroom::gui {
namespace {

constexpr int slice_ms = 6;  // of the event loop's time for the engine's messages at a stretch
constexpr qsizetype error_output_kept = 16384;
constexpr std::size_t max_waiting = 4096;
constexpr int stop_patience_ms = 4000;    // the engine itself gives a job that does not stop three seconds
constexpr int hello_patience_ms = 60000;  // a cold disk, a pass phrase

/// One word of a POSIX shell's command line, whatever is in it. csh and fish read it the same way.
QString shell_word(QString text) {
  return '\'' + text.replace('\'', "'\\''") + '\'';
}

/// What ssh has the login shell of the other machine run. That shell may be fish or csh, so it is given three plain
/// words, and sh does the rest: the path as it stands, but for a tilde, which means the home folder there.
QString remote_command(const QString& path) {
  return "exec sh -c " + shell_word("p=$0; case $p in \"~/\"*) p=$HOME/${p#??};; esac; exec \"$p\" serve --attach") +
         ' ' + shell_word(path.isEmpty() ? "headroom" : path);
}

/// The last line that says something.
QString last_line(const QString& text) {
  return text.section('\n', -1, -1, QString::SectionSkipEmpty).simplified();
}

constexpr const char* works_on = "works_on";  // property of a local engine that goes on with its jobs

/// A child that goes on without us: QProcess would kill it where it is destroyed, so this one never is.
void leave_behind(QProcess* process) {
  static auto* const left = new QList<QProcess*>;
  process->disconnect();
  process->waitForBytesWritten(500);
  process->closeWriteChannel();
  left->append(process);
}

/// Lets a child that must go away do so behind our back: closes its input, kills it where it lingers.
void retire(QProcess* process) {
  if (!process) return;
  process->disconnect();
  process->setParent(nullptr);
  if (process->state() != QProcess::NotRunning && process->property(works_on).toBool()) return leave_behind(process);
  if (process->state() == QProcess::NotRunning) {
    process->deleteLater();
    return;
  }
  QObject::connect(process, &QProcess::finished, process, &QObject::deleteLater);
  process->closeWriteChannel();
  QTimer::singleShot(stop_patience_ms, process, [process] { process->kill(); });
  if (QCoreApplication::closingDown() || !QCoreApplication::instance()) {
    process->kill();
    process->waitForFinished(500);
  }
}

}  // namespace

EngineCommand engine_command(const EngineSettings& settings, const QString& program_override, bool come_back) {
  EngineCommand command;
  const QStringList serve = come_back ? QStringList{"serve", "--attach"} : QStringList{"serve"};
  command.attach = come_back;
  if (!program_override.isEmpty()) {
    command.program = program_override;
    command.arguments = serve;
    return command;
  }
  if (settings.remote && !settings.host.isEmpty()) {
    command.program = "ssh";
    command.remote = true;
    // A host that looks like an option must not become one.
    command.arguments = settings.options;
    command.arguments << "-T"
                      << "--" << settings.host << remote_command(settings.remote_path);
    command.host = settings.host;
    command.askpass = QString::fromStdString((executable_folder() / "headroom-gui").string());
    command.attach = true;
    return command;
  }
  command.program = settings.program.isEmpty() ? QString::fromStdString((executable_folder() / "headroom").string())
                                               : settings.program;
  command.arguments = serve;
  return command;
}

EngineClient::EngineClient(QObject* parent) : QObject(parent), process_(nullptr, retire) {
  clock_.start();
  expiry_.setInterval(250);
  connect(&expiry_, &QTimer::timeout, this, &EngineClient::expire);
}

EngineClient::~EngineClient() {
  waiting_.clear();
  if (!process_) return;
  // The window is closing: the engine ends with its input, in order and with nothing left half written. Only one that
  // does not is killed. What carries the bytes to a far engine has nothing to tidy up.
  QProcess* process = process_.release();
  if (process->property(works_on).toBool()) {
    leave_behind(process);
    return;
  }
  process->disconnect();
  process->closeWriteChannel();
  if (!process->waitForFinished(command_.remote ? 300 : stop_patience_ms)) {
    process->kill();
    process->waitForFinished(1000);
  }
  delete process;
}

void EngineClient::set_state(State state) {
  if (state_ == state) return;
  state_ = state;
  emit state_changed();
}

void EngineClient::start(const EngineCommand& command) {
  stop();
  command_ = command;
  hello_ = {};
  keeps_jobs_ = false;
  error_output_.clear();
  reader_ = std::make_unique<protocol::MessageReader>(protocol::Preamble::skipped);
  if (!command.remote && !QFileInfo(command.program).isExecutable()) {
    give_up({tr("The engine is not there"), command.program, tr("the program `headroom`"), tr("no such program")});
    return;
  }
  process_.reset(new QProcess);
  QProcess* process = process_.get();
  connect(process, &QProcess::readyReadStandardOutput, this, &EngineClient::read_output);
  connect(process, &QProcess::readyReadStandardError, this, [this, process] {
    error_output_ = (error_output_ + process->readAllStandardError()).right(error_output_kept);
  });
  connect(process, &QProcess::errorOccurred, this, [this, process](QProcess::ProcessError error) {
    if (error == QProcess::FailedToStart) {
      give_up(
          {tr("The engine could not be started"), command_.program, tr("a program that runs"), process->errorString()});
    }
  });
  connect(process, &QProcess::finished, this, &EngineClient::ended);
  set_state(State::starting);
  emit step(command.remote ? tr("Reaching %1…").arg(command.host)
                           : tr("Starting the engine…"));
  expiry_.start();
  if (command.remote) process->setProcessEnvironment(askpass_environment(command.askpass));
  process->start(command.program, command.arguments);
  say_hello();
}

void EngineClient::stop() {
  const QString why = tr("The engine was stopped");
  drop_process({why, {}, {}, {}});
  fail_waiting(why);
  set_state(State::stopped);
}

void EngineClient::end() {
  if (process_ && keeps_jobs_) {
    request(protocol::method::shutdown, nlohmann::json::object(), {});
    process_->setProperty(works_on, false);
    keeps_jobs_ = false;
  }
  stop();
}

void EngineClient::kill(const QString& reason) {
  if (!process_) return;
  process_->disconnect(this);
  process_->kill();
  give_up({reason, command_.program, {}, last_words()});
}

void EngineClient::drop_process(const Problem& why) {
  expiry_.stop();
  reader_.reset();
  const bool had_one = process_ != nullptr;
  process_.reset();
  if (had_one) emit gone(why);
}

void EngineClient::keep_jobs(Answer answer) {
  request(protocol::method::session_keep, protocol::to_json(protocol::SessionKeepParams{true}),
          [this, answer = std::move(answer)](const nlohmann::json& result, const protocol::ErrorInfo* error) {
            if (!error) {
              keeps_jobs_ = true;
              if (process_ && !command_.remote) process_->setProperty(works_on, true);
            }
            if (answer) answer(result, error);
          });
}

void EngineClient::give_up(const Problem& problem) {
  if (process_ && process_->state() != QProcess::NotRunning) {
    process_->disconnect(this);
    if (!process_->property(works_on).toBool()) process_->kill();
  }
  drop_process(problem);
  fail_waiting(problem.message);
  set_state(State::stopped);
  emit died(problem);
}

void EngineClient::fail_waiting(const QString& message) {
  const std::map<std::int64_t, Waiting> waiting = std::exchange(waiting_, {});
  const protocol::ErrorInfo error{static_cast<int>(ErrorKind::device), message.toStdString(), {}, {}, {}};
  for (const auto& [id, entry] : waiting) {
    if (entry.answer) entry.answer({}, &error);
  }
}

void EngineClient::ended(int code, QProcess::ExitStatus status) {
  // What it wrote at the very end may not have been announced yet.
  error_output_ = (error_output_ + process_->readAllStandardError()).right(error_output_kept);
  const QProcess* const process = process_.get();
  read_output();
  if (process_.get() != process) return;  // its last message was answer enough
  const QString words = last_words(), line = last_line(words);
  const QString because = line.isEmpty() ? QString() : ": " + line;
  QString message;
  // ssh gives 255 for its own failures and else what the far shell gave: 126 and 127 where the program does not run
  // there.
  if (command_.remote && status == QProcess::NormalExit && code == 255)
    message = tr("ssh did not reach the engine on %1%2").arg(command_.host, because);
  else if (command_.remote && status == QProcess::NormalExit && (code == 126 || code == 127))
    message = tr("%1 cannot run the engine%2").arg(command_.host, because);
  else if (command_.attach && state_ == State::starting && status == QProcess::NormalExit && code == 2 &&
           words.contains(QLatin1String("--attach")))
    message = tr("The engine is older than this window: run scripts/run --engine-only in an up-to-date copy on %1")
                  .arg(command_.remote ? command_.host : tr("this machine"));
  else
    message = tr("The engine stopped (%1)%2")
                  .arg(status == QProcess::CrashExit ? tr("it was killed or crashed") : tr("exit code %1").arg(code),
                       because);
  give_up({message, command_.program, {}, words});
}

QString EngineClient::preamble() const {
  if (!reader_) return {};
  std::string text = reader_->preamble();
  std::string lines;
  // One line of its own for each of theirs, nothing that would move a terminal's cursor.
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    while (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines += escape_controls(replace_invalid_utf8(line)) + '\n';
    at = end + 1;
  }
  return QString::fromStdString(lines).left(2000).trimmed();
}

QString EngineClient::last_words() const {
  const QString errors = QString::fromUtf8(error_output_.right(2000)).trimmed();
  const QString noise = state_ == State::starting ? preamble() : QString();
  if (noise.isEmpty()) return errors;
  return errors.isEmpty() ? noise : noise + '\n' + errors;
}

std::int64_t EngineClient::request(const char* method, nlohmann::json params, Answer answer, int timeout_ms) {
  const auto refuse = [&](const QString& why) -> std::int64_t {
    const protocol::ErrorInfo error{static_cast<int>(ErrorKind::device), why.toStdString(), {}, {}, {}};
    if (answer) answer({}, &error);
    return 0;
  };
  if (!process_ || (state_ != State::ready && std::string_view(method) != protocol::method::initialize)) {
    return refuse(tr("The engine is not running"));
  }
  if (waiting_.size() >= max_waiting) return refuse(tr("The engine does not answer"));
  const std::int64_t id = next_id_++;
  std::string framed;
  try {
    framed = protocol::frame_message(protocol::write_envelope(protocol::Request{id, method, std::move(params)}));
  } catch (const Error& error) {
    return refuse(QString::fromStdString(error.message()));
  }
  waiting_[id] = {std::move(answer), timeout_ms > 0 ? clock_.elapsed() + timeout_ms : 0};
  process_->write(framed.data(), static_cast<qint64>(framed.size()));
  return id;
}

void EngineClient::cancel(std::int64_t request) {
  if (waiting_.erase(request) == 0 || !process_) return;
  const std::string framed = protocol::frame_message(
      protocol::write_envelope(protocol::Notification{protocol::method::request_cancel, {{"id", request}}}));
  process_->write(framed.data(), static_cast<qint64>(framed.size()));
}

void EngineClient::expire() {
  const qint64 now = clock_.elapsed();
  std::vector<Answer> late;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second.deadline != 0 && it->second.deadline <= now) {
      late.push_back(std::move(it->second.answer));
      it = waiting_.erase(it);
    } else {
      ++it;
    }
  }
  const protocol::ErrorInfo error{
      static_cast<int>(ErrorKind::device), tr("The engine did not answer in time").toStdString(), {}, {}, {}};
  for (const Answer& answer : late) {
    if (answer) answer({}, &error);
  }
}

void EngineClient::read_output() {
  if (!process_ || !reader_) return;
  const QByteArray bytes = process_->readAllStandardOutput();
  reader_->feed({bytes.constData(), static_cast<std::size_t>(bytes.size())});
  if (!working_off_) work_off();
}

void EngineClient::work_off() {
  working_off_ = false;
  QElapsedTimer slice;
  slice.start();
  const QPointer<EngineClient> alive(this);
  const protocol::MessageReader* const reader = reader_.get();
  try {
    while (alive && reader_ && reader_.get() == reader) {  // an answer may have restarted or stopped the engine
      const std::optional<std::string> body = reader_->next();
      if (!body) return;
      handle(*body);
      if (alive && slice.elapsed() >= slice_ms) {
        working_off_ = true;
        QTimer::singleShot(0, this, &EngineClient::work_off);
        return;
      }
    }
  } catch (const Error& error) {
    if (state_ == State::starting && !preamble().isEmpty()) {
      give_up({tr("What answers is not an engine: it says “%1”").arg(last_line(preamble())), command_.program,
               QString::fromStdString(error.detail().expected), last_words()});
      return;
    }
    give_up({tr("The engine sent something unreadable and was stopped"), QString::fromStdString(error.detail().place),
             QString::fromStdString(error.detail().expected), QString::fromStdString(error.detail().found)});
  }
}

void EngineClient::handle(const std::string& body) {
  auto read = protocol::read_envelope(body);
  if (const auto* bad = std::get_if<protocol::EnvelopeError>(&read)) throw protocol::to_error(bad->error);
  protocol::Envelope& envelope = std::get<protocol::Envelope>(read);
  if (const auto* response = std::get_if<protocol::Response>(&envelope)) {
    const auto* id = response->id ? std::get_if<std::int64_t>(&*response->id) : nullptr;
    const auto found = id ? waiting_.find(*id) : waiting_.end();
    if (found == waiting_.end()) return;  // late, or never asked: dropped
    const Answer answer = std::move(found->second.answer);
    waiting_.erase(found);
    if (answer) answer(response->result, response->error ? &*response->error : nullptr);
  } else if (const auto* notification = std::get_if<protocol::Notification>(&envelope)) {
    if (notification->method == protocol::method::session_taken) {
      // Leave quietly: its input must not end for the window that has it now.
      return give_up({tr("Another window has taken over this engine"), command_.program, {}, {}});
    }
    emit notified(QString::fromStdString(notification->method), notification->params);
  }
}

void EngineClient::say_hello() {
  protocol::InitializeParams params;
  params.client = "headroom-gui " + QCoreApplication::applicationVersion().toStdString();
  request(
      protocol::method::initialize, protocol::to_json(params),
      [this](const nlohmann::json& result, const protocol::ErrorInfo* error) { greeted(result, error); },
      hello_patience_ms);
}

void EngineClient::greeted(const nlohmann::json& result, const protocol::ErrorInfo* error) {
  if (state_ != State::starting || !process_) return;
  if (error) {
    give_up({QString::fromStdString(error->message), command_.program, QString::fromStdString(error->expected),
             last_words()});
    return;
  }
  try {
    hello_ = protocol::initialize_result_from_json(result);
  } catch (const Error& bad) {
    give_up({tr("The engine's greeting is unreadable"), QString::fromStdString(bad.detail().place),
             QString::fromStdString(bad.detail().expected), QString::fromStdString(bad.detail().found)});
    return;
  }
  if (!hello_.mismatch.empty() || hello_.protocol != protocol::protocol_version ||
      hello_.record_schema != record::schema_version) {
    const QString mends = hello_.mismatch.empty()
                              ? tr("build window and engine from the same source (scripts/run does)")
                              : QString::fromStdString(hello_.mismatch);
    give_up({tr("Engine and window do not fit together: %1").arg(mends), command_.program,
             tr("protocol %1, record schema %2").arg(protocol::protocol_version).arg(record::schema_version),
             tr("protocol %1, record schema %2").arg(hello_.protocol).arg(hello_.record_schema)});
    return;
  }
  keeps_jobs_ = hello_.keeps_jobs;
  if (keeps_jobs_ && !command_.remote) process_->setProperty(works_on, true);
  if (const QString noise = preamble(); !noise.isEmpty())
    emit step(tr("Before the engine's first message came, and was skipped:\n%1").arg(noise));
  set_state(State::ready);
  tell_what_there_is();
  emit step(tr("Ready: engine %1, %2").arg(QString::fromStdString(hello_.engine_version), summary()));
  if (!hello_.device_note.empty()) emit step(QString::fromStdString(hello_.device_note));
}

void EngineClient::tell_what_there_is() {
  if (command_.remote) emit step(tr("Reached %1").arg(command_.host));
  emit step(tr("Engine %1, protocol %2, record schema %3")
                .arg(QString::fromStdString(hello_.engine_version))
                .arg(hello_.protocol)
                .arg(hello_.record_schema));
  const auto gb = [](std::int64_t bytes) { return QLocale::c().toString(static_cast<double>(bytes) / 1e9, 'f', 1); };
  for (const auto& device : hello_.devices)
    emit step(tr("%1: %2, %3 of %4 GB free")
                  .arg(QString::fromStdString(device.id), QString::fromStdString(device.name), gb(device.free_bytes),
                       gb(device.total_bytes)));
  if (keeps_jobs_) emit step(tr("Jobs go on there when the connection ends"));
}

QString EngineClient::summary() const {
  if (state_ == State::starting) return tr("engine starting…");
  if (state_ != State::ready) return tr("engine not running");
  const auto& devices = hello_.devices;
  if (devices.empty()) return tr("engine ready");
  // An accelerator, where there is one, is what runs will use.
  const auto gpu = std::find_if(devices.begin(), devices.end(), [](const auto& d) { return d.id != "cpu"; });
  if (gpu == devices.end()) {
    const QString name = QString::fromStdString(devices.front().name).section(':', 0, 0);
    return name.startsWith("CPU", Qt::CaseInsensitive) ? name : tr("CPU, %1").arg(name);
  }
  return tr("%1, %2 GB free").arg(QString::fromStdString(gpu->name)).arg(gpu->free_bytes / 1000000000);
}

}  // namespace headroom::gui
