// SPDX-License-Identifier: GPL-3.0-or-later
// The engine's jobs as the window sees them: numbers them, drops late results, offers to kill what does not stop,
// brings a remote engine's record here, and takes up again what went on while no window was connected.
#pragma once

#include <QObject>
#include <QTimer>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "gui/engine_client.h"
#include "protocol/sweep_spec.h"
#include "views/docks/jobs_dock.h"

namespace headroom::gui {

class RecordDownload;

class JobTracker : public QObject {
  Q_OBJECT
 public:
  static constexpr int patience_ms = 2000;  ///< after a cancel, before a kill is offered

  explicit JobTracker(EngineClient& engine, QObject* parent = nullptr);
  ~JobTracker() override;

  /// Returns the job's number (as text) at once; how it went comes through the signals.
  QString start_run(const protocol::RunSpec& spec);
  /// Trains an indexer for `model` into the file `out`; its end is told by indexer_ready().
  QString start_distillation(const std::string& model, const std::string& out,
                             const std::optional<std::string>& adapter = {});
  /// Its rows are told by row_finished(), its file by finished().
  QString start_sweep(const protocol::SweepSpec& spec);
  void cancel(const QString& id);
  /// The job at work; nothing where there is none, or it is stopping already.
  void cancel_current();
  void cancel_all();
  /// At work or waiting for it in the engine that is connected.
  bool anything_running() const;
  /// What to do about a record of which part_found() told: go on behind the part, fetch all of it, or leave it there.
  enum class Transfer { go_on, anew, leave };
  void transfer(const QString& id, Transfer how);
  /// How many of those there are, and the one at work in words ("Run: …"); empty where there is none.
  int count_running() const;
  QString running_title() const;

 signals:
  void changed(const headroom::views::JobInfo& job);
  /// `record_path` is a file on this machine; empty where the run kept nothing.
  void finished(const QString& id, const QString& record_path);
  /// `bytes` of the record of this job are here from a transfer that was cut: it waits for transfer(). Where nobody
  /// listens, it goes on by itself.
  void part_found(const QString& id, const QString& name, qint64 bytes);
  void row_finished(const QString& id, const headroom::protocol::JobRow& row);
  void sweep_failed(const QString& id, const headroom::gui::Problem& problem,
                    const headroom::protocol::SweepSpec& spec);
  void indexer_ready(const QString& id, const QString& path);
  /// `spec` is none for a distillation.
  void failed(const QString& id, const headroom::gui::Problem& problem,
              const std::optional<headroom::protocol::RunSpec>& spec);

 private:
  struct Job {
    views::JobInfo info;
    std::optional<protocol::RunSpec> spec;     ///< of a run
    std::optional<protocol::SweepSpec> sweep;  ///< of a sweep; neither: a distillation
    std::optional<std::int64_t> engine_id;     ///< once the engine has taken it
    bool cancel_wanted = false;
    nlohmann::json params;  ///< of the request that started it
    QString session, host;  ///< of the engine that took it
    struct Delivery {
      QString path;  ///< over there
      views::JobInfo::State state;
    };
    std::optional<Delivery> waiting;  ///< for an answer to part_found()
  };
  struct Early {  ///< a message of a job whose number has not reached us yet
    QString method;
    nlohmann::json params;
  };

  QString start(const QString& title, const std::optional<protocol::RunSpec>& spec, const char* method,
                nlohmann::json params);
  void started(const QString& id, const nlohmann::json& result, const protocol::ErrorInfo* error);
  void hear(const QString& method, const nlohmann::json& params);
  void take(Job& job, const QString& method, const nlohmann::json& params);
  void engine_gone(const Problem& why);
  void look_for_jobs();
  void take_up(const protocol::JobsListResult& list);
  void take_up(const protocol::ListedJob& listed);
  Job* find_away(const protocol::ListedJob& listed);
  void send_cancel(Job& job);
  /// Whether the engine works on this one, as far as can be known: it takes them in the order of their numbers.
  bool at_work(const Job& job) const;
  /// The window knows how it ended: the engine need not tell it to the next one.
  void forget(const Job& job);
  void fail(Job& job, const Problem& problem);
  void deliver(Job& job, const QString& path, views::JobInfo::State state);
  void fetch(Job& job, const QString& path, views::JobInfo::State state, bool anew);
  void end(Job& job, const QString& path, views::JobInfo::State state);
  Job* find_engine_job(std::int64_t engine_id);

  EngineClient& engine_;
  std::map<QString, Job> jobs_;
  std::deque<Early> early_;
  int next_number_ = 1;
};

/// One line for the Jobs dock: model, prompt, methods and budgets, so that two runs of one prompt are told apart.
QString describe(const protocol::RunSpec& spec);
QString describe(const protocol::SweepSpec& spec);

}  // namespace headroom::gui
