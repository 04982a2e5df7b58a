// SPDX-License-Identifier: Apache-2.0
// headroom info: what a model is, or what a recorded run or a sweep holds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/named_model.h"
#include "base/utf8.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_reader.h"
#include "commands.h"
#include "model_info.h"
#include "options.h"
#include "protocol/summary_json.h"
#include "record/parts.h"
#include "record/run_record.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep/sweep_summary.h"
#include "standard_streams.h"
#include "sweep_text.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace headroom::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

void print(const Json& json) {
  write_answer(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string megabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

/// A label and its value in two columns.
void row(const char* label, const std::string& value) {
  print_answer("%-14s %s\n", label, printable_text(value).c_str());
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// --- models ---

/// "llama3: factor 8, original context 8192, low_freq_factor 1, high_freq_factor 4".
std::string scaling_text(const Json& scaling) {
  std::string text;
  const auto add = [&](const std::string& words, const char* between) {
    text += (text.empty() ? "" : between) + words;
  };
  if (!scaling["type"].is_null()) add(text_of(scaling["type"]), "");
  const char* between = ": ";
  for (const auto& [key, name] : {std::pair("factor", "factor"),
                                  {"original_context", "original context"},
                                  {"low_freq_factor", "low_freq_factor"},
                                  {"high_freq_factor", "high_freq_factor"},
                                  {"beta_fast", "beta_fast"},
                                  {"beta_slow", "beta_slow"}}) {
    if (!scaling.contains(key)) continue;
    add(std::string(name) + " " + checkpoint::number_text(scaling[key].get<double>()), between);
    between = ", ";
  }
  if (scaling["rope_freqs"].get<bool>()) add("factors of rope_freqs.weight", "; ");
  return text;
}

/// "base 100000, not scaled", "base 500000, frequencies divided by 1 to 8 (llama3: factor 8, …)".
std::string rope_text(const Json& json, const Json& head_dim) {
  std::string text = "base " + checkpoint::number_text(json["rope_base"].get<double>());
  if (json.contains("rope_dims") && json["rope_dims"] != head_dim)
    text += " on " + json["rope_dims"].dump() + " of " + head_dim.dump() + " dimensions";
  const Json& scaling = json["rope_scaling"];
  if (scaling.is_null()) return text + ", not scaled";
  const std::string least = checkpoint::number_text(scaling["factor_min"].get<double>()),
                    most = checkpoint::number_text(scaling["factor_max"].get<double>());
  text += least == most ? ", scaled by " + least + " (linear)" : ", frequencies divided by " + least + " to " + most;
  if (const double magnitude = scaling["magnitude"].get<double>(); magnitude != 1)
    text += ", values times " + checkpoint::number_text(magnitude);
  const bool said = scaling["kind"] == "linear" && scaling["type"] == "linear" && !scaling["rope_freqs"].get<bool>();
  return said ? text : text + " (" + scaling_text(scaling) + ")";
}

/// "30 full attention", "15 sliding attention (window 512), 3 full attention".
std::string layers_text(const Json& groups) {
  std::string text;
  for (const Json& group : groups) {
    text += (text.empty() ? "" : ", ") + std::to_string(group["layers"].size()) + " " + text_of(group["kind"]) +
            " attention";
    std::string more;
    if (group.contains("window") && !group["window"].is_null()) more = "window " + group["window"].dump();
    if (group.value("learned_sinks", false)) more += more.empty() ? "learned sinks" : ", learned sinks";
    if (!more.empty()) text += " (" + more + ")";
  }
  return text;
}

/// Each RoPE that layers have, with how many have it where there are several.
void print_ropes(const Json& groups) {
  std::map<std::string, std::size_t> counts;
  std::vector<std::string> order;
  for (const Json& group : groups) {
    if (!group.contains("rope_base")) continue;
    const std::string text = rope_text(group, group["head_dim"]);
    if (!counts.contains(text)) order.push_back(text);
    counts[text] += group["layers"].size();
  }
  for (const std::string& text : order)
    row("RoPE",
        text + (order.size() > 1 ? " (" + std::to_string(counts[text]) + (counts[text] == 1 ? " layer)" : " layers)")
                                 : ""));
}

void print_prefill(const Json& prefill) {
  if (prefill.is_null()) return;
  const auto gigabytes = [](const Json& bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f GB", bytes.get<double>() / 1e9);
    return std::string(text);
  };
  row("prefill of", prefill["length"].dump() + " tokens, dense" +
                        (prefill["past_context"].get<bool>() ? " (past the model's context: timing alone)" : ""));
  for (const auto& [dtype, memory] : prefill["memory"].items())
    row("  memory", dtype + ": weights " + gigabytes(memory["weights"]) + ", cache " + gigabytes(memory["cache"]) +
                        "; at its peak " + gigabytes(memory["gpu"]) + " of a GPU or " + gigabytes(memory["cpu"]) +
                        " of the host");
  char text[64];
  std::snprintf(text, sizeof text, "%.3g of multiply-adds and adds", prefill["attention_flops"].get<double>());
  row("  attention", text);
}

std::string template_text(const Json& tokenizer) {
  const std::string kind = text_of(tokenizer["chat_template_kind"]);
  if (kind == "none") return "no chat template";
  if (kind == "chatml") return "ChatML template";
  return tokenizer["chat_template"].get<bool>() ? "chat template (jinja2)"
                                                : "chat template that needs Python with jinja2";
}

void print_model(const Json& json) {
  std::string dtypes;
  for (const auto& [name, entry] : json["dtypes"].items())
    dtypes += (dtypes.empty() ? "" : ", ") + name + " (" + entry["tensors"].dump() + ")";
  const Json& tokenizer = json["tokenizer"];

  row("model", text_of(json["name"]));
  if (const Json& adapter = json["adapter"]; !adapter.is_null()) {
    const std::string ranks = adapter["rank_min"] == adapter["rank_max"]
                                  ? adapter["rank_min"].dump()
                                  : adapter["rank_min"].dump() + " to " + adapter["rank_max"].dump();
    row("adapter", text_of(adapter["name"]) + ", rank " + ranks + " on " + adapter["modules"].dump() + " modules, " +
                       (adapter["changes_architecture"].get<bool>() ? "changes the layers" : "layers as in the base"));
    row("  SHA-256", text_of(adapter["sha256"]));
    row("  base", adapter["base_sha256"].is_null() ? "not computed (--hash)" : text_of(adapter["base_sha256"]));
  }
  row("file", text_of(json["path"]) + " (" + text_of(json["format"]) + ")");
  row("architecture", text_of(json["architecture"]));
  row("layers", layers_text(json["layer_groups"]));
  row("heads",
      json["q_heads"].dump() + " query, " + json["kv_heads"].dump() + " KV, " + json["head_dim"].dump() + " wide");
  print_ropes(json["layer_groups"]);
  const std::string experts = json["experts"].get<std::int64_t>() == 0
                                  ? ""
                                  : " in each of " + json["experts"].dump() + " experts, " +
                                        json["experts_used"].dump() + " a token";
  row("width", json["width"].dump() + ", MLP " + json["mlp_width"].dump() + experts);
  row("context", json["context"].dump() + " tokens");
  row("vocabulary",
      json["vocabulary"].dump() + (json["tied_output"].get<bool>() ? ", output tied to the embedding" : ""));
  std::string parameters = std::to_string(json["parameters"].get<std::int64_t>() / 1'000'000) + " million";
  if (const auto bytes = json["weight_bytes"].get<std::uint64_t>(); bytes > 0) parameters += ", " + megabytes(bytes);
  row("parameters", parameters);
  row("cache", json["kv_bytes_per_token"]["bf16"].dump() + " bytes a token in bf16, " +
                   json["kv_bytes_per_token"]["f32"].dump() + " in f32");
  print_prefill(json["prefill"]);
  if (!dtypes.empty()) row("stored as", dtypes);
  if (json["format"] == "config") return;  // no weights, no vocabulary's texts
  if (tokenizer.contains("error")) {
    row("tokenizer", text_of(tokenizer["error"]));
  } else {
    const std::string split = text_of(tokenizer["pre"]);  // a SentencePiece vocabulary has none
    row("tokenizer", text_of(tokenizer["kind"]) + (split.empty() ? "" : ", split " + split) + ", " +
                         template_text(tokenizer));
  }
  row("SHA-256", json["sha256"].is_null() ? "not computed (--hash)" : text_of(json["sha256"]));
  row("indexer", json["shipped_indexer"].is_null() ? "none shipped for this model" : text_of(json["shipped_indexer"]));
}

// --- records ---

bool is_record(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed)) return false;
  if (path.extension() == ".h5" || path.extension() == ".part") return true;
  char magic[4] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "\x89HDF";
}

/// Per method: the layers whose stream, supports or thumbnails the record holds.
Json kept_json(const record::RunRecord& run) {
  Json kept = Json::object();
  for (const record::MethodSummary& method : run.methods()) {
    Json streams = Json::array(), supports = Json::array(), thumbnails = Json::array();
    for (int layer = 0; layer < run.meta().num_layers(); ++layer) {
      const record::LayerAvailability available = run.availability(method.id, layer);
      if (available.stream) streams.push_back(layer);
      if (available.supports) supports.push_back(layer);
      if (available.thumbnails) thumbnails.push_back(layer);
    }
    kept[method.id] = {{"streams", streams}, {"supports", supports}, {"thumbnails", thumbnails}};
  }
  return kept;
}

Json record_json(const record::RunRecord& run) {
  Json json = protocol::run_result_json(run.meta(), run.length(), run.methods(), run.path().string());
  std::error_code failed;
  json["kind"] = "record";
  json["bytes"] = fs::file_size(run.path(), failed);
  json["kept"] = kept_json(run);
  json["parts"] = Json::array();
  for (const record::RecordPart& part : run.parts())
    json["parts"].push_back({{"kind", part.kind},
                             {"method", part.method.empty() ? Json() : Json(part.method)},
                             {"layer", part.layer < 0 ? Json() : Json(part.layer)},
                             {"bytes", part.bytes}});
  return json;
}

/// "30 full layers with 9 query and 3 KV heads": layers that are alike are counted together.
std::string layers_text(const record::RunMeta& meta) {
  std::vector<std::pair<record::LayerMeta, int>> kinds;
  for (const record::LayerMeta& layer : meta.layers) {
    const auto known =
        std::find_if(kinds.begin(), kinds.end(), [&](const auto& counted) { return counted.first == layer; });
    if (known == kinds.end())
      kinds.emplace_back(layer, 1);
    else
      ++known->second;
  }
  std::string text;
  for (const auto& [layer, count] : kinds)
    text += (text.empty() ? "" : "; ") + std::to_string(count) + " " + layer.kind +
            (count == 1 ? " layer with " : " layers with ") + std::to_string(layer.num_q_heads) + " query and " +
            std::to_string(layer.num_kv_heads) + " KV heads";
  return text;
}

void print_record(const record::RunRecord& run) {
  const record::RunMeta& meta = run.meta();
  std::error_code failed;
  row("record", run.path().string() + " (" + megabytes(fs::file_size(run.path(), failed)) +
                    (meta.complete ? ")" : ", incomplete: the run was stopped)"));
  row("made", meta.created + " by headroom " + meta.program_version);
  row("model", meta.model_name + " (" + meta.architecture + "), " + layers_text(meta));
  if (!meta.adapter_sha256.empty()) {
    row("adapter", meta.adapter_name + ", SHA-256 " + meta.adapter_sha256);
    row("base", meta.model_path + ", SHA-256 " + meta.base_sha256);
  }
  row("device", meta.device + ", " + meta.dtype);
  row("prompt", std::to_string(run.length()) + " tokens, " + std::to_string(run.tokens().text.size()) + " bytes" +
                    (meta.task.empty() ? "" : ", task " + meta.task) +
                    (meta.chat.value_or(false) ? ", rendered by the chat template" : ""));
  if (!meta.kept_note.empty()) row("kept", meta.kept_note);
  for (const std::string& warning : meta.warnings) row("warning", warning);
  const Json kept = kept_json(run);
  print_answer("\n%-24s %8s %12s %10s %8s %8s  %s\n", "method", "density", "TTFT ms", "captured", "recall", "streams",
               "answer");
  for (const record::MethodSummary& method : run.methods()) {
    const std::string answer = printable_text(utf8_head(method.answer, 40));
    const std::string recall =
        method.oracle_recall_mean ? std::to_string(*method.oracle_recall_mean).substr(0, 5) : "-";
    char captured[16] = "-";
    if (!std::isnan(method.captured_mass_mean))
      std::snprintf(captured, sizeof captured, "%.3f", method.captured_mass_mean);
    print_answer("%-24s %8.3f %12.1f %10s %8s %8zu  %s\n", method.id.c_str(), method.density, method.ttft.median,
                 captured, recall.c_str(), kept[method.id]["streams"].size(), answer.c_str());
  }
  print_answer("\nwhat takes the space\n");
  for (const record::KindSize& size : record::sizes_by_kind(run.parts())) {
    const std::string advice = record::kind_advice(size.kind);
    print_answer("%-24s %12s  %s\n", record::kind_title(size.kind).c_str(),
                 megabytes(static_cast<std::uint64_t>(size.bytes)).c_str(),
                 advice.empty() ? "" : ("smaller with " + advice).c_str());
  }
  print_answer("\nhow the timed passes ran\n");
  for (const record::MethodSummary& method : run.methods()) {
    std::string source;
    if (method.timing_plan && method.timing_plan->source == "automatic")
      source = ", chosen for this machine";
    else if (method.timing_plan && method.timing_plan->source == "file")
      source = ", replayed from a file";
    print_answer("%-24s %s%s\n", method.id.c_str(), method.plan.c_str(), source.c_str());
    for (const record::TimedBaseline& baseline : method.baselines)
      print_answer("%-24s %.1f ms through %s\n", "", baseline.ttft.median, baseline.backend.c_str());
  }
}

// --- sweeps ---

Json sweep_json(const record::SweepRecord& sweep, const fs::path& path) {
  const record::SweepMeta& meta = sweep.meta;
  Json json = record::to_json(meta, record::summarise(sweep));
  Json settings = record::to_json(meta);
  settings.erase("tasks");  // the summary's say more
  json.update(settings);
  std::error_code failed;
  json["kind"] = "sweep";
  json["path"] = path.string();
  json["bytes"] = fs::file_size(path, failed);
  json["rows"] = sweep.rows.size();
  json["curves_of"] = sweep.curves.size();
  return json;
}

void print_sweep(const record::SweepRecord& sweep, const fs::path& path) {
  const record::SweepMeta& meta = sweep.meta;
  std::error_code failed;
  row("sweep", path.string() + " (" + megabytes(fs::file_size(path, failed)) +
                   (meta.complete ? ")" : ", incomplete: some rows are missing)"));
  row("made", meta.created + " by headroom " + meta.program_version);
  if (meta.is_own_prompts())
    row("prompts", meta.prompts + ", " + std::to_string(meta.samples));
  else
    row("samples", std::to_string(meta.samples) + " of each task and length, seeds from " + std::to_string(meta.seed) +
                       "; " + std::to_string(meta.calibration) + " for calibration");
  row("rows", std::to_string(sweep.rows.size()) + ", prompts rendered as " + meta.rendering);
  if (!meta.indexer_file.empty()) row("indexer", meta.indexer_file);
  if (sweep.curves.empty()) row("mass curves", "none");
  write_answer("\n" + sweep_text(sweep, record::summarise(sweep)));
}

int info(const std::string& name, const std::optional<std::string>& adapter, bool as_json,
         const ModelInfoOptions& options) {
  const NamedModel named = find_named_model(name, adapter);
  const fs::path& path = named.path;
  if (is_record(path) && record::is_sweep(path)) {
    if (adapter) throw input_error("--adapter", "a sweep has no weights to merge an adapter into", "a model", name);
    const auto sweep = record::read_sweep(path);
    if (as_json)
      print(sweep_json(sweep, path));
    else
      print_sweep(sweep, path);
    return 0;
  }
  if (is_record(path)) {
    if (adapter) throw input_error("--adapter", "a record has no weights to merge an adapter into", "a model", name);
    const auto run = record::RunRecord::open(path);
    if (as_json)
      print(record_json(*run));
    else
      print_record(*run);
    return 0;
  }
  const Json json = model_info(named, options);
  if (as_json)
    print(json);
  else
    print_model(json);
  return 0;
}

}  // namespace

void add_info(CLI::App& app, Action& chosen) {
  struct Options {
    std::string name;
    std::optional<std::string> adapter;
    bool json = false;
    ModelInfoOptions model = {};
  };
  auto options = std::make_shared<Options>();
  CLI::App* const command = app.add_subcommand("info", "What a model is, or what a recorded run or a sweep holds");
  command
      ->add_option("MODEL|RUN.h5|S.h5", options->name,
                   "GGUF file, safetensors folder, fetched model's short name, configuration alone (.json), or record")
      ->required();
  command->add_option("--adapter", options->adapter, adapter_help);
  command->add_flag("--json", options->json, "One JSON object");
  command->add_option("--length", options->model.length, "Also what a dense prefill of so many tokens needs")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
  command->add_flag("--hash", options->model.hash, "Compute SHA-256 of weights of more than 4 GB, too");
  command->callback([options, &chosen] {
    chosen = [options] { return info(options->name, options->adapter, options->json, options->model); };
  });
}

}  // namespace headroom::cli
