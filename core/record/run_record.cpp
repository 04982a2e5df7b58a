// SPDX-License-Identifier: Apache-2.0
#include "record/run_record.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/json_fields.h"
#include "record/record_json.h"
#include "record/record_v1.h"
#include "record/run_record_impl.h"

namespace headroom::record {
namespace {

constexpr int max_depth = 8;  // of a record's JSON, which has less
constexpr std::size_t max_methods = 256;

TokenTable read_tokens(const RecordFile& file) {
  TokenTable tokens;
  tokens.text = file.read_text("/tokens/text", layout::max_text_bytes);
  tokens.ids = file.read_all<std::int32_t>("/tokens/ids", {-1}, layout::max_tokens);
  const auto length = static_cast<std::int64_t>(tokens.ids.size());
  if (length == 0) throw input_error(file.place() + ":/tokens/ids", "the record holds no tokens");
  tokens.begin = file.read_all<std::int64_t>("/tokens/begin", {length});
  tokens.end = file.read_all<std::int64_t>("/tokens/end", {length});
  const auto bytes = static_cast<std::int64_t>(tokens.text.size());
  std::int64_t last = 0;
  for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
    if (tokens.ids[i] < 0)
      throw input_error(file.place() + ":/tokens/ids", "negative id", ">= 0", std::to_string(tokens.ids[i]));
    if (tokens.begin[i] < last || tokens.end[i] < tokens.begin[i] || tokens.end[i] > bytes)
      throw input_error(file.place() + ":/tokens/begin", "byte range of token " + std::to_string(i) + " is not valid",
                        std::to_string(last) + " <= begin <= end <= " + std::to_string(bytes),
                        std::to_string(tokens.begin[i]) + ", " + std::to_string(tokens.end[i]));
    last = tokens.begin[i];
  }
  return tokens;
}

/// The run's metadata and the ids of its methods; `schema` becomes the version that the record is written in.
RunMeta read_meta(const RecordFile& file, std::vector<std::string>& methods, int& schema) {
  const std::string place = file.place() + ":/meta/json";
  nlohmann::json object = parse_json(file.read_text("/meta/json", layout::max_json_bytes), place, max_depth);
  Fields fields(object, place);
  const std::int64_t version = fields.integer("schema_version", 0, std::numeric_limits<std::int64_t>::max());
  if (version < 1 || version > schema_version)
    throw input_error(place, "written by another version of the program",
                      "schema 1 to " + std::to_string(schema_version), std::to_string(version));
  schema = static_cast<int>(version);
  methods = fields.strings("methods", max_methods);
  const std::set<std::string> distinct(methods.begin(), methods.end());
  if (distinct.size() != methods.size() || !std::all_of(methods.begin(), methods.end(), is_method_id))
    fields.fail("methods", "distinct method ids", headroom::describe(object["methods"]));
  RunMeta meta = run_meta_from_json(schema == 1 ? upgrade_meta_v1(object, place) : object, place);
  if (meta.layers.empty()) fields.fail("layers", "at least one layer", "none");
  return meta;
}

MethodSummary read_summary(const RecordFile& file, const std::string& id, const RunMeta& meta, int schema) {
  const auto path = [&](const char* name) { return layout::method(id, name); };
  const std::string place = file.place() + ":" + path("summary_json");
  nlohmann::json object = parse_json(file.read_text(path("summary_json"), layout::max_json_bytes), place, max_depth);
  if (schema == 1) object = upgrade_summary_v1(object, place);
  MethodSummary s = method_summary_from_json(object, place);
  if (s.id != id) throw input_error(place, "summary of another method", id, s.id);
  s.answer = file.read_text(path("answer"), layout::max_json_bytes);
  s.answer_ids = file.read_all<std::int32_t>(path("answer_ids"), {-1}, layout::max_tokens);
  s.ttft_samples = file.read_all<double>(path("ttft_samples_ms"), {-1}, layout::max_samples);
  const auto check_layers = [&](std::int64_t found, const char* name) {
    if (found != 0 && found != meta.num_layers())
      throw input_error(file.place() + ":" + path(name), "not one value a layer", std::to_string(meta.num_layers()),
                        std::to_string(found));
  };
  const std::size_t columns = schema < 4 ? static_cast<std::size_t>(Stage::transfer) : num_stages;
  const auto stages =
      file.read_all<double>(path("layer_stages_ms"), {-1, static_cast<std::int64_t>(columns)}, meta.num_layers());
  s.layer_stages.resize(stages.size() / columns);
  for (std::size_t i = 0; i < stages.size(); ++i) s.layer_stages[i / columns][i % columns] = stages[i];
  check_layers(static_cast<std::int64_t>(s.layer_stages.size()), "layer_stages_ms");
  if (s.timing_plan) check_layers(static_cast<std::int64_t>(s.timing_plan->layers.size()), "summary_json");
  for (const auto& [name, values] : {std::pair{"captured_mass_per_layer", &s.captured_mass_per_layer},
                                     std::pair{"oracle_recall_per_layer", &s.oracle_recall_per_layer},
                                     std::pair{"output_l2_per_layer", &s.output_l2_per_layer},
                                     std::pair{"output_frobenius_per_layer", &s.output_frobenius_per_layer}}) {
    if (schema < 3 && values == &s.output_frobenius_per_layer) continue;
    *values = file.read_all<double>(path(name), {-1}, meta.num_layers());
    check_layers(static_cast<std::int64_t>(values->size()), name);
  }
  if (schema < 3) rename_figures_v2(s);
  return s;
}

}  // namespace

