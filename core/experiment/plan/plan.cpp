// SPDX-License-Identifier: Apache-2.0
#include "experiment/plan/plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/input_file.h"
#include "experiment/passes/timed_pass.h"
#include "protocol/json_fields.h"

namespace headroom::experiment {
namespace {

using nlohmann::json;
using record::LayerRun;

constexpr const char* format_name = "headroom plan";
constexpr std::int64_t plan_format = 1;
constexpr std::size_t max_plan_file_bytes = 8u << 20;
constexpr std::size_t max_plans = 4096, max_layers = 1024;
constexpr std::int64_t max_length = 1 << 24;
constexpr double max_ms = 1e12;

std::string count_of(std::int64_t count, const record::TimingPlan& plan) {
  const std::int64_t full = plan.count(LayerRun::dense) + plan.count(LayerRun::sparse);
  return std::to_string(count) + " of " + std::to_string(full) + " layers";
}

/// "0–3, 7, 9": three or more in a row as a range.
std::string ranges(const std::set<int>& layers) {
  std::string text;
  for (auto at = layers.begin(); at != layers.end();) {
    const int first = *at;
    int last = first;
    auto next = std::next(at);
    while (next != layers.end() && *next == last + 1) last = *next++;
    if (last - first < 2) {
      last = first;
      next = std::next(at);
    }
    text += (text.empty() ? "" : ", ") + std::to_string(first) + (last > first ? "–" + std::to_string(last) : "");
    at = next;
  }
  return text;
}

json ms(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

MethodPlan read_plan(const json& object, const std::string& place) {
  protocol::Fields fields(object, place);
  MethodPlan plan;
  plan.method = fields.string("method", 128);
  plan.length = fields.integer("length", 1, max_length);
  record::TimingPlan& timing = plan.timing;
  timing.source = "file";
  timing.times = fields.string_or("times", {}, 32);
  timing.machine = fields.string_or("machine", {});
  timing.dtype = fields.string_or("dtype", {}, 16);
  timing.threads = fields.integer_or("threads", 0, 0, 1 << 20);
  timing.dense_backend = fields.string("dense_backend", 64);
  constexpr std::array backends = {"libtorch", "headroom", "fa2", "cudnn"};
  if (std::find(backends.begin(), backends.end(), timing.dense_backend) == backends.end())
    fields.fail("dense_backend", "libtorch, headroom, fa2 or cudnn", timing.dense_backend);
  const json& layers = fields.array("layers", max_layers);
  fields.refuse_unknown();
  std::int64_t last = -1;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    protocol::Fields entry(layers[i], place + ".layers[" + std::to_string(i) + "]");
    const auto number = entry.integer("layer", last + 1, static_cast<std::int64_t>(max_layers) - 1);
    const auto run = entry.string("run", 16);
    if (run != "dense" && run != "sparse") entry.fail("run", "dense or sparse", run);
    record::LayerPlan layer;
    layer.run = run == "dense" ? LayerRun::dense : LayerRun::sparse;
    layer.dense_ms = entry.number_or("dense_ms", std::numeric_limits<double>::quiet_NaN(), 0, max_ms);
    layer.sparse_ms = entry.number_or("sparse_ms", std::numeric_limits<double>::quiet_NaN(), 0, max_ms);
    entry.refuse_unknown();
    timing.layers.resize(static_cast<std::size_t>(number));
    timing.layers.push_back(layer);
    last = number;
  }
  return plan;
}

}  // namespace

record::TimingPlan defined_plan(bool dense, const std::set<int>& dense_layers, const model::ModelConfig& config) {
  record::TimingPlan plan;
  plan.source = "defined";
  for (int layer = 0; layer < config.num_layers(); ++layer) {
    record::LayerPlan& entry = plan.layers.emplace_back();
    if (config.is_full(layer)) entry.run = dense || dense_layers.contains(layer) ? LayerRun::dense : LayerRun::sparse;
  }
  return plan;
}

void choose_layers(record::TimingPlan& plan, const std::set<int>& dense_layers) {
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    record::LayerPlan& layer = plan.layers[i];
    if (layer.run == LayerRun::other || dense_layers.contains(static_cast<int>(i))) continue;
    if (!std::isfinite(layer.dense_ms) || !std::isfinite(layer.sparse_ms)) continue;
    layer.run = layer.sparse_ms < worth_sparse * layer.dense_ms ? LayerRun::sparse : LayerRun::dense;
  }
}

