// SPDX-License-Identifier: Apache-2.0
#include "experiment/plan/cost_model.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "attention/attend.h"
#include "attention/registry.h"
#include "base/causal.h"
#include "base/error.h"
#include "base/sha256.h"
#include "base/version.h"
#include "experiment/passes/machine_lock.h"
#include "experiment/passes/stage_timer.h"
#include "experiment/plan/plan.h"
#include "experiment/run/session.h"
#include "kernels/cpu/isa.h"
#include "protocol/json_fields.h"
#include "record/record_json.h"

namespace headroom::experiment {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array<std::int64_t, 4> lengths = {512, 1024, 2048, 4096};
constexpr double budget_ms = 1800;  ///< of one measurement; the shortest length is measured in any case
constexpr int most_rounds = 6;
constexpr double enough_ms = 150;  ///< more rounds at short lengths, which a moment's disturbance could spoil
constexpr std::int64_t cost_format = 2;
constexpr std::uintmax_t max_cost_file_bytes = 1 << 20;

double kept_pairs(const std::optional<Budget>& budget, std::int64_t length) {
  if (!budget) return causal_pairs(length);
  const auto k = std::min(budget->tokens_for(length), length);
  return causal_pairs(k) + static_cast<double>(length - k) * static_cast<double>(k);
}

// Rows that drift along the prompt as hidden states do: neighbours resemble each other, so that their supports share
// about nine keys of ten, and each has something of its own.
at::Tensor drifting_rows(std::int64_t heads, std::int64_t rows, std::int64_t width, float memory, float own,
                         std::uint64_t seed, c10::ScalarType dtype) {
  const at::Tensor tensor = at::empty({heads, rows, width}, at::TensorOptions().dtype(at::kFloat));
  float* out = tensor.mutable_data_ptr<float>();
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  const auto noise = [&state] {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<float>(static_cast<std::int32_t>(state >> 32)) * (1.732f / 2147483648.0f);
  };
  const float step = std::sqrt(1 - memory * memory);
  std::vector<float> drift(static_cast<std::size_t>(width));
  for (std::int64_t head = 0; head < heads; ++head) {
    for (float& value : drift) value = noise();
    for (std::int64_t row = 0; row < rows; ++row) {
      for (float& value : drift) {
        value = memory * value + step * noise();
        *out++ = value + own * noise();
      }
    }
  }
  return tensor.to(dtype);
}

attention::LayerQuery synthetic_query(const model::ModelConfig& config, c10::ScalarType dtype, int layer,
                                      std::int64_t length) {
  attention::LayerQuery query;
  query.layer = layer;
  query.num_layers = static_cast<int>(config.num_layers());
  const model::AttentionSpec& attention = config.layer(layer).attention;
  query.scale = attention.scale;
  query.rope_base = attention.rope.base;
  query.x = drifting_rows(1, length, config.width, 0.99f, 0.3f, 1, dtype)[0];
  query.q = drifting_rows(attention.num_q_heads, length, attention.head_dim, 0.99f, 0.1f, 2, dtype);
  query.k = drifting_rows(attention.num_kv_heads, length, attention.head_dim, 0.7f, 0.5f, 3, dtype);
  query.v = drifting_rows(attention.num_kv_heads, length, attention.head_dim, 0.7f, 0.5f, 4, dtype);
  return query;
}

/// Kernels change between builds of one version.
std::string build_tag() {
  std::error_code failed;
  const fs::path file = fs::read_symlink("/proc/self/exe", failed);
  const auto bytes = fs::file_size(file, failed);
  const auto written = fs::last_write_time(file, failed).time_since_epoch().count();
  return std::string(program_version()) + "-" + std::to_string(bytes) + "-" + std::to_string(written);
}

json points_json(const std::vector<CostPoint>& points) {
  json list = json::array();
  for (const CostPoint& point : points)
    list.push_back({{"length", point.length},
                    {"score_ms", point.score_ms},
                    {"select_ms", point.select_ms},
                    {"attention_ms", point.attention_ms}});
  return list;
}

json costs_json(const std::string& key, const MethodCosts& costs) {
  json dense = json::object();
  for (const auto& [backend, points] : costs.dense) dense[backend] = points_json(points);
  return {{"format", "headroom costs"},
          {"version", cost_format},
          {"key", key},
          {"complete", costs.complete},
          {"machine_load", record::to_json(costs.load)},
          {"dense", dense},
          {"sparse", points_json(costs.sparse)}};
}

std::vector<CostPoint> points_from_json(const json& list, const std::string& place) {
  constexpr double most = 1e9;
  std::vector<CostPoint> points;
  for (const json& item : list) {
    protocol::Fields point(item, place);
    const auto above = points.empty() ? 0 : points.back().length;
    points.push_back({point.integer("length", above + 1, 1 << 24), point.number("score_ms", 0, most),
                      point.number("select_ms", 0, most), point.number("attention_ms", 0, most)});
  }
  if (points.empty()) throw input_error(place, "holds no points");
  return points;
}

/// None where the file is one of another build or version of the format.
std::optional<MethodCosts> read_costs(const fs::path& file, const std::string& key,
                                      std::span<const std::shared_ptr<const attention::Backend>> backends) {
  const auto bytes = fs::file_size(file);
  if (bytes > max_cost_file_bytes)
    throw input_error(file.string(), "is too large", std::to_string(max_cost_file_bytes) + " bytes at most",
                      std::to_string(bytes) + " bytes");
  std::ifstream stream(file, std::ios::binary);
  std::string text(static_cast<std::size_t>(bytes), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(bytes));
  if (!stream) throw input_error(file.string(), "cannot be read");
  const json object = protocol::parse_json(text, file.string());
  protocol::Fields fields(object, file.string());
  if (fields.integer("version", 0, 1 << 20) != cost_format || fields.string("key") != key) return std::nullopt;
  MethodCosts costs;
  costs.complete = fields.boolean("complete");
  costs.load = record::load_of(fields, file.string());
  protocol::Fields dense(fields.object("dense"), file.string() + ": dense");
  for (const auto& backend : backends)
    if (dense.has(backend->id().c_str()))
      costs.dense[backend->id()] = points_from_json(dense.array(backend->id().c_str(), 64), file.string() + ": dense");
  if (costs.dense.empty()) throw input_error(file.string(), "holds no dense costs");
  costs.sparse = points_from_json(fields.array("sparse", 64), file.string() + ": sparse");
  return costs;
}

bool was_busy(const MethodCosts& costs) {
  return costs.load && costs.load->disturbed();
}

bool is_busier(const MethodCosts& costs, const MethodCosts& than) {
  return costs.load && than.load && costs.load->taken() > than.load->taken();
}

/// A cache that cannot be written costs a second at the next start, no more.
void write_file(const fs::path& file, const std::string& text) {
  std::error_code failed;
  fs::create_directories(file.parent_path(), failed);
  fs::path part = file;
  part += "." + std::to_string(::getpid()) + ".part";
  {
    std::ofstream stream(part, std::ios::binary);
    stream << text << '\n';
    stream.close();
    if (stream) fs::rename(part, file, failed);
    if (stream && !failed) return;
  }
  fs::remove(part, failed);
}

}  // namespace

