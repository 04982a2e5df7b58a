// SPDX-License-Identifier: Apache-2.0
// `headroom distill`: trains an indexer for a model on a frozen backbone.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/json_fields.h"
#include "base/utf8.h"
#include "commands.h"
#include "experiment/distil/distill.h"
#include "interrupt.h"
#include "options.h"
#include "progress_line.h"
#include "run_table.h"
#include "standard_streams.h"

namespace headroom::cli {
namespace {

using experiment::HeldOut;

/// KL, then recall, captured mass and the oracle's at each budget.
std::vector<std::string> cells(const indexer::LayerScore& score) {
  std::vector<std::string> row = {text("%.4f", score.kl)};
  for (const auto& at : score.budgets) {
    row.push_back(text("%.3f", at.recall));
    row.push_back(text("%.4f", at.captured_mass));
    row.push_back(text("%.4f", at.oracle_mass));
  }
  return row;
}

std::string table(const char* title, const HeldOut& figures) {
  std::vector<std::vector<std::string>> rows = {{"layer", "KL, nats"}};
  for (const auto& at : figures.mean.budgets) {
    const auto k = std::to_string(at.budget);
    for (const char* name : {"recall@", "captured@", "oracle@"}) rows.front().push_back(name + k);
  }
  const auto add = [&](const std::string& name, const indexer::LayerScore& score) {
    rows.push_back(cells(score));
    rows.back().insert(rows.back().begin(), name);
  };
  for (const auto& [layer, score] : figures.layers) add(std::to_string(layer), score);
  add("mean", figures.mean);
  return text("\n%s, sequences: %lld\n", title, static_cast<long long>(figures.sequences)) + align_columns(rows);
}

std::string one_line(const char* name, const std::optional<HeldOut>& figures) {
  if (!figures) return {};
  std::string line = text("; %s KL %.4f", name, figures->mean.kl);
  for (const auto& at : figures->mean.budgets)
    line += text(", k = %lld: recall %.3f, captured %.4f (oracle %.4f)", static_cast<long long>(at.budget), at.recall,
                 at.captured_mass, at.oracle_mass);
  return line;
}

std::string split_text(const experiment::TextSplit& split) {
  const std::string needles = "needle prompts: other sentences, key words and wordings than trained on\n";
  if (split.unit.empty()) return "no text; " + needles;
  const auto part = [&](const experiment::TextSplit::Counts& counts) {
    return text("%lld %s (%lld bytes)", static_cast<long long>(counts.pieces), split.unit.c_str(),
                static_cast<long long>(counts.bytes));
  };
  return "text: trained on " + part(split.training) + ", held out " + part(split.evaluation) +
         ", by a hash of their content\n" + needles;
}

int run_distill(const experiment::DistillSpec& spec, bool json) {
  const StopOnInterrupt interrupt;
  ProgressLine line;
  experiment::DistillCallbacks callbacks;
  callbacks.evaluated = [&](const experiment::DistillFigures& figures) {
    line.clear();
    std::fprintf(stderr, "step %lld, held out%s%s\n", static_cast<long long>(figures.step),
                 one_line("text", figures.text).c_str(), one_line("needles", figures.needles).c_str());
  };
  callbacks.notice = [&](const std::string& notice) {
    line.clear();
    std::fprintf(stderr, "headroom: %s\n", printable_text(notice).c_str());
  };
  const auto figures = experiment::distill(spec, {interrupt.token(), line.sink()}, callbacks);
  line.clear();
  if (json) {
    write_answer(dump_json(to_json(figures)) + "\n");
    return 0;
  }
  std::string shown =
      spec.out + ", held-out figures at " + std::to_string(spec.length) + " tokens\n" + split_text(figures.split);
  if (figures.text) shown += table("text", *figures.text);
  if (figures.needles) shown += table("needle prompts", *figures.needles);
  if (figures.text && figures.needles) shown += table("together", figures.together);
  write_answer(shown);
  return 0;
}

}  // namespace

void add_distill(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("distill", "Train an indexer for a model (frozen backbone)");
  auto spec = std::make_shared<experiment::DistillSpec>();
  auto json = std::make_shared<bool>(false);
  command->add_option("model", spec->model, "GGUF file, safetensors folder or short name")->required();
  command->add_option("--adapter", spec->adapter, adapter_help);
  command->add_option("--out", spec->out, "The indexer to write (safetensors)")->required();
  command->add_option("--text", spec->texts,
                      "Files or folders of text, beside needle prompts; one in eight is held out");
  command->add_option("--steps", spec->steps)->capture_default_str();
  command->add_option("--length", spec->length, "Tokens of a training sequence")->capture_default_str();
  command->add_option("--index-dim", spec->index_dim, "Width d_I of the score")->capture_default_str();
  command->add_option("--lr", spec->learning_rate, "Peak learning rate")->capture_default_str();
  command->add_option("--warmup", spec->warmup)->capture_default_str();
  command->add_option("--row-fraction", spec->row_fraction, "Share of query rows in a step")->capture_default_str();
  command->add_option("--eval-every", spec->eval_every, "Steps between held-out figures and saves")
      ->capture_default_str();
  command->add_option("--held-out", spec->held_out, "Held-out sequences: text and needle prompts in turn")
      ->capture_default_str();
  command->add_option("--recall-budget", spec->recall_budgets, "k of the held-out figures; a list gives each")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--seed", spec->seed)->capture_default_str();
  command->add_option("--device", spec->device, "auto, cpu, cuda or cuda:i")->capture_default_str();
  command->add_option("--dtype", spec->dtype, "auto, bf16 or f32")->capture_default_str();
  command->add_flag("--resume", spec->resume, "Go on from the last save");
  command->add_flag("--json", *json, "Print the held-out figures as one JSON object");
  command->callback([spec, json, &chosen] {
    chosen = [spec, json] {
      // The same checks as for a specification that came as JSON.
      return run_distill(experiment::distill_spec_from_json(to_json(*spec)), *json);
    };
  });
}

}  // namespace headroom::cli
