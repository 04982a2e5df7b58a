// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/exact_layers.h"

#include <QObject>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "gui/new_run_dialog.h"
#include "views/common/format.h"

namespace headroom::gui {

std::int64_t exact_layer_bytes(const record::RunRecord& record, int layer) {
  if (!record.meta().is_full(layer)) return 0;
  const record::LayerMeta& sizes = record.meta().layer(layer);
  const std::int64_t length = record.length();
  std::int64_t bytes = 0;
  for (const record::MethodSummary& method : record.methods()) {
    bytes += 4 * (sizes.head_dim * (sizes.num_q_heads + sizes.num_kv_heads) + sizes.num_q_heads) * length;
    if (!method.is_dense())
      bytes +=
          3 * num_support_groups(method.scope, sizes.num_q_heads, sizes.num_kv_heads) * length * ((length + 7) / 8);
  }
  return bytes;
}

std::optional<protocol::RunSpec> spec_with_exact_layer(const record::RunRecord& record, int layer) {
  if (!record.meta().is_full(layer)) return std::nullopt;
  try {
    protocol::RunSpec spec = protocol::run_spec_from_json(nlohmann::json::parse(record.meta().spec_json));
    protocol::validate(spec);
    if (spec.methods.empty()) {  // what ran by default there, whatever would here
      for (const record::MethodSummary& method : record.methods())
        if (std::find(spec.methods.begin(), spec.methods.end(), method.name) == spec.methods.end())
          spec.methods.push_back(method.name);
    }
    std::vector<int> kept;
    std::int64_t bytes = 0;
    for (int one = 0; one < record.meta().num_layers(); ++one) {
      const bool exact = std::any_of(record.methods().begin(), record.methods().end(), [&](const auto& method) {
        return record.availability(method.id, one).stream;
      });
      if (!exact && one != layer) continue;
      kept.push_back(one);
      bytes += exact_layer_bytes(record, one);
    }
    spec.keep_layers = std::move(kept);
    spec.keep_queries = 0;
    spec.record_limit = std::max(spec.record_limit, std::int64_t{64} << 20) + 2 * bytes;
    spec.repeats = 1;  // times are not what this is for
    spec.baselines.clear();
    spec.out = new_record_path().toStdString();
    return spec;
  } catch (const std::exception&) {
    return std::nullopt;  // of another program, or imported
  }
}

QString other_run_text(const record::RunRecord& record, const record::RunMeta& meta, std::int64_t tokens,
                       const std::vector<std::int32_t>* ids) {
  const record::RunMeta& mine = record.meta();
  if (meta.model_sha256 != mine.model_sha256)
    return QObject::tr("The model is another one now: SHA-256 %1…, the record's is %2….")
        .arg(QString::fromStdString(meta.model_sha256).left(12), QString::fromStdString(mine.model_sha256).left(12));
  if (tokens != record.length() || (ids && *ids != record.tokens().ids))
    return QObject::tr("The prompt is another one now: %1 tokens, the record's has %2%3.")
        .arg(views::format_count(tokens), views::format_count(record.length()),
             tokens == record.length() ? QObject::tr(" others") : QString());
  return {};
}

std::optional<ExactLayers::Wanted> ExactLayers::take(const QString& job) {
  const auto at = jobs_.find(job);
  if (at == jobs_.end()) return std::nullopt;
  Wanted wanted = std::move(at->second);
  jobs_.erase(at);
  return wanted;
}

const ExactLayers::Wanted* ExactLayers::find(const QString& job) const {
  const auto at = jobs_.find(job);
  return at == jobs_.end() ? nullptr : &at->second;
}

QString ExactLayers::job_of(const record::RunMeta& meta) const {
  const nlohmann::json spec = nlohmann::json::parse(meta.spec_json, nullptr, false);
  const auto out = spec.is_object() ? spec.find("out") : spec.end();
  if (!spec.is_object() || out == spec.end() || !out->is_string()) return {};
  for (const auto& [job, wanted] : jobs_)
    if (wanted.out == out->get_ref<const std::string&>()) return job;
  return {};
}

bool ExactLayers::recording(const record::RunRecord& record, int layer) const {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& job) {
    return job.second.record.get() == &record && job.second.layer == layer;
  });
}

}  // namespace headroom::gui
