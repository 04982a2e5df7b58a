// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/record_builder.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "record/parts.h"

namespace headroom::experiment {
namespace {

// Of a causal map half is empty: until the first layer shows how well it compresses, expect a little more than that.
constexpr double causal_ratio = 0.6;

/// "5", "5, 11 and 17"
std::string list_text(std::vector<int> layers) {
  std::sort(layers.begin(), layers.end());
  std::string text;
  for (std::size_t i = 0; i < layers.size(); ++i)
    text += (i == 0 ? "" : i + 1 == layers.size() ? " and " : ", ") + std::to_string(layers[i]);
  return text;
}

}  // namespace

std::vector<int> layers_with_marginals(const model::ModelConfig& config, const std::vector<int>& kept,
                                       std::int64_t methods, std::int64_t length, std::int64_t limit) {
  std::vector<int> others, chosen(kept);
  std::ranges::sort(chosen);
  const auto repeated = std::ranges::unique(chosen);
  chosen.erase(repeated.begin(), repeated.end());
  for (int layer = 0; layer < config.num_layers(); ++layer)
    if (config.is_full(layer) && std::ranges::find(kept, layer) == kept.end()) others.push_back(layer);
  auto room = static_cast<std::int64_t>(marginal_share * static_cast<double>(limit));
  const auto charge = [&](int layer) {
    room -= methods * (config.layer(layer).attention.num_q_heads + 1) * length * 4;
    return room >= 0;
  };
  const auto take = [&](int layer) {
    if (charge(layer)) chosen.push_back(layer);
  };
  std::ranges::for_each(chosen, charge);
  // The first, the middle one, those between …: whichever is the last that fits, they lie evenly.
  if (!others.empty()) take(others.front());
  for (std::size_t step = std::bit_ceil(others.size()); step > 1; step /= 2)
    for (std::size_t i = step / 2; i < others.size(); i += step) take(others[i]);
  std::ranges::sort(chosen);
  return chosen;
}

RecordBuilder::RecordBuilder(const RecordPlan& plan, const OutputPlace& out, const record::RunMeta& meta,
                             const StreamStore& store)
    : plan_(plan),
      store_(store),
      writer_(out, meta, plan.tokens),
      marginal_layers_(layers_with_marginals(plan.config, plan.keep_layers, plan.methods, length(), plan.limit)) {
  if (plan.threads) writer_.compress_in_threads();
}

void RecordBuilder::add(const MethodData& method) {
  const auto& id = method.summary.id;
  writer_.write_summary(method.summary);
  writer_.write_head_statistics(id, method.statistics);
  writer_.write_mass_curves(id, method.curves);
  if (!method.choices.empty()) writer_.write_answer_choices(id, method.choices);
  for (std::size_t layer = 0; layer < method.mass_received.size(); ++layer) {
    const auto number = static_cast<int>(layer);
    if (!method.mass_received[layer].empty() && std::ranges::binary_search(marginal_layers_, number))
      writer_.write_mass_received(id, number, attention(number).num_q_heads + 1, method.mass_received[layer]);
    if (!method.selection_frequency[layer].empty())
      writer_.write_selection_frequency(id, number, method.selection_frequency[layer]);
  }
  methods_.push_back(method.summary);
}

void RecordBuilder::set_summaries(const std::vector<record::MethodSummary>& summaries) {
  for (auto& method : methods_) {
    const auto found =
        std::find_if(summaries.begin(), summaries.end(), [&](const auto& s) { return s.id == method.id; });
    if (found == summaries.end()) continue;
    method = *found;
    writer_.write_summary(method);
  }
}

const model::AttentionSpec& RecordBuilder::attention(int layer) const {
  return plan_.config.layer(layer).attention;
}

std::vector<int> RecordBuilder::layer_order() const {
  // A layer's place is that of its worst sparse stream; every stream then holds the same layers.
  std::vector<std::pair<double, int>> captured;
  for (int layer = 0; layer < plan_.config.num_layers(); ++layer) {
    if (!plan_.config.is_full(layer)) continue;
    double worst = 1;
    for (const auto& method : methods_) {
      const double mass = method.captured_mass_per_layer[static_cast<std::size_t>(layer)];
      if (!std::isnan(mass)) worst = std::min(worst, mass);
    }
    captured.emplace_back(worst, layer);
  }
  std::sort(captured.begin(), captured.end());
  std::vector<int> order;
  for (const auto& [mass, layer] : captured) order.push_back(layer);
  return order;
}

bool RecordBuilder::out_of_time() const {
  return job_.stop.stop_requested() || (deadline_ && Clock::now() > *deadline_);
}

bool RecordBuilder::fits(double share, std::int64_t raw, double ratio) {
  const double room =
      share * static_cast<double>(plan_.limit) - static_cast<double>(writer_.bytes_written());
  return static_cast<double>(raw) * ratio <= room;
}

double RecordBuilder::measured_ratio(std::int64_t raw, std::int64_t before) {
  const double ratio = static_cast<double>(writer_.bytes_written() - before) / static_cast<double>(raw);
  return std::min(1.05, 1.1 * ratio + 0.01);  // layers differ a little; the limit should hold
}

void RecordBuilder::write_thumbnails(const std::vector<int>& order, double share) {
  const auto size = RecordedPass::thumbnail_size;
  double ratio = causal_ratio;
  for (int layer : order) {
    const auto heads = attention(layer).num_q_heads + 1;
    const auto raw = heads * size * size * 2 * 4 * static_cast<std::int64_t>(methods_.size());
    if (out_of_time() || !fits(share, raw, ratio)) break;
    const auto before = writer_.bytes_written();
    for (const auto& method : methods_) {
      const auto maps = store_.thumbnails(method.id, layer, heads, size, length());
      if (!maps.empty()) writer_.write_thumbnails(method.id, layer, maps);
    }
    ratio = measured_ratio(raw, before);
    ++thumbnail_layers_;
  }
}

void RecordBuilder::write_supports(const std::vector<int>& order, double share) {
  const auto sparse =
      std::count_if(methods_.begin(), methods_.end(), [](const auto& m) { return !m.is_dense(); });
  if (sparse == 0) return;
  double ratio = causal_ratio;
  for (int layer : order) {
    std::int64_t raw = 0;
    for (const auto& method : methods_)
      if (!method.is_dense())
        raw += 3 * num_support_groups(method.scope, attention(layer).num_q_heads, attention(layer).num_kv_heads) *
               record::support_bytes(length(), method.budget_tokens);
    if (out_of_time() || !fits(share, raw, ratio)) break;
    const auto before = writer_.bytes_written();
    bool any = false;
    for (const auto& method : methods_) {
      const auto supports = store_.supports(method.id, layer);
      if (!supports) continue;
      using Kind = record::SupportKind;
      writer_.write_supports(method.id, layer, Kind::support, supports->support);
      writer_.write_supports(method.id, layer, Kind::target, supports->target);
      writer_.write_supports(method.id, layer, Kind::wasted, supports->wasted);
      any = true;
    }
    if (!any) continue;
    ratio = measured_ratio(raw, before);
    support_layers_.push_back(layer);
  }
}

record::PyramidLevels RecordBuilder::pyramid_levels(int layer) const {
  const model::AttentionSpec& sizes = attention(layer);
  return record::pyramid_levels(length(), {"full", sizes.num_q_heads, sizes.num_kv_heads, sizes.head_dim, 0, 0});
}

void RecordBuilder::write_pyramids(const std::vector<int>& order, double share) {
  double ratio = causal_ratio;
  for (int layer : order) {
    const model::AttentionSpec& sizes = attention(layer);
    const auto levels = pyramid_levels(layer);
    if (!levels.any()) continue;
    std::int64_t raw = 0;
    for (const auto& method : methods_)
      raw += record::pyramid_bytes(
          length(), {"full", sizes.num_q_heads, sizes.num_kv_heads, sizes.head_dim, 0, 0},
          method.is_dense() ? 0 : num_support_groups(method.scope, sizes.num_q_heads, sizes.num_kv_heads));
    if (out_of_time() || !fits(share, raw, ratio)) break;
    const auto before = writer_.bytes_written();
    bool any = false;
    for (const auto& method : methods_) {
      if (planes_of(method, layer, levels)) {
        any = true;
        continue;
      }
      const auto stream = store_.stream(method.id, layer);
      if (!stream) continue;
      const auto supports = store_.supports(method.id, layer);
      record::PyramidSupports of{method.scope};
      if (supports) of = {method.scope, supports->support, supports->target, supports->wasted};
      const auto pyramid = writer_.pyramid(method.id, layer, levels, std::ssize(of.support));
      const bool whole = record::build_pyramid(
          *stream, of, levels, at::get_num_threads(),
          [&](record::Plane plane, std::int64_t index, std::span<const double> cells) {
            pyramid->add(plane, index, cells);
          },
          job_.stop);
      if (!whole) return;  // stopped: what there is of it is taken back
      pyramid->finish();
      any = true;
    }
    if (!any) continue;
    ratio = measured_ratio(raw, before);
    ++pyramid_layers_;
  }
}

/// What a device made of them is written as it is; false where nothing was made there.
bool RecordBuilder::planes_of(const record::MethodSummary& method, int layer,
                              const record::PyramidLevels& levels) {
  if (!store_.has_planes(method.id, layer)) return false;
  // A layer that ran dense by the list has no supports, whatever the method.
  const std::int64_t groups = store_.has_planes(method.id, layer, record::Plane::selected) ? 1 : 0;
  const auto pyramid = writer_.pyramid(method.id, layer, levels, groups);
  store_.planes(method.id, layer, [&](record::Plane plane, std::int64_t index, std::span<const double> cells) {
    pyramid->add(plane, index, cells);
  });
  pyramid->finish();
  return true;
}

void RecordBuilder::write_streams(const std::vector<int>& wanted) {
  const auto query_begin = plan_.keep_queries > 0 ? std::max<std::int64_t>(length() - plan_.keep_queries, 0) : 0;
  const auto rows = length() - query_begin;
  const auto bytes = plan_.dtype == c10::ScalarType::Float ? 4 : 2;
  // bf16 values that float16 cannot hold are stored as float32: the first layer counts double.
  double ratio = bytes == 2 ? 2.05 : 1.05;
  for (int layer : wanted) {
    if (out_of_time()) break;
    const model::AttentionSpec& sizes = attention(layer);
    const auto raw = (bytes * sizes.head_dim * (sizes.num_q_heads * rows + sizes.num_kv_heads * length()) +
                      4 * sizes.num_q_heads * rows) *
                     static_cast<std::int64_t>(methods_.size());
    if (!fits(1.0, raw, ratio)) {
      if (ratio <= 1.05 || !stream_layers_.empty() || !fits(1.0, raw, 1.05)) break;
    }
    const auto before = writer_.bytes_written();
    for (const auto& method : methods_)
      if (const auto stream = store_.stream(method.id, layer, query_begin))
        writer_.write_layer_stream(method.id, layer, *stream);
    ratio = measured_ratio(raw, before);
    stream_layers_.push_back(layer);
  }
}

std::string RecordBuilder::note() const {
  const auto full = plan_.config.full_layers();
  const auto of = " of " + std::to_string(full) + " layers";
  const bool all_marginals = std::ssize(marginal_layers_) == full;
  std::string text = (all_marginals ? "Statistics, curves and marginals: all " : "Statistics and curves: all ") +
                     std::to_string(full) + " full layers. ";
  if (!all_marginals) text += "Mass by key: " + std::to_string(marginal_layers_.size()) + of + ". ";
  text += "Thumbnails: " + std::to_string(thumbnail_layers_) + of + ". ";
  std::int64_t with_tiles = 0;
  for (int layer = 0; layer < plan_.config.num_layers(); ++layer)
    with_tiles += plan_.config.is_full(layer) && pyramid_levels(layer).any();
  if (with_tiles > 0) text += "Stored tiles: " + std::to_string(pyramid_layers_) + of + ". ";
  const bool sparse = std::any_of(methods_.begin(), methods_.end(), [](const auto& m) { return m.budget.has_value(); });
  if (sparse) text += "Supports: " + std::to_string(support_layers_.size()) + of + ". ";
  if (stream_layers_.empty())
    text += "Exact maps: none.";
  else if (static_cast<std::int64_t>(stream_layers_.size()) == full)
    text += "Exact maps: all layers.";
  else
    text += "Exact maps: layers " + list_text(stream_layers_) +
            (plan_.keep_layers.empty() ? ", those with the worst captured mass." : ", as asked for.");
  if (plan_.keep_queries > 0 && plan_.keep_queries < length())
    text += " Exact maps hold the last " + std::to_string(plan_.keep_queries) + " queries.";
  const auto all = static_cast<std::size_t>(full);
  const auto wanted = plan_.keep_layers.empty() ? all : plan_.keep_layers.size();
  const bool left_out = stream_layers_.size() < wanted || !all_marginals || thumbnail_layers_ < full ||
                        pyramid_layers_ < with_tiles || (sparse && support_layers_.size() < all);
  if (store_.gave_up())
    text += " The maps were left out because the disk was full.";
  else if (cut_short_)
    text += " The rest was left out because the run was cancelled.";
  else if (left_out)
    text += " The rest did not fit under the record limit of " + std::to_string(plan_.limit >> 20) + " MiB.";
  return text;
}

std::filesystem::path RecordBuilder::finish(record::RunMeta& meta, ProgressPlan& progress, const JobContext& job,
                                            std::optional<std::chrono::milliseconds> deadline) {
  // After a cancel the deadline alone ends the writing: the stop has been asked for already.
  if (deadline)
    deadline_ = Clock::now() + *deadline;
  else
    job_ = job;
  progress.report("writing the record", 0, 3);
  if (!store_.gave_up()) write_maps(progress);
  cut_short_ = out_of_time();
  if (cut_short_) meta.complete = false;
  meta.kept_note = note();
  progress.report("writing the record", 3, 3);
  return writer_.finish(meta);
}

void RecordBuilder::write_maps(ProgressPlan& progress) {
  const auto order = layer_order();
  const auto& kept = plan_.keep_layers;
  if (kept.empty()) {
    write_thumbnails(order, thumbnail_share);
    progress.report("writing the record", 1, 3);
    write_pyramids(order, pyramid_share);
    write_supports(order, support_share);
    progress.report("writing the record", 2, 3);
    write_streams(order);
  } else {
    // What was asked for comes first, whole; the other layers share what is left.
    std::vector<int> others;
    for (const int layer : order)
      if (std::find(kept.begin(), kept.end(), layer) == kept.end()) others.push_back(layer);
    write_supports(kept, 1.0);
    write_streams(kept);
    write_pyramids(kept, 1.0);
    progress.report("writing the record", 1, 3);
    write_supports(others, 1.0);
    write_pyramids(others, 1.0);
    progress.report("writing the record", 2, 3);
    write_thumbnails(others, 1.0);
  }
}

}  // namespace headroom::experiment
