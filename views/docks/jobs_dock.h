// SPDX-License-Identifier: GPL-3.0-or-later
// Work of the engine: phase, layer, tokens a second, time left, cancel; results fill in method by method.
#pragma once

#include <QDateTime>
#include <QString>
#include <QStringList>
#include <QVector>
#include <QWidget>
#include <optional>

class QLabel;
class QVBoxLayout;

namespace headroom::views {

/// One finished method of a job that is still running.
struct PartialResult {
  QString id;
  double density = 1;
  std::optional<double> ttft_ms;
  std::optional<double> captured_mass;
  std::optional<double> kl_to_dense;
};

struct JobInfo {
  /// away: the connection is gone and the engine goes on with it; a window that comes back takes it up again.
  enum class State { running, cancelling, away, done, failed, cancelled };
  QString id;     ///< the engine's
  QString title;  ///< "Run: smollm2, niah_single_1, 4,096 tokens · dense, oracle · 512"
  State state = State::running;
  QString phase;
  int layer = -1;
  qint64 done = 0, total = 0;  ///< units of the phase; total 0 = unknown
  std::optional<double> fraction;  ///< of the whole job, over all phases
  double tokens_per_s = 0;
  std::optional<double> eta_s;
  QString message;      ///< the error, or the record's path
  QString answer, answer_of;  ///< while one is generated: its text so far, and the method that answers
  QStringList notices;  ///< what the engine said beside its progress
  QVector<PartialResult> partial;
  bool offer_kill = false;  ///< cancel was asked for and the engine has not stopped in time
};

class JobCard;

class JobsDock : public QWidget {
  Q_OBJECT
 public:
  explicit JobsDock(QWidget* parent = nullptr);

  /// Adds the job or updates the one with that id.
  void show_job(const JobInfo& job);
  int count() const { return static_cast<int>(cards_.size()); }
  bool anything_running() const;

 signals:
  void cancel_requested(const QString& id);
  void kill_requested(const QString& id);
  void open_requested(const QString& record_path);
  void new_run_requested();

 private:
  void remove_finished();
  QVBoxLayout* layout_;
  QWidget* empty_;
  QVector<JobCard*> cards_;
};

}  // namespace headroom::views
