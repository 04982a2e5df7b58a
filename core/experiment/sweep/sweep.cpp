// SPDX-License-Identifier: Apache-2.0
#include "experiment/sweep/sweep.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "base/utf8.h"
#include "experiment/passes/torch_errors.h"
#include "experiment/sweep/sample_scores.h"
#include "record/sweep/sweep_file.h"
#include "tasks/task.h"

namespace headroom::experiment {
namespace {

using Clock = std::chrono::steady_clock;
using RowKey = std::pair<record::SweepSample, std::size_t>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Work that is left, counted in tokens of prefills. A sample that is long costs as much as several short ones.
class WorkLeft {
 public:
  void add(double tokens) { left_ += tokens; }
  void done(double tokens) {
    left_ -= tokens;
    done_ += tokens;
  }
  double done() const { return done_; }
  double left() const { return left_; }
  /// Seconds for so many tokens at the rate so far; -1: not known.
  double seconds(double tokens) const { return done_ > 0 ? tokens * seconds_since(start_) / done_ : -1; }

 private:
  Clock::time_point start_ = Clock::now();
  double left_ = 0, done_ = 0;
};

class Sweep {
 public:
  Sweep(PreparedSweep& prepared, const JobContext& job, const SweepCallbacks& callbacks)
      : prepared_(prepared), job_(job), callbacks_(callbacks) {}

  SweepOutcome operator()() {
    const auto start = Clock::now();
    const bool goes_on = prepared_.found.has_value();
    plan();
    store_.emplace(prepared_.store, prepared_.meta, model::description_of_all(prepared_.device),
                   goes_on ? &*prepared_.found : nullptr);
    prepared_.found.reset();
    outcome_.store_path = prepared_.store.string();
    try {
      translate_errors([this] { work(); });
    } catch (...) {
      outcome_.seconds = seconds_since(start);
      try {
        write();
      } catch (const Error& also) {  // the store has everything; what came first is what is told
        if (callbacks_.notice) callbacks_.notice(also.what());
      }
      throw;
    }
    outcome_.seconds = seconds_since(start);
    write();
    return std::move(outcome_);
  }

 private:
  std::size_t methods_of(const record::SweepSample& sample) const {
    return sample.calibration ? 1 : prepared_.meta.methods.size();
  }
  double cost(const record::SweepSample& sample) const {
    if (sample.length > 0) return static_cast<double>(sample.length);
    for (const auto& prompt : prepared_.prompts->prompts)
      if (prompt.index == sample.seed) {
        std::size_t bytes = prompt.sample.prompt.size();
        for (const auto& message : prompt.sample.messages) bytes += message.content.size();
        return static_cast<double>(bytes) + 1;
      }
    return 1;
  }

  /// Seed by seed over all tasks and lengths, so that every cell has as many samples as any other whenever it stops.
  void plan() {
    const auto& meta = prepared_.meta;
    if (prepared_.found) {
      for (const auto& row : prepared_.found->record.rows) finished_.insert({row.sample, row.method});
      for (const auto& curves : prepared_.found->record.curves) curves_.insert(curves.sample);
    }
    samples_ = record::own_samples(meta);
    std::stable_sort(samples_.begin(), samples_.end(), [](const auto& a, const auto& b) {
      return std::pair(!a.calibration, a.seed) < std::pair(!b.calibration, b.seed);
    });
    rows_found_ = std::ssize(finished_);
    for (const auto& sample : samples_) rows_total_ += static_cast<std::int64_t>(methods_of(sample));
    double own = 0;
    std::vector<double> shards(static_cast<std::size_t>(meta.shards), 0.0);
    for (const auto& sample : record::all_samples(meta)) {
      const double tokens = cost(sample) * static_cast<double>(methods_of(sample));
      const int shard = meta.shards > 1 ? record::shard_of(meta, sample, meta.shards) : 1;
      shards[static_cast<std::size_t>(shard - 1)] += tokens;
      if (shard == meta.shard) own += tokens;
    }
    largest_shard_over_own_ = own > 0 ? *std::max_element(shards.begin(), shards.end()) - own : 0;
    for (const auto& sample : samples_)
      for (std::size_t method = 0; method < methods_of(sample); ++method)
        if (!finished_.contains({sample, method})) left_.add(cost(sample));
  }

  bool wants_curves(const record::SweepSample& sample) const {
    const auto& meta = prepared_.meta;
    if (meta.curves == 0 || curves_.contains(sample)) return false;
    if (meta.is_own_prompts()) return sample == meta.prompt_samples.front();
    return sample.calibration && sample.seed < meta.seed + record::calibration_seeds + meta.curves;
  }
  bool is_finished(const record::SweepSample& sample) const {
    for (std::size_t method = 0; method < methods_of(sample); ++method)
      if (!finished_.contains({sample, method})) return false;
    return !wants_curves(sample);
  }

