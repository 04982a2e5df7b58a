// SPDX-License-Identifier: Apache-2.0
// `headroom export`: numbers as csv, json or tex by ourselves; pictures by headroom-gui beside us, without a display.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/output_file.h"
#include "base/utf8.h"
#include "commands.h"
#include "experiment/plan/plan.h"
#include "record/export.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep/sweep_tables.h"
#include "window.h"

namespace headroom::cli {
namespace {

struct ExportArguments {
  std::string record, view = "overview", out, method, baseline, head, tile, theme, size, preset;
  std::optional<int> layer;
  std::optional<double> mass, margin;  // of sweeps
  std::optional<std::int64_t> keys, length;
};

int number_of(const std::string& text, const char* option) {
  int value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || value < 0)
    throw usage_error(std::string(option) + ": \"" + text + "\" is not understood");
  return value;
}

/// "5", "mean" or "group:1".
record::HeadSelector parse_head(const std::string& text) {
  using Kind = record::HeadSelector::Kind;
  if (text == "mean") return {Kind::mean, 0};
  if (text.starts_with("group:")) return {Kind::group, number_of(text.substr(6), "--head")};
  return {Kind::head, number_of(text, "--head")};
}

/// "level,row,column".
record::TileAddress parse_tile(const std::string& text) {
  const std::size_t first = text.find(','), second = text.find(',', first + 1);
  if (first == std::string::npos || second == std::string::npos)
    throw usage_error("--tile: \"" + text + "\" is not understood: expected level,row,column");
  return {number_of(text.substr(0, first), "--tile"), number_of(text.substr(first + 1, second - first - 1), "--tile"),
          number_of(text.substr(second + 1), "--tile")};
}

/// Becomes headroom-gui; returns only by throwing.
[[noreturn]] void hand_to_window(const ExportArguments& a) {
  std::vector<std::string> words = {"--export", a.record, "--view", a.view == "map" ? "attention" : a.view};
  const auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) words.insert(words.end(), {option, value});
  };
  if (a.layer) add("--layer", std::to_string(*a.layer));
  add("--head", a.head);
  add("--method", a.method);
  add("--baseline", a.baseline);
  add("--theme", a.theme);
  add("--size", a.size);
  add("--preset", a.preset);
  add("-o", a.out);
  become_window(std::move(words), "csv, json and tex need nothing else, pictures are drawn by");
}

int write_table(OutputPlace& out, const std::string& asked, const std::string& suffix, const record::Table& table) {
  const auto written = write_output(out, suffix == ".csv"    ? record::to_csv(table)
                                         : suffix == ".json" ? record::to_json(table)
                                                             : record::to_tex(table));
  std::fprintf(stderr, "%s: %zu rows\n", printable_text(describe_output(asked, written)).c_str(), table.rows.size());
  return 0;
}

/// Options of the other kind of file would change nothing: they are refused.
void refuse_given(std::initializer_list<std::pair<const char*, bool>> options, const char* where) {
  for (const auto& [option, given] : options)
    if (given) throw usage_error(std::string(option) + " has no meaning for " + where);
}

