// SPDX-License-Identifier: Apache-2.0
#include "support/synthetic_record.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "base/error.h"
#include "record/record_writer.h"

namespace headroom::test {
namespace {

using namespace record;

constexpr std::int64_t thumbnail_size = 128;
constexpr int num_statistics = 9;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr float missing = std::numeric_limits<float>::quiet_NaN();

struct LayerResult {
  std::vector<float> statistics, curves, received, frequency;
  std::vector<Thumbnail> thumbnails;
  std::vector<SupportBitmap> support, target, wasted;  ///< one a head group
  double captured_mean = 1, captured_min = 1, recall = nan, recall_95 = nan;
  double attended = 0;  ///< pairs, mean over the groups
};

std::vector<std::int64_t> log_budgets(std::int64_t length) {
  std::vector<std::int64_t> budgets;
  for (int i = 0; i < 64; ++i)
    budgets.push_back(static_cast<std::int64_t>(std::llround(std::pow(static_cast<double>(length), i / 63.0))));
  return budgets;
}

std::int64_t budget_of(const std::string& method) {
  const std::size_t at = method.find("-k");
  if (at == std::string::npos) return 0;
  std::int64_t k = 0;
  std::from_chars(method.data() + at + 2, method.data() + method.size(), k);
  return k;
}

SupportScope scope_of(const std::string& method) {
  return method.starts_with("kv_")     ? SupportScope::kv_head
         : method.starts_with("head_") ? SupportScope::q_head
                                       : SupportScope::layer;
}

/// p(t, 0 … t) of one head.
std::vector<float> row_of(const LayerStream& s, std::int64_t head, std::int64_t t) {
  const std::int64_t d = s.head_dim, group = s.num_q_heads / s.num_kv_heads;
  const float* q = s.q.data() + (head * s.length + t) * d;
  const float* keys = s.k.data() + head / group * s.length * d;
  std::vector<float> p(static_cast<std::size_t>(t + 1));
  for (std::int64_t key = 0; key <= t; ++key) {
    double dot = 0;
    for (std::int64_t i = 0; i < d; ++i) dot += static_cast<double>(q[i]) * keys[key * d + i];
    p[static_cast<std::size_t>(key)] =
        static_cast<float>(std::exp(s.scale * dot - s.lse[static_cast<std::size_t>(head * s.length + t)]));
  }
  return p;
}

std::vector<std::int32_t> by_score(const std::vector<float>& score) {
  std::vector<std::int32_t> order(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return score[a] > score[b]; });
  return order;
}

std::int64_t keys_for(const std::vector<float>& p, double share) {
  std::vector<float> sorted = p;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double sum = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i)
    if ((sum += sorted[i]) >= share) return static_cast<std::int64_t>(i + 1);
  return static_cast<std::int64_t>(sorted.size());
}

