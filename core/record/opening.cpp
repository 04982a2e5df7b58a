// SPDX-License-Identifier: Apache-2.0
#include "record/opening.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "record/tiles.h"

namespace headroom::record {
namespace {

// Bytes of q and k that may be read to choose a layer: some tenths of a second.
constexpr std::int64_t most_read = 160 << 20;
constexpr std::ptrdiff_t retrieved_keys = 8;

bool has_streams(const RunRecord& record, const MethodSummary& method) {
  for (std::int64_t layer = 0; layer < record.meta().num_layers(); ++layer)
    if (record.availability(method.id, static_cast<int>(layer)).stream) return true;
  return false;
}

/// Mean over the rows of what neither sinks nor local keys get, by layer; 0 where the record does not say.
std::vector<double> distant_mass(const RunRecord& record, const std::string& method) {
  std::vector<double> result(static_cast<std::size_t>(record.meta().num_layers()), 0);
  const auto statistics = record.head_statistics(method);
  if (!statistics || statistics->heads < 1) return result;
  const auto place = [&](const char* name) {
    return static_cast<std::size_t>(std::find(statistics->names.begin(), statistics->names.end(), name) -
                                    statistics->names.begin());
  };
  const std::size_t sinks = place("sink_mass"), local = place("local_mass");
  if (std::max(sinks, local) >= statistics->names.size()) return result;
  for (std::int64_t layer = 0; layer < std::min(statistics->layers, record.meta().num_layers()); ++layer) {
    const double rest = 1.0 - static_cast<double>(statistics->at(layer, statistics->heads - 1, sinks)) -
                        static_cast<double>(statistics->at(layer, statistics->heads - 1, local));
    if (std::isfinite(rest)) result[static_cast<std::size_t>(layer)] = rest;
  }
  return result;
}

}  // namespace

std::string opening_method(const RunRecord& record) {
  const auto& methods = record.methods();
  for (const auto& method : methods)
    if (method.score == ScoreKind::index && has_streams(record, method)) return method.id;
  for (const auto& method : methods)
    if (!method.is_dense() && has_streams(record, method)) return method.id;
  for (const auto& method : methods)
    if (has_streams(record, method)) return method.id;
  for (const auto& method : methods)
    if (!method.is_dense()) return method.id;
  return methods.empty() ? std::string() : methods.front().id;
}

int opening_layer(const RunRecord& record, const MethodSummary* method) {
  int best = 0, best_held = -1;
  double best_captured = std::numeric_limits<double>::infinity();
  for (int layer = 0; layer < record.meta().num_layers(); ++layer) {
    if (!record.meta().is_full(layer)) continue;
    const auto index = static_cast<std::size_t>(layer);
    int held = 0;
    double captured = 1;
    if (method) {
      const auto available = record.availability(method->id, layer);
      held = available.stream ? 2 : available.thumbnails ? 1 : 0;
      if (index < method->captured_mass_per_layer.size() && std::isfinite(method->captured_mass_per_layer[index]))
        captured = method->captured_mass_per_layer[index];
    }
    if (held > best_held || (held == best_held && captured < best_captured)) {
      best = layer;
      best_held = held;
      best_captured = captured;
    }
  }
  return best;
}

std::optional<int> retrieval_layer(const RunRecord& record) {
  try {
    const std::string method = opening_method(record);
    const std::int64_t length = record.length();
    if (length <= counted_sinks + counted_local) return std::nullopt;
    std::vector<int> kept;
    for (int layer = 0; layer < record.meta().num_layers(); ++layer)
      if (record.meta().is_full(layer) && record.availability(method, layer).stream) kept.push_back(layer);
    if (kept.empty()) return std::nullopt;
    const auto rest = distant_mass(record, method);
    std::stable_sort(kept.begin(), kept.end(), [&](int a, int b) {
      return rest[static_cast<std::size_t>(a)] > rest[static_cast<std::size_t>(b)];
    });
    std::optional<int> best;
    double best_score = 0;
    std::int64_t left = most_read;
    for (const int layer : kept) {
      // An upper bound: a record may keep fewer query rows.
      const LayerMeta& sizes = record.meta().layer(layer);
      left -= (sizes.num_q_heads + sizes.num_kv_heads) * length * sizes.head_dim * std::int64_t{sizeof(float)};
      if (left < 0) break;
      const auto stream = record.layer_stream(method, layer);
      if (!stream) continue;
      const auto row = probability_row(*stream, {}, length - 1);
      if (static_cast<std::int64_t>(row.size()) != length) continue;
      auto usual = record.mass_received(method, layer, static_cast<int>(sizes.num_q_heads));
      if (usual.empty()) usual.assign(row.size(), 0);  // a long record keeps it of some layers alone
      if (usual.size() != row.size()) continue;
      std::vector<double> beyond;
      for (auto key = static_cast<std::size_t>(counted_sinks); key + counted_local < row.size(); ++key)
        beyond.push_back(static_cast<double>(row[key]) - static_cast<double>(usual[key]));
      const auto few = std::min<std::ptrdiff_t>(retrieved_keys, std::ssize(beyond));
      std::partial_sort(beyond.begin(), beyond.begin() + few, beyond.end(), std::greater<>());
      const double score = std::accumulate(beyond.begin(), beyond.begin() + few, 0.0);
      if (score > best_score) {
        best = layer;
        best_score = score;
      }
    }
    return best;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

int first_layer(const RunRecord& record) {
  if (const auto layer = retrieval_layer(record); layer && record.meta().has_layer(*layer)) return *layer;
  return opening_layer(record, record.find_method(opening_method(record)));
}

}  // namespace headroom::record