void choose_layers_by_times(record::TimingPlan& plan, std::span<const double> dense_ms,
                            std::span<const double> sparse_ms, const std::set<int>& dense_layers) {
  plan.source = "automatic";
  plan.times = "measured";
  std::vector<double> of_full;
  for (std::size_t i = 0; i < plan.layers.size(); ++i)
    if (plan.layers[i].run != LayerRun::other) of_full.push_back(dense_ms[i]);
  if (of_full.empty()) return;
  const double dense = quartiles(std::move(of_full)).median;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    record::LayerPlan& layer = plan.layers[i];
    if (layer.run == LayerRun::other) continue;
    layer.dense_ms = dense;
    if (!dense_layers.contains(static_cast<int>(i))) layer.sparse_ms = sparse_ms[i];
  }
  choose_layers(plan, dense_layers);
}

std::set<int> dense_layers_of(const record::TimingPlan& plan) {
  std::set<int> layers;
  for (std::size_t i = 0; i < plan.layers.size(); ++i)
    if (plan.layers[i].run == LayerRun::dense) layers.insert(static_cast<int>(i));
  return layers;
}

std::string plan_text(const record::TimingPlan& plan, bool dense, const std::set<int>& dense_layers) {
  const auto layers = dense_layers_of(plan);
  const auto count = static_cast<std::int64_t>(layers.size());
  if (dense) return "dense in " + count_of(count, plan);
  const auto sparse = std::count_if(plan.layers.begin(), plan.layers.end(),
                                    [](const auto& layer) { return layer.run == LayerRun::sparse; });
  std::string text = layers.empty() ? "sparse in " + count_of(sparse, plan) : "dense in " + count_of(count, plan);
  if (!layers.empty() && sparse > 0) text += ": " + ranges(layers);
  if (layers != dense_layers) text += "; timing only";
  return text;
}

double planned_density(const record::TimingPlan& plan, double recorded_density, const std::set<int>& dense_layers) {
  double full = 0;
  for (const auto& layer : plan.layers) full += layer.run != LayerRun::other;
  const auto listed = static_cast<double>(dense_layers.size());
  const auto planned = static_cast<double>(dense_layers_of(plan).size());
  if (full <= listed || full <= 0) return recorded_density;
  const double sparse = (recorded_density * full - listed) / (full - listed);
  return std::min(1.0, (planned + (full - planned) * sparse) / full);
}

PlanFile plans_of(const record::RunRecord& record) {
  PlanFile file;
  file.place = record.path().string();
  file.model_name = record.meta().model_name;
  file.model_sha256 = record.meta().model_sha256;
  for (const auto& method : record.methods()) {
    if (method.role != MethodRole::deployable || !method.timing_plan) continue;
    file.plans.push_back({method.id, record.length(), *method.timing_plan});
  }
  return file;
}

json to_json(const PlanFile& file) {
  json plans = json::array();
  for (const MethodPlan& plan : file.plans) {
    const record::TimingPlan& timing = plan.timing;
    json layers = json::array();
    for (std::size_t i = 0; i < timing.layers.size(); ++i) {
      const auto& layer = timing.layers[i];
      if (layer.run == LayerRun::other) continue;
      layers.push_back({{"layer", i},
                        {"run", layer.run == LayerRun::dense ? "dense" : "sparse"},
                        {"dense_ms", ms(layer.dense_ms)},
                        {"sparse_ms", ms(layer.sparse_ms)}});
    }
    plans.push_back({{"method", plan.method},
                     {"length", plan.length},
                     {"times", timing.times},
                     {"machine", timing.machine},
                     {"dtype", timing.dtype},
                     {"threads", timing.threads},
                     {"dense_backend", timing.dense_backend.empty() ? "libtorch" : timing.dense_backend},
                     {"layers", layers}});
  }
  return {{"format", format_name},
          {"version", plan_format},
          {"model", {{"name", file.model_name}, {"sha256", file.model_sha256}}},
          {"plans", plans}};
}