double predict_ms(const std::vector<CostPoint>& points, std::int64_t length,
                  const std::function<double(std::int64_t)>& kept) {
  const auto rates = [&](const CostPoint& point) {
    const double pairs = causal_pairs(point.length);
    return std::array{(point.score_ms + point.select_ms) / pairs, point.attention_ms / kept(point.length)};
  };
  const auto above = std::find_if(points.begin(), points.end(), [&](const auto& p) { return p.length >= length; });
  auto rate = rates(above == points.end() ? points.back() : *above);
  if (above != points.end() && above != points.begin()) {
    const auto& below = *(above - 1);
    const auto low = rates(below);
    const double place = std::log(static_cast<double>(length) / static_cast<double>(below.length)) /
                         std::log(static_cast<double>(above->length) / static_cast<double>(below.length));
    for (std::size_t i = 0; i < rate.size(); ++i) rate[i] = low[i] + place * (rate[i] - low[i]);
  }
  return rate[0] * causal_pairs(length) + rate[1] * kept(length);
}

CostModel::CostModel(const model::ModelConfig& config, c10::ScalarType dtype,
                     std::vector<std::shared_ptr<const attention::Backend>> backends, std::string machine,
                     Notice notice, std::filesystem::path folder, ProcessorClock processors)
    : config_(config),
      dtype_(dtype),
      backends_(std::move(backends)),
      machine_(std::move(machine)),
      notice_(std::move(notice)),
      folder_(std::move(folder)),
      processors_(std::move(processors)) {}

std::string CostModel::key(const Method& method, int layer) const {
  const model::AttentionSpec& attention = config_.layer(layer).attention;
  return machine_ + "|" + std::string(kernels::cpu::name(kernels::cpu::preferred_isa())) + "|" +
         std::to_string(at::get_num_threads()) + " threads|" + dtype_name(dtype_) + "|" +
         std::to_string(attention.num_q_heads) + ":" + std::to_string(attention.num_kv_heads) + " of " +
         std::to_string(attention.head_dim) + ", width " + std::to_string(config_.width) + "|" + cost_tag(method);
}

