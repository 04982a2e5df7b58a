// SPDX-License-Identifier: Apache-2.0
#include "record/record_v1.h"

#include "base/json_fields.h"
#include "record/record_json.h"

namespace headroom::record {
namespace {

using nlohmann::json;

constexpr std::size_t max_layers_v1 = 1024;

struct Known {
  const char* name;
  const char* title;
  MethodRole role;
  ScoreKind score;
};
constexpr Known known[] = {{"dense", "Dense", MethodRole::dense, ScoreKind::none},
                           {"oracle", "Oracle top-k", MethodRole::reference, ScoreKind::mass},
                           {"indexer", "Indexer top-k", MethodRole::deployable, ScoreKind::index},
                           {"sink_window", "Sinks and window", MethodRole::deployable, ScoreKind::none},
                           {"random", "Random keys", MethodRole::deployable, ScoreKind::none}};

}  // namespace

void describe_by_name_v1(MethodSummary& summary) {
  summary.title = summary.name;
  summary.look = num_method_looks - 1;
  summary.scope = SupportScope::layer;
  int look = 0;
  for (const Known& method : known) {
    if (summary.name == method.name) {
      summary.title = method.title;
      summary.role = method.role;
      summary.score = method.score;
      summary.look = look;
    }
    ++look;
  }
}

json upgrade_meta_v1(const json& old, const std::string& place) {
  Fields fields(old, place);
  json meta = old;
  meta["model"] = fields.string("model_name");
  json layer = {{"num_q_heads", fields.integer("num_q_heads", 1, 1024)},
                {"num_kv_heads", fields.integer("num_kv_heads", 1, 1024)},
                {"head_dim", fields.integer("head_dim", 1, 1024)},
                {"window", 0},
                {"scale", fields.number("scale", -1e6, 1e6)}};
  const auto kinds = fields.strings("layer_kinds", max_layers_v1, 32);
  if (static_cast<std::int64_t>(kinds.size()) != fields.integer("num_layers", 1, max_layers_v1))
    fields.fail("layer_kinds", "one kind a layer, " + old["num_layers"].dump(), std::to_string(kinds.size()));
  meta["layers"] = json::array();
  for (const std::string& kind : kinds) {
    layer["kind"] = kind;
    meta["layers"].push_back(layer);
  }
  const std::string indexer = fields.string("indexer_path");
  meta["indexer"] = nullptr;
  if (!indexer.empty())
    meta["indexer"] = {{"path", indexer},
                       {"sha256", fields.string("indexer_sha256")},
                       {"trained_length", fields.integer("indexer_trained_length", 0, 1LL << 53)}};
  return meta;
}

json upgrade_summary_v1(const json& old, const std::string& place) {
  Fields fields(old, place);
  MethodSummary named;
  named.id = fields.string("id", 64);
  named.name = fields.string("name", 64);
  describe_by_name_v1(named);
  json summary = to_json(named, Arrays::beside);
  // Plans and baselines came after the first records of schema 1.
  summary.update(old);
  summary["stages_quartiles_ms"] = fields.object("stages_ms");
  summary["captured_mass"] = {{"mean", old.value("captured_mass_mean", json())},
                              {"min", old.value("captured_mass_min", json())}};
  if (fields.has("oracle_recall_mean"))
    summary["oracle_recall"] = {{"mean", old["oracle_recall_mean"]},
                                {"mean_95", old.value("oracle_recall_95_mean", json())}};
  return summary;
}

void rename_figures_v2(MethodSummary& summary) {
  summary.output_frobenius_per_layer = std::move(summary.output_l2_per_layer);
  summary.output_l2_per_layer.clear();
  summary.oracle_recall_95_mean.reset();
}

std::string statistic_name_v2(const std::string& name) {
  return name == "missed_mass" ? "uncaptured_mass" : name;
}

}  // namespace headroom::record