  void work() {
    const c10::InferenceMode guard;
    if (std::all_of(samples_.begin(), samples_.end(), [this](const auto& one) { return is_finished(one); })) return;
    const model::Decoder& decoder = prepared_.session->decoder(place_sweep(prepared_), prepared_.dtype, job_);
    const auto devices = model::devices_of(decoder.parts());
    for (const auto device : devices) model::reset_peak_bytes(device);
    for (const auto& sample : samples_) {
      if (is_finished(sample)) continue;
      run(decoder, sample);
      std::int64_t peak = 0;
      for (const auto device : devices) peak += model::peak_bytes(device);
      outcome_.peak_bytes = std::max(outcome_.peak_bytes, peak);
    }
  }

  void run(const model::Decoder& decoder, const record::SweepSample& sample) {
    job_.check();
    const PreparedPrompt prompt = sweep_prompt(prepared_, sample, job_);
    for (const std::string& warning : prompt.warnings)
      if (said_.insert(warning).second && callbacks_.notice && prepared_.prompts) callbacks_.notice(warning);
    for (const Method& method : prepared_.methods.methods) method.policy->check_length(prompt.length());
    SampleOptions options;
    options.dense_layers = prepared_.methods.dense_layers;
    options.new_tokens =
        std::clamp<std::int64_t>(prepared_.config().context_length - prompt.length(), 0, prompt.max_new_tokens);
    options.ends = prepared_.session->tokenizer().end_tokens();
    options.compare = !sample.calibration && prepared_.methods.methods.size() > 1;
    options.prompt_tail = sample.calibration ? 0 : prepared_.spec.prompt_tail;
    options.curves = wants_curves(sample);
    SampleScores scores(decoder, *prepared_.backends.front(), prompt.table.ids, options);
    for (std::size_t i = 0; i < methods_of(sample); ++i) {
      const bool known = finished_.contains({sample, i});
      if (i > 0 && known) continue;  // dense is needed by the others
      job_.check();
      const Method& method = prepared_.methods.methods[i];
      const JobContext context = progress(sample, method);
      SampleResult result = i == 0 ? scores.dense(method, context) : scores.sparse(method, context);
      if (i == 0 && options.curves) {
        scores.curves.sample = sample;
        store_->add(scores.curves);
        curves_.insert(sample);
      }
      if (!known) finish(sample, i, prompt, std::move(result));
    }
    outcome_.prefill_seconds += scores.prefill_seconds();
  }

  void finish(const record::SweepSample& sample, std::size_t method, const PreparedPrompt& prompt,
              SampleResult result) {
    record::SweepRow& row = result.row;
    row.sample = sample;
    row.method = method;
    // A character may be cut off in the middle where the answer stops.
    row.answer = replace_invalid_utf8(prepared_.session->tokenizer().decode(result.answer));
    if (prompt.sample && !prompt.sample->references.empty() && prepared_.meta.tasks[sample.task].has_score)
      row.score = tasks::score(*prompt.sample, row.answer);
    store_->add(row);
    finished_.insert({sample, method});
    left_.done(cost(sample));
    ++outcome_.rows_made;
    if (callbacks_.row_finished) callbacks_.row_finished(row);
  }

  JobContext progress(const record::SweepSample& sample, const Method& method) {
    SweepProgress now;
    now.sample = record::describe(prepared_.meta, sample);
    now.method = method.id;
    now.rows = rows_found_ + outcome_.rows_made;
    now.rows_total = rows_total_;
    now.shard_eta_s = left_.seconds(left_.left());
    now.whole_eta_s = left_.seconds(left_.left() + largest_shard_over_own_);
    if (callbacks_.progress) callbacks_.progress(now);
    JobContext context{job_.stop, {}};
    if (job_.progress)
      context.progress = [this, now](const Progress& layers) {
        Progress shown;
        shown.phase = now.sample + ": " + now.method;
        shown.done = now.rows;
        shown.total = now.rows_total;
        shown.layer = layers.layer;
        shown.eta_s = now.shard_eta_s;
        job_.report(shown);
      };
    return context;
  }

  /// The file from the store, which is the truth.
  void write() {
    outcome_.record = record::read_sweep_store(prepared_.store).record;
    const auto written = record::write_sweep(*prepared_.out, outcome_.record);
    outcome_.record_path = written.string();
    if (written != prepared_.out->asked() && callbacks_.notice)
      callbacks_.notice("this sweep's file is " + describe_output(prepared_.out->asked(), written));
    if (callbacks_.record_written) callbacks_.record_written(outcome_.record, outcome_.record_path);
  }

  PreparedSweep& prepared_;
  const JobContext& job_;
  const SweepCallbacks& callbacks_;
  std::optional<record::SweepStore> store_;
  std::vector<record::SweepSample> samples_;
  std::set<RowKey> finished_;
  std::set<record::SweepSample> curves_;
  std::set<std::string> said_;
  std::int64_t rows_found_ = 0, rows_total_ = 0;
  double largest_shard_over_own_ = 0;
  WorkLeft left_;
  SweepOutcome outcome_;
};

}  // namespace

SweepOutcome sweep(PreparedSweep& prepared, const JobContext& job, const SweepCallbacks& callbacks) {
  return Sweep(prepared, job, callbacks)();
}

}  // namespace headroom::experiment
