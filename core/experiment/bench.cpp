// SPDX-License-Identifier: Apache-2.0
#include "experiment/bench.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "experiment/bench_setup.h"
#include "experiment/dense_baselines.h"
#include "experiment/method_run.h"
#include "experiment/methods.h"
#include "experiment/stage_timer.h"
#include "model/decoder.h"
#include "model/device.h"
#include "protocol/summary_json.h"

namespace headroom::experiment {
namespace {

// One method at one length while it is being measured.
struct Candidate {
  std::shared_ptr<const attention::Policy> policy;
  BenchRow row;
  std::vector<double> ttft;
  std::array<std::vector<double>, num_stages> stages;
};

class LengthBench {
 public:
  LengthBench(const BenchSpec& spec, const model::Decoder& decoder, std::vector<std::int32_t> ids,
              const JobContext& job)
      : spec_(spec),
        decoder_(decoder),
        ids_(std::move(ids)),
        job_(job),
        dense_(attention::make_policy({})),
        timer_(make_stage_timer(decoder.device(), decoder.config().num_layers)) {}

  void add(std::shared_ptr<const attention::Policy> policy, std::string backend) {
    Candidate candidate;
    const auto info = policy->info();
    BenchRow& row = candidate.row;
    row.length = static_cast<std::int64_t>(ids_.size());
    row.method = info.name;
    row.backend = std::move(backend);
    row.label = info.label;
    row.budget = info.budget;
    row.granularity = info.granularity;
    row.plan = plan_text(info.is_dense, {spec_.dense_layers.begin(), spec_.dense_layers.end()}, decoder_.config());
    candidate.policy = std::move(policy);
    candidates_.push_back(std::move(candidate));
  }

  std::vector<BenchRow> run() {
    for (Candidate& candidate : candidates_) warm_up(candidate);
    const Floor floor(decoder_.config(), static_cast<std::int64_t>(ids_.size()), decoder_.device(), decoder_.dtype());
    floor.measure();
    std::vector<double> floors;
    for (int round = 0; round < spec_.repeats; ++round) {
      floors.push_back(floor.measure());
      for (Candidate& candidate : candidates_) {
        if (candidate.row.error.empty()) time_once(candidate, round);
      }
    }
    std::vector<BenchRow> rows;
    for (Candidate& candidate : candidates_) {
      BenchRow& row = candidate.row;
      row.floor_ms = quartiles(floors).median;
      if (!candidate.ttft.empty()) {
        row.ttft = quartiles(candidate.ttft);
        for (std::size_t s = 0; s < num_stages; ++s) row.stages_ms[s] = quartiles(candidate.stages[s]).median;
      }
      rows.push_back(std::move(row));
    }
    compare(rows);
    return rows;
  }

 private:
  model::PrefillOptions options(const Candidate& candidate, const std::string& phase) const {
    model::PrefillOptions made;
    made.policy = candidate.policy.get();
    made.dense_policy = dense_.get();
    made.dense_layers = {spec_.dense_layers.begin(), spec_.dense_layers.end()};
    made.job.stop = job_.stop;
    made.job.progress = [this, phase](const Progress& progress) {
      Progress renamed = progress;
      renamed.phase = phase;
      job_.report(renamed);
    };
    return made;
  }

  static std::string name_of(const BenchRow& row) {
    return row.method + " (" + row.backend + ") " + std::to_string(row.length);
  }

