// SPDX-License-Identifier: Apache-2.0
// headroom merge: shards of a sweep become one file.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"
#include "base/utf8.h"
#include "commands.h"
#include "options.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep/sweep_merge.h"
#include "record/sweep/sweep_store.h"
#include "standard_streams.h"
#include "sweep_text.h"

namespace headroom::cli {
namespace {

struct MergeOptions {
  std::vector<std::string> shards;
  std::string out;
  double margin = 1;
  bool json = false;
};

int merge(const MergeOptions& options) {
  if (!(options.margin > 0 && options.margin <= 100))
    refuse_option("--margin", "points above 0, at most 100", nlohmann::json(options.margin).dump());
  OutputPlace out(options.out, OutputKind::file);
  const std::vector<std::filesystem::path> inputs(options.shards.begin(), options.shards.end());
  out.must_not_be(inputs);
  std::vector<record::SweepPart> parts;
  for (const auto& file : inputs) parts.push_back({file.string(), record::read_sweep(file)});
  const int shards = parts.front().record.meta.shards;
  const record::SweepRecord merged = record::merge_sweeps(std::move(parts));
  const std::string written = record::write_sweep(out, merged).string();
  const auto missing = record::missing_of(merged, shards);
  for (const std::string& one : missing) std::fprintf(stderr, "headroom: missing: %s\n", one.c_str());
  const record::SweepSummary summary = record::summarise(merged, options.margin);
  if (options.json) {
    nlohmann::json object = record::to_json(merged.meta, summary);
    object["record"] = written;
    object["complete"] = merged.meta.complete;
    object["rows"] = merged.rows.size();
    object["missing"] = missing;
    write_answer(dump_json(object) + "\n");
  } else {
    write_answer(sweep_text(merged, summary));
    print_answer("\nsweep: %s%s\n", printable_text(written).c_str(), merged.meta.complete ? "" : ", incomplete");
  }
  return 0;
}

}  // namespace

void add_merge(CLI::App& app, Action& chosen) {
  const auto options = std::make_shared<MergeOptions>();
  auto* command = app.add_subcommand("merge", "Join the shards of a sweep");
  command->add_option("shards", options->shards, "S1.h5 S2.h5 …")->required();
  command->add_option("--margin", options->margin, "Points below dense that are still enough")->capture_default_str();
  command->add_option("--out", options->out, "The whole sweep (S.h5)")->required();
  command->add_flag("--json", options->json, "One JSON object on standard output");
  command->callback([options, &chosen] { chosen = [options] { return merge(*options); }; });
}

}  // namespace headroom::cli