LayerResult analyse(const LayerStream& s, const std::string& method, std::uint64_t seed) {
  const std::int64_t length = s.length, heads = s.num_q_heads + 1, k = budget_of(method);
  const std::vector<std::int64_t> budgets = log_budgets(length);
  LayerResult r;
  r.statistics.assign(static_cast<std::size_t>(heads * num_statistics), 0);
  r.received.assign(static_cast<std::size_t>(heads * length), 0);
  Thumbnail empty{thumbnail_size, (length + thumbnail_size - 1) / thumbnail_size, {}, {}};
  empty.max.assign(thumbnail_size * thumbnail_size, 0);
  empty.mean = empty.max;
  r.thumbnails.assign(static_cast<std::size_t>(heads), empty);
  std::vector<std::vector<std::vector<float>>> captured(static_cast<std::size_t>(heads),
                                                        std::vector<std::vector<float>>(budgets.size()));
  const SupportScope scope = scope_of(method);
  const std::int64_t groups = num_support_groups(scope, s.num_q_heads, s.num_kv_heads);
  const auto group_of = [&](std::int64_t head) { return support_group(scope, head, s.num_q_heads, s.num_kv_heads); };
  const double share_of_group = 1 / static_cast<double>(groups);
  if (k > 0) {
    r.support.assign(static_cast<std::size_t>(groups), SupportBitmap(length));
    r.target = r.wasted = r.support;
    r.frequency.assign(static_cast<std::size_t>(groups * length), 0);
    r.captured_mean = r.recall = r.recall_95 = 0;
  }
  std::mt19937_64 engine(seed);
  std::int64_t long_rows = 0;
  for (std::int64_t t = 0; t < length; ++t) {
    std::vector<std::vector<float>> p;
    std::vector<float> m(static_cast<std::size_t>(t + 1), 0);
    std::vector<std::vector<float>> masses(static_cast<std::size_t>(groups), m);  // mean p over a group's heads
    for (std::int64_t head = 0; head + 1 < heads; ++head) {
      p.push_back(row_of(s, head, t));
      std::vector<float>& mass = masses[static_cast<std::size_t>(group_of(head))];
      for (std::size_t i = 0; i < m.size(); ++i) {
        m[i] += p.back()[i] / static_cast<float>(heads - 1);
        mass[i] += p.back()[i] * static_cast<float>(groups) / static_cast<float>(heads - 1);
      }
    }
    p.push_back(m);
    const std::vector<std::int32_t> order = by_score(m);
    const std::int64_t history = t + 1;
    const bool counts = k > 0 && history > k;
    long_rows += counts;
    double captured_in_row = 0;
    for (std::int64_t group = 0; k > 0 && group < groups; ++group) {
      const auto at = static_cast<std::size_t>(group);
      const std::vector<float>& mass = masses[at];
      SupportBitmap &support = r.support[at], &target = r.target[at];
      const std::vector<std::int32_t> best = by_score(mass);
      std::vector<std::int32_t> chosen = best;
      if (!method.starts_with("oracle")) {
        std::vector<float> guess(m.size());
        for (std::size_t i = 0; i < m.size(); ++i)
          guess[i] = std::log(mass[i] + 1e-9f) +
                     1.2f * static_cast<float>(static_cast<double>(engine() >> 11) * 0x1p-53 - 0.5);
        chosen = by_score(guess);
      }
      for (std::int64_t i = 0; i < std::min(k, history); ++i) {
        support.set(t, chosen[static_cast<std::size_t>(i)]);
        target.set(t, best[static_cast<std::size_t>(i)]);
      }
      support.set(t, t);  // a query always sees itself
      double captured_by_group = 0;
      for (std::int64_t key = 0; key < history; ++key) {
        const bool in = support.test(t, key);
        const float value = mass[static_cast<std::size_t>(key)];
        r.attended += in ? share_of_group : 0;
        r.frequency[static_cast<std::size_t>(group * length + key)] += in ? 1.0f / static_cast<float>(length - key) : 0;
        if (in && !target.test(t, key) && value < 0.1f / static_cast<float>(history)) r.wasted[at].set(t, key);
        captured_by_group += in ? value : 0;
      }
      if (!counts) continue;
      std::int64_t hit = 0, hit_95 = 0;
      const std::int64_t enough = std::min(keys_for(mass, 0.95), k);
      for (std::int64_t i = 0; i < k; ++i) {
        const bool in = support.test(t, best[static_cast<std::size_t>(i)]);
        hit += in;
        hit_95 += in && i < enough;
      }
      captured_in_row += captured_by_group * share_of_group;
      r.recall += share_of_group * static_cast<double>(hit) / static_cast<double>(k);
      r.recall_95 += share_of_group * static_cast<double>(hit_95) / static_cast<double>(enough);
    }
    if (k == 0) r.attended += static_cast<double>(history);
    if (counts) {
      r.captured_mean += captured_in_row;
      r.captured_min = std::min(r.captured_min, captured_in_row);
    }
    for (std::int64_t head = 0; head < heads; ++head) {
      const std::vector<float>& row = p[static_cast<std::size_t>(head)];
      float* statistic = r.statistics.data() + head * num_statistics;
      const bool is_mean = head + 1 == heads;
      double entropy = 0, sink = 0, local = 0, missed = 0, inside = is_mean ? captured_in_row : 0;
      for (std::int64_t key = 0; key < history; ++key) {
        const float value = row[static_cast<std::size_t>(key)];
        entropy -= value > 0 ? value * std::log(value) : 0;
        sink += key < 4 ? value : 0;
        local += key > t - 64 ? value : 0;
        inside += counts && !is_mean && r.support[static_cast<std::size_t>(group_of(head))].test(t, key) ? value : 0;
        if (counts && (!is_mean || groups == 1)) {
          const auto at = static_cast<std::size_t>(is_mean ? 0 : group_of(head));
          missed += r.target[at].test(t, key) && !r.support[at].test(t, key) ? value : 0;
        }
        r.received[static_cast<std::size_t>(head * length + key)] += value / static_cast<float>(length - key);
        Thumbnail& thumb = r.thumbnails[static_cast<std::size_t>(head)];
        const auto cell = static_cast<std::size_t>(t / thumb.cell * thumbnail_size + key / thumb.cell);
        thumb.max[cell] = std::max(thumb.max[cell], value);
        thumb.mean[cell] += value;
      }
      const double share = 1 / static_cast<double>(length);
      const double values[] = {entropy * share,
                               static_cast<double>(keys_for(row, 0.9)) * share,
                               static_cast<double>(keys_for(row, 0.95)) * share,
                               static_cast<double>(keys_for(row, 0.99)) * share,
                               sink * share,
                               local * share,
                               inside,
                               missed,
                               0};
      for (int i = 0; i < num_statistics; ++i) statistic[i] += static_cast<float>(values[i]);
      double sum = 0;
      std::int64_t next = 0;
      for (std::size_t b = 0; b < budgets.size() && budgets[b] < history; ++b) {
        for (; next < budgets[b]; ++next) sum += row[static_cast<std::size_t>(order[static_cast<std::size_t>(next)])];
        captured[static_cast<std::size_t>(head)][b].push_back(static_cast<float>(sum));
      }
    }
  }
  const double rows = static_cast<double>(std::max<std::int64_t>(long_rows, 1));
  if (k > 0) {
    r.captured_mean = long_rows ? r.captured_mean / rows : 1;
    r.recall = long_rows ? r.recall / rows : 1;
    r.recall_95 = long_rows ? r.recall_95 / rows : 1;
  }
  for (std::int64_t head = 0; head < heads; ++head) {
    float* statistic = r.statistics.data() + head * num_statistics;
    statistic[6] = k > 0 && long_rows ? statistic[6] / static_cast<float>(rows) : 1;
    statistic[7] /= static_cast<float>(rows);
    statistic[8] = 1 - statistic[6];
    std::vector<float> mean, p10, least;
    for (auto& values : captured[static_cast<std::size_t>(head)]) {
      std::sort(values.begin(), values.end());
      const bool none = values.empty();
      mean.push_back(none ? 1
                          : std::accumulate(values.begin(), values.end(), 0.0f) / static_cast<float>(values.size()));
      p10.push_back(none ? 1 : values[values.size() / 10]);
      least.push_back(none ? 1 : values.front());
    }
    for (const auto* part : {&mean, &p10, &least}) r.curves.insert(r.curves.end(), part->begin(), part->end());
    Thumbnail& thumb = r.thumbnails[static_cast<std::size_t>(head)];
    for (std::int64_t i = 0; i < thumbnail_size; ++i)
      for (std::int64_t j = 0; j <= i; ++j) {
        std::int64_t pairs = 0;
        for (std::int64_t t = i * thumb.cell; t < std::min((i + 1) * thumb.cell, length); ++t)
          pairs += std::clamp<std::int64_t>(t + 1 - j * thumb.cell, 0, thumb.cell);
        if (pairs) thumb.mean[static_cast<std::size_t>(i * thumbnail_size + j)] /= static_cast<float>(pairs);
      }
  }
  return r;
}

