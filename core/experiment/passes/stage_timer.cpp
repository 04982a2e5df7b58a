// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/stage_timer.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <map>

namespace headroom::experiment {
namespace {

/// What was begun, and which part of it is another stage's.
struct Span {
  Stage stage = Stage::other;
  int layer = -1;
  Stage other = Stage::other;
  double other_share = 0;
};

void add(StageTimes& times, Stage stage, int layer, double ms) {
  const auto s = static_cast<std::size_t>(stage);
  times.total[s] += ms;
  if (layer >= 0 && static_cast<std::size_t>(layer) < times.layers.size())
    times.layers[static_cast<std::size_t>(layer)][s] += ms;
}

void add(StageTimes& times, const Span& span, double ms) {
  const double share = std::clamp(span.other_share, 0.0, 1.0);
  add(times, span.stage, span.layer, ms * (1 - share));
  if (share > 0) add(times, span.other, span.layer, ms * share);
}

class HostTimer final : public StageTimer {
 public:
  explicit HostTimer(std::int64_t num_layers) : num_layers_(static_cast<std::size_t>(num_layers)) { reset(); }
  void begin(Stage stage, int layer) override {
    span_ = {stage, layer};
    start_ = std::chrono::steady_clock::now();
  }
  void end() override {
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start_;
    add(times_, span_, passed.count());
  }
  void split(Stage stage, double share) override {
    span_.other = stage;
    span_.other_share = share;
  }
  StageTimes finish() override {
    StageTimes result = std::move(times_);
    reset();
    return result;
  }

 private:
  void reset() {
    times_ = {};
    times_.layers.resize(num_layers_);
  }
  std::size_t num_layers_;
  StageTimes times_;
  Span span_;
  std::chrono::steady_clock::time_point start_;
};

// Events cost a microsecond or two and do not make the host wait; they are read once, at the end. A span begins and
// ends on one device, the current one.
class DeviceTimer final : public StageTimer {
 public:
  DeviceTimer(c10::DeviceType type, std::int64_t num_layers)
      : guard_(type), num_layers_(static_cast<std::size_t>(num_layers)) {}
  void begin(Stage stage, int layer) override { spans_.push_back({{stage, layer}, record(), {}}); }
  void end() override { spans_.back().end = record(); }
  void split(Stage stage, double share) override {
    spans_.back().span.other = stage;
    spans_.back().span.other_share = share;
  }
  StageTimes finish() override {
    for (const auto& [device, pool] : pools_) guard_.synchronizeDevice(device);
    StageTimes times;
    times.layers.resize(num_layers_);
    for (TimedSpan& timed : spans_) {
      if (!timed.end) continue;
      add(times, timed.span, timed.begin->elapsedTime(*timed.end));
      // A pass has some hundreds of events; the pool keeps them for the next one.
      auto& pool = pools_[timed.begin->device_index()];
      pool.push_back(std::move(timed.begin));
      pool.push_back(std::move(timed.end));
    }
    spans_.clear();
    return times;
  }

 private:
  using EventPtr = std::unique_ptr<c10::Event>;
  struct TimedSpan {
    Span span;
    EventPtr begin, end;
  };
  EventPtr record() {
    const c10::Device device = guard_.getDevice();
    auto& pool = pools_[device.index()];
    EventPtr event;
    if (pool.empty()) {
      // BACKEND_DEFAULT is the flag under which CUDA events carry a time.
      event = std::make_unique<c10::Event>(device.type(), c10::EventFlag::BACKEND_DEFAULT);
    } else {
      event = std::move(pool.back());
      pool.pop_back();
    }
    event->record(guard_.getStream(device));
    return event;
  }
  c10::impl::VirtualGuardImpl guard_;
  std::size_t num_layers_;
  std::vector<TimedSpan> spans_;
  std::map<c10::DeviceIndex, std::vector<EventPtr>> pools_;  // events belong to a device
};

}  // namespace

std::unique_ptr<StageTimer> make_stage_timer(c10::Device device, std::int64_t num_layers) {
  if (device.is_cpu()) return std::make_unique<HostTimer>(num_layers);
  return std::make_unique<DeviceTimer>(device.type(), num_layers);
}

std::vector<double> attention_by_layer(const StageTimes& times) {
  std::vector<double> layers;
  for (const auto& stages : times.layers) {
    double sum = 0;
    for (const Stage stage : {Stage::score, Stage::select, Stage::attention})
      sum += stages[static_cast<std::size_t>(stage)];
    layers.push_back(sum);
  }
  return layers;
}

}  // namespace headroom::experiment
