// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/timed_pass.h"

#include <ATen/Parallel.h>
#include <ATen/ops/argmax.h>

#include <algorithm>
#include <chrono>

#include "base/machine_load.h"
#include "model/device.h"

namespace headroom::experiment {

TimedPass timed_pass(const model::Decoder& decoder, std::span<const std::int32_t> ids, model::PrefillOptions options,
                     StageTimer& timer) {
  options.job.check();
  options.clock = &timer;
  options.observer = {};
  options.hidden_observer = {};
  const auto devices = model::devices_of(decoder.parts());
  for (const auto device : devices) {
    model::synchronize(device);
    model::reset_peak_bytes(device);
  }
  TimedPass pass;
  const auto before = cpu_times();
  const auto start = std::chrono::steady_clock::now();
  const auto result = decoder.prefill(ids, options);
  at::argmax(result.last_logits).item<std::int64_t>();  // the first token's id is on the host when this returns
  pass.ttft_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  pass.load = load_between(before, cpu_times(), at::get_num_threads());
  for (const auto device : devices) pass.peak_bytes.push_back(model::peak_bytes(device));
  pass.stages = timer.finish();
  return pass;
}

record::Quartiles quartiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto low = static_cast<std::size_t>(place);
    const auto high = std::min(low + 1, values.size() - 1);
    return values[low] + (values[high] - values[low]) * (place - static_cast<double>(low));
  };
  return {at(0.5), at(0.25), at(0.75), static_cast<int>(values.size())};
}

void summarise(const std::vector<TimedPass>& passes, record::MethodSummary& summary) {
  const auto over = [&](auto&& value) {
    std::vector<double> samples;
    for (const TimedPass& pass : passes) samples.push_back(value(pass));
    return samples;
  };
  summary.ttft_samples = over([](const TimedPass& pass) { return pass.ttft_ms; });
  summary.ttft = quartiles(summary.ttft_samples);
  for (const TimedPass& pass : passes) {
    summary.device_peak_bytes.resize(pass.peak_bytes.size());
    for (std::size_t i = 0; i < pass.peak_bytes.size(); ++i)
      summary.device_peak_bytes[i] = std::max(summary.device_peak_bytes[i], pass.peak_bytes[i]);
    add_load(summary.load, pass.load);
  }
  for (const std::int64_t bytes : summary.device_peak_bytes) summary.peak_bytes += bytes;
  summary.layer_stages.resize(passes.front().stages.layers.size());
  for (std::size_t stage = 0; stage < num_stages; ++stage) {
    summary.stages[stage] = quartiles(over([&](const TimedPass& pass) { return pass.stages.total[stage]; }));
    for (std::size_t layer = 0; layer < summary.layer_stages.size(); ++layer)
      summary.layer_stages[layer][stage] =
          quartiles(over([&](const TimedPass& pass) { return pass.stages.layers[layer][stage]; })).median;
  }
}

}  // namespace headroom::experiment
