// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/progress_plan.h"

namespace headroom::experiment {

ProgressPlan::ProgressPlan(const JobContext& job, std::int64_t tokens, std::int64_t layers, std::int64_t passes)
    : job_(job), tokens_(tokens), layers_(layers), passes_left_(passes) {}

JobContext ProgressPlan::begin(const std::string& phase, bool counted) {
  phase_ = phase;
  counted_ = counted;
  start_ = Clock::now();
  JobContext context{job_.stop, {}};
  if (job_.progress) context.progress = [this](const Progress& progress) { layer_progress(progress); };
  return context;
}

void ProgressPlan::end() {
  if (!counted_) return;
  last_pass_s_ = std::chrono::duration<double>(Clock::now() - start_).count();
  --passes_left_;
}

double ProgressPlan::eta(double fraction) const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  // A pass under way tells its own speed once a tenth of it is done; before that the last one's stands in.
  const double pass = fraction > 0.1 ? elapsed / fraction : last_pass_s_;
  // A phase that is no pass over the prompt takes little beside those that are still to come.
  if (!counted_) return last_pass_s_ > 0 && passes_left_ > 0 ? last_pass_s_ * static_cast<double>(passes_left_) : -1;
  if (pass <= 0) return -1;
  return pass * (static_cast<double>(passes_left_) - fraction);
}

void ProgressPlan::layer_progress(const Progress& layer) {
  Progress progress;
  progress.phase = phase_;
  progress.done = layer.done;
  progress.total = layers_;
  progress.layer = layer.layer;
  const double fraction = layers_ > 0 ? static_cast<double>(layer.done) / static_cast<double>(layers_) : 0;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  if (elapsed > 0) progress.tokens_per_s = fraction * static_cast<double>(tokens_) / elapsed;
  progress.eta_s = eta(fraction);
  job_.report(progress);
}

void ProgressPlan::report(const std::string& phase, std::int64_t done, std::int64_t total) {
  Progress progress;
  progress.phase = phase;
  progress.done = done;
  progress.total = total;
  counted_ = false;
  progress.eta_s = eta(0);
  job_.report(progress);
}

}  // namespace headroom::experiment