/// What a registry of policies would say of the method.
void describe(MethodSummary& s) {
  s.title = s.name == "dense"       ? "Dense"
            : s.name == "oracle"    ? "Oracle"
            : s.name == "indexer"   ? "Indexer"
            : s.name == "kv_topk"   ? "Top-k by KV head"
            : s.name == "head_topk" ? "Top-k by head"
                                    : s.name;
  s.scope = scope_of(s.name);
  s.role = s.name == "dense" ? MethodRole::dense : s.name == "oracle" ? MethodRole::reference : MethodRole::deployable;
  s.score = s.name == "dense" ? ScoreKind::none : s.name == "indexer" ? ScoreKind::index : ScoreKind::mass;
  s.look = s.name == "dense" ? 0 : s.name == "oracle" ? 1 : s.name == "indexer" ? 2 : s.name == "kv_topk" ? 5 : 6;
  if (!s.is_dense()) s.parameters = {{"local", "1"}, {"sinks", "0"}};
  s.fingerprint = s.is_dense() ? "00" : "5e76";
}

MethodSummary timed_summary(const SyntheticOptions& o, const std::string& method) {
  MethodSummary s;
  s.id = method;
  s.name = method.substr(0, method.find('-'));
  describe(s);
  if (const std::size_t at = method.find("-g1-"); at != std::string::npos) {
    s.parameters["variant"] = method.substr(at + 4);
    s.fingerprint = "5e77";
  }
  const std::int64_t k = budget_of(method);
  if (k > 0) s.budget = Budget{BudgetKind::tokens, static_cast<double>(k)};
  s.budget_tokens = k;
  s.backend = k > 0 ? "row tiles, CPU" : "LibTorch SDPA, CPU";
  s.label = k > 0 ? "reference path, not optimised" : "";
  const double slow = s.name == "dense" ? 1 : s.name == "oracle" ? 1.9 : 1.3;
  const double base[] = {0.2, 14, s.name == "indexer" ? 3.0 : 0, k > 0 ? 5.0 : 0, 16 * slow, 0, 28, 1.5};
  for (std::int64_t layer = 0; layer < o.layers; ++layer) {
    std::array<double, num_stages> row{};
    for (std::size_t i = 0; i < num_stages; ++i) {
      const double value =
          i == 0 ? (layer == 0 ? base[0] : 0)
                 : base[i] * (1 + 0.04 * std::sin(2.0 * static_cast<double>(layer) + static_cast<double>(i)));
      row[i] = !synthetic_layer(o, static_cast<int>(layer)).is_full() && (i == 2 || i == 3) ? 0 : value;
      s.stages[i].median += row[i];
    }
    s.layer_stages.push_back(row);
  }
  double total = 0;
  for (auto& stage : s.stages) {
    stage.q1 = stage.median * 0.98;
    stage.q3 = stage.median * 1.03;
    stage.repeats = 3;
    total += stage.median;
  }
  s.ttft = {total, total * 0.98, total * 1.03, 3};
  s.ttft_samples = {total * 1.05, total, total * 0.97};
  s.answer_ids = {500, 501, 502, 4};
  s.answer = s.name == "indexer" ? "The magic number is 7421093, I think. 🌊" : "The magic number is 7421093.";
  s.task_score = 100;
  s.peak_bytes = 700LL << 20;
  return s;
}