  // Nothing is timed in it, so it is the pass that counts the support.
  void warm_up(Candidate& candidate) const {
    auto made = options(candidate, name_of(candidate.row) + " warm-up");
    const bool is_dense = candidate.policy->info().is_dense;
    const auto length = static_cast<double>(ids_.size());
    const double all_pairs = length * (length + 1) / 2;
    double pairs = 0, layers = 0;
    if (!is_dense) {
      made.observer = [&](const attention::LayerQuery&, const at::Tensor&,
                          const std::vector<attention::SupportTile>& tiles) {
        layers += 1;
        if (tiles.empty()) pairs += all_pairs;  // a layer listed as dense
        for (const auto& tile : tiles) pairs += tile.counts.sum().item<double>();
      };
    }
    try {
      first_token(decoder_.prefill(ids_, made));
      if (layers > 0) candidate.row.density = pairs / (layers * all_pairs);
    } catch (const Error& error) {
      // Not every backend takes every shape; the other baselines still stand.
      if (!is_dense || error.kind() == ErrorKind::cancelled || candidate.row.backend == "libtorch") throw;
      candidate.row.error = error.what();
    }
  }

  static std::int64_t first_token(const model::PrefillResult& result) {
    return at::argmax(result.last_logits).item<std::int64_t>();
  }

  void time_once(Candidate& candidate, int round) const {
    auto made = options(candidate, name_of(candidate.row) + " timed " + std::to_string(round + 1) + "/" +
                                       std::to_string(spec_.repeats));
    made.clock = timer_.get();
    model::synchronize(decoder_.device());
    model::reset_peak_bytes(decoder_.device());
    const auto start = std::chrono::steady_clock::now();
    first_token(decoder_.prefill(ids_, made));
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start;
    candidate.ttft.push_back(passed.count());
    candidate.row.peak_bytes = std::max(candidate.row.peak_bytes, model::peak_bytes(decoder_.device()));
    const StageTimes times = timer_->finish();
    for (std::size_t s = 0; s < num_stages; ++s) candidate.stages[s].push_back(times.total[s]);
  }

  static void compare(std::vector<BenchRow>& rows) {
    const BenchRow* fastest = nullptr;
    const auto baseline = [&](const char* backend) -> const BenchRow* {
      for (const BenchRow& row : rows) {
        if (row.method == "dense" && row.backend == backend && row.error.empty()) return &row;
      }
      return nullptr;
    };
    for (const BenchRow& row : rows) {
      if (row.method == "dense" && row.error.empty() && (!fastest || row.ttft.median < fastest->ttft.median))
        fastest = &row;
    }
    const BenchRow *libtorch = baseline("libtorch"), *fa2 = baseline("fa2"), *cudnn = baseline("cudnn");
    for (BenchRow& row : rows) {
      if (!row.error.empty()) continue;
      if (fastest) {
        const double attention = fastest->stages_ms[static_cast<std::size_t>(Stage::attention)];
        if (fastest->ttft.median > attention)
          row.amdahl_bound = fastest->ttft.median / (fastest->ttft.median - attention);
      }
      if (!row.label.empty()) continue;
      const auto over = [&](const BenchRow* base) {
        return base ? std::optional(base->ttft.median / row.ttft.median) : std::nullopt;
      };
      row.speedup_over = {over(fastest), over(fa2), over(cudnn), over(libtorch)};
    }
  }