MethodCosts CostModel::measure(const attention::Policy& policy, int layer, std::int64_t up_to,
                               const JobContext& job) const {
  const auto machine = MachineLock::wait(job);
  const c10::InferenceMode guard;
  const c10::Device cpu(c10::DeviceType::CPU);
  const auto timer = make_stage_timer(cpu, layer + 1);
  const JobContext quiet{job.stop, {}};
  const auto sum = [](const CostPoint& p) { return p.score_ms + p.select_ms + p.attention_ms; };
  MethodCosts costs;
  struct Measured {
    const attention::Policy* policy;
    const attention::Backend* backend;
    std::vector<CostPoint>* points;
  };
  const auto dense = attention::make_dense_policy();
  std::vector<Measured> measured = {{&policy, backends_.front().get(), &costs.sparse}};
  for (const auto& backend : backends_) measured.push_back({dense.get(), backend.get(), &costs.dense[backend->id()]});
  double spent = 0;
  const auto before = processors_();
  for (const std::int64_t length : lengths) {
    const auto query = synthetic_query(config_, dtype_, layer, length);
    double here = 0, round_ms = 0;
    for (int round = 0; round <= most_rounds && (round < 3 || here < enough_ms); ++round) {
      round_ms = 0;
      for (const auto& [one, backend, points] : measured) {
        job.check();
        attention::attend(*one, *backend, query, *timer, {}, quiet);
        const auto times = timer->finish();
        const auto stage = [&](Stage s) { return times.total[static_cast<std::size_t>(s)]; };
        const CostPoint now{length, stage(Stage::score), stage(Stage::select), stage(Stage::attention)};
        round_ms += sum(now);
        // The first round wakes threads and touches memory.
        if (round == 1) points->push_back(now);
        if (round > 1 && sum(now) < sum(points->back())) points->back() = now;
      }
      here += round_ms;
    }
    spent += here;
    costs.complete =
        length == lengths.back() || spent + 4 * 3 * round_ms > budget_ms;  // twice as long takes four times
    if (costs.complete || length >= up_to) break;
  }
  costs.load = load_between(before, processors_(), at::get_num_threads());
  return costs;
}

std::optional<MethodCosts> CostModel::kept_costs(const fs::path& file, const std::string& built) const {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return std::nullopt;
  try {
    return read_costs(file, built, backends_);
  } catch (const std::exception& error) {
    if (notice_) notice_(std::string(error.what()) + ": measuring this machine again");
    return std::nullopt;
  }
}

const MethodCosts& CostModel::costs(const Method& method, int layer, std::int64_t length, const JobContext& job) {
  const std::string name = key(method, layer);
  const auto reaches = [&](const MethodCosts& costs) { return costs.complete || costs.sparse.back().length >= length; };
  if (const auto found = known_.find(name); found != known_.end() && reaches(found->second)) return found->second;
  // A new build measures anew, over the old file.
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(name.data()), name.size());
  const fs::path file = folder_ / (sha256(bytes).substr(0, 24) + ".json");
  const std::string built = name + "|" + build_tag();
  std::optional<MethodCosts> kept = kept_costs(file, built);
  if (kept && !reaches(*kept)) kept.reset();
  if (kept && !was_busy(*kept)) return known_[name] = std::move(*kept);
  job.report({.phase = "measuring this machine, once: " + cost_tag(method)});
  auto measured = measure(*method.policy, layer, length, job);
  if (kept && is_busier(measured, *kept)) {
    measured = std::move(*kept);
  } else {
    write_file(file, costs_json(built, measured).dump(1));
  }
  return known_[name] = std::move(measured);
}

bool may_plan(const attention::Policy& policy) {
  const auto& budget = policy.settings().budget;
  // Budgets by layer are timed as they are recorded: what a layer costs is known for one budget alone.
  return policy.traits().role == MethodRole::deployable && budget && budget->kind != BudgetKind::mass &&
         !policy.settings().layer_budgets;
}

std::string fastest_dense(CostModel& costs, std::int64_t length, const JobContext& job) {
  std::shared_ptr<const attention::Policy> dense = attention::make_dense_policy();
  const std::string id = dense->id();
  const auto& measured = 
      costs.costs({id, std::move(dense)}, static_cast<int>(costs.config().first_full()), length, job).dense;
  const auto ms = [&](const auto& entry) { return predict_ms(entry.second, length, causal_pairs); };
  return std::min_element(measured.begin(), measured.end(), [&](const auto& a, const auto& b) { return ms(a) < ms(b); })
      ->first;
}

record::TimingPlan automatic_plan(CostModel& costs, const Method& method, std::int64_t length,
                                  const std::set<int>& dense_layers, const model::ModelConfig& config,
                                  const JobContext& job) {
  auto plan = defined_plan(false, dense_layers, config);
  plan.source = "automatic";
  plan.times = "predicted";
  plan.machine = costs.machine();
  plan.dtype = dtype_name(costs.dtype());
  plan.threads = at::get_num_threads();
  const auto& budget = method.policy->settings().budget;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    record::LayerPlan& layer = plan.layers[i];
    if (layer.run != record::LayerRun::sparse) continue;
    const auto& measured = costs.costs(method, static_cast<int>(i), length, job);
    for (const auto& [backend, points] : measured.dense) {
      const double ms = predict_ms(points, length, causal_pairs);
      if (std::isfinite(layer.dense_ms) && ms >= layer.dense_ms) continue;
      layer.dense_ms = ms;
      plan.dense_backend = backend;
    }
    layer.sparse_ms = predict_ms(measured.sparse, length, [&](auto tokens) { return kept_pairs(budget, tokens); });
  }
  choose_layers(plan, dense_layers);
  return plan;
}

}  // namespace headroom::experiment