int export_sweep(const ExportArguments& a, const std::string& suffix, bool picture, OutputPlace& out) {
  if (picture) {
    refuse_given({{"--method", !a.method.empty()},
                  {"--baseline", !a.baseline.empty()},
                  {"--layer", a.layer.has_value()},
                  {"--head", !a.head.empty()},
                  {"--tile", !a.tile.empty()},
                  {"--mass", a.mass.has_value()},
                  {"--keys", a.keys.has_value()},
                  {"--margin", a.margin.has_value()},
                  {"--length", a.length.has_value()}},
                 "a picture of a sweep");
    if (a.view == "rows" || a.view == "plan")
      throw usage_error("--view " + a.view +
                        " of a sweep is a table: give the output a name that ends in .csv, .json or .tex");
    ExportArguments page = a;
    page.view = "budget";  // where points, intervals and the waterfall stand
    hand_to_window(page);
  }
  refuse_given({{"--method", !a.method.empty()},
                {"--baseline", !a.baseline.empty()},
                {"--layer", a.layer.has_value()},
                {"--head", !a.head.empty()},
                {"--tile", !a.tile.empty()},
                {"--theme", !a.theme.empty()},
                {"--size", !a.size.empty()}, {"--preset", !a.preset.empty()}},
               "a sweep");
  const record::SweepRecord sweep = record::read_sweep(a.record);
  const record::SweepSummary summary = record::summarise(sweep, a.margin.value_or(1));
  for (const std::string& alarm : summary.alarms) std::fprintf(stderr, "headroom: %s\n", printable_text(alarm).c_str());
  const record::PlanRequest plan{a.length, a.mass.value_or(0.95), a.keys};
  if (a.view != "plan")
    refuse_given({{"--mass", a.mass.has_value()}, {"--keys", a.keys.has_value()}, {"--length", a.length.has_value()}},
                 "another view than plan");
  if (a.view == "plan" && suffix == ".json") {
    const auto budgets = record::plan_budgets(sweep, plan);
    const std::string source = std::filesystem::path(a.record).filename().string();
    const auto json = record::to_json(sweep, summary, budgets, source);
    const auto written = write_output(out, json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    std::fprintf(stderr, "%s: budgets of %zu layers\n", printable_text(describe_output(a.out, written)).c_str(),
                 budgets.by_mass.size());
    return 0;
  }
  return write_table(out, a.out, suffix, record::sweep_view(sweep, summary, a.view, plan));
}

/// A talk is drawn by the window's program, whatever it becomes.
[[noreturn]] void hand_talk_to_window(const ExportArguments& a) {
  refuse_given({{"--method", !a.method.empty()},
                {"--baseline", !a.baseline.empty()},
                {"--layer", a.layer.has_value()},
                {"--head", !a.head.empty()},
                {"--tile", !a.tile.empty()},
                {"--size", !a.size.empty()}, {"--preset", !a.preset.empty()},
                {"--mass", a.mass.has_value()},
                {"--keys", a.keys.has_value()},
                {"--length", a.length.has_value()},
                {"--margin", a.margin.has_value()}},
               "a talk");
  std::vector<std::string> words = {"--export-talk", a.record, "-o", a.out};
  if (!a.theme.empty()) words.insert(words.end(), {"--theme", a.theme});
  become_window(std::move(words), "talks are drawn by");
}

int export_view(const ExportArguments& a) {
  if (std::filesystem::path(a.record).extension() == ".headroom-talk") hand_talk_to_window(a);
  std::string suffix = std::filesystem::path(a.out).extension().string();
  for (char& c : suffix) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  const bool picture = suffix == ".png" || suffix == ".pdf" || suffix == ".svg";
  if (!picture && suffix != ".csv" && suffix != ".json" && suffix != ".tex")
    throw usage_error("-o: \"" + a.out + "\" names no format: expected .png, .pdf, .svg, .csv, .json or .tex");
  OutputPlace out(a.out);
  const std::filesystem::path inputs[] = {a.record};
  out.must_not_be(inputs);
  if (a.margin && !(*a.margin > 0 && *a.margin <= 100)) throw usage_error("--margin is above 0 and at most 100 points");
  if (record::is_sweep(a.record)) return export_sweep(a, suffix, picture, out);
  refuse_given({{"--mass", a.mass.has_value()},
                {"--keys", a.keys.has_value()},
                {"--length", a.length.has_value()},
                {"--margin", a.margin.has_value()}},
               "a run's record");
  if (picture) {
    if (!a.tile.empty()) throw usage_error("--tile chooses numbers; a picture shows the whole map");
    // Checked here, so that a bad record gives the same message and exit code for every format.
    record::RunRecord::open(a.record);
    hand_to_window(a);
  }
  const auto record = record::RunRecord::open(a.record);
  record::ExportRequest request;
  request.view = a.view;
  request.method = a.method;
  request.baseline = a.baseline;
  request.layer = a.layer;
  if (!a.head.empty()) request.head = parse_head(a.head);
  if (!a.tile.empty()) request.tile = parse_tile(a.tile);
  if (a.view == "plan" && suffix == ".json") {
    // The form that `run --plan` reads.
    auto plans = experiment::plans_of(*record);
    if (!a.method.empty()) std::erase_if(plans.plans, [&](const auto& plan) { return plan.method != a.method; });
    if (plans.plans.empty())
      throw input_error(a.record, "holds no plan" + (a.method.empty() ? std::string() : " of " + a.method),
                        "a sparse method other than the oracle, timed by this version", "none");
    const auto written = write_output(
        out, experiment::to_json(plans).dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    std::fprintf(stderr, "%s: %zu plans\n", printable_text(describe_output(a.out, written)).c_str(),
                 plans.plans.size());
    return 0;
  }
  return write_table(out, a.out, suffix, record::export_table(*record, request));
}

}  // namespace

void add_export(CLI::App& app, Action& chosen) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* command = app.add_subcommand("export", "Write a view of a record as a picture or as numbers");
  command->add_option("record", arguments->record, "RUN.h5, S.h5 or TALK.headroom-talk")->required();
  command
      ->add_option(
          "--view", arguments->view,
          "overview, attention, text, budget, timing, compare; as numbers also heads, layers, rows (a line a method), "
          "plan (its "
          "json is what run --plan reads); of a sweep: sweep, waterfall, rows, plan (its json: budgets for each layer)")
      ->capture_default_str();
  command
      ->add_option("-o,--out", arguments->out,
                   "FILE.png, .pdf, .svg, .csv, .json or .tex; of a talk: FILE.pdf, FILE.html or a folder")
      ->required();
  command->add_option("--method", arguments->method, "Method id, as in `headroom info RUN.h5`");
  command
      ->add_option("--baseline", arguments->baseline,
                   "Method id that compare takes differences from; the dense one by default")
      ->capture_default_str();
  command->add_option("--layer", arguments->layer, "Layer number");
  command->add_option("--head", arguments->head, "Head number, mean, or group:KV-HEAD");
  command->add_option("--tile", arguments->tile,
                      "Part of the map for csv, json, tex: level,row,column in tiles of 256 cells");
  command->add_option("--mass", arguments->mass, "Plan of a sweep: mass that each layer keeps (0.95)");
  command->add_option("--keys", arguments->keys,
                      "Plan of a sweep: keys a layer in the mean to share out (default: what --mass takes)");
  command->add_option("--length", arguments->length, "Plan of a sweep: of this length (default: the longest)");
  command->add_option("--margin", arguments->margin, "Sweeps: points below dense that are still enough (1)");
  command->add_option("--theme", arguments->theme, "Pictures: light or dark");
  command->add_option("--size", arguments->size, "Pictures: WIDTHxHEIGHT");
  command->add_option("--preset", arguments->preset,
                      "Pictures, in place of --size: screen, slide, two-columns, column");
  command->callback([arguments, &chosen] { chosen = [arguments] { return export_view(*arguments); }; });
}

}  // namespace headroom::cli