PlanFile read_plan_file(const std::filesystem::path& path, const JobContext& job) {
  PlanFile file;
  file.place = path.string();
  const json object = protocol::parse_json(
      read_input_file(path, {"a plan", "is too large for a plan", max_plan_file_bytes}, job), file.place);
  protocol::Fields fields(object, file.place);
  if (const auto format = fields.string("format", 64); format != format_name)
    fields.fail("format", format_name, "\"" + format + "\"");
  if (const auto version = fields.integer("version", 0, 1 << 20); version != plan_format)
    fields.fail("version", std::to_string(plan_format), std::to_string(version));
  protocol::Fields model(fields.object("model"), file.place + ": model");
  file.model_name = model.string_or("name", {});
  file.model_sha256 = model.string("sha256", 64);
  model.refuse_unknown();
  const json& plans = fields.array("plans", max_plans);
  fields.refuse_unknown();
  std::set<std::pair<std::string, std::int64_t>> seen;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const std::string place = file.place + ": plans[" + std::to_string(i) + "]";
    file.plans.push_back(read_plan(plans[i], place));
    const auto& plan = file.plans.back();
    if (!seen.insert({plan.method, plan.length}).second)
      throw input_error(place, "is there twice", "one plan for a method and length",
                        "another one for " + plan.method + " at " + std::to_string(plan.length) + " tokens");
  }
  return file;
}

void check_model(const PlanFile& file, const std::string& model_sha256) {
  if (file.model_sha256 == model_sha256) return;
  throw input_error(
      file.place + ": model.sha256",
      "the plan belongs to another model" + (file.model_name.empty() ? std::string() : " (" + file.model_name + ")"),
      model_sha256, file.model_sha256);
}

record::TimingPlan find_plan(const PlanFile& file, const std::string& method, std::int64_t length,
                             const std::set<int>& dense_layers, const model::ModelConfig& config) {
  const std::string wanted = method + " at " + std::to_string(length) + " tokens";
  std::string held;
  for (std::size_t i = 0; i < file.plans.size(); ++i) {
    const MethodPlan& plan = file.plans[i];
    held += (held.empty() ? "" : ", ") + plan.method + " at " + std::to_string(plan.length);
    if (plan.method != method || plan.length != length) continue;
    const std::string place = file.place + ": plans[" + std::to_string(i) + "].layers";
    record::TimingPlan timing = plan.timing;
    timing.layers.resize(std::max(timing.layers.size(), config.layers.size()));
    for (std::size_t layer = 0; layer < timing.layers.size(); ++layer) {
      const bool full = layer < config.layers.size() && config.layers[layer].kind == model::LayerKind::full;
      const LayerRun run = timing.layers[layer].run;
      if (full != (run != LayerRun::other))
        throw input_error(place, "do not fit the model", "its full layers, each once",
                          (full ? "no layer " : "layer ") + std::to_string(layer));
      if (run == LayerRun::sparse && dense_layers.contains(static_cast<int>(layer)))
        throw input_error(place, "contradict --dense-layers", "layer " + std::to_string(layer) + " dense", "sparse");
    }
    return timing;
  }
  throw input_error(file.place + ": plans", "none fits this pass", wanted, held.empty() ? "no plans" : held);
}

void check_dense_backend(const PlanFile& file, const record::TimingPlan& plan,
                         std::span<const std::shared_ptr<const attention::Backend>> backends) {
  if (attention::find_backend(backends, plan.dense_backend)) return;
  std::string ids;
  for (const auto& backend : backends) ids += (ids.empty() ? "" : ", ") + backend->id();
  throw input_error(file.place + ": dense_backend", "is none of this device and dtype", ids, plan.dense_backend);
}

}  // namespace headroom::experiment
