// SPDX-License-Identifier: Apache-2.0
#include "record/sweep/sweep_merge.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "base/error.h"

namespace headroom::record {

SweepRecord merge_sweeps(std::vector<SweepPart> parts) {
  if (parts.empty()) throw usage_error("there is nothing to merge");
  const SweepPart& first = parts.front();
  SweepRecord merged;
  merged.meta = first.record.meta;
  merged.meta.shard = merged.meta.shards = 1;
  std::map<std::pair<SweepSample, std::size_t>, const std::string*> places;
  std::map<SweepSample, const std::string*> curve_places;
  std::set<std::string> devices;
  for (SweepPart& part : parts) {
    const SweepMeta& meta = part.record.meta;
    if (const auto setting = different_setting(first.record.meta, meta, true))
      throw input_error(part.place,
                        setting->name == "model_sha256" || setting->name == "model"
                            ? "is a sweep of another model than " + first.place
                            : "differs from " + first.place + " in \"" + setting->name + "\"",
                        setting->expected, setting->found);
    if (meta.shards != first.record.meta.shards)
      throw input_error(part.place, "is of another division into shards than " + first.place,
                        std::to_string(first.record.meta.shards), std::to_string(meta.shards));
    merged.meta.created = std::min(merged.meta.created, meta.created);
    devices.insert(meta.devices.begin(), meta.devices.end());
    for (const SweepRow& row : part.record.rows) {
      const auto [at, is_new] = places.emplace(std::pair(row.sample, row.method), &part.place);
      if (!is_new)
        throw input_error(part.place, "holds a row that " + *at->second + " holds, too", "each sample and method once",
                          describe(meta, row.sample) + ", " + meta.methods[row.method].id);
    }
    for (const SweepCurves& curves : part.record.curves)
      if (const auto [at, is_new] = curve_places.emplace(curves.sample, &part.place); !is_new)
        throw input_error(part.place, "holds mass curves that " + *at->second + " holds, too", "each sample once",
                          describe(meta, curves.sample));
    std::move(part.record.rows.begin(), part.record.rows.end(), std::back_inserter(merged.rows));
    std::move(part.record.curves.begin(), part.record.curves.end(), std::back_inserter(merged.curves));
  }
  merged.meta.devices.assign(devices.begin(), devices.end());
  sort_rows(merged);
  merged.meta.complete = has_all_rows(merged);
  return merged;
}

std::vector<std::string> missing_of(const SweepRecord& merged, int shards) {
  struct Count {
    std::int64_t expected = 0, found = 0;
  };
  std::map<int, Count> counts;
  const auto shard = [&](const SweepSample& sample) { return shard_of(merged.meta, sample, shards); };
  for (const SweepSample& sample : all_samples(merged.meta))
    counts[shard(sample)].expected += sample.calibration ? 1 : std::ssize(merged.meta.methods);
  for (const SweepRow& row : merged.rows) ++counts[shard(row.sample)].found;
  std::vector<std::string> missing;
  for (const auto& [number, count] : counts)
    if (count.found < count.expected)
      missing.push_back("shard " + std::to_string(number) + " of " + std::to_string(shards) + ": " +
                        std::to_string(count.found) + " of " + std::to_string(count.expected) + " rows");
  return missing;
}

}  // namespace headroom::record
