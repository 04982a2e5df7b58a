// SPDX-License-Identifier: GPL-3.0-or-later
// "Record this layer exactly": a run's own job once more, so that one layer more is kept whole, and the check that what
// came of it is the same model reading the same prompt.
#pragma once

#include <QString>
#include <map>
#include <optional>

#include "protocol/run_spec.h"
#include "views/common/selection.h"

namespace headroom::gui {

/// The job of `record` with `layer` kept whole beside the layers that the record holds exactly already, timed once, and
/// a record of its own; none where the record says no job that could be run (an imported one).
std::optional<protocol::RunSpec> spec_with_exact_layer(const record::RunRecord& record, int layer);
/// Bytes that the exact maps of one layer of `record` take at most, for all its methods: q, k and log-sum-exp in
/// float32 and the supports.
std::int64_t exact_layer_bytes(const record::RunRecord& record, int layer);
/// In a sentence, why what `meta` and `tokens` tell is not of the model and prompt of `record`; empty where it is.
/// `ids`: compared too where they are known.
QString other_run_text(const record::RunRecord& record, const record::RunMeta& meta, std::int64_t tokens,
                       const std::vector<std::int32_t>* ids = nullptr);

/// Which layers are being recorded.
class ExactLayers {
 public:
  struct Wanted {
    views::RecordPtr record;
    int layer = 0;
    std::string out;  ///< of the job's spec, which nothing else shares
  };
  void add(const QString& job, Wanted wanted) { jobs_[job] = std::move(wanted); }
  std::optional<Wanted> take(const QString& job);
  /// The job whose spec, as the engine has it, writes where one of ours does; empty where none does.
  QString job_of(const record::RunMeta& meta) const;
  const Wanted* find(const QString& job) const;
  bool recording(const record::RunRecord& record, int layer) const;

 private:
  std::map<QString, Wanted> jobs_;
};

}  // namespace headroom::gui