RunRecord::RunRecord(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunRecord::~RunRecord() = default;

std::shared_ptr<const RunRecord> RunRecord::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>(path);
  Impl& r = *impl;
  std::vector<std::string> methods;
  r.meta = read_meta(r.file, methods, r.schema);
  r.tokens = read_tokens(r.file);
  for (const auto& id : methods) r.methods.push_back(read_summary(r.file, id, r.meta, r.schema));
  return std::shared_ptr<const RunRecord>(new RunRecord(std::move(impl)));
}

const std::filesystem::path& RunRecord::path() const {
  return impl_->path;
}
FileChange RunRecord::file_change() const {
  return impl_->file.change(impl_->path);
}
const RunMeta& RunRecord::meta() const {
  return impl_->meta;
}
const TokenTable& RunRecord::tokens() const {
  return impl_->tokens;
}
const std::vector<MethodSummary>& RunRecord::methods() const {
  return impl_->methods;
}

const MethodSummary* RunRecord::find_method(std::string_view id) const {
  return impl_->find(id);
}

std::shared_ptr<const HeadStatistics> RunRecord::head_statistics(std::string_view method) const {
  return impl_->statistics.get(std::string(method), [&]() -> std::shared_ptr<const HeadStatistics> {
    const Impl& r = *impl_;
    if (!r.has(method, "head_statistics/values")) return nullptr;
    auto result = std::make_shared<HeadStatistics>();
    const auto names = r.file.read_all<std::uint8_t>(layout::method(method, "head_statistics/names"),
                                                     {-1, layout::statistic_name_bytes}, layout::max_statistics);
    for (std::size_t at = 0; at < names.size(); at += layout::statistic_name_bytes) {
      const auto begin = names.begin() + static_cast<std::ptrdiff_t>(at);
      const std::string name(begin, std::find(begin, begin + layout::statistic_name_bytes, 0));
      result->names.push_back(r.schema < 3 ? statistic_name_v2(name) : name);
    }
    result->layers = r.meta.num_layers();
    result->heads = r.meta.max_q_heads() + 1;
    result->values =
        r.file.read_all<float>(layout::method(method, "head_statistics/values"),
                               {result->layers, result->heads, static_cast<std::int64_t>(result->names.size())});
    return result;
  });
}