/// Four tokens, of which the third differs.
std::vector<AnswerPosition> answer_choices() {
  std::vector<AnswerPosition> positions;
  for (std::int64_t i = 0; i < 4; ++i) {
    const bool differs = i == 2;
    positions.push_back({i,
                         {{501, " Paris", 0.81, differs ? 0.07 : 0.78},
                          {502, " Lyon", 0.07, differs ? 0.44 : 0.09},
                          {503, "\n", 0.02, 0.21},
                          {504, " the", 0.01, 0.03}}});
  }
  return positions;
}

RunMeta make_meta(const SyntheticOptions& o) {
  RunMeta m;
  m.run_id = "5e7aced0c0de0001";
  m.created = "2026-01-02T03:04:05Z";
  m.program_version = "0.1.0";
  m.spec_json = o.spec_json.empty() ? R"({"model": "synthetic", "task": "niah_single_1"})" : o.spec_json;
  m.model_name = "Synthetic 12M";
  m.model_path = "synthetic.gguf";
  m.model_sha256 = std::string(64, 'a');
  m.architecture = "llama";
  m.device = "CPU, 2 cores: synthetic";
  m.dtype = "f32";
  m.context = 8192;
  for (int layer = 0; layer < o.layers; ++layer) m.layers.push_back(synthetic_layer(o, layer));
  m.indexer_path = "synthetic-indexer.safetensors";
  m.indexer_sha256 = std::string(64, 'b');
  m.indexer_trained_length = 4096;
  m.task = "niah_single_1";
  m.task_reference = "7421093";
  m.warmups = 1;
  m.kept_note = o.keep_layers.empty() ? "every layer of every stream" : "streams of some layers only, as asked for";
  m.complete = o.complete;
  return m;
}

/// Puts a layer's heads into the table of all layers: the mean in the last place, the others from the first on.
void place_heads(const std::vector<float>& from, std::int64_t layer, std::int64_t heads, std::int64_t width,
                 std::vector<float>& to) {
  const auto part = static_cast<std::ptrdiff_t>(from.size()) / heads;
  const auto row = to.begin() + layer * width * part;
  std::copy(from.begin(), from.end() - part, row);
  std::copy(from.end() - part, from.end(), row + (width - 1) * part);
}

}  // namespace

RunMeta synthetic_meta(const SyntheticOptions& options) {
  return make_meta(options);
}

MethodSummary synthetic_summary(const SyntheticOptions& options, const std::string& method) {
  return timed_summary(options, method);
}

