// SPDX-License-Identifier: Apache-2.0
// Which samples a sweep has, and which shard each belongs to.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/sha256.h"
#include "record/sweep/sweep_types.h"

namespace headroom::record {

std::vector<SweepSample> all_samples(const SweepMeta& meta) {
  if (meta.is_own_prompts()) return meta.prompt_samples;
  std::vector<SweepSample> samples;
  for (const bool calibration : {true, false})
    for (std::size_t task = 0; task < meta.tasks.size(); ++task)
      for (const std::int64_t length : meta.lengths)
        for (std::int64_t i = 0; i < (calibration ? meta.calibration : meta.samples); ++i)
          samples.push_back({task, length, meta.seed + i + (calibration ? calibration_seeds : 0), calibration});
  return samples;
}

int shard_of(const SweepMeta& meta, const SweepSample& sample, int shards) {
  const std::string key = meta.model_sha256 + "|" + meta.tasks[sample.task].name + "|" + std::to_string(sample.length) +
                          "|" + std::to_string(sample.seed);
  const std::string hash = sha256(std::span(reinterpret_cast<const std::uint8_t*>(key.data()), key.size()));
  return 1 + static_cast<int>(std::stoull(hash.substr(0, 15), nullptr, 16) % static_cast<std::uint64_t>(shards));
}

std::vector<SweepSample> own_samples(const SweepMeta& meta) {
  std::vector<SweepSample> samples = all_samples(meta);
  if (meta.shards > 1)
    std::erase_if(samples, [&](const SweepSample& one) { return shard_of(meta, one, meta.shards) != meta.shard; });
  return samples;
}

std::string describe(const SweepMeta& meta, const SweepSample& sample) {
  std::string text = meta.tasks[sample.task].name;
  if (meta.is_own_prompts()) return text + " " + std::to_string(sample.seed);
  text += ", " + std::to_string(sample.length) + " tokens, seed " + std::to_string(sample.seed);
  return sample.calibration ? text + " (calibration)" : text;
}

void sort_rows(SweepRecord& record) {
  const auto order = [&](const SweepSample& sample) {
    const auto length = std::find(record.meta.lengths.begin(), record.meta.lengths.end(), sample.length);
    return std::tuple(!sample.calibration, sample.task, length - record.meta.lengths.begin(), sample.seed);
  };
  std::sort(record.rows.begin(), record.rows.end(), [&](const SweepRow& a, const SweepRow& b) {
    return std::tuple(order(a.sample), a.method) < std::tuple(order(b.sample), b.method);
  });
  std::sort(record.curves.begin(), record.curves.end(),
            [&](const SweepCurves& a, const SweepCurves& b) { return order(a.sample) < order(b.sample); });
}

bool has_all_rows(const SweepRecord& record) {
  std::size_t expected = 0;
  for (const SweepSample& sample : own_samples(record.meta))
    expected += sample.calibration ? 1 : record.meta.methods.size();
  return record.rows.size() == expected;
}

std::optional<SettingDifference> different_setting(const SweepMeta& expected, const SweepMeta& found,
                                                   bool across_shards) {
  nlohmann::json a = to_json(expected), b = to_json(found);
  // What may differ between two starts of the same sweep; the model and the indexer are told by their hashes.
  for (const char* name : {"created", "devices", "complete", "model", "model_file", "indexer_file"}) {
    a.erase(name);
    b.erase(name);
  }
  if (across_shards) {
    a.erase("shard");
    b.erase("shard");
  }
  const auto shown = [](const nlohmann::json& value) {
    constexpr std::size_t longest = 200;
    std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return text.size() > longest ? text.substr(0, longest) + "…" : text;
  };
  // Methods by their ids where those differ, since the whole of them says little.
  const auto ids = [](const nlohmann::json& methods) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& method : methods) list.push_back(method["id"]);
    return list;
  };
  for (const auto& [name, value] : a.items()) {
    if (b[name] == value) continue;
    if (name == "methods" && ids(value) != ids(b[name]))
      return SettingDifference{name, shown(ids(value)), shown(ids(b[name]))};
    return SettingDifference{name, shown(value), shown(b[name])};
  }
  return std::nullopt;
}

}  // namespace headroom::record
