// SPDX-License-Identifier: Apache-2.0
// `headroom distill`: trains an indexer for a model on a frozen backbone.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "experiment/distill.h"
#include "interrupt.h"
#include "progress_line.h"

namespace headroom::cli {
namespace {

int run_distill(const experiment::DistillSpec& spec, bool json) {
  const StopOnInterrupt interrupt;
  ProgressLine line;
  const auto evaluated = [&](const experiment::DistillFigures& figures) {
    line.clear();
    std::fprintf(stderr, "step %lld: held-out KL %.4f, recall@%lld %.3f, captured mass %.4f (oracle %.4f)\n",
                 static_cast<long long>(figures.step), figures.kl, static_cast<long long>(figures.budget),
                 figures.recall, figures.captured_mass, figures.oracle_mass);
  };
  const auto figures = experiment::distill(spec, {interrupt.token(), line.sink()}, evaluated);
  line.clear();
  if (json) {
    std::printf("%s\n", to_json(figures).dump().c_str());
    return 0;
  }
  std::printf("%s\n\nlayer      KL  recall  captured  oracle\n", spec.out.c_str());
  for (const auto& layer : figures.layers)
    std::printf("%5d  %.4f   %.3f    %.4f  %.4f\n", layer.layer, layer.kl, layer.recall, layer.captured_mass,
                layer.oracle_mass);
  std::printf(" mean  %.4f   %.3f    %.4f  %.4f   held out, k = %lld, %lld tokens\n", figures.kl, figures.recall,
              figures.captured_mass, figures.oracle_mass, static_cast<long long>(figures.budget),
              static_cast<long long>(spec.length));
  return 0;
}

}  // namespace

void add_distill(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("distill", "Train an indexer for a model (frozen backbone)");
  auto spec = std::make_shared<experiment::DistillSpec>();
  auto json = std::make_shared<bool>(false);
  command->add_option("model", spec->model, "GGUF file, safetensors folder or short name")->required();
  command->add_option("--out", spec->out, "The indexer to write (safetensors)")->required();
  command->add_option("--text", spec->texts, "Files or folders of text to train on, beside needle prompts");
  command->add_option("--steps", spec->steps)->capture_default_str();
  command->add_option("--length", spec->length, "Tokens of a training sequence")->capture_default_str();
  command->add_option("--index-dim", spec->index_dim, "Width d_I of the score")->capture_default_str();
  command->add_option("--lr", spec->learning_rate, "Peak learning rate")->capture_default_str();
  command->add_option("--warmup", spec->warmup)->capture_default_str();
  command->add_option("--row-fraction", spec->row_fraction, "Share of query rows in a step")->capture_default_str();
  command->add_option("--eval-every", spec->eval_every, "Steps between held-out figures and saves")
      ->capture_default_str();
  command->add_option("--held-out", spec->held_out, "Held-out sequences")->capture_default_str();
  command->add_option("--recall-budget", spec->recall_budget, "k of the held-out recall")->capture_default_str();
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