  const BenchSpec& spec_;
  const model::Decoder& decoder_;
  std::vector<std::int32_t> ids_;
  const JobContext& job_;
  std::unique_ptr<attention::Policy> dense_;
  std::unique_ptr<StageTimer> timer_;
  std::vector<Candidate> candidates_;
};

template <typename T>
nlohmann::json or_null(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

nlohmann::json row_json(const BenchRow& row) {
  const auto stage = [&](Stage s) { return row.stages_ms[static_cast<std::size_t>(s)]; };
  nlohmann::json stages;
  for (std::size_t s = 0; s < num_stages; ++s) stages[std::string(stage_names[s])] = row.stages_ms[s];
  return {{"length", row.length},
          {"method", row.method},
          {"backend", row.backend},
          {"label", row.label},
          {"budget", row.budget ? protocol::to_json(*row.budget) : nlohmann::json()},
          {"granularity", row.granularity},
          {"density", row.density},
          {"plan", row.plan},
          {"ttft_ms",
           {{"median", row.ttft.median}, {"q1", row.ttft.q1}, {"q3", row.ttft.q3}, {"repeats", row.ttft.repeats}}},
          {"attention_ms", stage(Stage::attention)},
          {"score_ms", stage(Stage::score)},
          {"select_ms", stage(Stage::select)},
          {"stages_ms", stages},
          {"peak_bytes", row.peak_bytes},
          {"speedup_over",
           {{"fastest_dense", or_null(row.speedup_over.fastest_dense)},
            {"fa2", or_null(row.speedup_over.fa2)},
            {"cudnn", or_null(row.speedup_over.cudnn)},
            {"libtorch", or_null(row.speedup_over.libtorch)},
            {"llama_cpp", nullptr}}},
          {"amdahl_bound", or_null(row.amdahl_bound)},
          {"floor_ms", row.floor_ms},
          {"ttft_over_floor",
           row.floor_ms > 0 && row.error.empty() ? nlohmann::json(row.ttft.median / row.floor_ms) : nlohmann::json()},
          {"error", row.error.empty() ? nlohmann::json() : nlohmann::json(row.error)}};
}

}  // namespace

BenchReport bench(const BenchSpec& spec, const JobContext& job, const std::function<void(const BenchRow&)>& on_row) {
  if (spec.lengths.empty()) throw usage_error("bench needs --lengths, e.g. --lengths 2048,4096");
  if (spec.repeats < 1 || spec.repeats > 1000) throw usage_error("--repeats must be 1 to 1000");
  const auto choice = model::open_device(spec.device);
  const at::NoGradGuard no_grad;
  const BenchModel model = open_bench_model(spec);
  for (const int layer : spec.dense_layers) {
    if (layer < 0 || layer >= model.config.num_layers)
      throw usage_error("--dense-layers: the model has layers 0 to " + std::to_string(model.config.num_layers - 1));
  }
  const auto methods = sparse_methods(spec, model);
  std::vector<std::vector<std::int32_t>> prompts;  // all of them first: a length that does not fit shows at once
  for (const std::int64_t length : spec.lengths) prompts.push_back(bench_ids(model, length));

  model::DecoderOptions options;
  options.device = choice.device;
  if (spec.dtype != "auto" && spec.dtype != "bf16" && spec.dtype != "f32")
    throw usage_error("dtype \"" + spec.dtype + "\" is not known: expected auto, bf16 or f32");
  if (spec.dtype != "auto") options.dtype = spec.dtype == "bf16" ? at::kBFloat16 : at::kFloat;
  const auto decoder = model::load_decoder(*model.checkpoint, model.config, options, job);

  BenchReport report;
  report.device = choice.description;
  report.device_note = choice.note;
  report.dtype = decoder->dtype() == at::kBFloat16 ? "bf16" : "f32";
  report.config = model.config.name;
  report.weights = model.random ? "random, no quality" : model.checkpoint->hash();
  report.repeats = spec.repeats;
  for (std::vector<std::int32_t>& ids : prompts) {
    LengthBench length_bench(spec, *decoder, std::move(ids), job);
    for (const DenseBaseline& baseline : dense_baselines(choice.device, decoder->dtype()))
      length_bench.add(baseline.policy, baseline.backend);
    for (const auto& policy : methods) length_bench.add(policy, policy->info().backend);
    for (BenchRow& row : length_bench.run()) {
      if (on_row) on_row(row);
      report.rows.push_back(std::move(row));
    }
  }
  return report;
}

nlohmann::json to_json(const BenchReport& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (const BenchRow& row : report.rows) rows.push_back(row_json(row));
  return {{"device", report.device},   {"device_note", report.device_note},
          {"dtype", report.dtype},     {"config", report.config},
          {"weights", report.weights}, {"repeats", report.repeats},
          {"warmups", report.warmups}, {"rows", rows}};
}

}  // namespace headroom::experiment