void write_synthetic_record(const std::filesystem::path& file, const SyntheticOptions& o) {
  const RunMeta meta = make_meta(o);
  RecordWriter writer(file, meta, synthetic_tokens(o.tokens, o.seed));
  if (o.lists) writer.always_as_lists();
  for (const std::string& method : o.methods) {
    MethodSummary summary = timed_summary(o, method);
    const bool dense = summary.budget_tokens == 0;
    const std::int64_t width = meta.max_q_heads() + 1;
    HeadStatistics statistics{{"entropy", "keys_for_90", "keys_for_95", "keys_for_99", "sink_mass", "local_mass",
                               "captured_mass", "missed_mass", "uncaptured_mass"},
                              o.layers,
                              width,
                              std::vector<float>(static_cast<std::size_t>(o.layers * width * num_statistics), missing)};
    MassCurves curves{log_budgets(o.tokens), o.layers, width,
                      std::vector<float>(static_cast<std::size_t>(o.layers * width * 3 * 64), missing)};
    double captured = 0, recall = 0, recall_95 = 0, attended = 0;
    std::int64_t full = 0;
    writer.write_summary(summary);
    for (int layer = 0; layer < o.layers; ++layer) {
      const std::int64_t heads = meta.layer(layer).num_q_heads + 1;
      if (!meta.is_full(layer)) {
        summary.captured_mass_per_layer.push_back(nan);
        if (!dense) summary.oracle_recall_per_layer.push_back(nan);
        if (!dense) summary.output_l2_per_layer.push_back(0.01 * layer);
        if (!dense) summary.output_frobenius_per_layer.push_back(0.005 * layer);
        continue;
      }
      SyntheticOptions whole = o;
      whole.query_begin = 0;
      LayerStream stream = synthetic_stream(whole, method, layer);
      const LayerResult r = analyse(stream, method, o.seed * 100 + static_cast<std::uint64_t>(layer));
      place_heads(r.statistics, layer, heads, width, statistics.values);
      place_heads(r.curves, layer, heads, width, curves.values);
      summary.captured_mass_per_layer.push_back(r.captured_mean);
      summary.captured_mass_min = std::min(summary.captured_mass_min, r.captured_mean);
      captured += r.captured_mean;
      attended += r.attended;
      ++full;
      if (!dense) {
        summary.oracle_recall_per_layer.push_back(r.recall);
        recall += r.recall;
        recall_95 += r.recall_95;
        summary.output_l2_per_layer.push_back(0.01 * (layer + 1) * (2 - r.captured_mean));
        summary.output_frobenius_per_layer.push_back(0.5 * summary.output_l2_per_layer.back());
        writer.write_supports(method, layer, SupportKind::support, r.support);
        writer.write_supports(method, layer, SupportKind::target, r.target);
        writer.write_supports(method, layer, SupportKind::wasted, r.wasted);
        writer.write_selection_frequency(method, layer, r.frequency);
      }
      if (o.pyramid_levels.any()) {
        const std::int64_t groups = dense ? 0 : static_cast<std::int64_t>(r.support.size());
        const auto pyramid = writer.pyramid(method, layer, o.pyramid_levels, groups);
        build_pyramid(
            stream, {summary.scope, r.support, r.target, r.wasted}, o.pyramid_levels, 2,
            [&](Plane plane, std::int64_t index, std::span<const double> cells) { pyramid->add(plane, index, cells); });
        pyramid->finish();
      }
      writer.write_thumbnails(method, layer, r.thumbnails);
      writer.write_mass_received(method, layer, heads, r.received);
      if (o.keep_layers.empty() || o.keep_layers.contains(layer)) {
        if (o.query_begin > 0) stream = synthetic_stream(o, method, layer);
        writer.write_layer_stream(method, layer, stream);
      }
    }
    if (full > 0) {
      const auto count = static_cast<double>(full),
                 pairs = static_cast<double>(o.tokens) * static_cast<double>(o.tokens + 1) / 2;
      summary.captured_mass_mean = captured / count;
      summary.density = attended / count / pairs;
      if (!dense) {
        summary.oracle_recall_mean = recall / count;
        summary.oracle_recall_95_mean = recall_95 / count;
        summary.kl_to_dense = 0.02 * (2 - summary.captured_mass_mean);
        summary.top1_agrees = true;
      }
    }
    const bool changes = o.choices && !summary.is_dense() && summary.name != "oracle";
    if (changes) {
      summary.forced = ForcedComparison{4, 0.3, 0.9, 1, 2, answer_choices()[2]};
      summary.answer_ids = {500, 501, 777, 4};
    }
    writer.write_summary(summary);
    if (changes) writer.write_answer_choices(method, answer_choices());
    writer.write_head_statistics(method, statistics);
    writer.write_mass_curves(method, curves);
  }
  writer.finish(meta);
}

}  // namespace headroom::test