std::shared_ptr<const MassCurves> RunRecord::mass_curves(std::string_view method) const {
  return impl_->curves.get(std::string(method), [&]() -> std::shared_ptr<const MassCurves> {
    const Impl& r = *impl_;
    if (!r.has(method, "mass_curves/budgets")) return nullptr;
    const std::string path = layout::method(method, "mass_curves/budgets");
    auto result = std::make_shared<MassCurves>();
    result->budgets = r.file.read_all<std::int64_t>(path, {-1}, layout::max_curve_budgets);
    if (result->budgets.empty() || result->budgets.front() < 1 ||
        !std::is_sorted(result->budgets.begin(), result->budgets.end()))
      throw input_error(r.place(path), "budgets are not positive and ascending");
    result->layers = r.meta.num_layers();
    result->heads = r.meta.max_q_heads() + 1;
    result->values =
        r.file.read_all<float>(layout::method(method, "mass_curves/values"),
                               {result->layers, result->heads, 3, static_cast<std::int64_t>(result->budgets.size())});
    return result;
  });
}

std::shared_ptr<const std::vector<AnswerPosition>> RunRecord::answer_choices(std::string_view method) const {
  return impl_->choices.get(std::string(method), [&]() -> std::shared_ptr<const std::vector<AnswerPosition>> {
    const Impl& r = *impl_;
    if (!r.has(method, "choices_json")) return nullptr;
    const std::string path = layout::method(method, "choices_json"), place = r.place(path);
    const nlohmann::json list = parse_json(r.file.read_text(path, layout::max_json_bytes), place, max_depth);
    return std::make_shared<std::vector<AnswerPosition>>(answer_positions_from_json(list, place));
  });
}

LayerAvailability RunRecord::availability(std::string_view method, int layer) const {
  return {impl_->has(method, layer, "stream/lse"),
          impl_->has(method, layer, "supports/support") || impl_->has(method, layer, "supports/support/rows"),
          impl_->has(method, layer, "thumbnails/mean"), stored_levels(method, layer).any()};
}

std::shared_ptr<const Thumbnail> RunRecord::thumbnail(std::string_view method, int layer, int head) const {
  const std::string group = layout::layer(method, layer, "thumbnails");
  return impl_->thumbnails.get(group + "#" + std::to_string(head), [&]() -> std::shared_ptr<const Thumbnail> {
    const Impl& r = *impl_;
    if (!r.has(method, layer, "thumbnails/mean") || head < 0 || head > r.meta.layer(layer).num_q_heads) return nullptr;
    const std::int64_t heads = r.meta.layer(layer).num_q_heads + 1;
    auto result = std::make_shared<Thumbnail>();
    result->cell = r.file.attribute<std::int64_t>(group, "cell");
    const Element element[] = {Element::f32};
    const auto& mean = r.file.find(group + "/mean", element, {heads, -1, -1}, layout::max_thumbnail);
    result->size = mean.extent[1];
    if (result->size < 1 || result->cell < 1 || result->cell > r.length() || result->size * result->cell < r.length())
      throw input_error(r.place(group), "thumbnails do not cover the prompt", std::to_string(r.length()) + " tokens",
                        std::to_string(result->size) + " cells of " + std::to_string(result->cell));
    const Extent extent = {heads, result->size, result->size};
    result->max = r.file.read_one<float>(group + "/max", extent, head);
    result->mean = r.file.read_one<float>(group + "/mean", extent, head);
    return result;
  });
}

std::vector<float> RunRecord::mass_received(std::string_view method, int layer, int head) const {
  const Impl& r = *impl_;
  if (!r.has(method, layer, "mass_received") || head < 0 || head > r.meta.layer(layer).num_q_heads) return {};
  return r.file.read_one<float>(layout::layer(method, layer, "mass_received"),
                                {r.meta.layer(layer).num_q_heads + 1, r.length()}, head);
}

std::vector<float> RunRecord::selection_frequency(std::string_view method, int layer, int group) const {
  const Impl& r = *impl_;
  if (!r.has(method, layer, "selection_frequency")) return {};
  const MethodSummary& summary = *r.find(method);
  const std::int64_t groups = r.groups(summary, layer);
  if (group < 0 || group >= groups) return {};
  const std::string path = layout::layer(method, layer, "selection_frequency");
  if (summary.scope == SupportScope::layer) return r.file.read_all<float>(path, {r.length()});
  return r.file.read_one<float>(path, {groups, r.length()}, group);
}

}  // namespace headroom::record
